"""What is found out about a picture's noise: the numbers, and that the engine decides by them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from restore.engines.denoise.network_choice import GENERAL, WHITE, DiagnosingDenoiser, diagnose, is_white
from restore.engines.denoise.noise_level import Level
from restore.errors import UnsupportedError
from restore.inference.engine import EngineOptions
from restore.picture import Picture
from tests.engines.denoise.test_network_choice import network, noisy


def shaded(low=40.0, high=210.0, shape=(256, 320)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (low + (high - low) * columns / (shape[1] - 1) + 5 * np.sin(rows / 30))[..., None].repeat(3, -1)


def picture(values):
    return Picture.from_array(np.clip(np.rint(values), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("sigma", [8.0, 25.0])
def test_the_level_of_white_noise(sigma):
    actual = diagnose(picture(shaded() + sigma * np.random.default_rng(1).standard_normal((256, 320, 3))))
    assert actual.level.value == pytest.approx(sigma, rel=0.08)
    assert (actual.weights, actual.white, actual.why) == (WHITE, True, "white noise")
    assert actual.facts["curve"].startswith("dark ") and actual.facts["correlation"] == "none found"


def test_the_curve_of_photon_noise_rises_as_it_should():
    """Variance u * 255 / 40 in 8-bit units, read where the picture has such intensities."""
    clean = shaded()
    counts = np.random.default_rng(2).poisson(clean / 255 * 40) / 40 * 255
    actual = diagnose(picture(counts))
    low, high = (255 * value for value in actual.level.seen)
    assert low == pytest.approx(42, abs=12) and high == pytest.approx(207, abs=12)
    for intensity in (60, 125, 190):
        assert actual.level_at(intensity) == pytest.approx((intensity * 255 / 40) ** 0.5, rel=0.15)
    assert [intensity for intensity, _ in actual.curve][:: len(actual.curve) - 1] == [0, 255]
    dark, middle, bright = (actual.level_at(place) for place in actual.places.values())
    assert dark < middle < bright


def test_clipped_shares_are_exact():
    values = shaded(60, 190)
    values[::4, :, 0] = 0  # a quarter of a third of the samples; of areas they would be no picture
    values[3::8] = 255
    actual = diagnose(picture(values))
    assert actual.level.noise.clipped == pytest.approx((1 / 12, 1 / 8), abs=1e-9)
    assert actual.facts["clipped"] == "black 8.33%, white 12.50% of the samples"
    assert actual.summary()["clipped"] == {"black": pytest.approx(1 / 12), "white": pytest.approx(1 / 8)}


@pytest.mark.parametrize(
    ("kind", "sigma", "weights", "why"),
    [
        ("white", 20.0, "fine", "white noise"),
        ("correlated", 20.0, "general", "the noise is spatially correlated"),
        ("white", 3.0, "fine", "white noise"),
        ("white", 0.0, "general", "hardly any noise"),
    ],
)
def test_the_engine_does_what_the_diagnosis_says(monkeypatch, kind, sigma, weights, why):
    source = noisy(kind, sigma)
    engine = DiagnosingDenoiser(network("general", 0), network("fine", 1))
    monkeypatch.setattr(DiagnosingDenoiser, "_gentle", lambda self, diagnosis, source, device: diagnosis)
    condition = engine.prepare({"picture": source}, EngineOptions())
    actual = diagnose(source, names=("general", "fine"))
    assert (actual.weights, actual.why) == (weights, why)
    method = f"network {weights}: {why}" if sigma else f"none, the picture stays as it is: {why}"
    assert condition.decisions == actual.decisions == {"method": method, "noise": actual.level.summary}
    white, curve = condition.data
    assert white == actual.white and curve.tolist() == actual.level.curve.tolist()


def test_the_rule_has_one_place(monkeypatch):
    """An engine that asked anything else than `is_white` would not follow it."""
    monkeypatch.setattr(DiagnosingDenoiser, "_gentle", lambda self, diagnosis, source, device: diagnosis)
    monkeypatch.setattr("restore.engines.denoise.network_choice.is_white", lambda level: (False, "we say so"))
    engine = DiagnosingDenoiser(network("general", 0), network("fine", 1))
    condition = engine.prepare({"picture": noisy("white")}, EngineOptions())
    assert condition.decisions["method"] == "network general: we say so" and condition.data[0] is False
    assert diagnose(noisy("white")).why == "we say so"


def test_a_level_just_below_what_is_clear_is_white_if_it_is_certain():
    level = diagnose(noisy("white", 20.0)).level
    for value, confidence, white in ((4.9, 0.4, False), (4.9, 0.6, True), (5.1, 0.0, True)):
        noise = replace(level.noise, confidence=confidence)
        assert is_white(Level(noise, level.curve * value / level.value))[0] is white
    assert is_white(Level(level.noise, level.curve * 0.01, given=True)) == (True, "white noise of a given level")


@pytest.mark.parametrize(("times", "white", "why"), [
    (1.45, True, "white noise"),
    (1.58, False, "a level 1.6 times its std is that of coarse noise"),
    (3.18, False, "a level 3.2 times its std is that of coarse noise"),
])  # fmt: skip
def test_a_level_far_above_the_std_is_not_white(times, white, why):
    """The level of white noise is its std (`restore.physics.level`), whatever its spectrum looks like."""
    level = diagnose(noisy("white", 20.0)).level
    assert level.value == pytest.approx(255 * level.noise.sigma, rel=0.1)
    coarse = Level(level.noise, level.curve * (times * 255 * level.noise.sigma / level.value))
    assert is_white(coarse) == (white, why)


def test_too_small_to_measure():
    actual = diagnose(picture(shaded(shape=(20, 30))))
    assert not actual.measurable and actual.level.value == 0 and actual.weights == GENERAL
    assert actual.facts["noise"] == "not measured: too small to measure its noise, taken as none"
    assert "curve" not in actual.facts and actual.why == "the noise could not be measured"


def test_facts_name_size_depth_and_range_and_alpha_does_not_count():
    values = shaded(80, 200) + 10 * np.random.default_rng(3).standard_normal((256, 320, 3))
    ten_bit = np.rint(np.clip(values, 0, 255) * 4).astype(np.uint16)
    actual = diagnose(Picture.from_array(ten_bit))
    assert actual.facts["picture"] == "320 x 256 px, 3 x 16 bit, array"
    assert actual.facts["range"].startswith("values ") and "black" in actual.facts["range"]
    assert actual.level.value == pytest.approx(10 * 4 * 255 / actual.scale.white, rel=0.08)
    opaque = np.dstack([values, np.full((256, 320), 255)])
    with_alpha = diagnose(picture(opaque))
    assert with_alpha.facts["picture"] == "320 x 256 px, 3 x 8 bit and alpha, array"
    assert with_alpha.level.noise == diagnose(picture(values)).level.noise


def test_the_summary_is_json_in_8_bit_units():
    actual = diagnose(noisy("correlated"))
    summary = json.loads(json.dumps(actual.summary()))
    assert summary["level"] == pytest.approx(actual.level.value) and len(summary["curve"]) == 17
    assert summary["curve"][-1] == [255, pytest.approx(255 * float(actual.level.curve[-1]))]
    assert summary["correlated"] is True and summary["correlation_length"] == pytest.approx(
        1.9, abs=0.25
    )  # a 3 x 3 box
    assert summary["autocorrelation"][0] == 1 and summary["sigma"] == pytest.approx(255 * actual.level.noise.sigma)
    assert summary["decisions"] == actual.decisions


def test_infinite_samples_are_refused():
    broken = np.full((64, 64), 0.5, np.float32)
    broken[3, 4] = np.inf
    with pytest.raises(UnsupportedError, match="1 sample is infinite"):
        diagnose(Picture.from_array(broken))
