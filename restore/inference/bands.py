"""Bands: rows in (each source row read once), tiles merged into rows out."""

from __future__ import annotations

import numpy as np
import torch

from restore.analysis.colours import ColourView
from restore.inference.tile_planning import halo_and_ramp
from restore.inference.tiling import Span, border_index
from restore.io.tensors import to_stored, to_unit
from restore.models.spec import ModelSpec
from restore.physics.resample import ENLARGE_REACH, enlarge, resize
from restore.picture import PictureSink, PictureSource, ValueScale


class BandReader:
    """Reads overlapping bands from top to bottom; every source row is asked for once."""

    def __init__(self, source: PictureSource) -> None:
        self._source = source
        self._rows = source.read_rows(0, 0)
        self._first = 0

    def read(self, origin: int, height: int) -> np.ndarray:
        """Rows [origin, origin + height) of the virtually padded picture: height x W x C."""
        size = self._source.info.height
        wanted = [border_index(row, size) for row in range(origin, origin + height)]
        first, stop = min(wanted), max(wanted) + 1
        self._extend(first, stop)
        if stop - first == height:
            return self._rows[first - self._first : stop - self._first]
        return self._rows[np.asarray(wanted) - self._first]

    def _extend(self, first: int, stop: int) -> None:
        if not self._first <= first <= self._first + len(self._rows):
            self._rows, self._first = self._source.read_rows(first, stop), first
            return
        kept = self._rows[first - self._first :]
        missing = first + len(kept)
        if missing < stop:
            kept = np.concatenate([kept, self._source.read_rows(missing, stop)])
        self._rows, self._first = kept, first

    @staticmethod
    def columns(rows: np.ndarray, origin: int, width: int) -> np.ndarray:
        """Columns [origin, origin + width) of the virtually padded picture."""
        if origin + width <= rows.shape[1]:
            return rows[:, origin : origin + width]
        return rows[:, [border_index(column, rows.shape[1]) for column in range(origin, origin + width)]]


class BandMerger:
    """Joins the tiles of one output into full-width rows.

    Exact plans `place` disjoint tiles; blended plans `add` weighted ones, and the rows that the next band
    shares are carried over to it.
    """

    def __init__(self, width: int, channels: int, dtype: str, left: int, spec: ModelSpec) -> None:
        """Rows are width x channels of `dtype`; `left` is the first column wanted; the spec tells the scale."""
        self._spec = spec
        self._shape, self._dtype, self._left = (width, channels), dtype, left
        self._carry = np.zeros((0, *self._shape), dtype)
        self._canvas, self._row = self._carry, Span(0, 0, 0)

    def begin(self, row: Span) -> None:
        self._row = row
        self._canvas = np.zeros((self._spec.scaled(row.stop - row.start), *self._shape), self._dtype)
        self._canvas[: len(self._carry)] = self._carry

    def _columns(self, col: Span) -> np.ndarray:
        first, stop = (self._spec.scaled(column - self._left) for column in (col.start, col.stop))
        return self._canvas[:, first:stop]

    def place(self, tile: np.ndarray, col: Span) -> None:
        self._columns(col)[:] = tile

    def add(self, tile: np.ndarray, row: Span, col: Span) -> None:
        vertical = np.asarray(row.weights(self._spec.scale), np.float32)[:, None, None]
        horizontal = np.asarray(col.weights(self._spec.scale), np.float32)[None, :, None]
        self._columns(col)[:] += tile * vertical * horizontal

    def finish(self) -> np.ndarray:
        """The rows that are complete; the blended rest waits for the next band."""
        done = len(self._canvas) - self._spec.scaled(self._row.trail)
        self._carry = self._canvas[done:].copy()
        return self._canvas[:done]


class BandWriter:
    """Turns finished tiles of one output into rows of its sink: merge, quantise, re-join alpha."""

    def __init__(
        self,
        view: ColourView,
        sink: PictureSink,
        scale: ValueScale,
        spec: ModelSpec,
        box: tuple[int, int, int, int],
        before: ValueScale,
        plain: ValueScale | None = None,
    ) -> None:
        """`scale` is the sink's, `plain` that of alpha and of what is not restored (the sink's depth); `box` (top,
        bottom, left, right) is the part of the source that is written, `before` the source's scale."""
        self._view, self._source, self._sink, self._scale, self._box = view, view.source, sink, scale, box
        self._before = before
        self._nominal = plain or ValueScale.nominal(sink.info)
        self._spec = spec
        self._blend = halo_and_ramp(spec)[1] > 0
        self._next_row = box[0]
        dtype = "float32" if self._blend else sink.info.dtype
        self._merger = BandMerger(spec.scaled(box[3] - box[2]), sink.info.channels, dtype, box[2], spec)

    def begin(self, row: Span) -> None:
        self._merger.begin(row)

    def put(self, y: torch.Tensor, row: Span, col: Span) -> None:
        """C x H x W unit values of one tile; exact plans are quantised before they leave the device."""
        y = self._crop(y, row, col)
        if self._blend:
            self._merger.add(y.movedim(0, -1).cpu().numpy(), row, col)
        else:
            self._merger.place(to_stored(y, self._scale, self._sink.info.dtype).cpu().numpy(), col)

    def _crop(self, y: torch.Tensor, row: Span, col: Span) -> torch.Tensor:
        rows, cols = (
            slice(self._spec.scaled(span.start - span.origin), self._spec.scaled(span.stop - span.origin))
            for span in (row, col)
        )
        return y[:, rows, cols]

    def end(self) -> None:
        """The band is complete: write the rows that no later band contributes to."""
        rows = self._merger.finish()
        if self._blend:
            unit = torch.from_numpy(rows).movedim(-1, 0)
            rows = to_stored(unit, self._scale, self._sink.info.dtype).numpy()
        self._sink.write_rows(self._rejoined(rows))
        self._next_row += self._rows_of(len(rows))

    def _rejoined(self, rows: np.ndarray) -> np.ndarray:
        """What is kept as it is put back into restored rows, and alpha beside them."""
        start, stop = self._next_row, self._next_row + self._rows_of(len(rows))
        factor = self._spec.scale if self._spec.reduction == 1 else None  # what became smaller has no pixels to keep
        kept = self._view.read_kept(start, stop) if factor and rows.shape[-1] == self._view.info.channels else None
        if factor and kept:
            colours, mask = (part[:, self._box[2] : self._box[3]].repeat(factor, 0).repeat(factor, 1) for part in kept)
            rows = np.where(mask, self._as_written(colours), rows)
        if not self._sink.info.alpha:
            return rows
        plain = self._plain(start, stop)
        colours, alpha = plain[..., :-1], plain[..., -1:]
        return np.concatenate([np.where(alpha > 0, rows, colours), alpha], axis=-1)

    def _as_written(self, colours: np.ndarray) -> np.ndarray:
        """Stored samples of the source as the sink has them."""
        source, target = self._source.info, self._sink.info
        if (source.dtype, source.bits) == (target.dtype, target.bits):
            return colours
        return to_stored(to_unit(colours, self._before)[0], self._scale, target.dtype).numpy()

    def _rows_of(self, count: int) -> int:
        """How many input rows so many rows of the output are made of."""
        return count * self._spec.reduction // self._spec.scale

    def _plain(self, start: int, stop: int) -> np.ndarray:
        """These source rows as the sink has them where nothing is restored: plainly resized, colour and alpha."""
        source, target, factor = self._source.info, self._sink.info, self._spec.scale
        left, right = self._box[2:]
        if factor == self._spec.reduction and (source.dtype, source.bits) == (target.dtype, target.bits):
            return self._source.read_rows(start, stop)[:, left:right]
        margin = 0 if factor == 1 else ENLARGE_REACH
        first, before = max(0, start - margin), max(0, left - margin)
        stored = self._source.read_rows(first, min(source.height, stop + margin))
        stored = stored[:, before : min(source.width, right + margin)]
        unit = to_unit(stored, ValueScale.nominal(source), torch.device("cpu"))
        if factor > 1:
            rows = slice((start - first) * factor, (stop - first) * factor)
            columns = slice((left - before) * factor, (right - before) * factor)
            unit = enlarge(unit, factor)[..., rows, columns]
        elif self._spec.reduction > 1:  # of whole pictures: no seams
            unit = resize(unit, (self._spec.scaled(stop - start), self._spec.scaled(right - left)))
        if factor != self._spec.reduction:
            unit[:, -1].clamp_(0, 1)
        return to_stored(unit[0], self._nominal, target.dtype).numpy()
