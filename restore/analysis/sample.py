"""Crops that stand for a whole picture, so that analysis costs the same for 1 and for 100 megapixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from restore.analysis.colours import ColourView
from restore.io.tensors import to_unit
from restore.picture import PictureInfo, PictureSource, ValueScale

CROP = 128
GRID = 10  # crops per axis: about 1.6 megapixels in all
_SPECKS = 3  # times that unknown pixels are filled from their neighbours
_MOST = 5  # of eight; at the edge of an area it is three
_NEIGHBOURS = ((0, -1), (-1, 0), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, 1), (1, -1))


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
        return to_unit(self.source.read_rows(first, first + height)[:, left : left + width], self.scale).contiguous()

    def known(self, top: int, left: int, height: int, width: int) -> torch.Tensor | None:
        """Where these pieces hold what may be measured, 1 x 1 x height x width; None: everywhere."""
        first = (self.source.info.stacked - 1) // 2 * self.size[0] + top
        known = ColourView.of(self.source).read_known(first, first + height)
        return None if known is None else torch.from_numpy(known[None, None, :, left : left + width])

    def middle(self, side: int) -> torch.Tensor:
        """The middle, at most `side` px high and wide: 1 x C x h x w."""
        height, width = (min(whole, side) for whole in self.size)
        return self.read((self.size[0] - height) // 2, (self.size[1] - width) // 2, height, width)


def sample_crops(source: PictureSource, scale: ValueScale, crop: int = CROP, grid: int = GRID) -> list[torch.Tensor]:
    """A regular grid of crops (samples x crop x crop, unit values), or the whole picture if it is small.

    Reads from top to bottom, so that streamed sources decode each row at most once.
    """
    return _crops(source.info, lambda start, stop: to_unit(source.read_rows(start, stop), scale)[0], crop, grid)


def known_crops(source: PictureSource, scale: ValueScale, crop: int = CROP, grid: int = GRID) -> list[torch.Tensor]:
    """As `sample_crops`, NaN where a picture does not hold what may be measured, but for specks and thin lines: there
    a neighbour stands for them, so that what is between them can be measured."""
    view = ColourView.of(source)

    def read(start: int, stop: int) -> torch.Tensor:
        unit, known = to_unit(view.read_rows(start, stop), scale)[0], view.read_known(start, stop)
        return unit if known is None else unit.masked_fill(~torch.from_numpy(known), torch.nan)

    return [_without_specks(crop) for crop in _crops(view.info, read, crop, grid)]


def _without_specks(crop: torch.Tensor) -> torch.Tensor:
    """C x H x W: unknown pixels that most of their neighbours surround have the value of one of them, three times."""
    for _ in range(_SPECKS):
        row, column = crop.isnan().any(0).nonzero(as_tuple=True)
        if not len(row):
            break
        around = F.pad(crop, (1, 1, 1, 1), value=torch.nan)
        near = torch.stack([around[:, row + 1 + y, column + 1 + x] for y, x in _NEIGHBOURS], 1)  # C x 8 x N
        known = ~near.isnan().any(0)
        first = known.int().argmax(0)  # the nearest that is known
        value = near[:, first, torch.arange(len(row))]
        speck = known.sum(0) >= _MOST
        crop = crop.clone()
        crop[:, row[speck], column[speck]] = value[:, speck]
    return crop


def _crops(info: PictureInfo, read: Callable[[int, int], torch.Tensor], crop: int, grid: int) -> list[torch.Tensor]:
    if info.pixels <= (crop * grid) ** 2:
        return [read(0, info.height).contiguous()]
    height, width = min(crop, info.height), min(crop, info.width)
    crops = []
    for top in _starts(info.height, height, grid):
        rows = read(top, top + height)
        crops += [rows[..., left : left + width].contiguous() for left in _starts(info.width, width, grid)]
    return crops


def _starts(size: int, crop: int, grid: int) -> list[int]:
    count = max(1, min(grid, size // crop))
    if count == 1:
        return [(size - crop) // 2]
    return sorted({round(i * (size - crop) / (count - 1)) for i in range(count)})
