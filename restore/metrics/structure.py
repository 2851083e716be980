"""SSIM and MS-SSIM as metrics: the functions of `restore.losses.ssim` on prepared pictures, clipped to [0, 1]."""

from __future__ import annotations

from torch import Tensor

from restore.losses import ssim as definitions
from restore.metrics.pixel import prepared, studio_luma


def ssim_valid11(x: Tensor, y: Tensor, *, border: int = 0, rounded: bool = False) -> Tensor:
    """SSIM (Gaussian window, 11 taps, sigma 1.5, only where it lies inside), mean over channels, B values up to 1.

    Arguments as for `restore.metrics.pixel.psnr`; sides of at least 11 px inside the border.
    """
    x, y = _clipped(x, y, border, rounded)
    return definitions.ssim(x, y)


def ssim_y_valid11(x: Tensor, y: Tensor, *, border: int = 0, rounded: bool = False) -> Tensor:
    """`ssim_valid11` of `studio_luma`; the data range stays that of the codes, 255."""
    x, y = _clipped(x, y, border, rounded)
    return definitions.ssim(studio_luma(x), studio_luma(y))


def ms_ssim_valid11(x: Tensor, y: Tensor, *, border: int = 0, rounded: bool = False) -> Tensor:
    """MS-SSIM (5 scales, the window of `ssim_valid11`), mean over channels, B values; sides of at least 161 px."""
    x, y = _clipped(x, y, border, rounded)
    return definitions.ms_ssim(x, y)


def ms_ssim_y_valid11(x: Tensor, y: Tensor, *, border: int = 0, rounded: bool = False) -> Tensor:
    """`ms_ssim_valid11` of `studio_luma`."""
    x, y = _clipped(x, y, border, rounded)
    return definitions.ms_ssim(studio_luma(x), studio_luma(y))


def _clipped(x: Tensor, y: Tensor, border: int, rounded: bool) -> tuple[Tensor, Tensor]:
    """SSIM's luminance term means nothing below black, so values are clipped even where they are not rounded."""
    x, y = prepared(x, y, border=border, rounded=rounded)
    return x.clamp(0, 1), y.clamp(0, 1)
