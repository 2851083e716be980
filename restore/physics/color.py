"""Colour that several operators share; the formulas are kornia's."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma, ITU-R BT.601."""


def to_luma(x: Tensor) -> Tensor:
    """Luma of RGB pictures: B x 3 x H x W -> B x 1 x H x W; grey ones stay."""
    from kornia.color import rgb_to_grayscale

    return x if x.shape[1] == 1 else rgb_to_grayscale(x)


def to_grey(x: Tensor) -> Tensor:
    """One plane of any picture: B x C x H x W -> B x 1 x H x W; luma of RGB, the mean of other numbers of channels."""
    return to_luma(x) if x.shape[1] == 3 else x.mean(1, keepdim=True)


def srgb_to_linear(x: Tensor) -> Tensor:
    """sRGB values (IEC 61966-2-1) to light, of any shape; 0 -> 0, 1 -> 1.

    Negative values stay in the linear part; values above 1 continue the curve.
    """
    from kornia.color import rgb_to_linear_rgb

    return _elementwise(rgb_to_linear_rgb, x)


def linear_to_srgb(x: Tensor) -> Tensor:
    """Inverse of `srgb_to_linear`."""
    from kornia.color import linear_rgb_to_rgb

    return _elementwise(linear_rgb_to_rgb, x)


def _elementwise(curve: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A curve of kornia's, which takes three channels only, applied to any shape."""
    if x.ndim == 4 and x.shape[1] == 3:
        return curve(x)
    values = F.pad(x.flatten(), (0, -x.numel() % 3))
    return curve(values.view(3, 1, -1)).flatten()[: x.numel()].view(x.shape)
