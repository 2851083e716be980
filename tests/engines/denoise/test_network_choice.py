"""Two denoising networks behind one engine: which is shown what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from restore.analysis.colours import ColourView
from restore.engines.denoise.network import DenoisingNetwork
from restore.engines.denoise.network_choice import PRINT, DiagnosingDenoiser, by_network, diagnose
from restore.engines.denoise.noise_level import measure_level
from restore.engines.denoise.options import NetworkOptions
from restore.inference.engine import EngineOptions
from restore.models import build
from restore.picture import Picture, ValueScale
from tests.inference.engines import restore


def network(name, seed, sigma=None):
    torch.manual_seed(seed)
    net = build("plain_unet", condition_channels=1, widths=(6, 8), blocks=(1, 1, 1)).eval()
    return DenoisingNetwork(net, net.spec(), name, name, sigma)


@pytest.fixture
def pair():
    return network("general", 0), network("fine", 1)


def noisy(kind, sigma=20.0):
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:160, :176]
    clean = 120 + 60 * np.sin(rows / 30) + 40 * np.cos(columns / 25)
    noise = rng.standard_normal((164, 180, 3))
    if kind == "correlated":
        noise = 3 * sum(noise[i : i + 160, j : j + 176] for i in range(3) for j in range(3)) / 9
    noise = noise[:160, :176]
    return Picture.from_array(np.clip(np.rint(clean[..., None] + sigma * noise), 0, 255).astype(np.uint8))


@pytest.mark.parametrize(("kind", "chosen"), [("white", "fine"), ("correlated", "general")])
def test_the_noise_chooses(monkeypatch, pair, kind, chosen):
    picture = noisy(kind)
    monkeypatch.setattr(DiagnosingDenoiser, "_gentle", lambda self, diagnosis, source, device: diagnosis)
    monkeypatch.setattr("restore.engines.denoise.network_choice._TOLD", 1.0)
    result, report = restore(DiagnosingDenoiser(*pair), picture)
    assert report.decisions["method"].startswith(f"network {chosen}: ") and kind in report.decisions["noise"]
    expected, _ = restore(pair[chosen == "fine"], picture)
    assert np.array_equal(result, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_without_noise_the_picture_stays_as_it_is(pair, dtype):
    """A checkerboard of single pixels looks like noise to a network, and measures as none."""
    board = np.indices((96, 96)).sum(0) % 2
    white = {"uint8": 255, "uint16": 65535, "float32": 0.8}[dtype]
    pixels = np.repeat((board * white).astype(dtype)[..., None], 3, 2)
    for engine in (DiagnosingDenoiser(*pair), pair[0]):
        result, report = restore(engine, Picture.from_array(pixels))
        assert report.decisions["method"] == "none, the picture stays as it is: hardly any noise"
        assert result.dtype == pixels.dtype and np.array_equal(result, pixels)


def test_a_given_level_is_not_doubted(pair):
    board = Picture.from_array((np.indices((96, 96)).sum(0) % 2 * 255).astype("uint8"))
    engine = DiagnosingDenoiser(network("general", 0, 0.2), network("fine", 1, 0.2))
    assert not np.array_equal(restore(engine, board)[0], board.pixels)


def test_a_given_level_leaves_the_choice(pair):
    engine = DiagnosingDenoiser(network("general", 0, 12.0), network("fine", 1, 12.0))
    assert engine.fingerprint != DiagnosingDenoiser(*pair).fingerprint
    for kind, chosen in (("white", "fine"), ("correlated", "general")):
        decisions = engine.prepare({"picture": noisy(kind)}, EngineOptions()).decisions
        assert decisions["method"].startswith(f"network {chosen}: ") and "12.0 (given)" in decisions["noise"]


def test_fingerprint_and_casts(pair):
    engine = DiagnosingDenoiser(*pair)
    assert engine.fingerprint != DiagnosingDenoiser(*pair[::-1]).fingerprint
    rough = engine.cast(torch.float16, torch.device("cpu"))
    assert rough is not engine and rough.fingerprint == engine.fingerprint
    exact, low, again = (restore(each, noisy("white"))[0] for each in (engine, rough, engine))
    assert np.array_equal(exact, again) and np.abs(exact.astype(int) - low).max() <= 1


def test_weights_by_name_are_one_network():
    assert isinstance(by_network(NetworkOptions(weights="denoise")), DenoisingNetwork)
    assert isinstance(by_network(), DiagnosingDenoiser)


def test_of_a_measured_level_of_coarse_noise_a_part_is_told():
    measured = measure_level(ColourView.of(noisy("correlated")), ValueScale.nominal(noisy("correlated").info))
    assert measured.noise.correlated
    assert torch.allclose(diagnose(noisy("correlated")).level.curve, 0.85 * measured.curve)
    white = measure_level(ColourView.of(noisy("white")), ValueScale.nominal(noisy("white").info))
    assert torch.equal(diagnose(noisy("white")).level.curve, white.curve)
    given = diagnose(noisy("correlated"), 10.0).level
    assert torch.equal(given.curve, given.noise.curve())


def test_print_goes_to_its_own_patches(pair):
    """Dots of black and white with noise; the network gets none of it, and tiles change nothing."""
    rows, columns = np.mgrid[:144, :160]
    dots = np.where(np.cos(rows * 2 * np.pi / 6) * np.cos(columns * 2 * np.pi / 6) > 0.3 - 0.004 * columns, 255.0, 0.0)
    noise = np.random.default_rng(1).normal(0, 12, (144, 160, 3))
    picture = Picture.from_array(np.clip(np.rint(dots[..., None] + noise), 0, 255).astype(np.uint8))
    result, report = restore(DiagnosingDenoiser(*pair), picture)
    assert report.decisions["method"] == PRINT
    before, after = (
        float(np.square(x - dots[..., None]).mean()) ** 0.5 for x in (picture.pixels.astype(float), result)
    )
    assert after < 0.6 * before
    tiled, _ = restore(DiagnosingDenoiser(*pair), picture, tile=128)
    assert np.abs(tiled.astype(int) - result).max() <= 1


def test_of_large_pictures_parts_are_compared(monkeypatch, pair):
    where = "restore.engines.denoise.network_choice"
    monkeypatch.setattr(f"{where}.gentler", lambda *args, **options: (1.0, ""))
    monkeypatch.setattr(f"{where}.is_everywhere", lambda taken, parts, level: len(taken) != 5 or len(parts) != 5)
    monkeypatch.setattr(f"{where}._QUARTER", 64)
    for large, left in ((1024, False), (160, True)):
        monkeypatch.setattr(f"{where}._LARGE", large)
        result, report = restore(DiagnosingDenoiser(*pair), noisy("correlated"))
        assert report.decisions["method"].endswith("is not everywhere, as noise is") is left
        assert np.array_equal(result, noisy("correlated").pixels) is left


@pytest.mark.parametrize(("share", "confidence", "trusted"), [(0.8, 0.0, True), (0.7, 0.0, False), (0.8, 0.6, False)])
def test_white_noise_that_is_there_is_not_doubted(monkeypatch, pair, share, confidence, trusted):
    """The regression says a tenth; what the network for white noise takes away, told all of it, decides."""
    diagnosis = diagnose(noisy("white", 20.0))
    level = diagnosis.level
    noise = replace(level.noise, confidence=confidence)
    doubted = replace(diagnosis, level=level._replace(noise=noise, curve=0.1 * level.curve), white=False)
    own = noise.curve()
    taken = lambda network, x, curve: share * curve.square().mean().sqrt() * torch.ones_like(x[:, 0])  # noqa: E731
    monkeypatch.setattr("restore.engines.denoise.network_choice._taken", taken)
    found = DiagnosingDenoiser(*pair)._trusted(doubted, torch.full((1, 1, 3, 32, 32), 0.5))
    assert found.white is trusted and (found.weights == "fine") is trusted
    assert torch.allclose(found.level.curve, own if trusted else 0.1 * level.curve)
