"""The level that a network is told, by what it would take away: `gentler`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from restore.analysis.blocks import BLOCK, orders
from restore.analysis.noise import NoiseModel
from restore.engines.denoise.gentler import gentler, is_everywhere
from restore.engines.denoise.noise_level import Level
from restore.physics.filters import gaussian_kernels
from restore.physics.level import KNOTS
from restore.physics.noise import add_correlated

GREY = torch.full((1, 3, 96, 96), 0.5)
FINER, MORE = "what would be taken away is finer than the noise", "more than the noise would be taken away at"


def level_of(value: float, *, coarse: bool, confidence: float = 0.0) -> Level:
    """Of noise that is white, or has a tenth of the std at its fine frequencies."""
    spectrum = torch.ones(3, BLOCK * BLOCK)
    spectrum[:, orders(7, 14)] = 0.01 if coarse else 1.0
    rows = tuple(tuple(row) for row in spectrum.tolist())
    noise = NoiseModel(((value / 255,) * KNOTS,) * 3, rows, correlated=coarse, confidence=confidence)
    return Level(noise, torch.full((KNOTS,), value / 255))


def noise(std: float, blur: float) -> Tensor:
    one, generator = torch.ones(1), torch.Generator().manual_seed(3)
    kernels = gaussian_kernels(blur * one, one, 0 * one)
    return add_correlated(torch.zeros_like(GREY), std / 255 * one, generator, kernels)


@pytest.mark.parametrize(
    ("std", "confidence", "factor", "why"),
    [
        (8, 0, 1, ""), (14, 1, 1, ""), (14, 0, 0.5, f"{MORE} more than 0.5 of its level"),
        (50, 0, 0.0, f"{MORE} any level"),
    ],
)  # fmt: skip
def test_no_more_than_the_noise(std: float, confidence: float, factor: float, why: str) -> None:
    """A network that takes what it is told in proportion to the square of the level."""
    level = level_of(10, coarse=False, confidence=confidence)
    taken = lambda curve: noise(std, 0) * float(curve[0] * 25.5) ** 2  # noqa: E731
    assert gentler(level, GREY, taken, white=True) == (factor, why)


def test_nothing_finer_than_coarse_noise() -> None:
    for blur, expected in ((1.2, (1, "")), (0.0, (0.0, FINER))):
        assert gentler(level_of(10, coarse=True), GREY, lambda curve, b=blur: noise(3, b)) == expected
    assert gentler(level_of(10, coarse=False), GREY, lambda curve: noise(3, 0)) == (1, "")


def test_a_part_too_small_for_blocks_is_judged_by_its_amount() -> None:
    assert gentler(level_of(10, coarse=True), GREY[..., :16, :16], lambda curve: noise(3, 0)[..., :16, :16]) == (1, "")


def test_noise_is_everywhere():
    level, even = level_of(10, coarse=True), [noise(3, 1.0)] * 3
    assert is_everywhere(even, [GREY] * 3, level)
    assert is_everywhere([noise(3, 1.0), noise(0.8, 1.0)], [GREY] * 2, level)
    assert not is_everywhere([*even, noise(0.6, 1.0)], [GREY] * 4, level)
    assert is_everywhere([*even, noise(0.6, 1.0)], [*[GREY] * 3, 0 * GREY], level)  # black has no noise
