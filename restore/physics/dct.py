"""The discrete cosine transform as a matrix."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def dct_matrix(size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Orthonormal DCT-II, size x size, row = frequency."""
    k = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi * (k[None] + 0.5) * k[:, None] / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix.to(dtype)
