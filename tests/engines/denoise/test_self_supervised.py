"""Learning from the user's own noisy pictures: what is learned from, what is kept, what is chosen."""

from __future__ import annotations

import datetime
import logging
from functools import partial

import numpy as np
import pytest
import tifffile
import torch

import restore
from restore.analysis.value_range import find_scale
from restore.engines import fitting
from restore.engines.denoise import self_supervised, training_crops
from restore.engines.denoise.ap_bsn import ApBsnEngine
from restore.engines.denoise.learners import LEARNERS
from restore.engines.denoise.network import DenoisingNetwork
from restore.engines.denoise.noise_bounded import NoiseBoundedEngine
from restore.engines.denoise.options import SelfSupervisedOptions
from restore.engines.denoise.self_supervised import SelfSupervisedEngine, choose
from restore.engines.denoise.training_crops import collect_crops
from restore.engines.denoise.zero_shot import ZeroShotEngine
from restore.engines.fitting import FitSettings
from restore.errors import ConfigError, DecodeError, RestoreError
from restore.inference.engine import EngineOptions
from restore.objectives.blind_spot import BlindSpot
from restore.objectives.self_supervised import Blind2Unblind, Neighbor2Neighbor, Noise2Void
from restore.picture import Picture
from restore.zoo.card import DataSource, Result, WeightsCard
from restore.zoo.resolver import resolve
from restore.zoo.weights import label_of, read_network, save_weights


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


def learner(adapt=False, **options):
    return SelfSupervisedEngine(SelfSupervisedOptions(adapt=adapt, **options))


def prepared(engine, pixels=None, **options):
    """(the denoiser that was learned, its condition, the decisions) of a picture."""
    picture = Picture.from_array(noisy() if pixels is None else pixels, alpha=False)
    condition = engine.prepare({"picture": picture}, EngineOptions(**options))
    return *condition.data, condition.decisions


@pytest.fixture
def two_steps(monkeypatch):
    """Learning is two steps long, and what is learned is used."""
    monkeypatch.setattr(self_supervised, "FitSettings", partial(FitSettings, steps=2, validate_every=1))
    falling = iter(range(999, 0, -1))  # errors that get better with every look
    monkeypatch.setattr(self_supervised, "_errors", lambda *args: torch.tensor([1e-6 * next(falling)]))
    monkeypatch.setattr(self_supervised, "_WEAK", float("inf"))
    monkeypatch.setattr(self_supervised, "clearly_better", lambda ours, theirs: True)


def test_it_learns_and_remembers(folder, home, monkeypatch):
    engine = learner(folder, budget=1.0)
    prepared(engine)
    (kept,) = (home / "fits").iterdir()
    card = read_network(kept).card
    assert card.data[0].name == "noisy"
    assert card.command == "--adapt noisy --learner neighbor2neighbor --budget 1s"
    assert card.results[0].peers.keys() == {"zero-shot"}
    monkeypatch.setattr(self_supervised, "_learn", lambda *args: pytest.fail("it learned again"))
    again = restore.load("denoise", adapt=folder, budget=1.0)
    assert again.engine.fingerprint == engine.fingerprint
    result = again(restore.read(folder / "0.png"))
    assert result.picture.pixels.dtype == np.uint16
    assert "learned before" in result.decisions["fit"] and "not exactly repeatable" in result.decisions["fit"]


def test_other_pictures_or_settings_are_learned_anew(home, monkeypatch):
    """What is kept is named by all that it depends on."""
    names, one, other = [], noisy(1, (40, 44)), noisy(2, (40, 44))

    def name_alone(pictures, noise, name, settings, place, paths, options):
        names.append(place.name)
        raise ConfigError("not learned")

    monkeypatch.setattr(self_supervised, "_learn", name_alone)
    cases = [({}, one, 0), ({"budget": 5.0}, one, 0), ({"learner": "noise2void"}, one, 0), ({}, other, 0), ({}, one, 1),
             ({}, one.reshape(44, 40, 1), 0), ({"learner": "cbsn"}, one, 0), ({}, one, 0)]  # fmt: skip
    for options, pixels, seed in cases:
        with pytest.raises(ConfigError, match="not learned"):
            prepared(learner(**options), pixels, seed=seed)
    assert names[0] == names[-1] and len(set(names)) == len(cases) - 1


def test_the_fingerprint_is_of_options_and_of_all_that_is_learned_from(folder):
    def fingerprint(**options):
        return learner(**options).fingerprint

    base = fingerprint(adapt=folder)
    assert base == fingerprint(adapt=str(folder)) == fingerprint(adapt=[folder])
    others = [fingerprint(adapt=folder, **each) for each in ({"budget": 2.0}, {"learner": "cbsn"}, {"sigma": 3.0})]
    restore.write(noisy(7), folder / "2.png")
    others += [fingerprint(adapt=folder), fingerprint(adapt=folder / "0.png"), fingerprint()]
    assert len({base, *others}) == 7


@pytest.mark.parametrize(
    ("learner_name", "objective", "begins"),
    [
        ("cbsn", BlindSpot, "cbsn"),
        ("ap-bsn", BlindSpot, "cbsn"),
        ("neighbor2neighbor", Neighbor2Neighbor, "denoise_white"),
        ("noise2void", Noise2Void, "denoise_white"),
        ("blind2unblind", Blind2Unblind, "denoise_white"),
    ],
)
def test_every_learner_learns(learner_name, objective, begins, tmp_path, home, monkeypatch):
    """By its own objective, going on from its weights; what is kept is read and used as what it is."""
    losses, actual = [], {}
    made = LEARNERS[learner_name].objective

    def seen(network, noise):
        actual["objective"] = made(network, noise)
        return actual["objective"]

    def one_step(network, parameters, loss, validate, settings, report, progress):
        assert network is actual["objective"].averaged
        losses.append(loss(0).item())
        settings = FitSettings(steps=1, validate_every=1)
        falling = iter((2.0, 1.0))
        return fitting.fit(network, parameters, loss, lambda net: next(falling), settings)

    monkeypatch.setitem(LEARNERS, learner_name, LEARNERS[learner_name]._replace(objective=seen))
    monkeypatch.setattr(self_supervised, "fit", one_step)
    monkeypatch.setattr(self_supervised, "errors", lambda engine, hidden, device=None: torch.zeros(3))
    monkeypatch.setattr(self_supervised, "clearly_better", lambda ours, theirs: True)
    (tmp_path / "noisy").mkdir()
    restore.write(noisy(size=(72, 80)), tmp_path / "noisy/0.png")
    engine, _, decisions = prepared(learner(tmp_path / "noisy", learner=learner_name), noisy(size=(72, 80)))
    (kept,) = (home / "fits").iterdir()
    loaded = read_network(kept)
    assert type(actual["objective"]) is objective and losses[0] > 0
    assert loaded.card.command == f"--adapt noisy --learner {learner_name}" and loaded.card.steps == 1
    start = read_network(resolve(begins)).net
    assert type(loaded.net) is type(start)
    assert any(not torch.equal(a, b) for a, b in zip(loaded.net.parameters(), start.parameters(), strict=True))
    assert getattr(loaded.net, "blind", False) == (learner_name == "ap-bsn")
    assert type(engine) is {"cbsn": NoiseBoundedEngine, "ap-bsn": ApBsnEngine}.get(learner_name, DenoisingNetwork)
    assert decisions["method"].startswith(
        f"self-supervised, 1 steps: learned from noisy pictures alone by {learner_name}"
    )
    picture = restore.read(tmp_path / "noisy/0.png")
    out = restore.load("denoise", adapt=tmp_path / "noisy", learner=learner_name)(picture).picture.pixels
    assert out.shape == picture.pixels.shape and not np.array_equal(out, picture.pixels)
    removing = learner(tmp_path / "noisy", learner=learner_name, hot_pixels="remove")
    assert removing.prepare({"picture": picture}, EngineOptions()).kept.remove


def test_an_unknown_learner_is_refused(folder):
    with pytest.raises(
        ConfigError, match=r"--learner cannot be 'n2v'\. Choose from auto, cbsn, ap-bsn, neighbor2neighbor"
    ):
        learner(folder, learner="n2v")


@pytest.mark.parametrize(
    ("better", "variance", "method"),
    [
        (True, 0.011, "self-supervised, 50 steps: learned from noisy pictures alone, noise white, level 9"),
        (False, 0.011, "zero-shot fast: learning did not clearly beat it"),
        (True, 0.009, "zero-shot fast: the noise is too weak to judge by held-out pixels"),
    ],
)
def test_what_is_no_better_than_zero_shot_is_not_used(better, variance, method, tmp_path):
    label, start = label_of(resolve("denoise_white")), read_network(resolve("denoise_white"))
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
    loaded = read_network(tmp_path / "fit.safetensors")
    engine, decisions = choose(loaded, reused=False, limited=False)
    assert isinstance(engine, DenoisingNetwork if method.startswith("self") else ZeroShotEngine)
    assert decisions == {"fit": "held-out error 0.02, zero-shot 0.03", "method": method}
    given = choose(loaded, 12.0, reused=True, limited=True)
    assert given.decisions["fit"].startswith("held-out error 0.02, zero-shot 0.03, learned before, within a budget")
    condition = given.engine.prepare({"picture": Picture.from_array(noisy(), alpha=False)}, EngineOptions())
    assert condition.decisions["noise"] == "sigma 12.0 (given), white"


def test_all_frames_and_channels_are_crops(tmp_path):
    stack = np.stack([noisy(i, channels=5) for i in range(3)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack", planarconfig="contig")
    actual = collect_crops([tmp_path / "stack.tif"])
    assert [x.shape for x in actual] == [(5, 96, 120)] * 3
    scale = find_scale(Picture.from_array(stack[1], alpha=False))
    stored = torch.from_numpy(stack[1].astype(np.float32)).movedim(-1, 0)
    assert torch.allclose(scale.from_unit(actual[1]), stored, atol=0.5)


def test_a_bad_file_is_left_out_and_reported(folder, caplog):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    with caplog.at_level(logging.WARNING, "restore"):
        assert len(collect_crops([folder])) == 3
    assert "left out" in caplog.text and "broken.png" in caplog.text
    with pytest.raises(DecodeError):
        collect_crops([folder / "broken.png"])


def test_nothing_to_learn_from(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty: there is no picture to learn from"):
        prepared(learner(tmp_path / "empty"))


def test_pictures_of_one_kind(folder):
    restore.write(noisy(9, channels=3), folder / "colour.png")
    with pytest.raises(ConfigError, match="differ in their channels"):
        collect_crops([folder])


def test_small_pictures_are_refused(tmp_path):
    restore.write(noisy(size=(30, 30)), tmp_path / "small.png")
    with pytest.raises(RestoreError, match="too small to learn from"):
        prepared(learner(tmp_path / "small.png"))


def test_pictures_of_one_kind_however_many(folder, monkeypatch):
    """Also where enough was seen before the odd one."""
    restore.write(noisy(9, channels=3), folder / "0.png")
    monkeypatch.setattr(training_crops, "_PIXELS", 40_000)
    with pytest.raises(ConfigError, match="differ in their channels"):
        collect_crops([folder])


def test_where_it_would_not_be_used_nothing_is_learned(folder, monkeypatch, caplog):
    monkeypatch.setattr(self_supervised, "_WEAK", 0.0)
    with caplog.at_level(logging.INFO, "restore"):
        engine, *_ = prepared(learner(folder))
    assert "before learning" in caplog.text and "step 50" not in caplog.text
    assert isinstance(engine, ZeroShotEngine)


def test_a_folder_is_learned_once_and_each_picture_of_its_own_where_there_is_none(folder, two_steps, home):
    of_folder = learner(folder)
    networks = [prepared(of_folder, noisy(i))[0] for i in range(2)]
    assert networks[0] is networks[1] and len(list((home / "fits").iterdir())) == 1
    for each in (learner(), learner(True)):
        networks = [prepared(each, noisy(i))[0] for i in range(2)]
        assert networks[0].fingerprint != networks[1].fingerprint
    assert len(list((home / "fits").iterdir())) == 3


def test_memory_is_measured_for_what_was_learned(folder, two_steps):
    engine, *_ = prepared(learner(folder))
    condition = learner(folder).prepare({"picture": Picture.from_array(noisy(), alpha=False)}, EngineOptions())
    assert condition.cost == engine.fingerprint and condition.spec == engine.spec


def test_loading_it_needs_no_place_to_learn_from(two_steps):
    clean = restore.load("denoise", method="self-supervised").restore(noisy())
    assert clean.decisions["method"].startswith("self-supervised, 2 steps: learned from noisy pictures alone by")
    assert clean.picture.pixels.shape == (96, 120, 1) and not np.array_equal(clean.picture.pixels, noisy())


def test_the_seed_decides_what_is_learned(two_steps, home):
    def learn_anew(seed):
        for fit in (home / "fits").glob("*"):
            fit.unlink()  # each is learned anew
        result = restore.load("denoise", method="self-supervised", seed=seed, device="cpu")(noisy())
        (kept,) = (home / "fits").iterdir()
        return result, read_network(kept).net.state_dict()

    (one, fit), (again, same), (other, another) = learn_anew(3), learn_anew(3), learn_anew(4)
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert all(torch.equal(fit[name], same[name]) for name in fit)
    assert any(not torch.equal(fit[name], another[name]) for name in fit)


def test_progress_is_reported_while_it_learns(folder, two_steps):
    shares = []
    restorer = restore.load("denoise", adapt=folder)
    restorer.prepare([Picture.from_array(noisy(), alpha=False)], shares.append)
    assert shares == [0.0, 0.5]


def test_a_budget_is_a_time_in_seconds(folder):
    result = restore.load("denoise", method="self-supervised", budget=0.2).restore(noisy())
    assert "within a budget of time: not exactly repeatable" in result.decisions["fit"]
    with pytest.raises(ConfigError, match=r"^a budget cannot be 'soon'\. Write it as 90s, 65m or 2h"):
        restore.load("denoise", method="self-supervised", budget="soon")
