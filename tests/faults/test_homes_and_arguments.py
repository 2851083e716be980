"""Homes that are not there and arguments that make no sense, by the numbers under which these faults were found."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

import numpy as np
import pytest

from restore.io import read_picture
from tests.cli.conftest import write_noisy
from tests.faults import hostile


@pytest.fixture
def photo(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_noisy(tmp_path / "photo.png", shape=(64, 64, 3))
    return Path("photo.png")


# --- X3, S6: homes -------------------------------------------------------------------------------------------


@pytest.fixture
def homeless(monkeypatch) -> None:
    """A user without HOME whom the system does not know."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME", "RESTORE_HOME", "RESTORE_WEIGHTS_DIR", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.parametrize(
    "words",
    [
        ("denoise", "photo.png", "out.png", "--method", "network"),
        ("deconv", "photo.png", "out.png", "--psf", "gauss:1"),
        ("inspect", "photo.png"),
        ("weights", "list"),
        ("doctor",),
    ],
    ids=lambda words: words[0],
)
def test_x3_no_home_is_needed(restore, photo, homeless, words):
    ran = restore(*words)
    assert ran.code == 0 and "error" not in ran.err, ran.err
    assert not Path("~").exists()


NO_HOME = "this user has no home folder for what is kept (HOME is not set). Set RESTORE_HOME to a folder"


def test_x3_what_needs_a_home_says_so(restore, photo, homeless):
    Path("photos").mkdir()
    ran = restore("train", "denoise/plain_unet", "data.train=[photos]")
    assert ran.code == 1 and NO_HOME in ran.err
    ran = restore("denoise", photo, "out.png", "--method", "network", "--weights", "nothing")
    assert ran.code == 3 and "Put the file into a folder of yours and name it by its path" in ran.err
    ran = restore("denoise", photo, "out.png", "--method", "network", "--weights", "~/x.pth")
    assert ran.code == 3 and "~/x.pth: these weights are not on this machine" in ran.err


def test_s6_a_home_that_cannot_be_written_is_told_before_anything_is_learned(restore, photo, monkeypatch):
    Path("file").write_bytes(b"")
    monkeypatch.setenv("RESTORE_HOME", "file/home")  # not even root can make a folder below a file
    monkeypatch.setattr("restore.engines.denoise.self_supervised._learn", None)
    ran = restore("denoise", photo, "out.png", "--method", "self-supervised")
    assert ran.code == 1 and "file/home/fits: cannot write this file (Not a directory)" in ran.err
    assert not Path("out.png").exists()


def test_a_home_full_of_junk(restore, photo, tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_HOME", str(tmp_path / "home"))
    weights = tmp_path / "home/weights"
    weights.mkdir(parents=True)
    (weights / "folder.safetensors").mkdir()
    os.mkfifo(weights / "pipe.safetensors")
    (weights / "zero.safetensors").symlink_to("/dev/zero")
    (weights / "gone.safetensors").symlink_to("nowhere")
    (weights / "empty.safetensors").write_bytes(b"")
    (weights / "page.safetensors").write_bytes(b"<html>")
    assert restore("denoise", photo, "out.png", "--method", "network").code == 0
    ran = restore("weights", "verify", "--json")
    bad = {row["name"]: row["problem"] for row in ran.json["weights"] if row["problem"]}
    assert ran.code == 1 and bad.keys() == {"empty", "page"}


# --- X10: arguments ------------------------------------------------------------------------------------------

LONG, DIGITS = "x" * 5000, "9" * 400
EMPTY = "an argument is empty (a variable that is not set). Name a file or a folder"
ARGUMENTS = [
    (("denoise", ""), 2, EMPTY),
    (("denoise", "photo.png", ""), 2, EMPTY),
    (("denoise", "", "out.png"), 2, EMPTY),
    (("inspect", ""), 2, EMPTY),
    (("score", "", "photo.png"), 2, EMPTY),
    (("data", "check", ""), 2, EMPTY),
    (("train", ""), 2, EMPTY),
    (("weights", "import", ""), 2, EMPTY),
    (("denoise", "photo.png", f"{LONG}.png"), 1, "cannot be reached (File name too long). Check the path"),
    (("denoise", f"{LONG}.png"), 1, "cannot be reached (File name too long). Check the path"),
    (("denoise", "photo.png", f"{'y' * 256}.png"), 1, "File name too long"),
    (("deconv", "photo.png", "o.png", "--psf", f"motion:{DIGITS}"), 2, "the blur cannot be 'motion:9999"),
    (("deconv", "photo.png", "o.png", "--psf", f"motion:{DIGITS},1"), 2, "the blur cannot be 'motion:9999"),
    (("deconv", "photo.png", "o.png", "--psf", LONG), 2, "there is no blur called 'xxx"),
    (("deconv", "photo.png", "o.png", "--psf", f"{LONG}.png"), 1, "cannot read this file (File name too long)"),
    (("deconv", "photo.png", "o.png", "--psf", ""), 2, "--psf cannot be ''. It is empty: give a name"),
    (("denoise", "photo.png", "o.png", "--weights", ""), 2, "--weights cannot be ''. It is empty: give a name"),
    (("denoise", "photo.png", "o.png", "--max-pixels", DIGITS), 2, "--max-pixels cannot be '9999"),
    (("denoise", "photo.png", "o.png", "--max-pixels", DIGITS * 20), 2, "--max-pixels cannot be '9999"),
    (("denoise", "photo.png", "o.png", "--max-pixels", f"{DIGITS}G"), 2, "--max-pixels cannot be '9999"),
    (("denoise", "photo.png", "o.png", "--max-memory", DIGITS), 2, "--max-memory cannot be '9999"),
    (("denoise", "photo.png", "o.png", "--workers", DIGITS * 20), 2, "--workers cannot be '9999"),
    (("denoise", "photo.png", "o.png", "--sigma", DIGITS), 2, "--sigma cannot be '9999"),
    (("denoise", "photo.png", "o.png", "--crop", f"{DIGITS * 20},1,1,1"), 2, "--crop cannot be '9999"),
    (("denoise", "photo.png", "o.png", "--device", DIGITS), 2, "there is no device '9999"),
    (("train", DIGITS), 2, "there is no config '9999"),
    (("train", "denoise/plain_unet", f"train.steps={DIGITS}"), 2, "train.steps is 9999"),
    (("train", "denoise/plain_unet", f"train.steps={DIGITS * 20}"), 2, "train.steps: this is not YAML"),
    (("train", "denoise/plain_unet", f"data.crop={DIGITS}"), 2, "data.crop is 9999"),
    (("train", "denoise/plain_unet", f"name={'[' * 30_000}"), 2, "name: values lie inside values more than 50 deep"),
]


@pytest.mark.parametrize(("words", "code", "said"), ARGUMENTS, ids=lambda value: str(value)[:60])
def test_x10_an_odd_argument_is_refused_in_one_sentence(restore, photo, words, code, said):
    started = time.monotonic()
    method = ("--method", "network") if words[0] == "denoise" and "--sigma" in words else ()
    ran = restore(*words, *method)
    assert time.monotonic() - started < 5
    assert (ran.code, ran.err.count("\n")) == (code, 1) and said in ran.err and "unexpected" not in ran.err, ran.err
    assert sorted(path.name for path in Path().iterdir()) == ["photo.png"]


# --- 43 and photometric kinds --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["check.png", "check.tif", "check.bmp"])
def test_43_a_checkerboard_is_no_noise(restore, tmp_path, name):
    pixels = hostile.write_checkerboard(tmp_path / name)
    ran = restore("denoise", tmp_path / name, tmp_path / f"out{name[5:]}", "--method", "network", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["files"][0]["decisions"]["method"] == "none, the picture stays as it is: hardly any noise"
    assert np.array_equal(read_picture(tmp_path / f"out{name[5:]}").pixels, pixels)


@pytest.mark.parametrize(
    ("kind", "samples", "words"),
    [
        (4, 1, "has samples of the kind MASK, which is not known here"),
        (10, 3, "has samples of the kind ITULAB, which is not known here"),
        (32844, 1, "has samples of the kind LOGL, which is not known here"),
        (32845, 3, "has samples of the kind LOGLUV, which is not known here"),
        (77, 1, "has samples of the kind 77, which is not known here"),
        (2, 1, "says RGB, with 1 samples of 8 bits a pixel"),
        (0, 3, "says MINISWHITE, with 3 samples of 8 bits a pixel"),
        (3, 3, "says PALETTE, with 3 samples of 8 bits a pixel"),
        (6, 1, "says YCBCR, with 1 samples of 8 bits a pixel"),
        (5, 3, "has CMYK colour with 3 samples of uint8"),
    ],
)
def test_colour_that_is_not_understood_is_refused(restore, tmp_path, kind, samples, words):
    path = tmp_path / "a.tif"
    path.write_bytes(hostile.tiff_of_kind(kind, samples))
    ran = restore("denoise", path, tmp_path / "out.tif")
    assert ran.code == 1 and f"error: {path}: {words}" in ran.err and not (tmp_path / "out.tif").exists()
