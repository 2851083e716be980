"""Frames to learn from, as a window of one input."""

import pytest
import torch

from restore.degradations import build
from restore.errors import ConfigError
from tests.physics.test_clip_blur import pictures


def test_a_window_and_its_truth():
    degradation = build("clip_blur", frames=3, reach=16)
    clean = pictures(1, 128)
    sample = degradation.draw({"clean": clean}, 0, 0, 0)
    assert sample.inputs["picture"].shape == (1, 3, 3, 96, 96)
    assert torch.equal(sample.targets["result"], clean[..., 16:-16, 16:-16])


def test_crops_that_are_too_small():
    with pytest.raises(ConfigError, match=r"motion cuts off 32 px at every side, the pictures have 64 px.*96 or more"):
        build("clip_blur").draw({"clean": torch.rand(1, 3, 64, 64)}, 0, 0, 0)


def test_recipes_of_no_blur():
    with pytest.raises(ConfigError, match=r"describe no blur \(frames is 4"):
        build("clip_blur", frames=4)
