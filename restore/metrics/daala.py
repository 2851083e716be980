"""SSIM as the daala video codec's tool `dump_ssim` computes it, which the SRGAN paper reports.

    S_xy  = sum w s_xy / sum w,  s_xy = l cs of `restore.losses.ssim` at every pixel, with C1 = (0.01 255)^2 …
    w     = the sum of the window that lies inside the picture
    sigma = 1.5 height / 256 px, up to where the window falls below half a 1024th

It differs from the usual SSIM in two ways: the window grows with the picture's height (it is the usual one at 256 px
alone), and pixels near the border count with what is left of their window. Larger windows give larger values, so
figures of the paper (Ledig et al., CVPR 2017, https://arxiv.org/abs/1609.04802) compare with this metric only.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from restore.metrics.pixel import prepared, studio_luma

_UNIT = 1024  # of the window's whole-number weights
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim_daala(x: Tensor, y: Tensor, *, border: int = 0, rounded: bool = False) -> Tensor:
    """daala's SSIM of `studio_luma`, B values up to 1.

    Arguments and errors as for `restore.metrics.pixel.psnr`; `rounded` rounds luma too, which the tool reads as 8 bits.
    The height that sets the window is that inside the border.
    """
    x, y = prepared(x, y, border=border, rounded=rounded)
    wide = torch.float32 if x.device.type == "mps" else torch.float64  # Apple's GPUs have no more
    x, y = (255 * studio_luma(each.clamp(0, 1)).to(wide) for each in (x, y))
    if rounded:
        x, y = x.round(), y.round()
    height, width = x.shape[-2:]
    taps = daala_taps(1.5 * height / 256, min(height, width))
    inside = _windowed(torch.ones_like(x[:1]), taps)
    mean_x, mean_y, xx, yy, xy = (_windowed(each, taps) / inside for each in (x, y, x * x, y * y, x * y))
    product, power = mean_x * mean_y, mean_x.square() + mean_y.square()
    similarity = (2 * product + _C1) * (2 * (xy - product) + _C2) / ((power + _C1) * (xx + yy - power + _C2))
    return (inside * similarity).sum((1, 2, 3)) / inside.sum()


def daala_taps(sigma: float, longest: int) -> Tensor:
    """The tool's window: whole numbers of sum 1024, float64, up to 2 `longest` - 1 of them.

    Args:
        sigma: std of the Gaussian, px.
    """
    share = math.sqrt(math.pi / 2) * sigma / _UNIT
    reach = min(math.floor(sigma * math.sqrt(-2 * math.log(share))) if share < 1 else 0, longest - 1)
    place = torch.arange(1, reach + 1, dtype=torch.float64)
    peak = _UNIT / (math.sqrt(2 * math.pi) * sigma)
    side = (peak * torch.exp(-0.5 * (place / sigma).square()) + 0.5).floor()
    return torch.cat([side.flip(0), _UNIT - 2 * side.sum(0, keepdim=True), side])


def _windowed(planes: Tensor, taps: Tensor) -> Tensor:
    """B x 1 x H x W under the window, nothing beyond the border."""
    for axis in (-2, -1):
        length, total = planes.shape[axis], torch.zeros_like(planes)
        for shift, weight in enumerate(taps.tolist(), -(len(taps) // 2)):
            kept = length - abs(shift)
            part = planes.narrow(axis, max(shift, 0), kept)
            total.narrow(axis, max(-shift, 0), kept).add_(part, alpha=weight)
        planes = total
    return planes
