"""Deconvolution with a hyper-Laplacian prior on gradients, by half-quadratic splitting.

    min_x weight / 2 |k * x - y|^2 + sum |grad x|^alpha        Krishnan, Fergus, NeurIPS 2009

Alternates a shrinkage of every gradient, w = argmin |w|^alpha + beta / 2 (w - v)^2, read from a table, with a
closed-form step for x in the Fourier domain, for beta = 1, 2 sqrt(2), 8, ... 256. With `coupled` (not in the paper)
the gradients of all channels are shrunk together, so that edges stay where they are in every colour.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from restore.physics.fourier import difference_power, otf

_STAGES = 2 * 2**0.5
_TABLE, _NEWTON = 4096, 12


def weight_for(sigma: float) -> float:
    """The weight of the data for white noise of this std (in [0, 1] units); tuned on CBSD68 pictures 4 and 31."""
    return min(max(1.14 * max(sigma, 1e-6) ** -1.56, 100.0), 4e3)


def hyper_laplacian(
    y: Tensor, psf: Tensor, weight: float, *, alpha: float = 2 / 3, inner: int = 1, coupled: bool = True
) -> Tensor:
    """Deconvolve circular pictures B x C x H x W with a PSF ... x h x w.

    Args:
        weight: of the data, see `weight_for`.
        alpha: exponent of the prior, above 0, at most 1 (1 is total variation).
        inner: alternations at each beta.
        coupled: the channels' gradients are shrunk as one vector.
    """
    size = (y.shape[-2], y.shape[-1])
    transfer = otf(psf.to(y), size)
    data = transfer.conj() * torch.fft.rfft2(y)
    power = transfer.real.square() + transfer.imag.square()
    roughness = difference_power(size, y)
    x, beta = y, 1.0
    while beta <= 256:
        share = beta / weight
        denominator = power + share * roughness
        table = shrinkage_table(alpha, beta, y)
        for _ in range(inner):
            down, right = x.roll(-1, -2) - x, x.roll(-1, -1) - x
            down, right = (_shrunk(each, table, coupled) for each in (down, right))
            back = down.roll(1, -2) - down + right.roll(1, -1) - right  # the differences' adjoint
            x = torch.fft.irfft2((data + share * torch.fft.rfft2(back)) / denominator, s=size)
        beta *= _STAGES
    return x


def shrinkage_table(alpha: float, beta: float, like: Tensor) -> Tensor:
    """argmin_w |w|^alpha + beta / 2 (w - v)^2 over v, as factors w / v at `_TABLE` equal steps of v in [0, 1]."""
    return _shrinkage_table(alpha, beta).to(like)


@lru_cache(maxsize=64)
def _shrinkage_table(alpha: float, beta: float) -> Tensor:
    v = torch.linspace(0, 1, _TABLE, dtype=torch.float64)
    w = v.clone()
    for _ in range(_NEWTON):
        slope = alpha * w.clamp(min=1e-12).pow(alpha - 1) + beta * (w - v)
        bend = alpha * (alpha - 1) * w.clamp(min=1e-12).pow(alpha - 2) + beta
        w = torch.where(bend > 0, w - slope / bend, torch.zeros_like(w)).clamp(min=0)
        w = torch.minimum(w, v)
    better = w.pow(alpha) + beta / 2 * (w - v).square() < beta / 2 * v.square()
    return torch.where(better, w / v.clamp(min=1e-12), 0.0)


def _shrunk(v: Tensor, table: Tensor, coupled: bool) -> Tensor:
    size = v.square().sum(1, keepdim=True).sqrt_() if coupled else v.abs()
    place = (size * (_TABLE - 1)).clamp_(max=_TABLE - 1)
    left = place.long().clamp_(max=_TABLE - 2)
    return v * torch.lerp(table[left], table[left + 1], place - left)
