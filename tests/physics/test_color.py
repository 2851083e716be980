"""Luma: the weights of BT.601, and what must not change."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from restore.physics.color import LUMA, to_luma


def test_weights_are_those_of_bt_601() -> None:
    assert LUMA == (0.299, 0.587, 0.114) and abs(sum(LUMA) - 1) < 1e-12
    for channel, weight in enumerate(LUMA):
        primary = torch.zeros(1, 3, 2, 2)
        primary[:, channel] = 1
        assert torch.allclose(to_luma(primary), torch.tensor(weight))


def test_agrees_with_opencv() -> None:
    x = torch.rand(2, 3, 17, 23, generator=torch.Generator().manual_seed(0))
    for picture, luma in zip(x, to_luma(x), strict=True):
        theirs = cv2.cvtColor(np.ascontiguousarray(picture.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2GRAY)
        assert np.abs(theirs - luma[0].numpy()).max() < 1e-5


def test_grey_is_its_own_luma() -> None:
    grey = torch.rand(2, 1, 5, 6)
    assert to_luma(grey) is grey
    assert torch.allclose(to_luma(grey.expand(-1, 3, -1, -1)), grey, atol=1e-6)
