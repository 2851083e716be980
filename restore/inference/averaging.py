"""Frames of a clip that were denoised one by one, averaged with their neighbours (`restore.classical.temporal`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from restore.classical.temporal import REACH, averaged
from restore.inference.batch_job import CreateSink
from restore.picture import MemorySink, PictureInfo, PictureSink

LEAD = REACH
"""Frames before the first wanted one that must be restored, too."""
NOTE = f"what {2 * REACH + 1} frames show alike is averaged"


class Averaging:
    """Holds the restored frames of one shot back until their neighbours are there, and writes them averaged.

    Args:
        name: of the output that is averaged; others are written as they come.
        condition: of the shot: the level of its noise, and its scale.
        create_sink: makes the sinks of the frames that are wanted.
        first: the first wanted frame; those before it are neighbours only.
    """

    def __init__(self, name: str, condition: Any, create_sink: CreateSink, first: int) -> None:
        self._name, self._create, self._first = name, create_sink, first
        self._level, self._white = condition.noise_level, condition.scale.white
        self._held: MemorySink | None = None
        self.index = 0  # of the frame that is being restored

    def create_sink(self, name: str, info: PictureInfo) -> PictureSink:
        """A sink in memory for what is averaged."""
        if name != self._name:
            return self._create(name, info) if self.index >= self._first else MemorySink(info)
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

        for place, frame in enumerate(averaged(pixels(), self._level, self._white)):
            if info is not None and begin[0] + place >= self._first:
                sink = self._create(self._name, info)
                sink.write_rows(frame)
                sink.commit()
