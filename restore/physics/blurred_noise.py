"""The noise of blurred pictures: what blur leaves of fine detail is little, so the finest differences are noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.physics.batch import constant

_MASK = (1.0, -2.0, 1.0)  # along both axes: of norm 6
_NORMAL_MEDIAN = 0.6745  # median of |n|, n standard normal
_CLIPPED = (0.01, 0.99)
_SPARSE, _CALM = 0.1, 0.25  # share of pixels that are not clipped; noise of the black ones, of that of the others


def blurred_noise(crops: Sequence[Tensor]) -> float:
    """Std of white noise in crops C x H x W of a blurred picture, in units of their values; clipped pixels left out.

    0 for crops without a single pixel that has neighbours. Sparse light on black, stars or beads, is no noise: where
    few pixels are above black, and those that are black are calm, these say what noise there is.
    """
    differences = [_differences(crop.float()[:, None]).flatten() for crop in crops if min(crop.shape[-2:]) >= 3]
    if not differences:
        return 0.0
    found = torch.cat(differences)
    level = float(_std(found))
    if float(found.isfinite().float().mean()) < _SPARSE:
        dark = [
            _differences(crop.float()[:, None], black=-1.0).flatten() for crop in crops if min(crop.shape[-2:]) >= 3
        ]
        everywhere = float(_std(torch.cat(dark)))
        return everywhere if everywhere < _CALM * level else level
    return level


def blurred_noises(x: Tensor) -> Tensor:
    """The same of every picture of a batch, B x C x H x W (sides of at least 3 px) -> B"""
    return _std(_differences(x.flatten(0, 1)[:, None]).view(len(x), -1))


def _differences(x: Tensor, black: float = _CLIPPED[0]) -> Tensor:
    """N x 1 x H x W -> N x 1 x (H - 2) x (W - 2): finest second differences, NaN where a pixel is clipped."""
    line = constant(_MASK, x.device)
    differences = F.conv2d(x, torch.outer(line, line)[None, None]).abs()
    middle = x[..., 1:-1, 1:-1]
    return differences.masked_fill((middle <= black) | (middle >= _CLIPPED[1]), torch.nan)


def _std(differences: Tensor) -> Tensor:
    return differences.nanmedian(-1).values.nan_to_num(0.0) / (6 * _NORMAL_MEDIAN)
