"""PSNR, and what comes before any comparison: the border left out, rounding, and luma.

    PSNR = 10 log10(1 / MSE), MSE the mean over all pixels and channels of one picture, white = 1

Every other metric that compares two pictures prepares them with `prepared` too, so that a border or rounding means
the same everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from restore.errors import ConfigError
from restore.physics.color import LUMA
from restore.physics.noise import quantise

CEILING = 100.0
"""PSNR in dB of identical pictures, and the most that is reported: differences of 1e-5 of white and less are none."""


def psnr(x: Tensor, y: Tensor, *, border: int = 0, rounded: bool = False, ceiling: float = CEILING) -> Tensor:
    """PSNR in dB over all channels (RGB, or grey), B values up to `ceiling`.

    Args:
        x, y: B x C x H x W, white = 1.
        border: pixels left out on each side.
        rounded: clip both to [0, 1] and round them to 8 bits first.
        ceiling: dB of identical pictures, and the most there is.
    Raises:
        ConfigError: the border leaves nothing.
        ValueError: the shapes differ.
    """
    return _psnr(*prepared(x, y, border=border, rounded=rounded), ceiling)


def psnr_y(x: Tensor, y: Tensor, *, border: int = 0, rounded: bool = False) -> Tensor:
    """PSNR in dB of `studio_luma`, B values. Arguments and errors as for `psnr`; rounding is of the colours."""
    x, y = prepared(x, y, border=border, rounded=rounded)
    return _psnr(studio_luma(x), studio_luma(y), CEILING)


def studio_luma(x: Tensor) -> Tensor:
    """Luma of ITU-R BT.601 with the studio range, 16/255 to 235/255: B x 3 x H x W -> B x 1 x H x W; grey stays.

    Y = (16 + 65.481 R + 128.553 G + 24.966 B) / 255, as MATLAB's `rgb2ycbcr` has it, not rounded.
    """
    if x.shape[1] == 1:
        return x
    if x.shape[1] != 3:
        raise ConfigError(f"luma needs RGB or grey, not {x.shape[1]} channels", fix="Leave out --y")
    red, green, blue = x.split(1, 1)
    return (16 + 219 * (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)) / 255


def prepared(x: Tensor, y: Tensor, *, border: int = 0, rounded: bool = False) -> tuple[Tensor, Tensor]:
    """Both pictures without their border, rounded to 8 bits if asked. Arguments and errors as for `psnr`."""
    if x.shape != y.shape or x.ndim != 4:
        raise ValueError(f"a metric compares two batches B x C x H x W, not {tuple(x.shape)} and {tuple(y.shape)}")
    height, width = x.shape[-2:]
    if border < 0 or 2 * border >= min(height, width):
        raise ConfigError(f"a border of {border} px leaves nothing of {width} x {height} pixels", fix="Make it smaller")
    inside = (..., slice(border, height - border), slice(border, width - border))
    x, y = x[inside], y[inside]
    return (quantise(x), quantise(y)) if rounded else (x, y)


def _psnr(x: Tensor, y: Tensor, ceiling: float) -> Tensor:
    wide = torch.float32 if x.device.type == "mps" else torch.float64  # Apple's GPUs have no more
    errors = (x.to(wide) - y.to(wide)).square().mean((1, 2, 3))
    return -10 * errors.clamp(min=10 ** (-ceiling / 10)).log10()
