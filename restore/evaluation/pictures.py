"""Pictures as metrics take them: whole, in memory, values in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from restore.errors import UnsupportedError
from restore.picture import Picture, PictureInfo, ValueScale

if TYPE_CHECKING:
    from torch import Tensor


_SENSOR_BITS = (8, 10, 12, 14, 16)
_DIM = 0.25  # of the file's white: a truth that is darker everywhere is of another range


@dataclass(frozen=True)
class UnitPicture:
    """A picture's colours: 1 x C x H x W float32, white = 1, without alpha; and what the file is."""

    values: Tensor
    info: PictureInfo


def read_unit(path: str | Path) -> UnitPicture:
    """The picture at `path` at full depth, its nominal white (65535 for 16 bits) as 1. Errors as of `restore.read`."""
    from restore.files import read

    picture = read(path)
    return UnitPicture(to_unit_picture(picture), picture.info)


def data_range(truth: Picture | np.ndarray[Any, Any]) -> ValueScale | None:
    """The range that 16-bit or float data are judged on: of counts 0 to the white of the smallest usual sensor (8 to 16
    bits) that holds their truth, else from the least to the largest value of the truth.

    None: they are judged on the file's own range, 0 to its white, since they fit in and use a good part of it.
    """
    if isinstance(truth, np.ndarray):
        truth = Picture.from_array(truth, alpha=False)
    info, colours = truth.info, truth.pixels[..., : truth.info.channels]
    if info.dtype == "uint8" or info.bits < 16 or not colours.size:
        return None
    low, high = float(np.nanmin(colours)), float(np.nanmax(colours))
    if not low < high or (low >= -info.white and _DIM * info.white <= high <= 2 * info.white):
        return None
    why = "its values"
    sensor = [2.0**bits - 1 for bits in _SENSOR_BITS if high <= 2**bits - 1]
    if low >= 0 and high > 1 and sensor:
        low, high, why = 0.0, sensor[0], "counts of a sensor"
    note = f"the truth ({truth.info.path or 'an array'}) is judged on the range {low:g} to {high:g}, {why}"
    return ValueScale(low, high - low, None, note)


def to_unit_picture(picture: Picture | np.ndarray[Any, Any], scale: ValueScale | None = None) -> Tensor:
    """The colours of a picture or an array (H x W x C): 1 x C x H x W float32, white = 1.

    Args:
        scale: of its values; None: that of the file.
    """
    from restore.io.tensors import to_unit

    if isinstance(picture, np.ndarray):
        picture = Picture.from_array(picture, alpha=False)
    return to_unit(picture.pixels[..., : picture.info.channels], scale or ValueScale.nominal(picture.info))


def require_scale(small: PictureInfo, large: PictureInfo) -> int:
    """How many times larger, a whole number, one picture is than another.

    Raises `UnsupportedError` if it is not, or if their channels differ.
    """
    scale = large.height // small.height
    if scale < 1 or (large.height, large.width) != (scale * small.height, scale * small.width):
        scale = 1
    require_alike(replace(small, height=scale * small.height, width=scale * small.width) if scale > 1 else small, large)
    return scale


def require_alike(a: PictureInfo, b: PictureInfo) -> None:
    """Raises `UnsupportedError` if two pictures cannot be compared."""
    if (a.height, a.width) != (b.height, b.width):
        raise UnsupportedError(
            f"the sizes differ: {a.width} x {a.height} and {b.width} x {b.height} pixels",
            where=a.path,
            fix="Metrics compare pixel with pixel: give the truth of this very picture",
        )
    if a.channels != b.channels:
        raise UnsupportedError(
            f"one has {a.channels} colour channels, the other {b.channels}", where=a.path, fix="Convert one of them"
        )
