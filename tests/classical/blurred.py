"""Blurred test pictures: circular, or cut out of a larger scene as a camera does it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from restore.physics.fourier import convolve, otf


def scene() -> Tensor:
    """1 x 1 x 512 x 512, float64, 0 to 1: a photograph."""
    data = pytest.importorskip("skimage.data")
    return torch.from_numpy(data.camera()[None, None] / 255.0)


def shake(side: int = 21, seed: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    """A crooked hand-held trace, side x side, of sum 1."""
    rng = np.random.default_rng(seed)
    velocity = rng.standard_normal(2)
    place, psf = np.zeros(2), np.zeros((side, side))
    trace = []
    for _ in range(400):
        velocity = 0.97 * velocity + 0.25 * rng.standard_normal(2)
        place = place + velocity
        trace.append(place)
    trace = np.array(trace) - np.mean(trace, 0)
    trace *= (side // 2 - 1) / np.abs(trace).max()
    for y, x in trace + side // 2:
        i, j = int(y), int(x)
        for di, wi in ((0, 1 - (y - i)), (1, y - i)):
            for dj, wj in ((0, 1 - (x - j)), (1, x - j)):
                psf[i + di, j + dj] += wi * wj
    psf = psf + 0.15 * psf.sum() * (np.arange(side * side).reshape(side, side) == side * side // 2)  # a moment at rest
    return torch.tensor(psf / psf.sum(), dtype=dtype)


def circular(x: Tensor, psf: Tensor, sigma: float, seed: int = 0) -> Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    return convolve(x, otf(psf, (x.shape[-2], x.shape[-1]))) + sigma * noise


def seen(x: Tensor, psf: Tensor, sigma: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(truth, blurred) of the inner part, whose blur reaches beyond its border."""
    r = max(psf.shape)
    inner = (..., slice(r, -r), slice(r, -r))
    return x[inner], circular(x, psf, sigma, seed)[inner]


def psnr(a: Tensor, b: Tensor, margin: int = 0) -> float:
    inner = (..., slice(margin, a.shape[-2] - margin), slice(margin, a.shape[-1] - margin))
    return float(-10 * (a.double().clamp(0, 1)[inner] - b.double()[inner]).square().mean().log10())
