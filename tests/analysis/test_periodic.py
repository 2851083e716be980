"""What repeats is told from noise, white or coarse."""

from __future__ import annotations

import pytest
import torch

from restore.analysis.periodic import periodic_share
from restore.physics.filters import box_mean


@pytest.mark.parametrize("side", [32, 100, 128])
@pytest.mark.parametrize("radius", [0, 1])
def test_noise_has_no_lines(side, radius):
    noise = torch.randn(3, side, side, generator=torch.Generator().manual_seed(0))
    assert periodic_share(box_mean(noise[None], radius)[0] if radius else noise) < 0.02


@pytest.mark.parametrize("period", [2.0, 3.7, 6.0])
def test_a_wave_in_one_channel_is_seen_in_noise_of_its_strength(period):
    noise = torch.randn(3, 128, 128, generator=torch.Generator().manual_seed(0))
    along = torch.arange(128.0)
    noise[1] += 2**0.5 * torch.cos(2 * torch.pi * (along[:, None] * 0.8 + along * 0.6) / period)
    assert 0.3 < periodic_share(noise) < 0.8
