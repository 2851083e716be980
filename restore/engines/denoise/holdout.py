"""How well a denoiser does on noisy pictures, without clean ones: by held-out pixels.

Blocks of a picture are covered with the median of those around them, which knows nothing of their noise. A denoiser's
answer in the middle of a block is therefore independent of the noise there, and the mean square of the difference to
what was measured is its error plus the variance of the noise, which is the same for all denoisers
(Batson, Royer, "Noise2Self", ICML 2019, https://arxiv.org/abs/1901.11365).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from restore.errors import ConfigError
from restore.inference.engine import Engine
from restore.inference.options import RunOptions
from restore.inference.runner import run
from restore.picture import MemorySink, Picture

SHARE = 0.02  # of the pixels that are held out
_STANDARD_ERRORS = 1.0  # by which a difference must exceed its own uncertainty


class HeldOut(NamedTuple):
    """A picture with covered blocks.

    Attributes:
        pixels: C x H x W, the blocks covered.
        rows, columns: N each, the middles of the blocks.
        truth: C x N, what was measured there.
    """

    pixels: Tensor
    rows: Tensor
    columns: Tensor
    truth: Tensor


def block_side(correlation_length: float) -> int:
    """Side of blocks whose middle is farther from uncovered pixels than noise is correlated, px, odd."""
    return 2 * math.ceil(max(correlation_length, 0.0)) + 1


def hold_out(x: Tensor, side: int, generator: torch.Generator, share: float = SHARE) -> HeldOut:
    """Cover blocks of side x side pixels of a picture C x H x W, one in each cell of a grid, none touching another.

    Each is covered, pixel by pixel, with the median of the eight blocks around it. Raises `ConfigError` if there is no
    room for one.
    """
    height, width = x.shape[-2:]
    cell = max(round(side / math.sqrt(share)), 3 * side + 1)
    down, across = height // cell, width // cell
    if not down or not across:
        what = f"a picture of {height} x {width} px is too small to hold out blocks of {side} px"
        raise ConfigError(what, fix=f"Give pictures of {cell} px or more, or use --method zero-shot")
    room = cell - 3 * side  # the block's neighbours stay in the cell
    count = down * across
    shift = torch.randint(room + 1, (2, count), generator=generator)
    place = torch.arange(count)
    top = place // across * cell + side + shift[0]
    left = place % across * cell + side + shift[1]
    offset = torch.arange(side)
    rows, columns = top[:, None, None] + offset[:, None], left[:, None, None] + offset  # count x side x side
    rows, columns = rows.expand(-1, side, side), columns.expand(-1, side, side)
    around = [(i * side, j * side) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    covered = x.clone()
    covered[:, rows, columns] = torch.stack([x[:, rows + i, columns + j] for i, j in around]).quantile(0.5, 0)
    middle_row, middle_column = top + side // 2, left + side // 2
    return HeldOut(covered, middle_row, middle_column, x[:, middle_row, middle_column])


def errors(engine: Engine, held_out: Sequence[HeldOut], device: torch.device | None = None) -> Tensor:
    """Square of the difference at every held-out middle, mean over channels: N"""
    options = RunOptions(device=str(device or "cpu"))
    squares = []
    for each in held_out:
        picture = Picture.from_array(each.pixels.movedim(0, -1).contiguous().numpy(), alpha=False)
        sinks: list[MemorySink] = []

        def into_memory(_: str, info, sinks: list[MemorySink] = sinks) -> MemorySink:
            sinks.append(MemorySink(info))
            return sinks[-1]

        run(engine, [picture], into_memory, options)
        answer = torch.from_numpy(sinks[0].picture.pixels).movedim(-1, 0)
        squares.append((answer[:, each.rows, each.columns] - each.truth).square().mean(0))
    return torch.cat(squares)


def clearly_better(first: Tensor, second: Tensor) -> bool:
    """Whether the first errors are below the second ones, of the same pixels, by more than chance: N each."""
    difference = (second - first).double()
    return bool(difference.mean() > _STANDARD_ERRORS * difference.std() / math.sqrt(max(1, len(difference))))
