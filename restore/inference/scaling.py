"""How unit values become samples of the target."""

from __future__ import annotations

from restore.picture import PictureInfo, ValueScale


def target_scale(scale: ValueScale, source: PictureInfo, target: PictureInfo) -> ValueScale:
    """The scale on the way out: that of the input, unless the file's depth changes."""
    if (source.dtype, source.bits) == (target.dtype, target.bits):
        return scale
    return ValueScale.nominal(target)
