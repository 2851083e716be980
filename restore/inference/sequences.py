"""Frames through one restorer: windows of neighbours, one measurement for all, and the report of the whole."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, is_dataclass, replace
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from restore.errors import FileError, RestoreError, counted
from restore.inference.batch_job import CreateSink, Progress, Report, Restores
from restore.picture import FrameSource, PictureInfo, PictureSource

if TYPE_CHECKING:
    from restore.inference.averaging import Averaging

MEASURED_FRAMES = 16
"""Frames, spread over a sequence, that one measurement for all of it uses."""
_WARNINGS = 20  # kept of a sequence: frames may each have their own
_SHOTS_TOLD = 6  # of which it is said what was decided otherwise than for the first
_BAND = 256  # rows


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
    first: int = 0,
    once: bool = False,
    in_time: bool = False,
    progress: Progress | None = None,
) -> SequenceReport:
    """Restore frame after frame, holding no more than a window of them.

    Args:
        inputs: one sequence for each named input; they go forward together.
        count: how many frames each has.
        create_sink: makes the sink of the next frame of an output.
        first: frame to begin with; an earlier run has made those before it.
        once: measure all frames of a shot together (`restore.analysis.shots`), instead of each by itself.
        in_time: they follow each other in time, and may be averaged (`Restores.averages_frames`) if measured once.
        progress: called with the finished share of the whole sequence; a common measurement counts as one frame.
    Raises:
        RestoreError: whatever stops one frame stops the sequence, and names the frame.
    """
    found: dict[str, str] = {}
    if restorer.heals_sites:
        from restore.analysis.hot_sites import healed  # not above: it loads torch

        first_input, found = healed(inputs[0])
        inputs = [first_input, *inputs[1:]]
    shots = [shot for shot in _shots(inputs[0], count, once) if shot.stop > first]
    run = _Run(inputs, restorer, _Parts(progress, count - first + once * len(shots)))
    averages = in_time and once and restorer.averages_frames
    for shot in shots:
        condition = _measured_once(inputs, shot, restorer, run.parts.next()) if once else None
        begin = max(first, shot.start)
        if averages and condition is not None and condition.noise_level > 0:
            from restore.inference.averaging import LEAD, NOTE, Averaging

            averaging = Averaging(restorer, condition, create_sink, begin)
            lead = max(begin - LEAD, shot.start)
            averaging.write(run.restored(shot, lead, condition, averaging.create_sink, averaging))
            found["temporal"] = NOTE
        else:
            for _ in run.restored(shot, begin, condition, create_sink):
                pass
    _check_ended(inputs[0], count)
    reports = run.reports
    decisions = {**reports[0].decisions, "frames": str(count), **found}
    if once:
        decisions["measured"] = _in_words(shots)
    for number, (shot, report) in enumerate(zip(shots[1:], reports[1:], strict=True), 2):
        changed = {name: text for name, text in report.decisions.items() if reports[0].decisions.get(name) != text}
        if changed and number <= _SHOTS_TOLD:
            about = "; ".join(f"{name} {text}" for name, text in changed.items())
            decisions[f"from frame {shot.start + 1}"] = about
    return SequenceReport(decisions, _shortened(list(run.noticed)), reports[0].as_dict())


class _Run:
    """The frames of a sequence through the restorer.

    Attributes:
        reports: of the first frame of each shot.
        noticed: notes and warnings of all frames.
    """

    def __init__(self, inputs: Sequence[FrameSource], restorer: Restores, parts: _Parts) -> None:
        self._inputs, self._restorer, self.parts = inputs, restorer, parts
        self.reports: list[Report] = []
        self.noticed: dict[str, None] = {}

    def restored(
        self, shot: range, begin: int, condition: Any, create_sink: CreateSink, averaging: Averaging | None = None
    ) -> Iterator[int]:
        """Restore the frames of a shot from one on, and give the index of each when it is done."""
        window, first = self._restorer.spec.window, self._inputs[0]
        with closing(_groups(self._inputs, shot, begin, window)) as groups:
            index = begin - 1
            for group in groups:  # enumerate() would hold on to a group
                part, index = self.parts.next(), index + 1
                notes = _notes(_restored_frames(group, window), self._inputs, index)
                restorer = self._restorer if averaging is None else averaging.restorer
                try:
                    if averaging is not None:
                        averaging.take(index, group)
                    if condition is not None:
                        report = restorer.apply(condition, group, create_sink, part)
                    else:
                        report = restorer.run(group, create_sink, part)
                except RestoreError as error:
                    raise error.at(first.where(index)) from error.__cause__
                self.noticed |= dict.fromkeys((*notes, *report.warnings))
                if index == begin:
                    self.reports.append(report)
                del group  # before the next is decoded: no more frames in memory than a window has
                yield index


def _check_ended(frames: FrameSource, count: int) -> None:
    """Raise `FileError` where there are more frames than were counted."""
    try:
        frames.frame(count).close()
    except IndexError:
        return
    raise _changed()


def _changed() -> FileError:
    return FileError("the file changed while it was read", fix="Run it again when it is complete")


def _shots(frames: FrameSource, count: int, once: bool) -> list[range]:
    """The frames of each shot; all of them where every frame is measured by itself."""
    if not once:
        return [range(count)]
    from restore.analysis.shots import find_shots

    begins = find_shots(frames)
    return [range(begin, end) for begin, end in pairwise([*begins, count])]


def _in_words(shots: Sequence[range]) -> str:
    most = max(len(spread(shot)) for shot in shots)
    if len(shots) == 1:
        return f"once, on {most} of the frames"
    return f"once for each of {len(shots)} shots, on up to {most} of their frames"


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


def spread(shot: range) -> list[int]:
    """Indices of the frames that a measurement uses: up to `MEASURED_FRAMES`, evenly over all."""
    number = min(len(shot), MEASURED_FRAMES)
    return [shot[(2 * index + 1) * len(shot) // (2 * number)] for index in range(number)]


class SpooledFrame:
    """One frame of a sequence, kept in a temporary file: a measurement reads it several times.

    Args:
        source: read once, and closed.
    """

    def __init__(self, source: PictureSource) -> None:
        self.info = replace(source.info, notes=())
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        for start in range(0, self.info.height, _BAND):
            rows = source.read_rows(start, min(start + _BAND, self.info.height))
            self._file.write(np.ascontiguousarray(rows).data)
        source.close()

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        shape = (stop - start, self.info.width, self.info.samples)
        self._file.seek(start * self.info.nbytes // self.info.height)
        rows = np.frombuffer(self._file.read((stop - start) * self.info.nbytes // self.info.height), self.info.dtype)
        return rows.reshape(shape).copy()

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


class FramesAsOne:
    """Frames of one size and kind, one below the other, as one tall picture: what is measured for all of them.

    Attributes:
        frames: each by itself.
    """

    def __init__(self, frames: Sequence[PictureSource]) -> None:
        self.frames = list(frames)
        self._height = frames[0].info.height
        self.info: PictureInfo = replace(frames[0].info, height=self._height * len(frames), stacked=len(frames))

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        parts = [np.empty((0, self.info.width, self.info.samples), self.info.dtype)]
        for index in range(start // self._height, -(-stop // self._height)):
            top = index * self._height
            parts.append(self.frames[index].read_rows(max(start - top, 0), min(stop - top, self._height)))
        return parts[1] if len(parts) == 2 else np.concatenate(parts)

    def close(self) -> None:
        for frame in self.frames:
            frame.close()


def _measured_once(inputs: Sequence[FrameSource], shot: range, restorer: Restores, progress: Progress | None) -> Any:
    """The condition of all frames of a shot, from some of them."""
    tall: list[FramesAsOne] = []
    try:
        tall.extend(FramesAsOne([SpooledFrame(_frame(frames, index)) for index in spread(shot)]) for frames in inputs)
        condition = restorer.prepare(tall, progress)
    finally:
        for picture in tall:
            picture.close()
    if is_dataclass(condition) and not isinstance(condition, type) and hasattr(condition, "scope"):
        return replace(condition, scope="clip")
    return condition


def _groups(
    inputs: Sequence[FrameSource], shot: range, begin: int, window: int
) -> Generator[tuple[PictureSource, ...], None, None]:
    """What the restorer takes at a time, from a frame of a shot on: a window of the one input, or the frames of all
    inputs with one index."""
    if len(inputs) > 1:
        yield from _side_by_side(inputs, range(begin, shot.stop))
        return
    lead = min(window // 2, begin - shot.start)
    around = windows((_frame(inputs[0], index) for index in range(begin - lead, shot.stop)), window)
    with closing(around):
        for group in around:
            if lead == 0:
                yield group
            lead = max(0, lead - 1)
            del group


def _frame(frames: FrameSource, index: int) -> PictureSource:
    """One frame. Raises `FileError` where there are fewer than were counted."""
    try:
        return frames.frame(index)
    except IndexError as error:
        raise _changed() from error


def _side_by_side(inputs: Sequence[FrameSource], indices: range) -> Generator[tuple[PictureSource, ...], None, None]:
    """The frames of several sequences side by side; closed when the next are asked for."""
    for index in indices:
        group: list[PictureSource] = []
        try:
            group.extend(_frame(frames, index) for frames in inputs)
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
