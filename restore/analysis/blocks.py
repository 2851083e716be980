"""Small blocks of a picture in the DCT domain, and how flat each is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.analysis.clipping import TABLE, variance_tables
from restore.physics.dct import dct_matrix

BLOCK = 8
_MAX_BLOCKS = 60_000


def block_dct(crops: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Orthonormal 8 x 8 DCT of blocks, on a stride that bounds their number: N x C x 64

    And for every block the low-frequency energy of its place and of its eight neighbours, each N: small means
    flat. The neighbours' is independent of the block's own noise, so choosing by it biases nothing.
    """
    area = max(1, sum(int(c[0].isfinite().sum()) for c in crops))
    stride = max(BLOCK // 2, math.ceil(math.sqrt(area / _MAX_BLOCKS)))
    apart = math.ceil(BLOCK / stride)
    coefficients, own, around = [], [], []
    for crop in crops:
        if min(crop.shape[1:]) < 3 * BLOCK:
            continue
        blocks = F.conv2d(crop.float()[:, None], _dct_basis().to(crop.device), stride=stride)  # C x 64 x h x w
        energy = blocks[:, orders(1, 3)].square().sum((0, 1))
        ring = blocks.new_ones(1, 1, 3, 3) / 8
        ring[..., 1, 1] = 0
        padded = F.pad(energy[None, None], (apart,) * 4, mode="reflect")
        coefficients.append(blocks.flatten(2).permute(2, 0, 1))
        own.append(F.avg_pool2d(energy[None], 3, 1, padding=1, count_include_pad=False).flatten())
        around.append(F.conv2d(padded, ring, dilation=apart).flatten())
    if not coefficients:
        nothing = crops[0].new_zeros(0, dtype=torch.float32)
        return nothing.view(0, crops[0].shape[0], BLOCK * BLOCK), nothing, nothing
    blocks, within, near = torch.cat(coefficients), torch.cat(own), torch.cat(around)
    known = within.isfinite() & near.isfinite()  # of a block that holds NaN, or is beside one, neither is
    return (blocks.contiguous(), within, near) if known.all() else (blocks[known], within[known], near[known])


def _dct_basis() -> Tensor:
    """All 8 x 8 DCT functions as convolution kernels: 64 x 1 x 8 x 8"""
    matrix = dct_matrix(BLOCK)
    return torch.einsum("ay,bx->abyx", matrix, matrix).reshape(BLOCK * BLOCK, 1, BLOCK, BLOCK)


def orders(low: int, high: int) -> Tensor:
    """Indices of the frequencies with low <= u + v <= high."""
    k = torch.arange(BLOCK)
    order = (k[:, None] + k[None]).flatten()
    return ((order >= low) & (order <= high)).nonzero()[:, 0]


def expected_variance(blocks: Tensor, levels: Tensor) -> Tensor:
    """That of noise of these levels, at the mean of each block, in each opponent channel: N x C"""
    channels = blocks.shape[1]
    places = (blocks[:, :, 0].clamp(0, BLOCK) / BLOCK * (TABLE - 1)).long()
    table = variance_tables(levels)[0].to(blocks.device)
    variance = torch.stack([table[c, places[:, c]] for c in range(channels)], 1)
    return variance @ dct_matrix(channels).to(variance).square().T
