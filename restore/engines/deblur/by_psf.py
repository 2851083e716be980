"""Taking the PSFs that were found out of a picture, each where it gains most.

Shares of the picture as it is and of what each PSF leaves are bilinear between the middles of the parts that were
judged (`restore.engines.blind_psf.search`). It happens in linear light, with a prior that forgives an inexact PSF.
"""

from __future__ import annotations

import torch
from torch import Tensor

from restore.engines.blind_psf.appraisal import solve
from restore.engines.blind_psf.search import Solution
from restore.inference.engine import Place


def take_out(x: Tensor, solution: Solution, place: Place) -> Tensor:
    """A tile 1 x C x H x W of a picture in sRGB, without the blur: the same shape."""
    shares = _shares_at(solution, place, (x.shape[-2], x.shape[-1])).to(x)
    y = shares[0] * x
    for psf, share in zip(solution.psfs, shares[1:], strict=True):
        y = y + share * solve(x, psf)
    return y


def _shares_at(solution: Solution, place: Place, size: tuple[int, int]) -> Tensor:
    """Shares at a tile's pixels: n x H x W."""
    rows, columns = (
        _between(middles, first, length)
        for middles, first, length in zip(solution.middles, (place.top, place.left), size, strict=True)
    )
    return rows @ solution.shares.double() @ columns.mT


def _between(middles: list[float], first: int, length: int) -> Tensor:
    """Linear interpolation between parts at pixels [first, first + length), the outer ones repeated: length x parts."""
    if len(middles) == 1:
        return torch.ones(length, 1, dtype=torch.float64)
    pixel = torch.arange(first, first + length, dtype=torch.float64) + 0.5
    at = ((pixel - middles[0]) / (middles[1] - middles[0])).clamp(0, len(middles) - 1)
    return (1 - (at[:, None] - torch.arange(len(middles))).abs()).clamp(min=0)
