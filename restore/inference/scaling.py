"""How unit values become samples of the target."""

from __future__ import annotations

from restore.picture import PictureInfo, ValueScale

_DISPLAY = (-1.0, 2.0)  # floats whose black and white lie in here are of 0..1, with overshoot


def target_scale(scale: ValueScale, source: PictureInfo, target: PictureInfo) -> ValueScale:
    """The scale on the way out: that of the input, and where the file's depth changes, the same in its units.

    White of the source (65535, or 1.0 of floats) becomes white of the target. Floats that hold something else than
    0..1 (counts, heights) have no white: their range becomes that of the target.
    """
    if (source.dtype, source.bits) == (target.dtype, target.bits):
        return scale
    nominal = ValueScale.nominal(target)
    display = _DISPLAY[0] <= scale.black and scale.black + scale.white <= _DISPLAY[1]
    if source.dtype == "float32" and not display:
        return nominal
    ratio = target.white / source.white
    return ValueScale(scale.black * ratio, scale.white * ratio, nominal.clip)
