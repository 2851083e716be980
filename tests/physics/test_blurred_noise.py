"""The noise of blurred pictures."""

from __future__ import annotations

import pytest
import torch

from restore.physics.blurred_noise import blurred_noise
from tests.classical.blurred import circular, scene, shake


@pytest.mark.parametrize("sigma", [0.01, 0.02, 0.05])
def test_the_level_is_found_behind_the_blur(sigma):
    y = circular(scene(), shake(), sigma)[0]
    assert blurred_noise([y]) == pytest.approx(sigma, rel=0.06)


def test_nothing_to_see():
    assert blurred_noise([torch.ones(3, 20, 20)]) == 0  # clipped everywhere
    assert blurred_noise([torch.rand(3, 2, 9)]) == 0
    assert blurred_noise([]) == 0


def test_sparse_light_on_black_is_no_noise():
    generator = torch.Generator().manual_seed(0)
    points = torch.zeros(1, 200, 200)
    points.view(-1)[torch.randperm(40000, generator=generator)[:40]] = 0.8
    assert blurred_noise([points]) == 0
    dim = (0.02 * torch.randn(1, 200, 200, generator=generator)).clamp(min=0)  # noise about black: few above, none calm
    assert blurred_noise([dim]) > 0.008
