"""Losses of each picture by itself: ... x C x H x W, twice -> ..., computed in float32 (float64 for float64 input).

    l1           mean |x - y|
    l2           mean (x - y)^2
    psnr         10 log10(mean (x - y)^2 + 1e-8), dB     minus the PSNR; NAFNet's (https://arxiv.org/abs/2204.04676)
    charbonnier  mean sqrt((x - y)^2 + eps^2)
    fft          mean modulus of the orthonormal 2-D spectrum of x - y

For objectives that choose among several answers by their losses (`restore.objectives.multi_output`). The mean over the
pictures is that of `restore.losses.pixel` and `frequency`; of psnr it is the mean of logarithms, not their logarithm:
where two truths are equally likely and far apart it prefers one of them to their mean, which the others do not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from restore.losses.pixel import EPS, difference

_PICTURE = (-3, -2, -1)
_LEAST = 1e-8  # of the mean squared error: 80 dB are enough, and the gradient stays finite at equality


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error: ... x C x H x W -> ..."""
    return difference(x, y).abs().mean(_PICTURE)


def l2(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error: ... x C x H x W -> ..."""
    return difference(x, y).square().mean(_PICTURE)


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """The mean squared error in dB of white = 1, -80 at equality: ... x C x H x W -> ..."""
    return 10 * (l2(x, y) + _LEAST).log10()


def charbonnier(x: Tensor, y: Tensor, eps: float = EPS) -> Tensor:
    """Mean of sqrt((x - y)^2 + eps^2): ... x C x H x W -> ..."""
    return (difference(x, y).square() + eps * eps).sqrt().mean(_PICTURE)


def fft(x: Tensor, y: Tensor) -> Tensor:
    """Mean modulus of the spectrum of x - y: ... x C x H x W -> ..."""
    error = difference(x, y)
    with torch.autocast(error.device.type, enabled=False):
        return torch.fft.rfft2(error, norm="ortho").abs().mean(_PICTURE)
