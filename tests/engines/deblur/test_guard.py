"""Tiles that a network spoils are seen, done again or left, and told of."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import restore as program
from restore.engines.deblur import engine as engine_module
from restore.engines.deblur.engine import DeblurEngine
from restore.engines.deblur.guard import BLOCK, damage_of
from restore.engines.deblur.network import LEFT, POOLED_AGAIN, DeblurNetwork
from restore.engines.deblur.options import NetworkOptions
from restore.inference.options import RunOptions
from restore.models.nafnet import LocalMean
from restore.models.spec import ModelSpec

from .tiny import Offsets, sharp_scene, soft_scene


def tensor(scene):
    return torch.from_numpy(scene).movedim(-1, 0).contiguous()


def checkerboard(height, width):
    return (torch.arange(height)[:, None] + torch.arange(width)) % 2 * 2.0 - 1


def test_each_figure_is_that_of_the_worst_block():
    x = torch.full((3, 96, 128), 0.5)
    assert damage_of(x, x) == (0, 0, 0)
    y = x.clone()
    y[1, 32:64, 64:96] += 0.2 * checkerboard(BLOCK, BLOCK)
    damage = damage_of(x, y)
    assert damage.checker == pytest.approx(0.2, rel=0.05) and damage.off == pytest.approx(0.2, rel=1e-4)
    assert damage.spoilt
    y = x.clone()
    y[0, :32, :32] = 1.3
    assert damage_of(x, y)[:2] == (pytest.approx(0.8, rel=1e-4), 1.0) and damage_of(y, y).outside == 0


def test_several_heads_are_each_looked_at():
    x = torch.full((3, 64, 64), 0.5)
    worse = x + 0.2 * checkerboard(64, 64)
    assert damage_of(x, torch.cat([x, worse])).spoilt and not damage_of(x, torch.cat([x, x])).spoilt


def test_deblurring_is_no_damage():
    """Strong but true changes: squares given back from a blur of 9 px; noise added or taken away."""
    sharp = tensor(sharp_scene(96, 96))
    blurred = F.avg_pool2d(F.pad(sharp[None], (4, 4, 4, 4), mode="replicate"), 9, 1)[0]
    assert not damage_of(blurred, sharp).spoilt
    noise = torch.randn(sharp.shape, generator=torch.Generator().manual_seed(0)) * 25 / 255
    assert not damage_of(sharp, sharp + noise).spoilt and not damage_of(sharp + noise, sharp).spoilt


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 40), (33, 31)])
def test_small_tiles(size):
    x = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    assert not damage_of(x, x).spoilt and damage_of(x, x + 2).spoilt


class Mosaic(nn.Module):
    """Adds a checkerboard where its pooling is local; or always."""

    def __init__(self, always: bool = False) -> None:
        super().__init__()
        self.pool, self.gain, self._always = LocalMean(16), nn.Parameter(torch.tensor(0.01)), always

    def forward(self, x):
        board = checkerboard(*x.shape[-2:]).to(x)
        return x + self.gain + (0.3 * board if self._always or self.pool.side else 0)

    def spec(self):
        return ModelSpec("deblur", channels=3, tiling="local", overlap=32)


def restored(monkeypatch, net, pixels, **options):
    network = DeblurNetwork(net, net.spec(), "net", "0")
    monkeypatch.setattr(engine_module, "network_of", lambda weights, model: network)
    engine = DeblurEngine(NetworkOptions(force=True))
    return program.Restorer("deblur", engine, RunOptions(**options)).restore(pixels)


def test_a_spoilt_tile_is_pooled_globally(monkeypatch):
    pixels = soft_scene(80, 150)
    result = restored(monkeypatch, Mosaic(), pixels, tile=64)
    np.testing.assert_allclose(result.picture.pixels, pixels + 0.01, atol=1e-5)
    assert result.warnings == (POOLED_AGAIN,) and "global pooling" in POOLED_AGAIN


def test_or_left_as_it_is(monkeypatch):
    pixels = soft_scene(80, 150)
    result = restored(monkeypatch, Mosaic(always=True), pixels, tile=64)
    np.testing.assert_allclose(result.picture.pixels, pixels, atol=1e-6)
    assert result.warnings == (LEFT,)


def test_without_local_pooling_it_is_left(monkeypatch):
    pixels = soft_scene()
    result = restored(monkeypatch, Offsets((0.9, 0.0), "local"), pixels)
    np.testing.assert_allclose(result.picture.pixels, pixels, atol=1e-6)
    assert result.warnings == (LEFT,)


def test_networks_of_exact_tiles_are_not_watched(monkeypatch):
    pixels = soft_scene()
    result = restored(monkeypatch, Offsets((0.9,)), pixels)
    np.testing.assert_allclose(result.picture.pixels, pixels + 0.9, atol=1e-6)
    assert result.warnings == ()


def test_good_tiles_are_not_touched(monkeypatch):
    pixels = soft_scene()
    result = restored(monkeypatch, Offsets((0.02,), "local"), pixels)
    np.testing.assert_allclose(result.picture.pixels, pixels + 0.02, atol=1e-6)
    assert result.warnings == ()
