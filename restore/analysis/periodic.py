"""How much of a detail repeats: screens, weaves and fine stripes are lines in its spectrum, noise has none."""

from __future__ import annotations

import torch
from torch import Tensor

_TILE = 8  # frequencies a side that have about the same power in noise
_LINE = 25.0  # times their median, that a frequency of noise does not reach (its power is exponentially distributed)


def periodic_share(detail: Tensor) -> float:
    """C x H x W, of at least 16 px a side -> the share of power in single frequencies, of the channel with most of it.

    0 for noise, however its power depends on frequency.
    """
    height, width = detail.shape[1:]
    window = [torch.hann_window(side, periodic=False, dtype=torch.float64) for side in (height, width)]
    plane = (detail - detail.mean((1, 2), keepdim=True)).double().cpu() * torch.outer(*window)
    power = torch.fft.rfft2(plane).abs().square()
    power = power[:, : height // _TILE * _TILE, : power.shape[2] // _TILE * _TILE]
    tiles = power.unfold(1, _TILE, _TILE).unfold(2, _TILE, _TILE).flatten(3)
    lines = tiles > _LINE * tiles.median(3, keepdim=True).values
    return float(((tiles * lines).sum((1, 2, 3)) / tiles.sum((1, 2, 3)).clamp(min=1e-30)).max())
