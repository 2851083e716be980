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
