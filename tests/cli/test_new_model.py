"""A model of one's own, as docs/new_model.md describes it: the page's commands are what is run here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from restore.cli.new_model import TEMPLATES
from restore.errors import ConfigError, WeightsError
from restore.naming import beside, imported, portable
from restore.zoo.weights import read_network
from tests.cli.conftest import environment
from tests.data.conftest import save, scene
from tests.documents import ROOT, lines

PAGE = ROOT / "docs" / "new_model.md"


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """Where the researcher is, with photographs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESTORE_HOME", str(tmp_path / "home"))
    for number in range(6):
        save(tmp_path / "photos" / f"{number}.png", scene(number, 96, 130))
    return tmp_path


def test_the_walk_through(here, restore):
    words = lines(PAGE)
    assert [each[:2] for each in words] == [
        ["restore", "new-model"], ["python", "-m"], ["restore", "train"], ["restore", "denoise"], ["restore", "eval"],
        ["restore", "score"],
    ]  # fmt: skip
    said = []
    for program, *rest in words:
        if program == "python":
            ran = subprocess.run(
                [sys.executable, *rest], env=environment(), capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0 and "2 passed" in ran.stdout, ran.stdout
        else:
            ran = restore(*rest, *(["--method", "auto"] if rest[0] == "denoise" else []))
            assert ran.code == 0, ran.err
            said.append(ran)
    _, trained, denoised, evaluated, scored = said
    assert "runs/my_net/my_net.safetensors: 20 steps" in trained.out
    assert "exact, halo 6" in denoised.err, "in tiles, by the radius of the spec"
    assert "gaussian25" in evaluated.out and "psnr nlm" in evaluated.out and "psnr restore" in evaluated.out
    assert "psnr dB" in scored.out


def test_few_lines_are_ones_own():
    written = [line for text in TEMPLATES.values() for line in text.splitlines()]
    assert len([line for line in written if line.strip()]) < 80
    assert f"{len(written)} lines together" in PAGE.read_text(encoding="utf-8")


def test_tiles_of_a_new_model_equal_the_whole(here, restore):
    assert restore("new-model", "other_net", "--out", "deep/er").code == 0
    assert restore("train", "deep/er/other_net.yaml", "data.train=[photos]", "train.steps=3", "-q").code == 0
    weights = ("--weights", "runs/other_net/other_net.safetensors", "--method", "auto", "-q")
    model = ("--model", "deep/er/other_net.py:OtherNet")
    for name, tile in (("tiled", 16), ("whole", 512)):
        assert restore("denoise", "photos/1.png", f"{name}.png", *weights, *model, "--tile", tile).code == 0
    tiled, whole = (cv2.imread(f"{name}.png").astype(int) for name in ("tiled", "whole"))
    assert np.array_equal(tiled, whole)
    assert not np.array_equal(whole, cv2.imread("photos/1.png").astype(int))


def test_weights_alone_never_run_code(here, restore):
    """The file names its network; only the user's word imports it."""
    restore("new-model", "my_net")
    restore("train", "my_net.yaml", "data.train=[photos]", "train.steps=1", "-q")
    weights = here / "runs/my_net/my_net.safetensors"
    with (here / "my_net.py").open("a") as file:
        file.write("\nfrom pathlib import Path\n\nPath('was-run').touch()\n")
    ran = restore("denoise", "photos/1.png", "out.png", "--weights", weights, "--method", "auto")
    assert ran.code == 3 and "name it: model= / --model FOLDER/file.py:MyNet" in ran.err
    assert not (here / "was-run").exists()
    (here / "copy").mkdir()
    (here / "my_net.py").rename(here / "copy" / "my_net.py")  # what was imported before is another file
    assert read_network(weights, "copy/my_net.py:MyNet").card is not None
    assert (here / "was-run").exists()
    with pytest.raises(WeightsError, match=r"my_net\.py:Path' is not a torch\.nn\.Module class"):
        read_network(weights, "copy/my_net.py:Path")


@pytest.mark.parametrize("name", ["MyNet", "my-net", "2net", "class", "../net", "a b"])
def test_names_that_are_no_module_are_refused(here, restore, name):
    ran = restore("new-model", name)
    assert ran.code == 2 and "Use small letters" in ran.err
    assert [path.name for path in here.iterdir()] == ["photos"]


def test_nothing_is_overwritten(here, restore):
    (here / "test_net.py").write_text("mine")
    ran = restore("new-model", "net")
    assert ran.code == 1 and "test_net.py: there is such a file already" in ran.err
    assert (here / "test_net.py").read_text() == "mine" and not (here / "net.py").exists()
    assert restore("new-model").code == 2


def test_names_of_code():
    known = {"sqrt": "math:sqrt"}
    assert imported("sqrt", known, "function", "f")(9) == imported("math:sqrt", {}, "function", "f")(9) == 3
    with pytest.raises(ConfigError, match=r"no function is called 'sqr'. Did you mean 'sqrt'\? Known: sqrt; or give"):
        imported("sqr", known, "function", "f")
    with pytest.raises(ConfigError, match=r"\(math has no sqr\). Did you mean 'sqrt'"):
        imported("math:sqr", known, "function", "f")
    assert (
        beside("net.py:Net", Path("/a/b")) == "/a/b/net.py:Net" and beside("../net.py:N", Path("/a/b")) == "/a/net.py:N"
    )
    assert beside("/c/net.py:Net", Path("/a")) == "/c/net.py:Net" and beside("pkg.mod:Net", Path("/a")) == "pkg.mod:Net"
    assert portable("/a/net.py:Net") == "net.py:Net" and portable("pkg.mod:Net") == "pkg.mod:Net"
