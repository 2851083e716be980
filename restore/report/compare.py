"""A before | after picture, written row by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from restore.io.atomic import AtomicFile
from restore.io.codecs import SaveOptions, create
from restore.picture import PictureInfo, PictureSource

GAP = 4
"""Width of the white line between the two halves, pixels."""
_ROWS = 64


def write_comparison(
    before: PictureSource,
    after: PictureSource,
    file: AtomicFile,
    crop: tuple[int, int, int, int] | None = None,
) -> None:
    """Write an 8-bit PNG with `before` on the left and `after` on the right.

    Deeper samples are scaled for the eye, both halves alike: integers by the bits `before` really uses,
    floats by its smallest and largest value. Alpha is left out. If `after` is of another size, pixels
    of `before` are repeated (or left out), so that those of `after` are seen as they are.

    Args:
        file: where it is written; committed, or discarded on any error.
        crop: x, y, width, height of the part of `before` that `after` shows.
    Raises:
        FileError: see `restore.io.codecs.create`.
    """
    try:
        _write(before, after, file, crop or (0, 0, before.info.width, before.info.height))
    except BaseException:
        file.abort()
        raise


def _write(before: PictureSource, after: PictureSource, file: AtomicFile, crop: tuple[int, int, int, int]) -> None:
    x, y, width, height = crop
    channels = 3 if min(before.info.channels, after.info.channels) >= 3 else 1
    low, high = _range(before)
    kept = (after.info.dtype, after.info.bits) == (before.info.dtype, before.info.bits)
    low_after, high_after = (low, high) if kept else (0.0, after.info.white)  # a converted depth has its nominal range
    rows, columns = (np.arange(n) * m // n for m, n in ((height, after.info.height), (width, after.info.width)))
    info = PictureInfo(len(rows), 2 * len(columns) + GAP, channels, metadata=replace(before.info.metadata, dpi=None))
    sink = create(file.path, info, SaveOptions(), file)
    last, held = -1, before.read_rows(y, y)  # the last row that was read: none is read twice
    for top in range(0, len(rows), _ROWS):
        wanted = y + rows[top : top + _ROWS]
        again = int(wanted[0] == last)
        new = before.read_rows(int(wanted[0]) + again, int(wanted[-1]) + 1)
        read = np.concatenate([held, new]) if again else new
        last, held = int(wanted[-1]), read[-1:]
        left = read[wanted - wanted[0], x : x + width, :channels][:, columns]
        right = after.read_rows(top, top + len(wanted))[:, :, :channels]
        gap = np.full((len(right), GAP, channels), 255, np.uint8)
        sink.write_rows(
            np.concatenate([_to_bytes(left, low, high), gap, _to_bytes(right, low_after, high_after)], axis=1)
        )
    sink.commit()


def _range(source: PictureSource) -> tuple[float, float]:
    """The sample values to show as black and white."""
    if source.info.dtype == "uint8":
        return 0.0, 255.0
    low, high = _extent(source)
    if source.info.dtype == "uint16":
        return 0.0, float(2 ** max(int(high).bit_length(), 8) - 1)
    return low, high


def _to_bytes(rows: np.ndarray, low: float, high: float) -> np.ndarray:
    unit = (np.nan_to_num(rows.astype(np.float32)) - low) / max(high - low, 1e-30)
    return np.rint(np.clip(unit, 0.0, 1.0) * 255).astype(np.uint8)


def _extent(source: PictureSource) -> tuple[float, float]:
    low, high = np.inf, -np.inf
    for top in range(0, source.info.height, _ROWS):
        rows = source.read_rows(top, min(top + _ROWS, source.info.height))[:, :, : source.info.channels]
        finite = rows[np.isfinite(rows)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high) if low <= high else (0.0, 1.0)
