"""Which stored value is white: determined once per picture, streamed, so that it can be put back exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from restore.errors import UnsupportedError, counted
from restore.picture import PictureInfo, PictureSource, ValueScale

FINITE_FIX = "Replace such samples with real values first (for example by interpolation)"
"""What to do about a picture with samples that are not finite."""
_BAND = 1 << 22  # samples read at once
_SENSOR_BITS = (8, 10, 12, 14)
_DIM = 0.05  # floats that never exceed this are scaled up: no display range was meant
_HIGHLIGHT = 4.0  # floats beyond this are highlights, if they are few
_OVERSHOOT = (-1.0, 2.0)  # noise and filters take floats of 0..1 no further


def iterate_rows(source: PictureSource) -> Iterator[np.ndarray]:
    """All rows of a picture in bands of bounded size."""
    info = source.info
    step = max(1, _BAND // max(1, info.width * info.samples))
    for start in range(0, info.height, step):
        yield source.read_rows(start, min(start + step, info.height))


def find_scale(source: PictureSource) -> ValueScale:
    """The value scale of a picture.

    uint8 is taken at its word. uint16 whose maximum fits a usual sensor depth (8, 10, 12, 14 bits) is taken
    as such data in a 16-bit file. Floats are 0..1 where most of them stay inside it and none is below -1 or above 2
    (noise overshoots), or where less than 1 % of them exceed it and some by far (high dynamic range). Else (counts,
    or nothing above 0.05) all their values are fitted into the unit range; white is a power of two, so for values
    from 0 on the way back is exact.

    Raises:
        UnsupportedError: float samples that are not finite.
    """
    info = source.info
    if info.dtype == "float32":
        return _float_scale(source)
    if info.dtype == "uint16" and info.bits == 16:
        highest = max(int(rows.max()) for rows in iterate_rows(source))
        for bits in _SENSOR_BITS:
            if highest < 2**bits:
                white = float(2**bits - 1)
                return ValueScale(0.0, white, white, f"values up to {highest}: {bits}-bit data in a 16-bit file")
    return ValueScale.nominal(info)


def _float_scale(source: PictureSource) -> ValueScale:
    lowest, highest, above, below, total = 0.0, 0.0, 0, 0, 0
    for rows in iterate_rows(source):
        _require_finite(rows, source.info)
        lowest, highest = min(lowest, float(rows.min())), max(highest, float(rows.max()))
        above += int((rows > 1).sum())
        below += int((rows < 0).sum())
        total += rows.size
    if lowest == 0 and (highest == 0 or _DIM < highest <= 1):
        return ValueScale.nominal(source.info)
    if lowest >= _OVERSHOOT[0] and _DIM < highest <= _OVERSHOOT[1] and 2 * (above + below) < total:
        note = f"float values {lowest:g} to {highest:g}: taken as 0..1 with overshoot"
        return replace(ValueScale.nominal(source.info), note=note)
    if highest > _HIGHLIGHT and above < 0.01 * total:
        note = f"high dynamic range up to {highest:g}: 0..1 is restored, highlights keep what exceeds it"
        return replace(ValueScale.nominal(source.info), note=note)
    white = 2.0 ** math.ceil(math.log2(highest - lowest))
    return ValueScale(lowest, white, None, f"float values {lowest:g} to {highest:g}, scaled by {white:g}")


def _require_finite(rows: np.ndarray, info: PictureInfo) -> None:
    broken = int(rows.size - np.isfinite(rows).sum())
    if broken:
        raise UnsupportedError(
            f"{counted(broken, 'sample')} {'is' if broken == 1 else 'are'} NaN or infinite",
            where=info.path,
            fix=FINITE_FIX,
        )
