"""Samples that hold no picture: NaN, no-data values, and areas that are filled with one colour.

Found once for a picture, streamed, and then told locally, so that bands and tiles agree about every pixel.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from restore.errors import UnsupportedError, counted
from restore.picture import PictureInfo, PictureSource, fits

INFINITE_FIX = "Replace such samples with real values, or with NaN, which is left out"
"""What to do about a picture with infinite samples."""
REACH = 24
"""Rows around a pixel on which it depends whether it belongs to a filled area."""
_SENTINELS = (-9999.0, -99999.0, -999.0, -32767.0, -32768.0)
"""What programs write where a measurement is missing, beside values beyond any measurement."""
_HUGE = 1e30  # floats beyond this are none
_FAR = 3.0  # times the range of the rest, that a sentinel lies outside of it
_FAR_BELOW, _FAR_ABOVE = 30.0, 10_000.0  # the same of the least and the largest value, if they occur again and again
_AGAIN = 3  # pixels
_SIDE, _GROWN = 8, 4  # px: least side of a filled area; how far its edge is followed beyond such squares
_EDGE = 2  # px: side of the squares that its edge consists of: single pixels of its colour there are noise
_LEAST = 0.01  # of the pixels, that one colour fills
_MOST = 16  # colours
_BAND = 1 << 22  # samples read at once
_SAMPLED = 1 << 18  # samples that stand for the picture's values
_TAILS = (0.002, 0.998)


@dataclass(frozen=True)
class Missing:
    """What of a picture holds no picture.

    Attributes:
        nan: some samples are NaN.
        values: no-data values that occur; a pixel with one in any channel holds nothing.
        fills: colours (a value for each channel) that fill areas of at least 8 x 8 px, exactly.
        share: of the pixels, that are NaN or no-data.
        filled: of the pixels, that such areas hold.
    """

    nan: bool = False
    values: tuple[float, ...] = ()
    fills: tuple[tuple[float, ...], ...] = ()
    share: float = 0.0
    filled: float = 0.0

    @property
    def note(self) -> str:
        """What is said to the user; "" if nothing is missing."""
        kinds = [*(["NaN"] if self.nan else []), *(f"no-data value {value:g}" for value in self.values)]
        parts = [f"{self.share:.1%} of the pixels ({', '.join(kinds)}) hold no picture"] if kinds else []
        if self.fills:
            parts.append(f"{self.filled:.1%} are filled with one colour")
        return f"{' and '.join(parts)}: not measured, and kept as they are" if parts else ""

    def absent(self, colours: np.ndarray) -> np.ndarray | None:
        """Rows H x W x C -> H x W, where a pixel holds no picture; None: nowhere."""
        if not (self.nan or self.values):
            return None
        mask = np.asarray(np.isnan(colours).any(-1))
        for value in self.values:
            mask |= (colours == value).any(-1)
        return mask

    def flat(self, colours: np.ndarray) -> np.ndarray | None:
        """Rows H x W x C -> H x W, filled areas; right for rows with `REACH` more on either side. None: nowhere."""
        import cv2

        if not self.fills:
            return None
        found = np.zeros(colours.shape[:2], np.uint8)
        around = np.ones((2 * _GROWN + 1,) * 2, np.uint8)
        for fill in self.fills:
            alike = (colours == np.asarray(fill, colours.dtype)).all(-1).astype(np.uint8)
            found |= cv2.dilate(_squares(alike, _SIDE), around) & _squares(alike, _EDGE)
        return found.astype(bool)


def _squares(mask: np.ndarray, side: int) -> np.ndarray:
    """H x W of 0 and 1 -> the same, of which only what lies in squares of this even side is left."""
    import cv2

    square = np.ones((side, side), np.uint8)
    return cv2.dilate(cv2.erode(mask, square), square, anchor=(side // 2 - 1, side // 2 - 1))


def find_missing(source: PictureSource) -> Missing:
    """What of a picture (its colours; alpha is looked at elsewhere) holds no picture.

    NaN; the value that the file declares as no-data; the usual sentinels where they lie far outside the rest of the
    values, and whatever exceeds 1e30; areas of one colour that hold at least 1 % of the pixels.

    Raises:
        UnsupportedError: infinite samples.
    """
    info = source.info
    floats = info.dtype == "float32"
    rest, absent, seen, nan, fills = [], Counter[float](), 0, 0, Counter[tuple[float, ...]]()
    every = max(1, info.pixels * info.channels // _SAMPLED)
    rows_at_once = max(_SIDE, _BAND // max(1, info.width * info.samples) // _SIDE * _SIDE)
    infinite, ends = 0, (Counter[float](), Counter[float]())
    for start in range(0, info.height, rows_at_once):
        colours = source.read_rows(start, min(start + rows_at_once, info.height))[..., : info.channels]
        if floats:
            nan += int(np.isnan(colours).any(-1).sum())
            infinite += int(np.isinf(colours).sum())
            rest.append(colours.reshape(-1)[::every])
            seen += colours.size
            absent.update(_sentinels_in(colours, info))
            _count_ends(colours, ends)
        elif info.nodata is not None:
            absent.update(_sentinels_in(colours, info))
        fills.update(_filled_squares(colours))
    if infinite:
        raise UnsupportedError(
            f"{counted(infinite, 'sample')} {'is' if infinite == 1 else 'are'} infinite", where=info.path,
            fix=INFINITE_FIX,
        )  # fmt: skip
    values = _outside(absent, ends, np.concatenate(rest) if rest else np.zeros(0), info)
    squares = {colour: count * _SIDE**2 / info.pixels for colour, count in fills.most_common(_MOST)}
    filled = {colour: share for colour, share in squares.items() if share >= _LEAST and not set(colour) & set(values)}
    share = (nan + sum(absent[value] for value in values)) / info.pixels
    return Missing(nan > 0, values, tuple(sorted(filled)), share, sum(filled.values()))


def _sentinels_in(colours: np.ndarray, info: PictureInfo) -> dict[float, int]:
    """Values that may mark missing samples -> in how many pixels they occur."""
    found: dict[float, int] = {}
    candidates = {*_SENTINELS} if info.dtype == "float32" else set[float]()
    candidates |= set() if info.nodata is None else {info.nodata}
    if info.dtype == "float32":
        huge = np.abs(colours) > _HUGE
        candidates |= {float(value) for value in np.unique(colours[huge & np.isfinite(colours)])[:_MOST]}
    for value in candidates:
        count = int((colours == value).any(-1).sum()) if fits(value, info.dtype) else 0
        if count:
            found[value] = count
    return found


def _count_ends(colours: np.ndarray, ends: tuple[Counter[float], Counter[float]]) -> None:
    """Add the least and the largest value of rows that are no sentinel, and in how many pixels they occur."""
    usual = np.isfinite(colours) & (np.abs(colours) <= _HUGE) & ~np.isin(colours, _SENTINELS)
    for pick, counts in zip((np.min, np.max), ends, strict=True):
        if usual.any():
            value = float(pick(colours[usual]))
            counts[value] += int((colours == value).any(-1).sum())


def _outside(
    found: Counter[float], ends: tuple[Counter[float], Counter[float]], sample: np.ndarray, info: PictureInfo
) -> tuple[float, ...]:
    """Of the values found, and of the least and the largest one, those that are declared, huge, or far outside."""
    least, largest = min(ends[0], default=0.0), max(ends[1], default=0.0)
    factors = dict.fromkeys(found, _FAR)
    for value, counts, factor in ((least, ends[0], _FAR_BELOW), (largest, ends[1], _FAR_ABOVE)):
        if counts[value] >= _AGAIN and value not in found:
            factors[value], found[value] = factor, counts[value]
    sample = sample[np.isfinite(sample) & (np.abs(sample) <= _HUGE) & ~np.isin(sample, list(found))]
    low, high = np.quantile(sample, _TAILS) if len(sample) else (0.0, 0.0)

    def is_far(value: float) -> bool:
        if value == info.nodata or abs(value) > _HUGE:
            return True
        margin = factors[value] * (high - low)
        known = high > low or factors[value] == _FAR
        return len(sample) > 0 and known and not low - margin <= value <= high + margin

    return tuple(sorted(filter(is_far, found)))


def _filled_squares(colours: np.ndarray) -> Counter[tuple[float, ...]]:
    """How many aligned squares of 8 x 8 px each colour fills exactly."""
    height, width = (side // _SIDE * _SIDE for side in colours.shape[:2])
    if not height or not width:
        return Counter()
    colours = colours[:height, :width]
    low, high = (_over_columns(_over_rows(colours, pick), pick) for pick in (np.minimum, np.maximum))
    return Counter(map(tuple, low[(low == high).all(-1)].tolist()))


def _over_rows(x: np.ndarray, pick: np.ufunc) -> np.ndarray:
    out = x[::_SIDE].copy()
    for k in range(1, _SIDE):
        pick(out, x[k::_SIDE], out=out)
    return out


def _over_columns(x: np.ndarray, pick: np.ufunc) -> np.ndarray:
    out = x[:, ::_SIDE].copy()
    for k in range(1, _SIDE):
        pick(out, x[:, k::_SIDE], out=out)
    return out
