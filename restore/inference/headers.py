"""What is refused by the headers of pictures alone, in a run and in a dry run alike. Light: no torch."""

from __future__ import annotations

from collections.abc import Sequence

from restore.errors import UnsupportedError, counted
from restore.inference.options import Box
from restore.picture import PictureInfo


def common_info(infos: Sequence[PictureInfo]) -> PictureInfo:
    """The header of the first of pictures that are taken together.

    Raises `UnsupportedError` naming the one that differs from it in size, depth or channels.
    """
    first = infos[0]
    for other in infos[1:]:
        if _kind(other) != _kind(first):
            raise UnsupportedError(
                f"the pictures differ: {_in_words(first)} and {_in_words(other)}",
                where=other.path,
                fix="Give pictures of one size, depth and number of channels",
            )
    return first


def crop_box(crop: Box | None, info: PictureInfo) -> tuple[int, int, int, int]:
    """x, y, width, height -> top, bottom, left, right; None: all of the picture.

    Raises `UnsupportedError` if the crop is not inside the picture.
    """
    if crop is None:
        return 0, info.height, 0, info.width
    x, y, width, height = crop
    if x < 0 or y < 0 or width < 1 or height < 1 or x + width > info.width or y + height > info.height:
        raise UnsupportedError(
            f"the crop {x},{y},{width},{height} is not inside the picture of {info.width} x {info.height}",
            where=info.path,
            fix="Give --crop x,y,width,height in pixels",
        )
    return y, y + height, x, x + width


def _kind(info: PictureInfo) -> tuple[object, ...]:
    return info.height, info.width, info.samples, info.dtype, info.bits


def _in_words(info: PictureInfo) -> str:
    depth = "floats" if info.dtype == "float32" else f"{info.bits} bits"
    return f"{info.width} x {info.height} ({counted(info.samples, 'channel')}, {depth})"
