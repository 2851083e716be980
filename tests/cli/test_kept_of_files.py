"""What a user's files hold beside a picture's samples, and names that meet, through whole commands."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from restore.io import read_picture
from tests import corpus

UNCHANGED = ("--strength", "0", "--method", "classical")
TAIL = b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\x0c" * 4000
BEHIND = f"{len(TAIL):,} bytes after the end of the JPEG not carried"


@pytest.fixture
def motion(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "motion.jpg"
    path.write_bytes(corpus.encoded("jpg") + TAIL)
    return path


def test_a_motion_photo_is_done_and_its_video_is_counted(restore, motion, tmp_path):
    ran = restore("denoise", motion, tmp_path / "out.png", *UNCHANGED)
    assert ran.code == 0 and f"restore: warning: {motion}: {BEHIND}\n" in ran.err
    (tmp_path / "plain.jpg").write_bytes(corpus.encoded("jpg"))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), np.asarray(Image.open(tmp_path / "plain.jpg")))


@pytest.mark.parametrize("more", [(), ("--frames", "all")])
def test_in_place_does_not_throw_away_what_follows_a_picture(restore, motion, more):
    before = motion.read_bytes()
    ran = restore("denoise", motion, "--in-place", *UNCHANGED, *more)
    assert (ran.code, motion.read_bytes()) == (1, before)
    assert f"{motion}: in place would throw away what follows the picture in its file. Name an output" in ran.err


def test_a_run_is_resumed_over_a_motion_photo(restore, motion, tmp_path):
    out = tmp_path / "out"
    assert restore("denoise", motion.parent, out, *UNCHANGED).code == 0
    written = (out / "motion.jpg").read_bytes()
    ran = restore("denoise", motion.parent, out, *UNCHANGED, "--resume")
    assert ran.code == 0 and "0 done, 1 done before" in ran.err and (out / "motion.jpg").read_bytes() == written
    motion.write_bytes(corpus.encoded("jpg") + TAIL + b"x")
    assert "1 done" in restore("denoise", motion.parent, out, *UNCHANGED, "--resume").err.splitlines()[-1]


def test_kinds_that_are_not_read_fail_alone_and_by_name(restore, motion, tmp_path):
    grey = corpus.pattern(40, 56, 1, "uint16")[:, :, 0] >> 4
    (motion.parent / "deep.jpg").write_bytes(imagecodecs.jpeg8_encode(grey, bitspersample=12))
    (motion.parent / "exact.jpg").write_bytes(imagecodecs.ljpeg_encode(grey))
    ran = restore("denoise", motion.parent, tmp_path / "out", *UNCHANGED)
    assert ran.code == 1 and "1 done, 2 failed" in ran.err and "damaged" not in ran.err
    assert "deep.jpg: cannot read a JPEG of 12 bits a sample, only of 8. Convert it to TIFF first" in ran.err
    assert "exact.jpg: cannot read a lossless JPEG (16 bits a sample). Convert it to TIFF first" in ran.err


def test_names_that_would_meet_fail_alone_also_when_resumed(restore, tmp_path):
    names = [
        "caf\u00e9.png",
        "cafe\u0301.png",
        "a.png",
        "a.gif",
        "B.png",
        "b.png",
        "one/x.png",
        "One/x.png",
        "other.png",
    ]
    for name in names:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(corpus.encoded(path.suffix[1:], corpus.pattern(samples=1)))
    out = tmp_path / "out"
    for more, done in (((), "1 done, 8 failed"), (("--resume",), "0 done, 1 done before, 8 failed")):
        ran = restore("denoise", tmp_path / "in", out, *UNCHANGED, *more)
        assert ran.code == 1 and done in ran.err
        assert [path.name for path in out.rglob("*.png")] == ["other.png"]
        assert r"in/cafe\u0301.png and " in ran.err and r"in/caf\xe9.png. Rename one of them" in ran.err
    (tmp_path / "in" / "a.gif").unlink()
    ran = restore("denoise", tmp_path / "in", out, *UNCHANGED, "--resume")
    assert ran.code == 1 and "1 done, 1 done before, 6 failed" in ran.err and (out / "a.png").is_file()


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    pages = [corpus.pattern(24, 32, 1, "uint16", seed=seed)[:, :, 0] for seed in range(12)]
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "stack.tif"
    metadata = {"axes": "TZCYX", "spacing": 0.3, "unit": "um", "finterval": 5.0}
    data = np.stack(pages).reshape(2, 3, 2, 24, 32)
    tifffile.imwrite(path, data, imagej=True, resolution=(1 / 0.065, 1 / 0.065), metadata=metadata)
    return path


def calibration(path: Path) -> tuple[object, ...]:
    with tifffile.TiffFile(path) as tif:
        tags = tif.pages.first.tags
        return tif.series[0].axes, tif.series[0].shape, tif.imagej_metadata, [tags[n].value for n in (282, 283, 296)]


@pytest.mark.parametrize("where", ["out", "in place", "folder"])
def test_a_hyperstack_keeps_its_axes(restore, stack, tmp_path, where):
    before, data = calibration(stack), tifffile.imread(stack)
    words = {"in place": [stack, "--in-place"], "folder": [stack.parent, tmp_path / "out"]}
    ran = restore("denoise", *words.get(where, [stack, tmp_path / "out" / "stack.tif"]), "--frames", "all", *UNCHANGED)
    written = stack if where == "in place" else tmp_path / "out" / "stack.tif"
    assert ran.code == 0 and "warning" not in ran.err
    assert calibration(written) == before and before[:2] == ("TZCYX", (2, 3, 2, 24, 32))
    assert np.array_equal(tifffile.imread(written), data)
    if where == "folder":
        ran = restore("denoise", stack.parent, tmp_path / "out", "--frames", "all", *UNCHANGED, "--resume")
        assert ran.code == 0 and "0 done, 1 done before" in ran.err


def test_what_an_output_does_not_hold_is_said(restore, stack, tmp_path):
    ran = restore("denoise", stack, tmp_path / "out.png", "--frames", "first", *UNCHANGED)
    words = "PNG cannot hold the calibration: ImageJ (images 12, channels 2, slices 3, frames 2, spacing 0.3, unit um, "
    assert ran.code == 0 and f"restore: warning: {stack}: {words}" in ran.err
    assert read_picture(tmp_path / "out.png").info.metadata.dpi is None
    ran = restore("denoise", stack, tmp_path / "out.tif", "--frames", "all", *UNCHANGED, "--depth", "float")
    assert ran.code == 0 and calibration(tmp_path / "out.tif") == calibration(stack)


@pytest.mark.parametrize("factor", ["2", "3"])
def test_a_larger_picture_has_smaller_pixels(restore, stack, tmp_path, factor):
    ran = restore("upscale", stack, tmp_path / "out.tif", "--frames", "all", "--strength", "0", "--scale", factor)
    assert ran.code == 0, ran.err
    axes, shape, imagej, (x, y, unit) = calibration(tmp_path / "out.tif")
    assert (axes, shape) == ("TZCYX", (2, 3, 2, 24 * int(factor), 32 * int(factor))) and imagej["unit"] == "um"
    assert x[0] / x[1] == y[0] / y[1] == pytest.approx(int(factor) / 0.065) and unit == 1
