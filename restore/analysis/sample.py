"""Crops that stand for a whole picture, so that analysis costs the same for 1 and for 100 megapixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from restore.io.tensors import to_unit
from restore.picture import PictureSource, ValueScale

CROP = 128
GRID = 10  # crops per axis: about 1.6 megapixels in all


class View(NamedTuple):
    """Pieces of a picture as unit values; of frames that are stacked to be measured together, of the middle one."""

    source: PictureSource
    scale: ValueScale

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.source.info.height // self.source.info.stacked, self.source.info.width

    def read(self, top: int, left: int, height: int, width: int) -> torch.Tensor:
        """1 x C x height x width."""
        first = (self.source.info.stacked - 1) // 2 * self.size[0] + top
        return _planes(self.source.read_rows(first, first + height)[:, left : left + width], self.scale)[None]

    def middle(self, side: int) -> torch.Tensor:
        """The middle, at most `side` px high and wide: 1 x C x h x w."""
        height, width = (min(whole, side) for whole in self.size)
        return self.read((self.size[0] - height) // 2, (self.size[1] - width) // 2, height, width)


def sample_crops(source: PictureSource, scale: ValueScale, crop: int = CROP, grid: int = GRID) -> list[torch.Tensor]:
    """A regular grid of crops (samples x crop x crop, unit values), or the whole picture if it is small.

    Reads from top to bottom, so that streamed sources decode each row at most once.
    """
    info = source.info
    if info.pixels <= (crop * grid) ** 2:
        return [_planes(source.read_rows(0, info.height), scale)]
    height, width = min(crop, info.height), min(crop, info.width)
    crops = []
    for top in _starts(info.height, height, grid):
        rows = source.read_rows(top, top + height)
        crops += [_planes(rows[:, left : left + width], scale) for left in _starts(info.width, width, grid)]
    return crops


def _planes(stored: np.ndarray, scale: ValueScale) -> torch.Tensor:
    return to_unit(stored, scale)[0].contiguous()


def _starts(size: int, crop: int, grid: int) -> list[int]:
    count = max(1, min(grid, size // crop))
    if count == 1:
        return [(size - crop) // 2]
    return sorted({round(i * (size - crop) / (count - 1)) for i in range(count)})
