"""Small things that all operators on batches share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def per_sample(values: Tensor) -> Tensor:
    """One value for each sample, to go with pictures: B -> B x 1 x 1 x 1"""
    return values.view(-1, 1, 1, 1)


def crop_or_pad(x: Tensor, size: Sequence[int]) -> Tensor:
    """The middle of ... x H x W at another height and width, zeros added; an odd pixel is added or cut at the end.

    A single middle sample (odd sides) stays the middle one.
    """
    for dim, side in zip((-2, -1), size, strict=True):
        more = side - x.shape[dim]
        if more < 0:
            x = x.narrow(dim, -more // 2, side)
        elif more > 0:
            border = (more // 2, more - more // 2)
            x = F.pad(x, border if dim == -1 else (0, 0, *border))
    return x


@cache
@torch.inference_mode(False)
def constant(values: Any, device: torch.device) -> Tensor:
    """Nested tuples of numbers as a float32 tensor, brought to a device once: every later time would wait for it."""
    return torch.tensor(values, dtype=torch.float32).to(device)
