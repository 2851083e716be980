"""Bars of one colour that were put on top of a blurred picture, above and below it (letterbox) or at its sides.

What lies beside them is a picture that ends there. A blur leaves no step: bars that were blurred with the rest are part
of the picture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from torch import Tensor

from restore.picture import PictureInfo, PictureSource, ValueScale

_BAND = 512  # rows at once
_STEP, _NOISES = 6 / 255, 3.0  # between a bar and the picture, at least: unit values, stds of the noise


class Box(NamedTuple):
    """Rows and columns of a picture, the second of each pair left out."""

    top: int
    bottom: int
    left: int
    right: int


class Inside:
    """The part of a picture in a box, as a `PictureSource`."""

    def __init__(self, source: PictureSource, box: Box) -> None:
        self._source, self._box = source, box
        self.info: PictureInfo = replace(source.info, height=box.bottom - box.top, width=box.right - box.left)

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        rows = self._source.read_rows(self._box.top + start, self._box.top + stop)
        return rows[:, self._box.left : self._box.right]

    def close(self) -> None:
        self._source.close()


def beside_bars(source: PictureSource, scale: ValueScale, psf: Tensor, sigma: float) -> Box | None:
    """Where the picture lies; None where no bars were put on top of it.

    Args:
        psf: h x w; an edge that went through it is no step.
        sigma: std of the noise, units of [0, 1].
    """
    info = source.info
    colour = source.read_rows(0, 1)[0, 0]
    if info.stacked > 1 or (source.read_rows(info.height - 1, info.height)[0, -1] != colour).any():
        return None
    rows, columns = np.zeros(info.height, bool), np.ones(info.width, bool)
    for start in range(0, info.height, _BAND):
        alike = (source.read_rows(start, min(start + _BAND, info.height)) == colour).all(-1)
        rows[start : start + len(alike)] = alike.all(1)
        columns &= alike[~alike.all(1)].all(0)
    if rows.all() or not (rows.any() or columns.any()):
        return None
    box = Box(*_ends(rows), *_ends(columns))
    inside = Inside(source, box)
    height, width, (down, across) = inside.info.height, inside.info.width, psf.shape
    if height <= 2 * down or width <= 2 * across:
        return None
    middle = inside.read_rows(max(0, (height - _BAND) // 2), min(height, (height + _BAND) // 2)).swapaxes(0, 1)
    top, bottom = inside.read_rows(0, down + 1), inside.read_rows(height - down - 1, height)[::-1]
    edges = [
        (box.top > 0, top, psf.sum(1)),
        (box.bottom < info.height, bottom, psf.sum(1)),
        (box.left > 0, middle[: across + 1], psf.sum(0)),
        (box.right < info.width, middle[::-1][: across + 1], psf.sum(0)),
    ]
    least = max(_STEP, _NOISES * sigma)
    steps = [
        _is_step(scale.to_unit(lines - colour.astype(np.float32)), shadow, least) for bar, lines, shadow in edges if bar
    ]
    return box if all(steps) else None


def _is_step(lines: np.ndarray, shadow: Tensor, least: float) -> bool:
    """Whether the first of the lines beside a bar stands out more than a blurred edge would.

    Args:
        lines: of samples along the bar, what they exceed its colour by; the last is beyond the blur.
        shadow: the PSF, summed along the bar.
    """
    near, far = (float(np.abs(lines[i]).max(-1).mean()) for i in (0, -1))
    return near > max(least, 0.5 * (1 + float(shadow.max() / shadow.sum())) * far)


def _ends(alike: np.ndarray) -> tuple[int, int]:
    other = np.flatnonzero(~alike)
    return int(other[0]), int(other[-1]) + 1
