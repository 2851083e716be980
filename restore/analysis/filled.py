"""Whether areas of one colour are laid over a picture (letterbox, masks), or are its own (black sky, burnt white)."""

from __future__ import annotations

import numpy as np

from restore.analysis.colours import ColourView
from restore.analysis.value_range import bands
from restore.picture import ValueScale

_STEP = 0.03  # of the range: what most of the edge of a mask jumps by; light fades
_MOST = 0.8  # of a picture that masks cover
_SAMPLED = 1 << 16  # steps of a band that are kept


def are_cut_off(view: ColourView, scale: ValueScale) -> bool:
    """Whether most of the edge of a picture's filled areas is a jump. In blurred pictures nothing of their own is one.

    Args:
        scale: of the picture.
    """
    if not 0 < view.missing.filled <= _MOST:
        return False
    steps = []
    for start, stop in bands(view.info):
        last = min(stop + 1, view.info.height)
        rows, known = view.read_rows(start, last).astype(np.float64), view.read_known(start, last)
        if known is None:
            continue
        for axis in (0, 1):
            edge = np.diff(known.astype(np.int8), axis=axis) != 0
            jumps = np.abs(np.diff(rows, axis=axis)).max(-1)[edge]
            steps.append(jumps[:: max(1, len(jumps) // _SAMPLED)])
    jumps = np.concatenate(steps) if steps else np.zeros(0)
    return len(jumps) > 0 and float(np.median(jumps)) > _STEP * scale.white
