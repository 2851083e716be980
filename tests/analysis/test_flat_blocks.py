"""What flat blocks hold: photons are certain noise, dots are none, print says its own noise."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from restore.analysis.flat_blocks import is_two_valued, spread_at_ends
from restore.analysis.noise import estimate_noise
from restore.physics.noise import add_poisson, quantise
from restore.physics.random import generator_for

ROWS, COLUMNS = torch.meshgrid(torch.arange(192.0), torch.arange(192.0), indexing="ij")


def noisy(clean: Tensor, sigma: float) -> Tensor:
    """H x W -> 3 x H x W, 8 bits."""
    noise = torch.randn(3, *clean.shape, generator=torch.Generator().manual_seed(5))
    return quantise(clean + sigma / 255 * noise)


def photograph() -> Tensor:
    """192 x 192, grey."""
    from skimage import data

    return torch.from_numpy(data.coffee()[50:242, 200:392].copy()).float().mean(-1) / 255


def dither() -> Tensor:
    """By Bayer's matrix of 4 x 4."""
    bayer = torch.tensor([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
    return ((bayer.repeat(48, 48) + 0.5) / 16 < photograph()).float()


def dots() -> Tensor:
    """A black field above, a lattice of dots below, as a screen of 45 degrees makes of light greys."""
    screen = (math.pi * (ROWS + COLUMNS) / 3).cos() * (math.pi * (ROWS - COLUMNS) / 3).cos()
    return torch.where(ROWS < 64, 0.0, ((1 + screen) / 2 < 0.45 + 0.35 * COLUMNS / 192).float())


def test_the_noise_of_photons_is_certain():
    """Though strong in bright parts and weak in dark ones."""
    scene = torch.where(ROWS < 20, 0.05, torch.where(ROWS < 96, 0.3, 0.8)).expand(3, -1, -1)
    x = quantise(add_poisson(scene[None], torch.tensor([200.0]), generator_for(3)))[0]
    noise = estimate_noise([x])
    assert noise.confidence == 1 and not noise.pattern


@pytest.mark.parametrize("sigma", [4, 12, 30])
def test_black_and_white_print_says_its_noise(sigma):
    assert spread_at_ends([noisy(dither(), sigma)]) * 255 == pytest.approx(sigma, rel=0.15)
    noise = estimate_noise([noisy(dither(), sigma)])
    assert noise.two_valued and noise.sigma * 255 == pytest.approx(sigma, rel=0.25)


@pytest.mark.parametrize("sigma", [5, 15])
def test_dots_are_no_flat_blocks(sigma):
    """The level is that of the black field, not of the lattice, whose blocks are all alike."""
    assert sigma / 1.5 < estimate_noise([noisy(dots(), sigma)]).sigma * 255 < 1.2 * sigma


def test_photographs_are_not_of_two_values():
    ramp = (ROWS + COLUMNS) / 384
    for sigma in (5, 15, 35):
        assert not is_two_valued([noisy(ramp, sigma)], sigma / 255)
        dark_and_bright = torch.where(ramp < 0.5, 0.12 + 0.2 * ramp, 0.7 + 0.2 * ramp)
        assert not is_two_valued([noisy(dark_and_bright, sigma)], sigma / 255)
    for sigma in (15, 30, 50):  # all but nothing of a dark, or of a bright picture lies at the other end
        for low in (0.0, 0.9):
            assert not is_two_valued([noisy(low + 0.1 * photograph(), sigma)], sigma / 255)
    colours = torch.stack([dither(), dither().T, 1 - dither()])  # each of two values, the picture of eight
    assert not is_two_valued([colours], 0.02)
    assert not is_two_valued([torch.full((3, 8, 8), torch.nan)], 0.02)
