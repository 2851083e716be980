"""Colour that several operators share."""

from __future__ import annotations

from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma, ITU-R BT.601."""


def to_luma(x: Tensor) -> Tensor:
    """Luma of RGB pictures: B x 3 x H x W -> B x 1 x H x W; grey ones stay."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x.split(1, dim=1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
