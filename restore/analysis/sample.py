"""Crops that stand for a whole picture, so that analysis costs the same for 1 and for 100 megapixels."""

from __future__ import annotations

import numpy as np
import torch

from restore.io.tensors import to_unit
from restore.picture import PictureSource, ValueScale

CROP = 128
GRID = 10  # crops per axis: about 1.6 megapixels in all


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


def middle_crop(source: PictureSource, scale: ValueScale, side: int) -> torch.Tensor:
    """The middle of a picture, at most `side` px high and wide: samples x h x w, unit values.

    Of frames that are stacked to be measured together it is that of the middle one.
    """
    info = source.info
    whole = info.height // info.stacked
    height, width = min(whole, side), min(info.width, side)
    top, left = (info.stacked - 1) // 2 * whole + (whole - height) // 2, (info.width - width) // 2
    return _planes(source.read_rows(top, top + height)[:, left : left + width], scale)


def _planes(stored: np.ndarray, scale: ValueScale) -> torch.Tensor:
    return to_unit(stored, scale)[0].contiguous()


def _starts(size: int, crop: int, grid: int) -> list[int]:
    count = max(1, min(grid, size // crop))
    if count == 1:
        return [(size - crop) // 2]
    return sorted({round(i * (size - crop) / (count - 1)) for i in range(count)})
