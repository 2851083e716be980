"""The hostile inputs, numbered: what each row asks, and the tests that hold it.

A test is named by its file below tests/ and its function, without parameters. `test_rows.py` asserts that the table is
whole and that every test exists.
"""

from __future__ import annotations

from typing import NamedTuple

HOSTILE, METADATA, KINDS = "io/test_hostile_files.py::", "io/test_metadata.py::", "io/test_pixel_kinds.py::"
PATHS, WRITING, TRIPS = "io/test_paths.py::", "io/test_writing.py::", "io/test_round_trips.py::"
DENOISE, OVER, PLAN = "cli/test_denoise.py::", "cli/test_overwriting.py::", "cli/test_plan.py::"
PROCESS, BATCH, RUNNER = "cli/test_process.py::", "inference/test_batch.py::", "inference/test_runner.py::"
ZOO, WEIGHTS, CONFIGS = "zoo/test_hostile_files.py::", "zoo/test_weights.py::", "training/test_config.py::"
LOOP, TRAINING, ROWS = "training/test_loop.py::", "faults/test_configs_and_training.py::", "faults/test_rows.py::"
ARGUMENTS, PSF = "faults/test_homes_and_arguments.py::", "faults/test_psf_and_weights.py::"

REFUSED, ACCEPTED = HOSTILE + "test_refused_with_the_promised_error", HOSTILE + "test_odd_files_are_read_and_noted"
KILLED = PROCESS + "test_kill_9_at_random_moments_then_resume_equals_an_uninterrupted_run"
BOMBS = HOSTILE + "test_bombs_are_refused_before_their_memory_is_taken"
FULL_DISK = WRITING + "test_a_full_disk_leaves_the_old_file_and_no_trace"
SAME_FILE = DENOISE + "TestOneFile::test_the_input_itself_is_refused_as_output"
TWO_FOR_ONE = DENOISE + "TestFolders::test_two_inputs_for_one_output_both_fail"


class Row(NamedTuple):
    """One kind of hostile input; `not_built` says what of it has no feature here yet, and so no test."""

    asks: str
    tests: tuple[str, ...]
    not_built: str = ""


# fmt: off
NOT_AN_IMAGE = {
    1: Row("an empty file", (REFUSED, DENOISE + "TestOneFile::test_a_broken_file_is_one_line_and_exit_code_1")),
    2: Row("one byte", (REFUSED,)),
    3: Row("only the magic bytes", (REFUSED,)),
    4: Row("cut files of seven formats, and --salvage", (
        REFUSED, HOSTILE + "test_salvage_gives_the_readable_part",
        DENOISE + "TestOneFile::test_a_salvaged_file_is_written_but_not_success",
    )),
    5: Row("bad CRC of PNG chunks", (REFUSED, ACCEPTED)),
    6: Row("no IEND, no EOI", (REFUSED, HOSTILE + "test_salvage_of_png_without_iend_is_whole")),
    7: Row("flipped bytes", (
        HOSTILE + "test_flipped_bytes_end_in_a_picture_or_in_our_error", HOSTILE + "test_flipped_bytes_at_length",
        "io/test_stack_reading.py::test_flipped_bytes_end_in_pictures_or_in_our_error",
        "faults/test_mutation.py::test_damaged_files_of_every_kind",
    )),
    8: Row("junk after the end", (ACCEPTED,)),
    9: Row("text, pages, archives, documents, videos named .png", (REFUSED,)),
    10: Row("a JPEG named .png", (
        HOSTILE + "test_the_format_is_the_contents_not_the_name", ROWS + "test_10_the_output_is_what_its_name_says",
    )),
    11: Row("PostScript, Photoshop, scripts", (REFUSED,)),
    12: Row("a GIF that is also a zip archive", (ACCEPTED,)),
    13: Row("two SOI, MPO, a thumbnail larger than the picture", (REFUSED, ACCEPTED)),
    14: Row("a PNG chunk that claims 2 GB", (REFUSED,)),
    15: Row("metadata that unpacks without end", (
        ACCEPTED, METADATA + "test_compressed_xmp_in_png", METADATA + "test_huge_metadata_is_dropped_with_a_note",
    )),
    16: Row("TIFF directories in a loop or a long chain", (REFUSED, "io/test_stack_reading.py::test_many_directories")),
    17: Row("a progressive JPEG of 1000 scans", (REFUSED,)),
}

SIZE = {
    18: Row("a header of 0 x N", (REFUSED,)),
    19: Row("1 x 1", ("engines/test_network.py::test_size_and_depth_stay", ROWS + "test_19_to_28_extreme_sizes")),
    20: Row("1 x 5000 and 5000 x 1", (
        "analysis/test_value_range.py::test_extreme_shapes_are_sampled_within_bounds",
        "cli/test_deconv.py::test_pictures_of_one_row_or_column", ROWS + "test_19_to_28_extreme_sizes",
    )),
    21: Row("smaller than the padding of the network", (
        RUNNER + "test_tiled_equals_untiled", "inference/test_tiling.py::test_reflection_then_replication",
    )),
    22: Row("prime sizes", (ROWS + "test_19_to_28_extreme_sizes",)),
    23: Row("every height and width from 1 to 70", (
        RUNNER + "test_tiled_equals_untiled_for_every_size_up_to_70",
        RUNNER + "test_an_enlarging_engine_is_tiled_exactly",
    )),
    24: Row("a tiny file that declares 100,000 x 100,000", (REFUSED, BOMBS)),
    25: Row("a real PNG of 746 kB and 768 MB", (BOMBS,)),
    26: Row("exactly --max-pixels, and one more", (HOSTILE + "test_pixel_limit_is_exact",)),
    27: Row("40,000 x 40,000, streamed", (
        WRITING + "test_memory_does_not_grow_with_height",
        "inference/test_tile_planning.py::test_memory_does_not_grow_with_height_and_little_is_computed_twice",
        "io/test_png_rows.py::test_memory_stays_far_below_the_picture",
    )),
    28: Row("an aspect of 1 : 10,000", (ROWS + "test_19_to_28_extreme_sizes",)),
    29: Row("more than 2**31 samples", (ROWS + "test_29_more_samples_than_32_bits_count",)),
}

PIXELS = {
    30: Row("1 bit", (KINDS + "test_1_bit_becomes_8_bit_grey", KINDS + "test_fax_tiff")),
    31: Row("palettes", (KINDS + "test_palette_is_expanded", KINDS + "test_palette_transparency_becomes_alpha")),
    32: Row("grey of 8 and 16 bits, with alpha", (
        KINDS + "test_16_bit_is_lossless", KINDS + "test_grey_alpha_keeps_its_greyness",
    )),
    33: Row("RGB and RGBA of 8 and 16 bits", (
        KINDS + "test_16_bit_is_lossless", TRIPS + "test_png_is_exact", TRIPS + "test_tiff_is_exact",
    )),
    34: Row("floats out of range, NaN and infinite", (
        KINDS + "test_float_tiff_is_lossless_beyond_white_and_not_finite",
        "cli/test_advice.py::test_the_input_is_blamed_for_a_sample_that_is_not_finite",
        "cli/test_degrade.py::TestWhatIsKept::test_values_outside_the_range_in_a_float_file",
    ), "filling NaN in (--nan=inpaint)"),
    35: Row("CMYK JPEG and TIFF", (
        KINDS + "test_cmyk_jpeg_by_formula", KINDS + "test_cmyk_tiff_is_not_taken_for_alpha",
    )),
    36: Row("YCCK, Lab and other colour models", (
        KINDS + "test_ycck_jpeg_is_not_inverted", KINDS + "test_lab_tiff",
        ARGUMENTS + "test_colour_that_is_not_understood_is_refused",
    )),
    37: Row("AVIF and HEIC of 10 and 12 bits", (
        KINDS + "test_avif_depths", KINDS + "test_heic_depths",
        WRITING + "test_significant_bits_fill_the_format_except_from_tiff_to_tiff",
    )),
    38: Row("int16 and uint32 TIFF", (KINDS + "test_sample_types_nobody_can_guess_are_refused",)),
    39: Row("many bands", (KINDS + "test_nine_bands_are_refused_by_number", KINDS + "test_scientific_bands")),
    40: Row("constant alpha", (KINDS + "test_constant_alpha_keeps_the_colour_below",)),
    41: Row("premultiplied alpha", (KINDS + "test_premultiplied_alpha_becomes_straight",)),
    42: Row("constant pictures", (
        KINDS + "test_constant_pictures", "engines/denoise/test_denoisers.py::test_constant_pictures_are_returned",
    )),
    43: Row("a checkerboard", (ARGUMENTS + "test_43_a_checkerboard_is_no_noise",)),
    44: Row("linear, PQ and grey profiles", (
        METADATA + "test_wide_and_hdr_profiles_are_noted_and_kept", METADATA + "test_everything_survives_a_round_trip",
    )),
    45: Row("a broken profile", (METADATA + "test_a_broken_profile_is_dropped_with_a_note",)),
    46: Row("pixels per inch", (
        METADATA + "test_everything_survives_a_round_trip", METADATA + "test_dpi_turns_with_the_picture",
    )),
}

FRAMES = {
    47: Row("EXIF orientations 1 to 8", (METADATA + "test_orientation_is_applied_once_and_reset",)),
    48: Row("damaged and huge EXIF, old thumbnails", (
        METADATA + "test_damaged_exif_is_dropped_with_a_note", METADATA + "test_huge_metadata_is_dropped_with_a_note",
        METADATA + "test_the_thumbnail_is_dropped_bytes_and_all",
    )),
    49: Row("XMP that disagrees about orientation", (METADATA + "test_xmp_orientation_does_not_turn_the_picture",)),
    50: Row("GPS kept, and gone with --strip-metadata", (
        METADATA + "test_everything_survives_a_round_trip", METADATA + "test_strip_metadata_leaves_no_position",
    )),
    51: Row("animations and stacks", (
        REFUSED, KINDS + "test_first_frame_on_request", "cli/test_frames.py::test_animations",
        "io/test_stack_reading.py::test_open_picture_never_drops_pages_in_silence",
    ), "animations and videos restored whole"),
    52: Row("motion photos, MPO, gain maps", (ACCEPTED, ROWS + "test_52_what_else_a_jpeg_holds_is_said_and_not_lost")),
}

FILES = {
    53: Row("names and paths of all kinds", (
        WRITING + "test_names_of_all_kinds", WRITING + "test_the_longest_name_works_and_a_longer_one_is_refused",
        PATHS + "test_names_windows_reserves",
        DENOISE + "TestFolders::test_names_with_newlines_and_bytes_that_are_no_text",
        "cli/test_options.py::test_paths_and_options_mix_freely_and_a_double_dash_ends_options",
        ROWS + "test_53_a_path_longer_than_260",
    )),
    54: Row("extensions in capitals, and none", (
        PATHS + "test_extensions_are_known", PATHS + "test_default_output", ROWS + "test_54_the_case_of_an_extension",
    )),
    55: Row("the input as output", (
        SAME_FILE, PATHS + "test_the_input_is_not_an_output_unless_asked",
        BATCH + "TestInPlace::test_a_kill_at_any_instant_is_safe",
    )),
    56: Row("output folders that cannot be, full disks", (
        FULL_DISK, WRITING + "test_a_missing_folder_is_named", WRITING + "test_a_folder_that_is_a_file",
        WRITING + "test_a_read_only_folder", DENOISE + "TestFolders::test_an_output_folder_that_cannot_be",
        BATCH + "test_a_full_disk_under_the_ledger_stops_the_run",
    )),
    57: Row("loops, devices, pipes, sockets, folders", (
        PATHS + "test_pipes_sockets_devices_and_loops_are_skipped_with_a_reason",
        PATHS + "test_opening_what_is_no_file_does_not_hang",
        DENOISE + "TestFolders::test_a_pipe_in_the_folder_does_not_hang",
    )),
    58: Row("files replaced or deleted after listing", (
        PATHS + "test_a_file_deleted_after_listing", "io/test_frames.py::test_a_file_that_changes_is_noticed",
    )),
    59: Row("a file that grows", (BATCH + "test_a_file_that_changes_while_it_is_read_fails",)),
    60: Row("two inputs for one output", (TWO_FOR_ONE, OVER + "test_two_names_that_meet_fail_alone")),
    61: Row("names that differ in case alone", (TWO_FOR_ONE,)),
    62: Row("permission denied", (WRITING + "test_a_read_only_folder", ROWS + "test_62_a_file_that_may_not_be_read")),
    63: Row("input/output errors", (
        PATHS + "test_a_failing_disk_is_an_answer", BATCH + "test_one_bad_file_changes_no_other",
    )),
    64: Row("temporary files on another disk", (ROWS + "test_64_temporary_files_lie_beside_their_output",)),
    65: Row("umask and permissions", (
        WRITING + "test_permissions_follow_the_umask",
        BATCH + "TestInPlace::test_results_replace_inputs_and_keep_their_permissions",
    )),
    66: Row("100,000 files", (
        PATHS + "test_100_000_files_are_listed_in_flat_memory", PATHS + "test_listing_is_lazy",
        BATCH + "test_memory_stays_flat_over_many_files",
    )),
}

PROCESSES = {
    67: Row("Ctrl-C at any moment", (
        KILLED, "faults/test_kills.py::test_folder_runs",
        "test_interrupts.py::test_the_first_signal_interrupts_and_the_second_would_kill",
        "test_interrupts.py::test_a_signal_at_any_moment_of_a_command_is_an_exit_code_and_no_traceback",
    )),
    68: Row("SIGTERM, and SIGKILL with --resume", (KILLED, "faults/test_kills.py::test_folder_runs")),
    69: Row("a worker is killed", (
        KILLED, ROWS + "test_79_no_processes_are_started",
    ), "workers are threads of one process: it is killed as a whole, and resumed"),
    70: Row("MemoryError", (BATCH + "test_one_bad_file_changes_no_other",)),
    71: Row("out of memory at some tile", (RUNNER + "test_out_of_memory_at_any_tile_gives_the_same_result",)),
    72: Row("out of memory at the smallest tile", (RUNNER + "test_out_of_memory_at_the_smallest_tile_is_said",)),
    73: Row("device errors that are not about memory", (
        RUNNER + "test_other_runtime_errors_are_not_retried", ROWS + "test_73_and_76_a_device_that_fails",
    )),
    74: Row("tiles that are not finite", (
        RUNNER + "test_a_tile_that_is_not_finite_is_redone_in_float32",
        RUNNER + "test_a_network_that_is_never_finite_is_an_error",
    )),
    75: Row("a wrong shape or range", (
        RUNNER + "test_a_wrong_shape_is_a_contract_error", PSF + "test_75_a_users_network_that_misbehaves",
    )),
    76: Row("the GPU disappears", (
        ROWS + "test_73_and_76_a_device_that_fails",
    ), "going on with the CPU in the same run (--resume does it in another)"),
    77: Row("clocks, closed streams, no terminal, LANG=C", (
        PROCESS + "test_closed_streams", PROCESS + "test_streams_that_cannot_show_the_name",
        PROCESS + "test_a_whole_run_under_hostile_streams", ROWS + "test_77_a_clock_that_runs_backwards", FULL_DISK,
    )),
    78: Row("two runs in one folder", (
        BATCH + "test_a_second_run_on_the_same_folder_is_refused",
        DENOISE + "TestFolders::test_a_locked_folder_is_nothing_to_run",
    )),
    79: Row("fork, spawn, notebooks", (
        ROWS + "test_79_no_processes_are_started", "test_interrupts.py::test_other_threads_change_nothing",
        "test_restorer.py::TestThreads::test_two_threads_give_what_one_gives",
    )),
    80: Row("python -O", (ROWS + "test_80_nothing_depends_on_assert",)),
}

WEIGHTS_AND_CONFIGS = {
    81: Row("pickled code", (
        ZOO + "test_pickled_code_is_never_run", "training/test_checkpoint.py::test_a_checkpoint_cannot_run_code",
    )),
    82: Row("pickles of more than weights", (
        ZOO + "test_pickled_code_is_never_run", ZOO + "test_pickled_files_without_a_state_dict",
    )),
    83: Row("TorchScript", (ZOO + "test_torchscript_is_refused",)),
    84: Row("safetensors that lie", (ZOO + "test_damaged_safetensors", ZOO + "test_truncated_files")),
    85: Row("other keys, shapes, prefixes", (
        WEIGHTS + "test_precise_differences", WEIGHTS + "test_long_differences_are_cut",
        ZOO + "test_state_dicts_are_found_in_their_wrappings",
    )),
    86: Row("weights with NaN", (
        WEIGHTS + "test_weights_that_are_not_finite", WEIGHTS + "test_saving_refuses_what_is_not_finite",
    )),
    87: Row("weights of other types", (
        WEIGHTS + "test_half_storage_loads_as_float32", WEIGHTS + "test_other_stored_types_load_as_float32",
    )),
    88: Row("damaged downloads", (
        ZOO + "test_one_flipped_bit_is_noticed", ZOO + "test_other_files_saved_as_weights",
        "cli/test_weights.py::test_verify_finds_damage",
    ), "downloads (the program fetches nothing, so it deletes nothing)"),
    89: Row("no weights", ("zoo/test_resolver.py::test_absent_weights_name_file_places_and_the_way_out",)),
    90: Row("archives that unpack elsewhere or to more", (
        PSF + "test_90_weights_are_refused_without_being_unpacked",
        ZOO + "test_archives_that_unpack_to_more_are_refused",
    )),
    91: Row("configs that are traps", (
        TRAINING + "test_91_a_config_is_refused_by_name", CONFIGS + "test_mistakes_are_refused",
    )),
    92: Row("files of another version", (WEIGHTS + "test_wrong_labels", CONFIGS + "test_mistakes_are_refused")),
    93: Row("weights of another network", (
        WEIGHTS + "test_weights_of_another_network_name_both", LOOP + "test_resuming_another_network_is_refused",
    )),
}

LEARNING = {
    94: Row("no pictures, one, small ones", (
        "data/test_cache.py::test_folders_without_pictures_and_wrong_scales_are_refused",
        "data/test_batches.py::test_small_pictures_are_left_out_and_too_large_crops_refused",
        "data/test_batches.py::test_hold_out_is_by_file_and_keeps_one_size",
    )),
    95: Row("pairs that are none", (
        TRAINING + "test_95_pictures_without_a_partner_are_named", ROWS + "test_95_pairs_turned_on_one_side",
    )),
    96: Row("pictures that cannot be read", (
        TRAINING + "test_96_unreadable_pictures_stop_the_training_or_are_named",
        TRAINING + "test_96_damaged_pairs_are_named_and_listed",
    )),
    97: Row("losses that are not finite", (
        LOOP + "test_steps_that_are_not_finite_are_skipped_and_counted",
        LOOP + "test_too_many_bad_steps_in_a_row_end_the_run_with_the_batch_on_disk",
    )),
    98: Row("resumed after a kill", (LOOP + "test_resume_is_exact", "faults/test_kills.py::test_a_training")),
    99: Row("a full disk under a checkpoint", (
        "training/test_checkpoint.py::test_a_failed_write_leaves_what_was_there",
        "training/test_checkpoint.py::test_the_last_two_are_kept_and_the_newest_is_read",
    )),
    100: Row("resumed with another number of processes", (
        "training/test_two_processes.py::test_one_process_goes_on_with_what_two_began",
    )),
    101: Row("test pictures among the training's", (
        "data/test_check.py::test_finds_test_pictures_resized_recompressed_and_brightened",
    )),
    102: Row("an error while data are drawn", ("data/test_batches.py::test_an_error_while_drawing_reaches_the_loop",)),
}
# fmt: on

TABLE = NOT_AN_IMAGE | SIZE | PIXELS | FRAMES | FILES | PROCESSES | WEIGHTS_AND_CONFIGS | LEARNING
LAST = 102
