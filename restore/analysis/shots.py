"""Where the shots of a clip begin: a frame that is unlike the one before it, while its neighbours are like theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from restore.picture import PictureSource

_HEIGHT, _WIDTH = 36, 64  # px of the small grey frames that are compared
_LEAST = 0.08  # mean difference over a cut, in units of white
_TIMES = 3.0  # the same over that of the frames around, or it is motion, a flash or a fade
_SHORTEST = 4  # frames of a shot
_EDGE = 1e-3  # units of white, that still frames differ by


def find_shots(frames: Iterable[PictureSource]) -> list[int]:
    """Indices of the first frame of each shot; the first is 0. Every frame is read once, and closed.

    A cut is where a small grey version changes by more than `_LEAST` of white in the mean, and `_TIMES` as much as it
    does before and after: a flash changes twice, motion and fades go on.
    """
    steps: list[float] = []
    before: np.ndarray | None = None
    for source in frames:
        small = _small(source)
        source.close()
        if before is not None:
            steps.append(float(np.abs(small - before).mean()))
        before = small
    return cuts_of(steps)


def cuts_of(steps: Sequence[float]) -> list[int]:
    """The same from the differences between frames i and i + 1, in units of white."""
    shots = [0]
    for index, step in enumerate(steps):
        around = max([*steps[max(0, index - 2) : index], *steps[index + 1 : index + 3], _EDGE])
        if step > _LEAST and step > _TIMES * around and index + 1 - shots[-1] >= _SHORTEST:
            shots.append(index + 1)
    return shots


def _small(source: PictureSource) -> np.ndarray:
    """A small grey version, units of white."""
    quick = getattr(source, "small", None)
    if quick is not None:
        return quick(_HEIGHT, _WIDTH).astype(np.float32) / 255
    import cv2

    info = source.info
    rows = source.read_rows(0, info.height)[..., : info.channels]
    white = info.white if info.dtype != "float32" else max(float(np.nanmax(rows)), 1e-9)
    small = cv2.resize(rows.astype(np.float32).mean(-1) / white, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
    return np.nan_to_num(small)
