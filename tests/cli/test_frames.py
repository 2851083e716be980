"""Stacks through the command line: `--frames all`."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from restore.inference.ledger import LEDGER_NAME
from tests import corpus


def stack_of(count: int, samples: int, dtype: str, size: tuple[int, int] = (33, 47)) -> np.ndarray:
    rng = np.random.default_rng(samples)
    shape = (count, *size) + ((samples,) if samples > 1 else ())
    if dtype == "float32":
        return rng.normal(100, 300, shape).astype(dtype)  # beyond nominal white and below black
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("samples", [1, 2, 3, 4, 8])
def test_strength_zero_gives_the_input_bit_for_bit(restore, tmp_path, samples, dtype):
    array = stack_of(3, samples, dtype)
    photometric = "rgb" if samples == 3 else "minisblack"
    tifffile.imwrite(
        tmp_path / "in.tif", array, photometric=photometric, planarconfig="contig" if samples > 1 else None
    )
    with tifffile.TiffFile(tmp_path / "in.tif") as tif:
        assert len(tif.pages) == 3
    out = tmp_path / "out.tif"
    ran = restore("denoise", tmp_path / "in.tif", out, "--frames", "all", "--strength", "0", "--tile", "32")
    assert ran.code == 0, ran.err
    actual = tifffile.imread(out)
    assert actual.dtype == array.dtype
    np.testing.assert_array_equal(actual, array)
    assert "frames: 3" in ran.err


@pytest.mark.parametrize("layout", [{"imagej": True}, {"bigtiff": True}, {"compression": "zlib"}, {"ome": True}])
def test_stacks_of_other_programs(restore, tmp_path, layout):
    array = stack_of(6, 1, "uint16")
    tifffile.imwrite(tmp_path / "in.tif", array, **layout)
    ran = restore("denoise", tmp_path / "in.tif", tmp_path / "out.tif", "--frames", "all", "--strength", "0")
    assert ran.code == 0, ran.err
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), array)


def test_three_hundred_pages(restore, tmp_path):
    array = stack_of(300, 1, "uint8", (8, 9))
    tifffile.imwrite(tmp_path / "in.tif", array)
    ran = restore("denoise", tmp_path / "in.tif", tmp_path / "out.tif", "--frames", "all", "--strength", "0", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["files"][0]["decisions"]["frames"] == "300"
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), array)


def test_frames_are_restored_as_single_pictures_are(restore, tmp_path):
    array = stack_of(2, 1, "uint8")
    tifffile.imwrite(tmp_path / "in.tif", array)
    assert restore("denoise", tmp_path / "in.tif", tmp_path / "out.tif", "--frames", "all").code == 0
    actual = tifffile.imread(tmp_path / "out.tif")
    for index in range(2):
        tifffile.imwrite(tmp_path / f"{index}.tif", array[index])
        assert restore("denoise", tmp_path / f"{index}.tif", tmp_path / f"{index}_out.tif").code == 0
        np.testing.assert_array_equal(actual[index], tifffile.imread(tmp_path / f"{index}_out.tif"))
    assert not np.array_equal(actual, array)


def test_pages_that_differ_stay_as_they_are(restore, tmp_path):
    first, second = corpus.pattern(20, 30, 3), corpus.pattern(44, 21, 1, "uint16")[:, :, 0]
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        writer.write(first, photometric="rgb")
        writer.write(second, photometric="minisblack")
    ran = restore("denoise", tmp_path / "in.tif", tmp_path / "out.tif", "--frames", "all", "--strength", "0")
    assert ran.code == 0, ran.err
    with tifffile.TiffFile(tmp_path / "out.tif") as tif:
        actual = [page.asarray() for page in tif.pages]
    assert [page.dtype for page in actual] == ["uint8", "uint16"]
    np.testing.assert_array_equal(actual[0], first)
    np.testing.assert_array_equal(actual[1], second)


@pytest.mark.parametrize("name", ["out.jpg", "out.png"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_other_formats_are_refused_with_the_way_out(restore, tmp_path, name, dtype):
    tifffile.imwrite(tmp_path / "in.tif", stack_of(2, 1, dtype))
    for dry in ((), ("--dry-run",)):
        ran = restore("denoise", tmp_path / "in.tif", tmp_path / name, "--frames", "all", *dry)
        assert ran.code == 1
        assert f"{name}: cannot write a stack of pages as .{name[-3:]}. Write .tif, or use --frames first" in (
            ran.err + ran.out
        )
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_without_the_option_both_ways_out_are_named(restore, tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", stack_of(300, 1, "uint8", (8, 9)))
    ran = restore("denoise", tmp_path / "in.tif", tmp_path / "out.tif")
    assert ran.code == 1 and "--frames all" in ran.err and "--frames first" in ran.err
    assert restore("denoise", tmp_path / "in.tif", tmp_path / "out.png", "--frames", "first").code == 0


def test_animations(restore, tmp_path):
    (tmp_path / "a.gif").write_bytes(corpus.animated("gif"))
    ran = restore("denoise", tmp_path / "a.gif", tmp_path / "out.tif", "--frames", "all")
    assert ran.code == 1 and "only TIFF stacks are read whole. Use --frames first" in ran.err
    ran = restore("denoise", tmp_path / "a.gif", tmp_path / "out.png")
    assert "--frames first" in ran.err and "--frames all" not in ran.err


def test_a_folder_of_stacks_and_pictures_resumes(restore, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    array = stack_of(3, 1, "uint8")
    tifffile.imwrite(folder / "a.tif", array, photometric="minisblack")
    (folder / "b.png").write_bytes(corpus.encoded("png"))
    words = ("denoise", folder, out, "--frames", "all", "--strength", "0")
    assert restore(*words).code == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.tif", "b.png", LEDGER_NAME]
    (out / "a.tif").unlink()
    ran = restore(*words, "--resume", "--json")
    assert (ran.code, ran.json["summary"]["ok"], ran.json["summary"]["kept"]) == (0, 1, 1)
    np.testing.assert_array_equal(tifffile.imread(out / "a.tif"), array)


def test_dry_run_and_comparison_of_a_stack(restore, tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", stack_of(4, 1, "uint16"), photometric="minisblack")
    ran = restore("denoise", tmp_path / "in.tif", tmp_path / "out.tif", "--frames", "all", "--dry-run")
    assert "4 pages of 47 x 33, 1 x 16 bit" in ran.out
    ran = restore("denoise", tmp_path / "in.tif", tmp_path / "out.tif", "--frames", "all", "--compare")
    assert ran.code == 0 and "warning" not in ran.err
    assert (tmp_path / "out_compare.png").exists()
