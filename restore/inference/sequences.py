"""Frames through one restorer: windows of neighbours, one measurement for all, and the report of the whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import numpy as np

from restore.errors import FileError, RestoreError, counted
from restore.inference.batch_job import CreateSink, Progress, Report, Restores
from restore.picture import FrameSource, PictureInfo, PictureSource

MEASURED_FRAMES = 16
"""Frames, spread over a sequence, that one measurement for all of it uses."""
_WARNINGS = 20  # kept of a sequence: frames may each have their own
_OPEN = 2  # frames of a measurement that are held open: bands with overlap go back and forth over a seam


@dataclass
class SequenceReport:
    """What was done to a sequence: what was chosen for its first frame, how many there are, the warnings of all."""

    decisions: dict[str, str]
    warnings: list[str]
    run: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """What the first frame's report says."""
        return self.run


def restore_sequence(
    inputs: Sequence[FrameSource],
    count: int,
    restorer: Restores,
    create_sink: CreateSink,
    *,
    once: bool = False,
    progress: Progress | None = None,
) -> SequenceReport:
    """Restore frame after frame, holding no more than a window of them.

    Args:
        inputs: one sequence for each named input; they go forward together.
        count: how many frames each has.
        create_sink: makes the sink of the next frame of an output.
        once: measure all frames together, instead of each by itself.
        progress: called with the finished share of the whole sequence; a common measurement counts as one frame.
    Raises:
        RestoreError: whatever stops one frame stops the sequence, and names the frame.
    """
    found: dict[str, str] = {}
    if restorer.heals_sites:
        from restore.analysis.hot_sites import healed  # not above: it loads torch

        first_input, found = healed(inputs[0])
        inputs = [first_input, *inputs[1:]]
    parts = _Parts(progress, count + once)
    condition = _measured_once(inputs, count, restorer, parts.next()) if once else None
    first: Report | None = None
    noticed: dict[str, None] = {}
    done = 0
    with closing(_groups(inputs, restorer.spec.window)) as groups:
        for group in groups:
            part = parts.next()
            notes = _notes(_restored_frames(group, restorer.spec.window), inputs, done)
            try:
                if once:
                    report = restorer.apply(condition, group, create_sink, part)
                else:
                    report = restorer.run(group, create_sink, part)
            except RestoreError as error:
                raise error.at(inputs[0].where(done)) from error.__cause__
            noticed |= dict.fromkeys((*notes, *report.warnings))
            first, done = first or report, done + 1
            del group  # before the next is decoded: no more frames in memory than a window has
    if first is None or done != count:
        raise FileError("the file changed while it was read", fix="Run it again when it is complete")
    decisions = {**first.decisions, "frames": str(count), **found}
    if once:
        decisions["measured"] = f"once, on {len(spread(count))} of the frames"
    return SequenceReport(decisions, _shortened(list(noticed)), first.as_dict())


def windows(frames: Iterable[PictureSource], size: int) -> Generator[tuple[PictureSource, ...], None, None]:
    """For every frame the `size` frames around it, itself in the middle; at the ends the edge frame is repeated.

    Each frame is taken once, and closed when no window needs it any more: never more than `size` are alive, if the
    caller lets go of a window before asking for the next.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"a window of {size} frames has no middle")
    half, ahead, ended = size // 2, iter(frames), False
    held: deque[PictureSource] = deque()
    first = middle = 0  # the indices of held[0] and of the wanted frame
    try:
        while True:
            if middle - first > half:
                held.popleft().close()
                first += 1
            while not ended and first + len(held) <= middle + half:
                source = next(ahead, None)
                ended = source is None
                if source is not None:
                    held.append(source)
                del source
            if middle == first + len(held):
                return
            last = len(held) - 1
            yield tuple(held[min(max(middle + offset - first, 0), last)] for offset in range(-half, half + 1))
            middle += 1
    finally:
        while held:
            held.popleft().close()


def spread(count: int) -> list[int]:
    """Indices of the frames that a measurement uses: up to `MEASURED_FRAMES`, evenly over all."""
    number = min(count, MEASURED_FRAMES)
    return [(2 * index + 1) * count // (2 * number) for index in range(number)]


class Frame:
    """One frame of a sequence of equal frames, opened when rows are asked for."""

    def __init__(self, frames: FrameSource, index: int) -> None:
        self.info = frames.info
        self._frames, self._index = frames, index
        self._source: PictureSource | None = None

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        if self._source is None:
            self._source = self._frames.frame(self._index)
        return self._source.read_rows(start, stop)

    def close(self) -> None:
        """Let go of the pixels; they can be read again."""
        if self._source is not None:
            self._source.close()
            self._source = None


class FramesAsOne:
    """Frames of one size and kind, one below the other, as one tall picture: what is measured for all of them.

    Attributes:
        frames: each by itself.
    """

    def __init__(self, frames: Sequence[PictureSource]) -> None:
        self.frames = list(frames)
        self._height = frames[0].info.height
        self.info: PictureInfo = replace(frames[0].info, height=self._height * len(frames), stacked=len(frames))
        self._open: deque[PictureSource] = deque()

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        parts = [np.empty((0, self.info.width, self.info.samples), self.info.dtype)]
        for index in range(start // self._height, -(-stop // self._height)):
            top = index * self._height
            frame = self._opened(index)
            parts.append(frame.read_rows(max(start - top, 0), min(stop - top, self._height)))
        return parts[1] if len(parts) == 2 else np.concatenate(parts)

    def close(self) -> None:
        for frame in self.frames:
            frame.close()

    def _opened(self, index: int) -> PictureSource:
        frame = self.frames[index]
        if all(frame is not one for one in self._open):
            if len(self._open) == _OPEN:
                self._open.popleft().close()
            self._open.append(frame)
        return frame


def _measured_once(inputs: Sequence[FrameSource], count: int, restorer: Restores, progress: Progress | None) -> Any:
    """The condition of all frames, from some of them."""
    tall = [FramesAsOne([Frame(frames, index) for index in spread(count)]) for frames in inputs]
    try:
        condition = restorer.prepare(tall, progress)
    finally:
        for picture in tall:
            picture.close()
    if is_dataclass(condition) and not isinstance(condition, type) and hasattr(condition, "scope"):
        return replace(condition, scope="clip")
    return condition


def _groups(inputs: Sequence[FrameSource], window: int) -> Generator[tuple[PictureSource, ...], None, None]:
    """What the restorer takes at a time: a window of the one input, or the frames of all inputs with one index."""
    return windows(inputs[0], window) if len(inputs) == 1 else _side_by_side(inputs)


def _side_by_side(inputs: Sequence[FrameSource]) -> Generator[tuple[PictureSource, ...], None, None]:
    """The frames of several sequences side by side, as long as all have one; closed when the next are asked for."""
    each = [iter(frames) for frames in inputs]
    while True:
        group: list[PictureSource] = []
        try:
            for frames in each:
                source = next(frames, None)
                if source is None:
                    return
                group.append(source)
                del source
            yield tuple(group)
        finally:
            while group:
                group.pop().close()


def _restored_frames(group: Sequence[PictureSource], window: int) -> Sequence[PictureSource]:
    """Of a window the frame in the middle, else all."""
    return group[window // 2 : window // 2 + 1] if window > 1 else group


def _notes(group: Sequence[PictureSource], inputs: Sequence[FrameSource], index: int) -> list[str]:
    """What was noticed about frames that are restored together; of another input than the first, about which frame."""
    first, *others = group
    about = ((frames.where(index), source.info.notes) for frames, source in zip(inputs[1:], others, strict=True))
    return [*first.info.notes, *(f"{where}: {note}" for where, notes in about for note in notes)]


def _shortened(warnings: list[str]) -> list[str]:
    if len(warnings) > _WARNINGS:
        warnings[_WARNINGS:] = [f"{counted(len(warnings) - _WARNINGS, 'more warning')} about other frames"]
    return warnings


class _Parts:
    """Turns the share of one frame into that of the sequence, frame by frame."""

    def __init__(self, progress: Progress | None, count: int) -> None:
        self._progress, self._count, self._done = progress, count, -1

    def next(self) -> Progress | None:
        self._done += 1
        progress, done, count = self._progress, self._done, self._count
        return None if progress is None else lambda share: progress((done + share) / count)
