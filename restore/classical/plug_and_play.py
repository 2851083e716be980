"""Deconvolution with a denoiser as the prior: half-quadratic splitting with a closed-form data step.

    z_k = argmin |k * z - y|^2 + alpha_k |z - x_{k-1}|^2      alpha_k = lambda sigma^2 / sigma_k^2
    x_k = denoiser(z_k, sigma_k)

with sigma_k falling evenly in its logarithm from 49 of 255 to the noise's own level (DPIR: Zhang et al., "Plug-and-play
image restoration with deep denoiser prior", TPAMI 2021, https://arxiv.org/abs/2008.13751; lambda 0.23 as there).
The denoiser gets the picture in another of its eight orientations in every step, so that what it does to some
directions more than to others evens out (there: "periodical geometric self-ensemble"). An extended border is no
measurement: from the second step on, y is k * x_{k-1} there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from restore.physics.fourier import convolve, data_step, otf

Denoiser = Callable[[Tensor, float], Tensor]
"""(B x C x H x W in [0, 1], std of its noise in the same units) -> the same shape."""

_FIRST, _LAMBDA = 49 / 255, 0.23


def plug_and_play(
    y: Tensor, psf: Tensor, sigma: float, denoiser: Denoiser, *, iterations: int = 8, known: Tensor | None = None
) -> Tensor:
    """Deconvolve circular pictures B x C x H x W with a PSF ... x h x w.

    Args:
        sigma: std of the noise, in units of [0, 1]; above 0.
        iterations: steps of the schedule; the denoiser runs once in each.
        known: bool, broadcasts with y: where it was measured (`restore.classical.boundary.Extended.known`).
    """
    transfer = otf(psf.to(y), (y.shape[-2], y.shape[-1]))
    x, last = y, min(sigma, _FIRST)
    for step, level in enumerate(
        torch.logspace(math.log10(_FIRST), math.log10(last), iterations, dtype=torch.float64).tolist()
    ):
        if known is not None and step:
            y = torch.where(known, y, convolve(x, transfer))
        z = data_step(y, x, transfer, _LAMBDA * (sigma / level) ** 2)
        x = _turned_back(denoiser(_turned(z, step), level), step)
    return x


def _turned(x: Tensor, which: int) -> Tensor:
    """One of the eight orientations of ... x H x W; the first is as it is."""
    x = x.mT if which & 4 else x
    axes = [axis for axis, bit in ((-1, 1), (-2, 2)) if which & bit]
    return x.flip(axes) if axes else x


def _turned_back(x: Tensor, which: int) -> Tensor:
    axes = [axis for axis, bit in ((-1, 1), (-2, 2)) if which & bit]
    x = x.flip(axes) if axes else x
    return x.mT if which & 4 else x
