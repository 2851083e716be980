"""Learning from the user's own noisy pictures: what is learned from, what is kept, what is chosen."""

from __future__ import annotations

import datetime
import logging
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from restore.engines.ap_bsn import ApBsnEngine
from restore.engines.noise_bounded import NoiseBoundedEngine
from restore.engines.self_supervised import _chosen, _key, by_fit, gathered
from restore.engines.zero_shot import ZeroShotEngine

import restore
from restore.cli import denoise
from restore.engines import fitting, self_supervised
from restore.engines.fitting import LEARNERS
from restore.engines.network import NetworkEngine
from restore.errors import ConfigError, DecodeError, RestoreError
from restore.objectives.blind_spot import BlindSpot
from restore.objectives.noisy_alone import Blind2Unblind, Neighbor2Neighbor, Noise2Void
from restore.zoo.card import DataSource, Result, WeightsCard
from restore.zoo.resolver import resolve
from restore.zoo.weights import label_of, load_weights, save_weights


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def noisy(seed=0, size=(96, 120), channels=1, sigma=0.1):
    rng = np.random.default_rng(seed)
    scene = np.cumsum(rng.standard_normal((*size, channels)), axis=1) / 40 + 0.5
    return np.clip((scene + sigma * rng.standard_normal(scene.shape)) * 40000, 0, 65535).astype(np.uint16)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "noisy"
    place.mkdir()
    for i in range(3):
        restore.write(noisy(i), place / f"{i}.png")
    return place


def test_it_learns_and_remembers(folder, home, monkeypatch):
    engine = by_fit(folder, budget=1.0)
    (kept,) = (home / "fits").iterdir()
    card = load_weights(kept).card
    assert card.data[0].name == "noisy"
    assert card.command == "--fit noisy --learner neighbor2neighbor --budget 1s"
    assert card.results[0].peers.keys() == {"zero-shot"}
    monkeypatch.setattr(self_supervised, "_learn", lambda *args: pytest.fail("it learned again"))
    again = by_fit(folder, budget=1.0)
    assert again.fingerprint == engine.fingerprint
    picture = restore.read(folder / "0.png")
    restorer = restore.Restorer("denoise", again, restore.load("denoise").options)
    assert restorer(picture).pixels.dtype == np.uint16
    told = restorer.last_report.decisions["fit"]
    assert "learned before" in told and "not exactly repeatable" in told


def test_other_pictures_or_settings_are_learned_anew():
    settings = self_supervised.FitSettings()
    one, other = torch.rand(1, 8, 8), torch.rand(1, 8, 8)
    keys = {
        _key([one], settings, "x", "a"), _key([other], settings, "x", "a"), _key([one, other], settings, "x", "a"),
        _key([one], self_supervised.FitSettings(budget=5.0), "x", "a"), _key([one], settings, "x", "b"),
        _key([one.view(1, 4, 16)], settings, "x", "a"), _key([one], settings, "y", "a"),
    }  # fmt: skip
    assert len(keys) == 7


@pytest.mark.parametrize(
    ("learner", "objective", "begins"),
    [
        ("cbsn", BlindSpot, "cbsn"),
        ("ap-bsn", BlindSpot, "cbsn"),
        ("neighbor2neighbor", Neighbor2Neighbor, "denoise_white"),
        ("noise2void", Noise2Void, "denoise_white"),
        ("blind2unblind", Blind2Unblind, "denoise_white"),
    ],
)
def test_every_learner_learns(learner, objective, begins, tmp_path, home, monkeypatch):
    """By its own objective, going on from its weights; what is kept is read and used as what it is."""
    learned, losses = fitting.learn, []

    def short(found, draw, look, settings, tell):
        assert type(found) is objective
        assert draw(0).clean.shape[-1] % LEARNERS[learner].multiple == 0
        losses.append(found(draw(0), found.phases[0].name, 1, torch.Generator())["loss"].item())
        return learned(found, draw, lambda net: -1.0, replace(settings, steps=1, look_every=1), tell)

    (tmp_path / "noisy").mkdir()
    restore.write(noisy(size=(50, 60)), tmp_path / "noisy/0.png")
    monkeypatch.setattr(self_supervised, "learn", short)
    monkeypatch.setattr(self_supervised, "errors", lambda engine, hidden: torch.zeros(3))
    monkeypatch.setattr(self_supervised, "clearly_better", lambda ours, theirs: True)
    engine = by_fit(tmp_path / "noisy", learner=learner)
    (kept,) = (home / "fits").iterdir()
    loaded = load_weights(kept)
    assert losses[0] > 0
    assert loaded.card.command == f"--fit noisy --learner {learner}"
    assert type(loaded.net) is type(load_weights(resolve(begins)).net)
    assert getattr(loaded.net, "blind", False) == (learner == "ap-bsn")
    used = {"cbsn": NoiseBoundedEngine, "ap-bsn": ApBsnEngine}.get(learner, NetworkEngine)
    assert type(engine.engine) is used
    picture = restore.read(tmp_path / "noisy/0.png")
    out = restore.Restorer("denoise", engine, restore.load("denoise").options)(picture).pixels
    assert out.shape == picture.pixels.shape and not np.array_equal(out, picture.pixels)


def test_an_unknown_learner_is_refused(folder):
    with pytest.raises(ConfigError, match=r"unknown learner 'n2v'.*cbsn, ap-bsn, neighbor2neighbor"):
        by_fit(folder, learner="n2v")


def test_the_command_line_knows_the_learners():
    assert tuple(LEARNERS) == denoise._LEARNERS


@pytest.mark.parametrize(
    ("better", "variance", "method"),
    [
        (True, 0.011, "self-supervised, 50 steps: learned from noisy pictures alone, noise white, level 9"),
        (False, 0.011, "zero-shot fast: learning did not clearly beat it"),
        (True, 0.009, "zero-shot fast: the noise is too weak to judge by hidden pixels"),
    ],
)
def test_what_is_no_better_than_zero_shot_is_not_used(better, variance, method, tmp_path):
    label, start = label_of(resolve("denoise_white")), load_weights(resolve("denoise_white"))
    card = WeightsCard(
        name="fit", task="denoise", summary="Learned from noisy pictures alone, noise white, level 9.", steps=50,
        data=(DataSource(name="mine", licence="mine"),), date=datetime.date(2026, 1, 1), licence="mine",
        results=(
            Result(set="held-out pixels", metric="mean_square", value=0.02, peers={"zero-shot": 0.03}),
            Result(set="held-out pixels", metric="clearly_better", value=float(better)),
            Result(set="held-out pixels", metric="noise_variance", value=variance),
        ),
    )  # fmt: skip
    save_weights(tmp_path / "fit.safetensors", start.net, label.model, label.arguments, card)
    engine = _chosen(load_weights(tmp_path / "fit.safetensors"), reused=False, limited=False)
    assert isinstance(engine.engine, NetworkEngine if method.startswith("self") else ZeroShotEngine)
    restorer = restore.Restorer("denoise", engine, restore.load("denoise").options)
    restorer(noisy())
    decisions = restorer.last_report.decisions
    assert decisions["fit"] == "held-out error 0.02, zero-shot 0.03"
    assert decisions["method"] == method


def test_all_frames_and_channels_are_gathered(tmp_path):
    stack = np.stack([noisy(i, channels=5) for i in range(3)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack", planarconfig="contig")
    found = gathered([tmp_path / "stack.tif"])
    assert [x.shape for x in found] == [(5, 96, 120)] * 3
    assert torch.allclose(found[1] * 65535, torch.from_numpy(stack[1].astype(np.float32)).movedim(-1, 0), atol=0.5)


def test_a_bad_file_is_left_out_and_told(folder, caplog):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    with caplog.at_level(logging.WARNING, "restore"):
        assert len(gathered([folder])) == 3
    assert "left out" in caplog.text and "broken.png" in caplog.text
    with pytest.raises(DecodeError):
        gathered([folder / "broken.png"])


def test_nothing_to_learn_from(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty: there is no picture to learn from"):
        by_fit(tmp_path / "empty")


def test_pictures_of_one_kind(folder):
    restore.write(noisy(9, channels=3), folder / "colour.png")
    with pytest.raises(ConfigError, match="differ in their channels"):
        gathered([folder])


def test_small_pictures_are_refused(tmp_path):
    restore.write(noisy(size=(30, 30)), tmp_path / "small.png")
    with pytest.raises(RestoreError, match="too small to learn from"):
        by_fit(tmp_path / "small.png")


def test_pictures_of_one_kind_however_many(folder, monkeypatch):
    """Also where enough was seen before the odd one."""
    restore.write(noisy(9, channels=3), folder / "0.png")
    monkeypatch.setattr(self_supervised, "_PIXELS", 40_000)
    with pytest.raises(ConfigError, match="differ in their channels"):
        gathered([folder])


def test_where_it_would_not_be_used_nothing_is_learned(folder, monkeypatch, caplog):
    monkeypatch.setattr(self_supervised, "_WEAK", 0.0)
    with caplog.at_level(logging.INFO, "restore"):
        engine = by_fit(folder)
    assert "before learning" in caplog.text and "step 50" not in caplog.text
    assert isinstance(engine.engine, ZeroShotEngine)
