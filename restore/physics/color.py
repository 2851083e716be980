"""Colour that several operators share."""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma, ITU-R BT.601."""


def to_luma(x: Tensor) -> Tensor:
    """Luma of RGB pictures: B x 3 x H x W -> B x 1 x H x W; grey ones stay."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x.split(1, dim=1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def srgb_to_linear(x: Tensor) -> Tensor:
    """sRGB values (IEC 61966-2-1) to light; 0 -> 0, 1 -> 1; negative values stay in the linear part."""
    return torch.where(x <= 0.04045, x / 12.92, ((x.clamp(min=0.04045) + 0.055) / 1.055).pow(2.4))


def linear_to_srgb(x: Tensor) -> Tensor:
    """Inverse of `srgb_to_linear`."""
    return torch.where(x <= 0.0031308, x * 12.92, 1.055 * x.clamp(min=0.0031308).pow(1 / 2.4) - 0.055)
