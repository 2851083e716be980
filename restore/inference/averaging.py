"""Frames of a clip that were denoised one by one, averaged with their neighbours (`restore.classical.temporal`).

Of a strength between 0 and 1 the restorer does its whole work, and frames are mixed with the input when they are
averaged: averaging what was mixed would take the grain away that the user wants to keep.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from restore.classical.temporal import REACH, averaged
from restore.inference.batch_job import CreateSink, Restores
from restore.picture import MemorySink, PictureInfo, PictureSink, PictureSource

LEAD = REACH
"""Frames before the first wanted one that must be restored, too."""
NOTE = f"what {2 * REACH + 1} frames show alike is averaged"


class Averaging:
    """Holds the restored frames of one shot back until their neighbours are there, and writes them averaged.

    Args:
        restorer: of the frames; its main output is averaged, others are written as they come.
        condition: of the shot: the level of its noise, and its scale.
        create_sink: makes the sinks of the frames that are wanted.
        first: the first wanted frame; those before it are neighbours only.

    Attributes:
        restorer: what frames are restored by, at its full strength.
        index: of the frame that is being restored.
    """

    def __init__(self, restorer: Restores, condition: Any, create_sink: CreateSink, first: int) -> None:
        self._name, self._create, self._first = restorer.spec.outputs[0].name, create_sink, first
        self._condition, self._strength = condition, restorer.strength
        self._plain = restorer.with_strength(0) if self._strength != 1 else None
        self.restorer = restorer.with_strength(1) if self._plain else restorer
        self._mixed = {output.name for output in restorer.spec.outputs if output.mixes}
        self._before: dict[str, np.ndarray] = {}  # of the frame that is being restored, by output
        self._waiting: deque[np.ndarray | None] = deque()  # the same of the main output, until it is averaged
        self._held: MemorySink | None = None
        self.index = 0

    def take(self, index: int, frames: Sequence[PictureSource]) -> None:
        """The next frame that is restored, with those that it is restored from."""
        self.index = index
        if self._plain is not None:
            sinks: dict[str, MemorySink] = {}

            def create(name: str, info: PictureInfo) -> MemorySink:
                sinks[name] = MemorySink(info)
                return sinks[name]

            self._plain.apply(self._condition, frames, create)
            self._before = {name: sinks[name].picture.pixels for name in self._mixed}
        self._waiting.append(self._before.get(self._name))

    def create_sink(self, name: str, info: PictureInfo) -> PictureSink:
        """A sink in memory for what is averaged."""
        if name != self._name:
            if self.index < self._first:
                return MemorySink(info)
            return self._mixing(self._create(name, info), self._before.get(name))
        self._held = MemorySink(info)
        return self._held

    def write(self, restored: Iterator[int]) -> None:
        """Take the frames as they are restored, each by its index, and write those that are wanted."""
        begin: list[int] = []
        info: PictureInfo | None = None

        def pixels() -> Iterator[np.ndarray]:
            nonlocal info
            for index in restored:
                begin.append(index)
                if self._held is None:
                    raise RuntimeError("a frame was restored without its main output")
                info = self._held.info
                yield self._held.picture.pixels

        white = self._condition.scale.white
        for place, frame in enumerate(averaged(pixels(), self._condition.noise_level, white)):
            before = self._waiting.popleft()
            if info is not None and begin[0] + place >= self._first:
                sink = self._mixing(self._create(self._name, info), before)
                sink.write_rows(frame)
                sink.commit()

    def _mixing(self, sink: PictureSink, before: np.ndarray | None) -> PictureSink:
        return sink if before is None else _MixingSink(sink, before, self._strength)


class _MixingSink:
    """Mixes rows with those of the input on their way into a sink.

    Args:
        before: the input as the output has it, H x W x C.
        strength: 0 (the input) to 1.
    """

    def __init__(self, sink: PictureSink, before: np.ndarray, strength: float) -> None:
        self.info = sink.info
        self._sink, self._before, self._strength, self._row = sink, before, strength, 0

    def write_rows(self, rows: np.ndarray) -> None:
        before = self._before[self._row : self._row + len(rows)].astype(np.float32)
        mixed = before + np.float32(self._strength) * (rows.astype(np.float32) - before)
        self._row += len(rows)
        self._sink.write_rows(mixed if rows.dtype == np.float32 else np.rint(mixed).astype(rows.dtype))

    def commit(self) -> None:
        self._sink.commit()

    def abort(self) -> None:
        self._sink.abort()
