"""`restore adapt` and `restore deblur --adapt`: what is kept where; the learning is replaced by a known answer."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

import restore as package
from restore.engines.deblur.adaptation import engine
from restore.engines.deblur.adaptation.learning import Adapted
from tests.cli.test_deblur import deblurrers, read
from tests.engines.deblur.tiny import soft_scene

pytestmark = pytest.mark.usefixtures("deblurrers")
__all__ = ["deblurrers"]
REPORT = {"steps": 3, "seconds": 0.1, "held_out": 30.0, "held_out_after": 30.5, "sharp": 40.0, "sharp_after": 40.0}


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    package.write(np.rint(255 * soft_scene()).astype(np.uint8), path)
    return path


@pytest.fixture
def learning(monkeypatch):
    """Counts the fits; each multiplies the last layer by 1.5, or keeps it, or is stopped."""

    class Fits:
        count, decision, interrupted = 0, "adapted", False

        def __call__(self, network, spec, frames, **how):
            self.count += 1
            if self.decision == "keep":
                return Adapted(None, {"decision": "keep", "why": "nothing was sharp"})
            network = copy.deepcopy(network)
            with torch.no_grad():
                network.network.tail.weight *= 1.5
            report = {**REPORT, "decision": "adapted", "why": "held-out parts gain +0.50 dB"}
            return Adapted(network, report, self.interrupted)

    fits = Fits()
    monkeypatch.setattr(engine, "adapt", fits)
    return fits


DEBLUR = ("deblur", "--force", "--method")


def test_it_learns_once_and_the_result_is_that_of_what_was_learned(restore, photo, tmp_path, learning):
    plain = restore(*DEBLUR, "network", photo, tmp_path / "plain.png")
    first = restore("deblur", "--force", photo, tmp_path / "one.png", "--adapt")
    again = restore("deblur", "--force", photo, tmp_path / "two.png", "--adapt")
    assert (plain.code, first.code, again.code) == (0, 0, 0), first.err
    assert "adaptation: adapted, held-out parts gain +0.50 dB" in first.err
    assert "learned before" not in first.err and "learned before" in again.err
    assert learning.count == 1
    one, two, plain = (read(tmp_path / f"{name}.png") for name in ("one", "two", "plain"))
    assert np.array_equal(one, two) and not np.array_equal(one, plain)


def test_what_is_kept_gives_the_same_bytes_as_without(restore, photo, tmp_path, learning):
    learning.decision = "keep"
    restore(*DEBLUR, "network", photo, tmp_path / "plain.png")
    ran = restore("deblur", "--force", photo, tmp_path / "one.png", "--adapt")
    assert ran.code == 0
    assert "adaptation: kept the first weights: nothing was sharp" in ran.err
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


def test_other_pictures_learn_anew(restore, photo, tmp_path, learning):
    restore("deblur", "--force", photo, tmp_path / "one.png", "--adapt")
    other = tmp_path / "other.png"
    package.write(np.rint(200 * soft_scene()).astype(np.uint8), other)
    restore("deblur", "--force", other, tmp_path / "two.png", "--adapt")
    assert learning.count == 2


def test_what_was_stopped_early_is_not_kept_for_later(restore, photo, tmp_path, learning):
    learning.interrupted = True
    ran = restore("deblur", "--force", photo, tmp_path / "one.png", "--adapt")
    assert "stopped early: not exactly repeatable" in ran.err
    restore("deblur", "--force", photo, tmp_path / "two.png", "--adapt")
    assert learning.count == 2


def test_a_budget_is_said(restore, photo, tmp_path, learning):
    ran = restore("deblur", "--force", photo, tmp_path / "one.png", "--adapt", "--budget", "5s")
    assert "within a budget of time: not exactly repeatable" in ran.err


def test_the_command_saves_weights_and_why(restore, photo, tmp_path, learning):
    mine = tmp_path / "mine.safetensors"
    ran = restore("adapt", photo, mine)
    assert ran.code == 0, ran.err
    assert f"{mine}: adapted, held-out parts gain +0.50 dB" in ran.out
    assert json.loads((tmp_path / "mine.json").read_text())["decision"] == "adapted"
    restore("deblur", "--force", photo, tmp_path / "one.png", "--adapt")
    ran = restore("deblur", "--force", photo, tmp_path / "two.png", "--weights", mine)
    assert ran.code == 0, ran.err
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_the_command_saves_the_first_weights_where_they_are_better(restore, photo, tmp_path, learning):
    learning.decision = "keep"
    mine = tmp_path / "mine.safetensors"
    ran = restore("adapt", photo, mine)
    assert ran.code == 0, ran.err
    assert "kept the first weights: nothing was sharp" in ran.out
    assert "the file holds the first weights as they were" in ran.err
    restore(*DEBLUR, "network", photo, tmp_path / "one.png")
    restore("deblur", "--force", photo, tmp_path / "two.png", "--weights", mine)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_what_exists_stays(restore, photo, tmp_path, learning):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(b"mine")
    ran = restore("adapt", photo, mine)
    assert ran.code != 0 and "exists already" in ran.err and "--overwrite" in ran.err
    assert mine.read_bytes() == b"mine" and learning.count == 0
    assert restore("adapt", photo, mine, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photo.png"], "adapt takes pictures and a file .safetensors (got 1 path)"),
        (["photo.png", "out.pth"], "adapt takes pictures and a file .safetensors (got 2 paths)"),
        (["nothing.png", "out.safetensors"], "nothing.png: there is no such file or folder"),
    ],
)
def test_wrong_paths(restore, photo, tmp_path, learning, words, message):
    ran = restore("adapt", *(tmp_path / word for word in words))
    assert ran.code != 0
    assert message in ran.err
    assert not (tmp_path / "out.safetensors").exists()
