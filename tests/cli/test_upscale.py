"""`restore upscale` end to end, with small networks under the names of the shipped ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.cli.conftest import write_noisy
from tests.engines.upscale.tiny import upscalers

pytestmark = pytest.mark.usefixtures("upscalers")
__all__ = ["upscalers"]


def shape_of(path):
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED).shape


@pytest.fixture
def photo(tmp_path):
    return write_noisy(tmp_path / "photo.png", shape=(20, 24, 3))


@pytest.mark.parametrize(("words", "shape"), [
    ((), (80, 96, 3)), (("--scale", "2"), (40, 48, 3)), (("--scale", "1.5"), (30, 36, 3)),
    (("--size", "60x"), (50, 60, 3)), (("--size", "x100"), (100, 120, 3)), (("--size", "48x48"), (48, 48, 3)),
    (("--method", "gan", "--crop", "4,4,10,8"), (32, 40, 3)),
    (("--sharpness", "0.5", "--strength", "0.5"), (80, 96, 3)),
    (("--size", "48x", "--crop", "4,4,10,8"), (16, 20, 3)),
])  # fmt: skip
def test_sizes(restore, photo, tmp_path, words, shape):
    out = tmp_path / "out.png"
    ran = restore("upscale", photo, out, *words)
    assert ran.code == 0, ran.err
    assert shape_of(out) == shape and "method: network upscale_" in ran.err


def test_the_choice_is_printed(restore, tmp_path):
    photo = write_noisy(tmp_path / "photo.png", shape=(320, 328, 3))
    ran = restore("upscale", photo)
    assert (tmp_path / "photo_upscaled.png").is_file()
    assert "method: network upscale_x4_real" in ran.err and "picture: noise (noise 1" in ran.err


def test_a_dry_run_says_how_large_results_are(restore, photo, tmp_path):
    ran = restore("upscale", photo, tmp_path / "out.png", "--scale", "3", "--dry-run")
    assert "(24 x 20 -> 72 x 60, 3 x 8 bit, method chosen per picture)" in ran.out + ran.err
    assert not (tmp_path / "out.png").exists()


def test_depth_alpha_and_grey_of_a_folder(restore, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    write_noisy(folder / "deep.png", 1, (12, 10, 4), "uint16")
    write_noisy(folder / "grey.png", 2, (12, 10))
    write_noisy(folder / "a" / "photo.jpg", 3, (12, 10, 3))
    assert restore("upscale", folder, out).code == 0
    deep = cv2.imread(str(out / "deep.png"), cv2.IMREAD_UNCHANGED)
    assert deep.dtype == np.uint16 and deep.shape == (48, 40, 4)
    assert shape_of(out / "grey.png") == (48, 40) and shape_of(out / "a" / "photo.jpg") == (48, 40, 3)
    again = restore("upscale", folder, out, "--resume")
    assert again.code == 0 and "0 done, 3 done before" in again.err


def test_pages_of_a_stack(restore, tmp_path):
    import tifffile

    rng = np.random.default_rng(0)
    tifffile.imwrite(tmp_path / "stack.tif", rng.integers(0, 255, (3, 16, 12), np.uint8), photometric="minisblack")
    assert restore("upscale", tmp_path / "stack.tif", tmp_path / "out.tif", "--frames", "all").code == 0
    assert tifffile.imread(tmp_path / "out.tif").shape == (3, 64, 48)


def test_what_cannot_be_written_is_refused_before_any_work(restore, tmp_path, monkeypatch):
    strip = write_noisy(tmp_path / "strip.png", shape=(2, 4200, 3))
    ran = restore("upscale", strip, tmp_path / "strip.webp")
    assert ran.code and "WEBP holds at most 16383 pixels a side, not 16800 x 8. Write .tif or .png" in ran.err
    monkeypatch.setattr("restore.inference.memory.available_memory", lambda: 50 << 20)
    photo = write_noisy(tmp_path / "large.png", shape=(900, 1000, 3))
    ran = restore("upscale", photo, tmp_path / "large.jpg", "--dry-run")
    assert ran.code and "the result of 4000 x 3600 px takes 0.1 GiB of memory as JPEG" in ran.err + ran.out
    assert restore("upscale", photo, tmp_path / "large.png2.png", "--dry-run").code == 0
    assert sorted(path.name for path in tmp_path.glob("*.[jw]*")) == []


@pytest.mark.parametrize(("words", "message"), [
    (("--in-place",), "upscale does not replace its inputs"),
    (("--scale", "0.5"), "--scale cannot be '0.5'"),
    (("--size", "big"), "--size cannot be 'big'"),
    (("--scale", "2", "--size", "9x"), "--scale and --size both say how large the result is"),
    (("--sharpness", "0.5", "--method", "real"), "--sharpness does not go with --method real"),
    (("--sharpness", "0.5", "--weights", "upscale_x4"), "--sharpness and --weights do not go together"),
    (("--method", "network"), "--method network needs weights"),
    (("--weights", "denoise"), "these weights are for the task 'denoise', not 'upscale'"),
])  # fmt: skip
def test_refusals_are_one_sentence(restore, photo, tmp_path, words, message):
    ran = restore("upscale", photo, *(() if "--in-place" in words else (tmp_path / "out.png",)), *words)
    assert ran.code != 0 and message in ran.err and len(ran.err.strip().splitlines()) == 1
    assert not (tmp_path / "out.png").exists()
