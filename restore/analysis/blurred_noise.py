"""The noise of blurred pictures: what blur leaves of fine detail is little, so the finest differences are noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_MASK = (1.0, -2.0, 1.0)  # along both axes: of norm 6
_NORMAL_MEDIAN = 0.6745  # median of |n|, n standard normal
_CLIPPED = (0.01, 0.99)


def blurred_noise(crops: Sequence[Tensor]) -> float:
    """Std of white noise in crops C x H x W of a blurred picture, in units of their values; clipped pixels left out.

    0 for crops without a single pixel that has neighbours.
    """
    line = torch.tensor(_MASK)
    mask = torch.outer(line, line)[None, None]
    found = []
    for crop in crops:
        if min(crop.shape[-2:]) < 3:
            continue
        differences = F.conv2d(crop.float()[:, None], mask.to(crop.device))[:, 0].abs()
        middle = crop[:, 1:-1, 1:-1]
        found.append(differences[(middle > _CLIPPED[0]) & (middle < _CLIPPED[1])])
    values = torch.cat(found) if found else torch.zeros(0)
    return float(values.median()) / (6 * _NORMAL_MEDIAN) if len(values) else 0.0
