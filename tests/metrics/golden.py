"""A pair of pictures made of sines, of any size, with known metrics."""

from __future__ import annotations

import torch
from torch import Tensor


def golden_pair(height: int, width: int) -> tuple[Tensor, Tensor]:
    """1 x 3 x H x W, float64, values in [0, 1]."""
    i = torch.arange(height, dtype=torch.float64).view(1, -1, 1)
    j = torch.arange(width, dtype=torch.float64).view(1, 1, -1)
    c = torch.arange(3, dtype=torch.float64).view(-1, 1, 1)
    turn = 2 * torch.pi
    x = 0.5 + 0.25 * (turn * (3 * i + 2 * j) / 64 + c).sin() + 0.2 * (turn * (i - 5 * j) / 48 + 2 * c).cos()
    wave = 0.1 * (turn * (i + 2 * j) / 96 + c).sin()
    ripple = 0.08 * (turn * (7 * i + 11 * j) / 23 + c).sin() * (turn * i / 9).cos()
    return x[None], (0.5 + 0.8 * (x - 0.5) + wave + ripple).clamp(0, 1)[None]
