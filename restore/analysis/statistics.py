"""Mean and standard deviation of a picture's channels, streamed: what a network is standardised by, once, whole."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from restore.analysis.value_range import iterate_rows
from restore.picture import PictureSource, ValueScale


def mean_and_std(source: PictureSource, scale: ValueScale) -> tuple[Tensor, Tensor]:
    """Of every colour channel in unit values: C each, float32. A std is at least 1 / sqrt(pixels).

    Sums are taken of differences from the first band's mean, in float64: nothing cancels on large flat pictures.
    """
    channels, count = source.info.channels, 0
    origin, first, second = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    for rows in iterate_rows(source):
        unit = scale.to_unit(rows[..., :channels].astype(np.float64)).reshape(-1, channels)
        origin = origin if count else unit.mean(0)
        first += (unit - origin).sum(0)
        second += np.square(unit - origin).sum(0)
        count += len(unit)
    mean = first / count
    std = np.sqrt(np.maximum(second / count - mean**2, 1 / count))
    return torch.from_numpy(mean + origin).float(), torch.from_numpy(std).float()
