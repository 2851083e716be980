"""Small things that all operators on batches share."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor


def per_sample(values: Tensor) -> Tensor:
    """One value for each sample, to go with pictures: B -> B x 1 x 1 x 1"""
    return values.view(-1, 1, 1, 1)


@cache
@torch.inference_mode(False)
def constant(values: Any, device: torch.device) -> Tensor:
    """Nested tuples of numbers as a float32 tensor, brought to a device once: every later time would wait for it."""
    return torch.tensor(values, dtype=torch.float32).to(device)
