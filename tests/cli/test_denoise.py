"""`restore denoise` end to end, in this process: outputs, refusals, plans, reports."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from restore.inference.history import read_ledger
from restore.inference.ledger import LEDGER_NAME, Ledger

from .conftest import write_noisy


def pixels(path):
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def photo(tmp_path):
    return write_noisy(tmp_path / "photo.png")


@pytest.fixture
def folder(tmp_path):
    """Two pictures, one in a subfolder with a name outside ASCII, one broken file, and things that are no pictures."""
    root = tmp_path / "photos"
    write_noisy(root / "a.png", 1)
    write_noisy(root / "süb 文/b.jpg", 2)
    (root / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnope")
    (root / "notes.txt").write_text("not a picture")
    (root / ".DS_Store").write_bytes(b"x")
    return root


class TestOneFile:
    def test_named_output_and_decisions_in_a_few_lines(self, restore, photo, tmp_path):
        ran = restore("denoise", photo, tmp_path / "out.png")
        assert (ran.code, ran.out) == (0, "")
        assert "noise: sigma 1" in ran.err and "method: classical nlm" in ran.err and "tiles: 1 of" in ran.err
        assert ran.err.splitlines()[-1].startswith(f"{photo} -> {tmp_path / 'out.png'} (")
        assert len(ran.err.splitlines()) <= 6
        before, after = pixels(photo), pixels(tmp_path / "out.png")
        assert before.shape == after.shape
        assert (
            np.abs(np.diff(after.astype(int), axis=1)).mean() < 0.6 * np.abs(np.diff(before.astype(int), axis=1)).mean()
        )
        assert not (tmp_path / LEDGER_NAME).exists()

    def test_quiet_says_nothing(self, restore, photo, tmp_path):
        assert restore("denoise", photo, tmp_path / "out.png", "-q").err == ""

    def test_default_output_is_beside_the_input(self, restore, photo, tmp_path):
        assert restore("denoise", photo).code == 0
        assert tree(tmp_path) == ["photo.png", "photo_denoised.png"]

    @pytest.mark.parametrize("slash", ["", "/"])
    def test_output_folder(self, restore, photo, tmp_path, slash):
        if not slash:
            (tmp_path / "out").mkdir()
        assert restore("denoise", photo, f"{tmp_path / 'out'}{slash}").code == 0
        assert tree(tmp_path / "out") == ["photo.png"]

    def test_a_name_outside_ascii_and_with_brackets(self, restore, tmp_path):
        photo = write_noisy(tmp_path / "[bold] фото 😀\u0308.png")
        assert restore("denoise", photo, tmp_path / "вых[/od].png").code == 0
        assert pixels(tmp_path / "вых[/od].png").shape == (32, 40, 3)

    def test_existing_output_is_refused_without_overwrite(self, restore, photo, tmp_path):
        (tmp_path / "out.png").write_bytes(b"mine")
        ran = restore("denoise", photo, tmp_path / "out.png")
        assert ran.code == 1
        assert ran.err == (
            f"restore: error: {tmp_path / 'out.png'}: exists already. "
            "Add --overwrite to replace it, or name another output\n"
        )
        assert (tmp_path / "out.png").read_bytes() == b"mine"
        assert restore("denoise", photo, tmp_path / "out.png", "--overwrite").code == 0
        assert pixels(tmp_path / "out.png").shape == (32, 40, 3)

    @pytest.mark.parametrize("alias", ["same", "dots", "symlink", "hardlink"])
    @pytest.mark.parametrize("flags", [(), ("--overwrite",)])
    def test_the_input_itself_is_refused_as_output(self, restore, photo, tmp_path, alias, flags):
        out = {"same": photo, "dots": tmp_path / "x/../photo.png"}.get(alias, tmp_path / "link.png")
        (tmp_path / "x").mkdir()
        if alias == "symlink":
            out.symlink_to(photo)
        if alias == "hardlink":
            os.link(photo, out)
        before = photo.read_bytes()
        ran = restore("denoise", photo, out, *flags)
        assert (ran.code, photo.read_bytes()) == (1, before)
        assert "--in-place" in ran.err

    def test_in_place(self, restore, photo, tmp_path):
        photo.chmod(0o600)
        before = photo.read_bytes()
        assert restore("denoise", photo, "--in-place").code == 0
        assert photo.read_bytes() != before
        assert photo.stat().st_mode & 0o777 == 0o600
        assert tree(tmp_path) == ["photo.png"]

    def test_in_place_through_a_link_keeps_the_link(self, restore, photo, tmp_path):
        (tmp_path / "link.png").symlink_to(photo)
        before = photo.read_bytes()
        assert restore("denoise", tmp_path / "link.png", "--in-place").code == 0
        assert (tmp_path / "link.png").is_symlink()
        assert photo.read_bytes() != before

    def test_in_place_crop_would_destroy(self, restore, photo):
        before = photo.read_bytes()
        ran = restore("denoise", photo, "--in-place", "--crop", "0,0,8,8")
        assert (ran.code, photo.read_bytes()) == (2, before)

    def test_strength_zero_keeps_every_sample(self, restore, tmp_path):
        photo = write_noisy(tmp_path / "deep.png", dtype="uint16")
        assert restore("denoise", photo, tmp_path / "same.png", "--strength", "0").code == 0
        assert np.array_equal(pixels(tmp_path / "same.png"), pixels(photo))

    def test_crop_and_compare(self, restore, photo, tmp_path):
        ran = restore("denoise", photo, tmp_path / "out.png", "--crop", "5,6,20,16", "--compare")
        assert ran.code == 0
        both, after = pixels(tmp_path / "out_compare.png"), pixels(tmp_path / "out.png")
        assert after.shape == (16, 20, 3)
        assert both.shape == (16, 44, 3)
        assert np.array_equal(both[:, :20], pixels(photo)[6:22, 5:25])
        assert np.array_equal(both[:, 24:], after)

    def test_compare_of_a_deep_picture_is_for_the_eye(self, restore, tmp_path):
        photo = write_noisy(tmp_path / "deep.tif", dtype="uint16", shape=(32, 40))
        twelve = (pixels(photo) >> 4).astype(np.uint16)  # 12-bit data in a 16-bit file
        photo.write_bytes(cv2.imencode(".tif", twelve)[1].tobytes())
        assert restore("denoise", photo, tmp_path / "out.tif", "--compare").code == 0
        both = pixels(tmp_path / "out_compare.png")
        assert both.dtype == np.uint8 and both.shape == (32, 84)
        assert np.array_equal(both[:, :40], np.rint(twelve / 4095 * 255))

    def test_a_broken_file_is_one_line_and_exit_code_1(self, restore, tmp_path):
        (tmp_path / "bad.png").write_bytes(b"")
        ran = restore("denoise", tmp_path / "bad.png")
        assert ran.code == 1
        assert ran.err.startswith(f"restore: error: {tmp_path / 'bad.png'}: ") and ran.err.count("\n") == 1
        assert tree(tmp_path) == ["bad.png"]

    def test_a_salvaged_file_is_written_but_not_success(self, restore, photo, tmp_path):
        photo.write_bytes(photo.read_bytes()[:2000])
        assert restore("denoise", photo, tmp_path / "out.png").code == 1
        ran = restore("denoise", photo, tmp_path / "out.png", "--salvage")
        assert ran.code == 1
        assert "restore: warning:" in ran.err and "salvaged" in ran.err
        assert pixels(tmp_path / "out.png").shape == (32, 40, 3)

    @pytest.mark.parametrize(
        ("words", "code", "says"),
        [
            (["missing.png"], 3, "missing.png: there is no such file or folder"),
            (["photo.png", "out.jp2"], 1, "out.jp2: cannot write the format '.jp2'"),
            (["photo.png", "out.png", "--crop", "30,0,20,20"], 1, "photo.png: the crop 30,0,20,20 is not inside"),
            (["photo.png", "out.png", "--preset", "fast"], 2, "--preset does not go with --method classical"),
            (["photo.png", "out.png", "--device", "gpu"], 2, "there is no device 'gpu'"),
            (["photo.png", "out.png", "--max-pixels", "100"], 1, "photo.png: "),
            (["photo.png", "nowhere/out.png", "--overwrite", "--resume"], 2, "--overwrite and --resume contradict"),
            ([], 2, "no picture was named"),
        ],
    )
    def test_errors_are_one_line_with_their_exit_code(self, restore, photo, monkeypatch, words, code, says):
        monkeypatch.chdir(photo.parent)
        ran = restore("denoise", *words)
        assert ran.err.startswith("restore: error: ") and says in ran.err
        assert ran.err.count("\n") == 1
        assert (ran.code, tree(photo.parent)) == (code, ["photo.png"])

    def test_unexpected_errors_have_a_traceback_only_when_asked(self, restore, photo, monkeypatch):
        def broken(*args, **kwargs):
            raise ZeroDivisionError("surprise")

        monkeypatch.setattr("restore.api.Restorer.apply", broken)
        assert restore("denoise", photo).err == (
            f"restore: error: {photo}: unexpected ZeroDivisionError (surprise). "
            "This is a bug: please report it with the output of -v\n"
        )
        assert "Traceback" in restore("denoise", photo, "-v").err

    def test_debug_shows_where_a_refusal_came_from(self, restore, tmp_path):
        ran = restore("denoise", tmp_path / "missing.png", "--debug")
        assert "Traceback" in ran.err and ran.err.splitlines()[-1].startswith("restore: error: ")


class TestFolders:
    def test_the_tree_is_kept_and_one_bad_file_stops_nothing(self, restore, folder, tmp_path):
        ran = restore("denoise", folder, tmp_path / "out")
        assert ran.code == 1
        assert tree(tmp_path / "out") == ["a.png", LEDGER_NAME, "süb 文/b.jpg"]
        assert ran.err.splitlines()[-2:] == ["2 done, 1 not pictures, 1 failed", f"  failed: {folder / 'bad.png'}"]
        status = {e["inputs"][0]: e["status"] for e in read_ledger(tmp_path / "out" / LEDGER_NAME) if "status" in e}
        assert status == {"a.png": "ok", "bad.png": "failed", "süb 文/b.jpg": "ok"}

    def test_workers_do_not_change_bytes(self, restore, folder, tmp_path):
        for workers in (0, 3):
            restore("denoise", folder, tmp_path / f"out{workers}", "--workers", workers)
        for name in ("a.png", "süb 文/b.jpg"):
            assert (tmp_path / "out0" / name).read_bytes() == (tmp_path / "out3" / name).read_bytes()

    def test_resume_does_the_missing_work(self, restore, folder, tmp_path):
        restore("denoise", folder, tmp_path / "out")
        (folder / "bad.png").unlink()
        first = (tmp_path / "out/a.png").stat().st_mtime_ns
        write_noisy(folder / "c.png", 3)
        ran = restore("denoise", folder, tmp_path / "out", "--resume")
        assert (ran.code, ran.err.splitlines()[-1]) == (0, "1 done, 2 done before, 1 not pictures")
        assert (tmp_path / "out/a.png").stat().st_mtime_ns == first
        assert restore("denoise", folder, tmp_path / "out").code == 1, "and without --resume it is all refused"

    def test_resume_without_a_ledger_overwrites_nothing(self, restore, folder, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/a.png").write_bytes(b"mine")
        for _ in range(2):
            ran = restore("denoise", folder, tmp_path / "out", "--resume", "--dry-run")
            assert f"refused: {tmp_path / 'out/a.png'}: exists already" in ran.out
        restore("denoise", folder, tmp_path / "out", "--resume")
        assert (tmp_path / "out/a.png").read_bytes() == b"mine"

    def test_several_folders_keep_their_names(self, restore, tmp_path):
        for name in ("x/one", "y/two"):
            write_noisy(tmp_path / name / "a.png")
        assert restore("denoise", tmp_path / "x/one", tmp_path / "y/two/", tmp_path / "out").code == 0
        assert tree(tmp_path / "out") == ["one/a.png", LEDGER_NAME, "two/a.png"]

    def test_what_no_file_could_have_is_refused_once_and_early(self, restore, folder, tmp_path):
        for words in (("--precision", "fp16"), ("--device", "gpu"), ("--weights", "none")):
            ran = restore("denoise", folder, tmp_path / "out", *words)
            assert ran.code == 2 and ran.err.count("\n") == 1
        assert not (tmp_path / "out").exists()

    def test_a_locked_folder_is_nothing_to_run(self, restore, folder, tmp_path):
        with Ledger(tmp_path / "out"):
            ran = restore("denoise", folder, tmp_path / "out")
        assert ran.code == 3 and ran.err.count("\n") == 1
        assert f"another run is writing to this folder (process {os.getpid()})" in ran.err

    def test_an_output_folder_that_cannot_be(self, restore, folder, photo, tmp_path):
        ran = restore("denoise", folder, photo / "out")
        assert ran.code == 3 and ran.err.count("\n") == 1 and "the ledger cannot be written" in ran.err
        ran = restore("denoise", folder / "a.png", photo / "out.png")
        assert ran.code == 1 and ran.err.count("\n") == 1 and "folder cannot be made" in ran.err

    @pytest.mark.skipif(os.name == "nt", reason="not a Windows name")
    def test_names_with_newlines_and_bytes_that_are_no_text(self, restore, tmp_path):
        folder = tmp_path / "in"
        strange = [os.fsencode(folder) + b"/line\nbreak.png", os.fsencode(folder) + b"/\xff\xfe.png"]
        folder.mkdir()
        for name in strange:
            Path(os.fsdecode(name)).write_bytes(write_noisy(tmp_path / "p.png").read_bytes())
        ran = restore("denoise", folder, tmp_path / "out", "--json")
        assert ran.code == 0 and len(ran.json["files"]) == 2
        assert len(ran.err.splitlines()) == 3
        assert restore("denoise", folder, tmp_path / "out", "--resume", "--json").json["summary"]["kept"] == 2
        plan = restore("denoise", folder, tmp_path / "new", "--dry-run")
        assert plan.code == 0 and len(plan.out.splitlines()) == 2

    def test_default_folder_and_no_output_becomes_an_input(self, restore, folder, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        restore("denoise", "photos/", "-q")
        assert tree(tmp_path / "photos_denoised") == ["a.png", LEDGER_NAME, "süb 文/b.jpg"]
        monkeypatch.chdir(folder)
        restore("denoise", ".", "out", "-q")
        restore("denoise", ".", "out", "-q", "--resume")
        assert tree(folder / "out") == ["a.png", LEDGER_NAME, "süb 文/b.jpg"]

    def test_in_place_and_its_resume(self, restore, folder):
        (folder / "bad.png").unlink()
        assert restore("denoise", folder, "--in-place").code == 0
        after = {path: path.read_bytes() for path in folder.rglob("*.*g")}
        ran = restore("denoise", folder, "--in-place", "--resume")
        assert (ran.code, ran.err.splitlines()[-1]) == (0, "0 done, 2 done before, 1 not pictures")
        assert after == {path: path.read_bytes() for path in folder.rglob("*.*g")}

    def test_several_files(self, restore, photo, tmp_path):
        other = write_noisy(tmp_path / "other.png", 5)
        assert restore("denoise", photo, other, tmp_path / "out").code == 0
        assert tree(tmp_path / "out") == ["other.png", "photo.png", LEDGER_NAME]
        ran = restore("denoise", photo, other, photo)
        assert ran.code == 2 and "is a file (the last path is the output" in ran.err

    def test_a_missing_file_among_several_fails_alone(self, restore, photo, tmp_path):
        ran = restore("denoise", photo, tmp_path / "gone.png", tmp_path / "out")
        assert ran.code == 1
        assert f"restore: error: {tmp_path / 'gone.png'}: " in ran.err
        assert (tmp_path / "out/photo.png").exists()

    @pytest.mark.parametrize("names", [("x/a.png", "y/a.png"), ("x/a.png", "y/A.png"), ("x/a.gif", "x/a.png")])
    def test_two_inputs_for_one_output_both_fail(self, restore, tmp_path, names):
        paths = [tmp_path / name for name in names]
        for path in paths:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(write_noisy(tmp_path / "p.png").read_bytes())
        ran = restore("denoise", *paths, tmp_path / "out")
        assert ran.code == 1 and ran.err.count("two pictures would be written here") == 2
        assert tree(tmp_path / "out") == [], "no ledger of a run that finished nothing"

    def test_collisions_within_a_tree_are_found_whatever_lies_between(self, restore, folder, tmp_path):
        write_noisy(folder / "a.k/z.png")
        (folder / "a.gif").write_bytes(b"GIF89a")
        ran = restore("denoise", folder, tmp_path / "out")
        assert ran.code == 1 and ran.err.count("two pictures would be written here") == 2
        assert tree(tmp_path / "out") == ["a.k/z.png", LEDGER_NAME, "süb 文/b.jpg"]

    def test_a_comparison_may_not_fall_on_a_result(self, restore, folder, tmp_path):
        write_noisy(folder / "a_compare.png")
        ran = restore("denoise", folder, tmp_path / "out", "--compare")
        assert ran.code == 1 and "two pictures would be written here" in ran.err

    def test_an_empty_folder_is_nothing_to_do(self, restore, tmp_path):
        (tmp_path / "empty").mkdir()
        ran = restore("denoise", tmp_path / "empty", tmp_path / "out")
        said = f"restore: error: there are no pictures in {tmp_path / 'empty'}. Name a folder of pictures\n0 done\n"
        assert (ran.code, ran.err) == (3, said)

    @pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
    def test_a_pipe_in_the_folder_does_not_hang(self, restore, folder, tmp_path):
        os.mkfifo(folder / "pipe.png")
        ran = restore("denoise", folder, tmp_path / "out", "-v")
        assert "pipe.png: skipped, a pipe, socket or device" in ran.err
        assert restore("denoise", folder / "pipe.png", tmp_path / "x.png").code == 1


class TestDryRun:
    def test_the_plan_is_printed_and_nothing_is_written(self, restore, folder, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/a.png").write_bytes(b"mine")
        before = tree(tmp_path)
        ran = restore("denoise", folder, tmp_path / "out", "--dry-run", "--method", "auto")
        assert ran.code == 1
        lines = ran.out.splitlines()
        assert lines[0].startswith(f"{folder / 'a.png'}: refused: {tmp_path / 'out/a.png'}: exists already")
        assert lines[1].startswith(f"{folder / 'bad.png'}: refused: ")
        assert lines[2] == f"{folder / 'notes.txt'}: skipped: not a picture's extension"
        inside = "süb 文/b.jpg"
        assert lines[3] == f"{folder / inside} -> {tmp_path / 'out' / inside}  (40 x 32, 3 x 8 bit, network)"
        assert tree(tmp_path) == before
        assert (tmp_path / "out/a.png").read_bytes() == b"mine"

    def test_what_a_format_cannot_hold_is_refused_ahead(self, restore, tmp_path):
        photo = write_noisy(tmp_path / "deep.png", dtype="uint16")
        ran = restore("denoise", photo, tmp_path / "out.jpg", "--dry-run")
        assert ran.code == 1 and "refused" in ran.out and "--depth" in ran.out
        assert restore("denoise", photo, tmp_path / "out.jpg", "--dry-run", "--depth", "8").code == 0


class TestJson:
    def test_one_object_and_nothing_else_on_stdout(self, restore, folder, tmp_path):
        ran = restore("denoise", folder, tmp_path / "out", "--json")
        files = {Path(entry["input"]).name: entry for entry in ran.json["files"]}
        assert files["a.png"]["status"] == "ok"
        assert files["a.png"]["output"] == str(tmp_path / "out/a.png")
        assert files["a.png"]["decisions"]["method"] == "classical nlm"
        assert files["bad.png"]["error"]["code"].startswith("E_")
        assert files["notes.txt"] == {
            "status": "skipped", "input": str(folder / "notes.txt"), "output": str(folder / "notes.txt"),
            "reason": "not a picture's extension", "seconds": 0.0,
        }  # fmt: skip
        summary = ran.json["summary"]
        assert (summary["ok"], summary["failed"], summary["skipped"]) == (2, 1, 1)
        assert list(summary["failures"]) == [str(folder / "bad.png")]
        assert ran.json["exit_code"] == ran.code == 1

    @pytest.mark.parametrize("words", [("missing.png",), ("photo.png", "--preset", "fast"), ("photo.png", "--dry-run")])
    def test_errors_and_plans_are_json_too(self, restore, photo, monkeypatch, words):
        monkeypatch.chdir(photo.parent)
        ran = restore("denoise", *words, "--json")
        assert ran.json["exit_code"] == ran.code
        assert (ran.json.get("error") is not None) == (ran.code != 0)

    def test_doctor(self, restore):
        facts = restore("doctor", "--json").json
        assert facts["threads"] >= 1 and facts["memory_budget_mib"] > 0
        assert facts["device"] and facts["formats"]["PNG"] == "yes"
        assert facts["device"].startswith("cuda") or facts["why_no_gpu"]
        text = restore("doctor").out
        assert all(name.replace("_", " ") in text for name in facts)
        assert json.dumps(facts)
