"""Which stored values are black and white: determined once per picture, streamed, so that it can be put back exactly.

8-bit files, and those that declare fewer bits than their type has, are taken at their word. 16-bit and float data may
hold anything (a dim exposure, counts, temperatures, heights): their range is that of nearly all of their values.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from restore.analysis.colours import ColourView
from restore.picture import PictureInfo, PictureSource, ValueScale

_DIM = 0.25  # of the file's white: what does not reach it is of another range
_BAND = 1 << 22  # samples read at once
_SAMPLED = 1 << 20  # samples that stand for the picture
_TAILS = (0.002, 0.5 - 0.45, 0.5, 0.5 + 0.45, 0.998)
_LIGHTS = 0.9995
_REACH = 8.0  # from the median, in units of the 5 % and 95 % quantiles' distance: beyond are stars and lights
_MARGIN = 0.05  # of the range, left free on either side
_END = (0.002, 0.006)  # shares of the samples at an end of what a file holds: where it begins to count, and counts


def iterate_rows(source: PictureSource) -> Iterator[np.ndarray]:
    """All rows of a picture in bands of bounded size."""
    for start, stop in bands(source.info):
        yield source.read_rows(start, stop)


def find_scale(source: PictureSource, *, lights: bool = False, filled: bool = False) -> ValueScale:
    """The value scale of a picture.

    What is 8 bits, or declares its bits, has black at 0 and white at its largest value. Else the scale follows the
    values: an affine change of them, or of their type, changes it likewise. It spans 0.2 to 99.8 % of the samples and
    a twentieth more on either side, but no more than `_REACH` times what lies between the median and 5 or 95 % of
    them. Where more than a few samples lie at an end of what the file holds (0 and 65535, or 0.0 and 1.0), that end
    is black or white. Samples that hold no picture do not count.

    Values beyond the scale are not lost: `ValueScale.clip` is what the file holds.

    Args:
        lights: whether few bright samples (stars, beads) are what the picture is about: white then lies above 99.95 %
            of the samples, however far above the others.
        filled: whether areas filled with one colour are a part of the picture (a black sky), and count.
    Raises:
        UnsupportedError: infinite samples.
    """
    info = source.info
    nominal = ValueScale.nominal(info)
    if info.dtype == "uint8" or (info.dtype == "uint16" and info.bits < 16):
        return nominal
    sample = _sample(ColourView.of(source), filled)
    if not len(sample) or sample[0] == sample[-1]:
        return nominal
    black, white = _limits(sample, nominal.white, lights)
    if (black, white) == (0.0, nominal.white):
        return nominal
    note = f"values {sample[0]:g} to {sample[-1]:g}: black {black:.6g}, white {white:.6g}"
    return ValueScale(black, white - black, nominal.clip, note)


def damage_scale(source: PictureSource) -> ValueScale:
    """What damage made on purpose is relative to: the file's own range, where the picture uses a good part of it."""
    nominal, found = ValueScale.nominal(source.info), find_scale(source)
    fits = found.black >= -nominal.white and _DIM * nominal.white <= found.black + found.white <= 2 * nominal.white
    return nominal if fits else found


def _limits(sample: np.ndarray, top: float, lights: bool) -> tuple[float, float]:
    """Stored values of black and white, of sorted samples in a file whose ends are 0 and `top`."""
    lowest, low, middle, high, highest = (float(value) for value in np.quantile(sample, _TAILS))
    first = max(lowest, middle - _REACH * (middle - low))
    last = min(highest, middle + _REACH * (high - middle))
    if lights:
        last = highest = float(np.quantile(sample, _LIGHTS))
    if last <= first:
        first, last = lowest, highest
    if last <= first:  # but for a few samples there is one value
        return 0.0, top
    margin = _MARGIN * (last - first)
    black, white = first - margin, last + margin
    if lowest >= 0 and first == lowest:
        black += _share_at(sample, 0.0) * (0.0 - black)
    if highest <= top and last == highest:
        white += _share_at(sample, top) * (top - white)
    return black, white


def _share_at(sample: np.ndarray, end: float) -> float:
    """0 to 1: whether samples at this value are enough to be an end."""
    share = (np.searchsorted(sample, end, "right") - np.searchsorted(sample, end, "left")) / len(sample)
    return float(np.clip((share - _END[0]) / (_END[1] - _END[0]), 0, 1))


def _sample(view: ColourView, filled: bool) -> np.ndarray:
    """Sorted samples of a picture's colours, at most about `_SAMPLED`, of what is known."""
    info = view.info
    every = max(1, info.pixels * info.channels // _SAMPLED)
    parts, place = [], 0
    for start, stop in bands(info):
        rows, known = view.read_rows(start, stop), view.read_known(start, stop, filled=filled)
        chosen = slice(-place % every, None, every)
        flat = rows.reshape(-1)[chosen]
        place += rows.size
        if known is not None:
            flat = flat[np.broadcast_to(known[..., None], rows.shape).reshape(-1)[chosen]]
        parts.append(flat)
    return np.sort(np.concatenate(parts).astype(np.float64))


def bands(info: PictureInfo) -> Iterator[tuple[int, int]]:
    """(first row, last row + 1) of bands of bounded size."""
    step = max(1, _BAND // max(1, info.width * info.samples))
    for start in range(0, info.height, step):
        yield start, min(start + step, info.height)
