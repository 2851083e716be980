"""Losses of two layers that one picture is taken apart into: T behind the glass, R reflected in it.

    log_mse      mean over pictures of ln(1 + mean (x - y)^2 / eps)
                 a mean PSNR but for its sign and a factor: halving a small error counts as halving a large one
    exclusion    mean over s of mean tanh(l_t |grad T|) tanh(l_r |grad R|), s = 1, 1/2, 1/4 of the size
                 edges belong to one of them; l makes both gradients equally strong. Zhang, Ng, Chen, CVPR 2018,
                 https://arxiv.org/abs/1806.05376 (there its root is taken, and the sum of both directions)
    dominance    where |grad R| exceeds |grad T|: no loss, the truth of a map

Computed in float32 (float64 for float64 input).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.losses.pixel import at_least_float32, difference

_LEAST = 1e-6


def log_mse_loss(x: Tensor, y: Tensor, eps: float = 1e-4) -> Tensor:
    """ln(1 + mean squared error / eps) of each picture B x ..., averaged: a scalar, 0 at equality."""
    error = difference(x, y)
    with torch.autocast(error.device.type, enabled=False):
        return (error.square().flatten(1).mean(1) / eps).log1p().mean()


def exclusion_loss(x: Tensor, y: Tensor, levels: int = 3) -> Tensor:
    """How much two layers B x C x H x W share edges: a scalar in [0, 1), 0 if one of them is flat.

    Args:
        levels: sizes that are compared, each half of the one before.
    """
    parts = []
    with torch.autocast(x.device.type, enabled=False):
        x, y = at_least_float32(x), at_least_float32(y)
        for _ in range(levels):
            parts += [_shared(x.diff(dim=dim), y.diff(dim=dim)) for dim in (-1, -2)]
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        return torch.stack(parts).mean()


def dominance(background: Tensor, reflection: Tensor) -> Tensor:
    """1 where the reflection's edges are stronger than the background's, else 0: B x C x H x W -> B x 1 x H x W."""
    strength = [_edges(layer) for layer in (background, reflection)]
    return (strength[1] > strength[0]).to(background.dtype)


def _edges(x: Tensor) -> Tensor:
    """Sum of |forward differences| along rows, columns and channels, averaged over 3 x 3 px."""
    across = F.pad(x.diff(dim=-1).abs(), (0, 1, 0, 0))
    down = F.pad(x.diff(dim=-2).abs(), (0, 0, 0, 1))
    return F.avg_pool2d((across + down).mean(1, keepdim=True), 3, 1, 1)


def _shared(x: Tensor, y: Tensor) -> Tensor:
    """Mean tanh product of two fields of differences, the weaker of them raised to the strength of the other."""
    strength = [each.detach().abs().mean((1, 2, 3), keepdim=True) + _LEAST for each in (x, y)]
    ratio = (strength[1] / strength[0]).sqrt()
    return ((ratio * x).tanh().abs() * (y / ratio).tanh().abs()).mean()
