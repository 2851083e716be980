"""Single samples that stand out from their neighbours: hot and dead pixels, and stars of one pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

FEW = 0.002
"""Share of the samples up to which impulses are single ones; more of them are noise, for a network to remove."""
_STEP = 0.05  # of the unit range, that an impulse exceeds all its neighbours by at least
_BEYOND_NOISE = 6.0  # times the std of the noise, that it does
_APART = 2.0  # times the range of its neighbours, that an impulse exceeds all of them by


def find_impulses(rows: np.ndarray, step: float) -> tuple[np.ndarray, ...]:
    """Indices (row, column, channel) of the samples that exceed their eight neighbours, or lie below them, by far.

    Args:
        rows: H x W x C, finite.
        step: the least difference, in the units of the rows.
    """
    import cv2

    ring = np.ones((3, 3), np.uint8)
    ring[1, 1] = 0
    rows = np.ascontiguousarray(rows)
    high, low = (x.reshape(rows.shape) for x in (cv2.dilate(rows, ring), cv2.erode(rows, ring)))
    where = np.nonzero((rows > high) | (rows < low))
    value, top, bottom = (x[where].astype(np.float64) for x in (rows, high, low))
    beyond = np.maximum(value - top, bottom - value)
    clear = (beyond > _APART * (top - bottom)) & (beyond >= step)
    return tuple(index[clear] for index in where)


def least_step(sigma: float) -> float:
    """What impulses exceed their neighbours by in noise of this std, both in unit values."""
    return max(_STEP, _BEYOND_NOISE * sigma)


def are_few(crops: Sequence[Tensor], step: float) -> bool:
    """Whether pieces of a picture, C x H x W unit values each, NaN where nothing is known, hold at most `FEW`."""
    found = total = 0
    for crop in crops:
        known = crop.isfinite()
        rows = crop.nan_to_num().movedim(0, -1).cpu().numpy()
        found += len(find_impulses(rows, step)[0])
        total += int(known.sum())
    return found <= FEW * total


def neighbours_median(rows: np.ndarray, where: tuple[np.ndarray, ...], distance: int = 1) -> np.ndarray:
    """Median of the eight neighbours (at the border of those there are) of the samples at these indices.

    Args:
        distance: px; 2: the sixteen around those, and so on.
    """
    padded = np.pad(rows.astype(np.float64), ((distance,) * 2, (distance,) * 2, (0, 0)), constant_values=np.nan)
    y, x, channel = (np.asarray(index) for index in where)
    steps = range(-distance, distance + 1)
    ring = [(i, j) for i in steps for j in steps if max(abs(i), abs(j)) == distance]
    around = [padded[y + distance + i, x + distance + j, channel] for i, j in ring]
    middle = np.nanmedian(np.stack(around), axis=0) if len(y) else np.zeros(0)
    return np.rint(middle) if rows.dtype.kind == "u" else middle
