"""A sink that resamples what it is given, row by row: how outputs get a size that no network's scale makes."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from restore.physics.resample import Taps, resample_axis, resize_taps
from restore.picture import PictureInfo, PictureSink

_STEP = 64  # rows resampled at once
_HIDDEN = 1e-3  # weight of a colour that is wholly transparent: it is kept where all around is


class ResizedSink:
    """Takes rows of one size, as float samples in the units of the sink behind, and gives that one rows of its size.

    Bicubic, antialiased (`restore.physics.resample.resize_taps`). Each row of the result is the same in whatever bands
    the rows come, and no more rows are held than one of them needs. Colours are weighted by their alpha, so that
    hidden ones do not bleed into what is seen.

    Args:
        sink: what is written; integers are rounded and end at `clip`.
        height, width: of the rows that come.
        clip: largest stored value, None for no limit (float sinks).
    """

    def __init__(self, sink: PictureSink, height: int, width: int, clip: float | None) -> None:
        self._sink, self._clip = sink, clip
        self.info: PictureInfo = replace(sink.info, height=height, width=width, dtype="float32")
        self._columns = resize_taps(width, sink.info.width)
        self._rows = resize_taps(height, sink.info.height)
        self._needs = self._rows.places.amax(1).tolist()  # the last row that each row of the result is made of
        first = self._rows.places.amin(1).tolist()
        self._keeps = [*accumulate(first[::-1], min)][::-1]  # the first row that it and those after it are made of
        self._held = torch.empty(0, sink.info.width, sink.info.samples)  # resampled along their length
        self._first = self._done = 0  # the number of the first of them; rows written

    def write_rows(self, rows: np.ndarray) -> None:
        for start in range(0, len(rows), _STEP):
            self._take(torch.from_numpy(np.ascontiguousarray(rows[start : start + _STEP])))

    def commit(self) -> None:
        self._sink.commit()

    def abort(self) -> None:
        self._held = self._held[:0]
        self._sink.abort()

    def _take(self, rows: Tensor) -> None:
        rows = self._weighted(rows)
        self._held = torch.cat([self._held, resample_axis(rows, self._columns, 1)])
        stop, end = self._done, self._first + len(self._held)
        while stop < len(self._needs) and self._needs[stop] < end:
            stop += 1
        if stop == self._done:
            return
        wanted = slice(self._done, stop)
        taps = Taps(self._rows.places[wanted] - self._first, self._rows.weights[wanted])
        self._sink.write_rows(self._stored(resample_axis(self._held, taps, 0)))
        self._done = stop
        keep = self._keeps[stop] if stop < len(self._keeps) else end
        self._held, self._first = self._held[keep - self._first :].clone(), keep

    def _weighted(self, rows: Tensor) -> Tensor:
        """Colours times their alpha, where there is one."""
        if not self.info.alpha:
            return rows
        return torch.cat([rows[..., :-1] * (rows[..., -1:] + _HIDDEN), rows[..., -1:]], -1)

    def _stored(self, rows: Tensor) -> np.ndarray:
        if self.info.alpha:
            alpha = rows[..., -1:].clamp(min=0)
            rows = torch.cat([rows[..., :-1] / (alpha + _HIDDEN), alpha], -1)
        dtype = self._sink.info.dtype
        if dtype == "float32":
            return rows.numpy()
        most = float(np.iinfo(dtype).max)
        return rows.round_().clamp_(0, most if self._clip is None else min(self._clip, most)).numpy().astype(dtype)
