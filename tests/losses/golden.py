"""Two pictures whose losses are known, from formulas: no files needed."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor


def golden_pair(height: int, width: int) -> tuple[Tensor, Tensor]:
    """(x, y), 1 x 3 x H x W each, float64, in [0, 1]: a texture, and it with less contrast and a pattern on top."""
    i = torch.arange(height, dtype=torch.float64)[:, None]
    j = torch.arange(width, dtype=torch.float64)[None]
    clean, damaged = [], []
    for c in range(3):
        x = 0.5 + 0.25 * torch.sin(2 * pi * (3 * i + 2 * j) / 64 + c)
        x = x + 0.20 * torch.cos(2 * pi * (i - 5 * j) / 48 + 2 * c)
        pattern = 0.08 * torch.sin(2 * pi * (7 * i + 11 * j) / 23 + c) * torch.cos(2 * pi * i / 9)
        clean.append(x)
        damaged.append((0.5 + 0.8 * (x - 0.5) + 0.10 * torch.sin(2 * pi * (i + 2 * j) / 96 + c) + pattern).clamp(0, 1))
    return torch.stack(clean)[None], torch.stack(damaged)[None]


def random_pair(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
    """(a random picture, the same with noise), float32, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator)
    noise = torch.randn(shape, generator=generator)
    return x, (x + 0.3 * torch.rand(1, generator=generator) * noise).clamp(0, 1)
