"""Pictures that were enlarged by repeating pixels: what seems coarse noise in them is detail of the smaller one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

_FEWEST = 8  # changes along an axis, that tell where pixels end


def without_repeats(crops: Sequence[Tensor]) -> list[Tensor] | None:
    """Crops C x H x W of a picture each of whose pixels fills a rectangle, as crops of the smaller one; None: of none."""
    smaller = []
    for crop in crops:
        rows, columns = (_period((crop.diff(dim=axis) != 0).any(0).any(2 - axis)) for axis in (1, 2))
        if rows is None or columns is None:
            return None
        smaller.append(crop[:, rows.start :: rows.step, columns.start :: columns.step])
    return smaller or None


def _period(changes: Tensor) -> slice | None:
    """Where along an axis pixels begin, from where samples differ from the ones before; None: they are not repeated."""
    places = (changes.nonzero()[:, 0] + 1).tolist()
    step = math.gcd(*(place - places[0] for place in places[1:])) if len(places) >= _FEWEST else 1
    return slice(places[0] % step, None, step) if step > 1 else None
