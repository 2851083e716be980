"""No more than the noise is taken away: the weight, the variance it is measured by, and that tiles change nothing."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from torch import nn

import restore
from restore.engines.denoise.network import DenoisingNetwork
from restore.engines.denoise.noise_bounded import RADIUS, SLACK, NoiseBoundedEngine
from restore.engines.denoise.options import NetworkOptions
from restore.errors import ConfigError
from restore.inference.engine import EngineOptions, Place
from restore.models.cbsn import CBSN
from restore.models.spec import ModelSpec
from restore.physics.filters import box_mean
from restore.picture import Picture, ValueScale
from restore.zoo.card import WeightsCard
from restore.zoo.weights import save_weights


class Answers(nn.Module):
    """Gives one picture, whatever it is shown."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer


class Blurs(nn.Module):
    """What guesses flat places right, and texture wrong."""

    def forward(self, x):
        return box_mean(x, 5)


def bounded(net, sigma=None):
    return NoiseBoundedEngine(DenoisingNetwork(net, ModelSpec("denoise", channels=3), "fake", ""), sigma)


@pytest.fixture(autouse=True)
def nominal_range(monkeypatch):
    """What is tested here is not the value range."""
    for module in ("restore.engines.network", "restore.engines.denoise.noise_bounded"):
        monkeypatch.setattr(f"{module}.find_scale", lambda source: ValueScale.nominal(source.info))


def prepared(engine, x):
    """The condition for a picture H x W x 3 float32."""
    return engine.prepare({"picture": Picture.from_array(x, alpha=False)}, EngineOptions())


def answer(engine, x):
    """What it makes of a picture H x W x 3: 1 x 3 x H x W"""
    return engine(unit(x), prepared(engine, x), [Place(0, 0, *x.shape[:2])])["result"]


def unit(x):
    """H x W x 3 -> 1 x 1 x 3 x H x W"""
    return torch.from_numpy(x.astype(np.float32)).movedim(-1, 0)[None, None]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_what_is_taken_away_is_weighed_by_its_mean_square_around():
    x, guess = 0.5 + 0.1 * noise(40, 50, 3), 0.5 + 0.1 * noise(40, 50, 3, seed=1)
    x, guess = x.astype(np.float32), guess.astype(np.float32)
    y = answer(bounded(Answers(unit(guess)[:, 0]), sigma=12.75), x)  # 0.05
    taken = guess - x
    energy = uniform_filter(np.square(taken).mean(-1), 2 * RADIUS + 1)
    weight = 0.05**2 / (0.05**2 + np.maximum(energy - SLACK * 0.05**2, 0))
    assert 0 < (weight < 1).mean() <= 1
    expected = x + weight[..., None] * taken
    assert np.abs(y[0].movedim(0, -1).numpy() - expected)[RADIUS:-RADIUS, RADIUS:-RADIUS].max() < 1e-6


def test_where_less_than_the_noise_is_taken_away_the_answer_stands():
    x = (0.5 + 0.02 * noise(30, 30, 3)).astype(np.float32)
    picture = unit(x)[0]
    assert torch.equal(answer(bounded(Blurs(), sigma=20.0), x), picture + (box_mean(picture, 5) - picture))
    assert torch.equal(answer(bounded(Blurs(), sigma=0.0), x), picture)


def test_errors_that_are_independent_of_the_noise_are_weighed_best():
    clean = np.full((200, 200, 3), 0.5)
    for sigma, error in ((0.02, 0.05), (0.04, 0.04), (0.06, 0.02)):
        x = (clean + sigma * noise(200, 200, 3)).astype(np.float32)
        guess = (clean + error * noise(200, 200, 3, seed=1)).astype(np.float32)
        y = answer(bounded(Answers(unit(guess)[:, 0]), sigma=255 * sigma), x)
        left = float((y - 0.5).square().mean())
        assert left < 1.1 / (sigma**-2 + error**-2)  # of the best weight


def test_the_variance_is_that_of_the_flattest_places():
    rows, columns = np.mgrid[:400, :500]
    texture = 0.3 * np.sin(rows * 1.9) * np.sin(columns * 2.1) * (columns > 60)
    x = (0.5 + texture[..., None] + 0.05 * noise(400, 500, 3)).astype(np.float32)
    condition = prepared(bounded(Blurs()), x)
    assert condition.data[1] ** 0.5 == pytest.approx(0.05, rel=0.1)
    assert condition.decisions["noise"].startswith("sigma 12.") or condition.decisions["noise"].startswith("sigma 11.")
    assert condition.decisions["noise"].endswith("(measured), no more is taken away")


def test_clipped_places_are_no_measure_unless_there_is_nothing_else():
    x = (0.5 + 0.05 * noise(200, 200, 3)).astype(np.float32)
    x[:, :100] = 0
    assert prepared(bounded(Blurs()), x).data[1] ** 0.5 == pytest.approx(0.05, rel=0.15)
    assert prepared(bounded(Blurs()), np.zeros_like(x)).data[1] == 0


def test_a_large_picture_is_measured_on_crops():
    x = np.full((1000, 900, 3), 0.5, np.float32)
    x += (0.03 * noise(1000, 900, 3)).astype(np.float32)
    seen = []
    net = Blurs()
    net.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[-2:].numel()))
    assert prepared(bounded(net), x).data[1] ** 0.5 == pytest.approx(0.03, rel=0.1)
    assert sum(seen) == 16 * 192**2


@pytest.mark.parametrize("sigma", [-1, 256])
def test_a_level_out_of_range_is_refused(sigma):
    with pytest.raises(ConfigError, match=f"--sigma cannot be {sigma}. It is a number, from 0 to 255"):
        NetworkOptions(sigma=sigma)


def test_c_bsn_is_used_so_and_tiles_change_nothing(tmp_path):
    torch.manual_seed(0)
    arguments = {"width": 8, "blocks": 2}
    card = WeightsCard(name="mine", task="denoise", summary="", date=datetime.date(2026, 1, 1), licence="CC0")
    save_weights(tmp_path / "mine.safetensors", CBSN(**arguments), "cbsn", arguments, card)
    x = (0.5 + 0.1 * noise(200, 230, 3)).clip(0, 1).astype(np.float32)
    whole = restore.load("denoise", weights=tmp_path / "mine.safetensors").restore(x)
    assert "no more is taken away" in whole.decisions["noise"]
    tiled = restore.load("denoise", weights=tmp_path / "mine.safetensors", tile=32).restore(x)
    assert np.abs(tiled.picture.pixels - whole.picture.pixels).max() < 1e-5
    assert tiled.provenance["tiles"] >= 4
    given = restore.load("denoise", weights=tmp_path / "mine.safetensors", sigma=0)
    assert np.array_equal(given(x), x)
