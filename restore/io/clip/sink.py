"""A clip that is written in closed segments, so that a run that was stopped goes on, and joined when all are there.

Segments hold a fixed number of frames and depend on nothing before them; they are encoded and joined in the same way
whether the run was interrupted or not, so that the bytes are equal. They lie in a hidden folder beside the result,
named after what is done (input, settings), until the result is whole. Times are not in them: the join gives every frame
its own, and copies sound and other tracks (`restore.io.clip.tracks`) in between.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from restore.errors import FileError
from restore.io.atomic import AtomicFile, StagedFile, check_replaceable, sync_folder, write_error
from restore.io.clip.encoders import Encoding
from restore.io.clip.pixels import to_frame
from restore.io.clip.pyav import why_of
from restore.io.clip.reader import ClipFacts
from restore.io.clip.side_data import pictures_of
from restore.io.clip.tracks import Carried, add_tracks, carry_chapters, carry_tags, choose_tracks, packets_of
from restore.picture import MemorySink, PictureInfo, PictureSink

SEGMENT = 48
"""Frames of a segment: what a stop costs at most."""
PARTS_SUFFIX = ".parts"
_KEY = 16  # characters


@dataclass(frozen=True)
class StagedClip(StagedFile):
    """A complete clip under a temporary name, and the folder of its segments, which goes with it."""

    parts: Path = Path()

    def publish(self) -> None:
        super().publish()
        shutil.rmtree(self.parts, ignore_errors=True)


class ClipSink:
    """A `FrameSink`: a clip at `path`. Nothing appears under the final name before `staged.publish()`.

    Args:
        path: of the result.
        encoding: how its pictures are encoded.
        count: frames.
        key: names the work; segments of the same key are the same work.
        source: the clip whose times and tracks it has; None: frames at `encoding.rate`, without sound.
        resume: go on from the segments that are there, rather than anew.
        strip: leave out metadata of the source: all but languages and the titles of chapters.
    Raises:
        FileError: it cannot be written there. UnsupportedError: sound that the container does not hold.

    Attributes:
        done: frames in segments that are there already: the first that is wanted.
        notes: what of the source is not carried.
    """

    def __init__(
        self, path: Path, encoding: Encoding, count: int, key: str, source: ClipFacts | None = None, *,
        resume: bool = False, strip: bool = False,
    ) -> None:  # fmt: skip
        self.path, self.encoding, self.count, self.source = path, encoding, count, source
        target = Path(os.path.realpath(path))
        check_replaceable(path)
        self.parts = target.with_name(f".{target.name}.{key[:_KEY]}{PARTS_SUFFIX}")
        self._carried = self._tracks(strip=strip)
        self.notes = (*encoding.notes, *self._carried.notes)
        self._out = AtomicFile(path, held=True)  # now, so that a folder that cannot be written is known
        self._committed = False
        try:
            self.done = self._begin(resume)
        except OSError as error:
            self._out.abort()
            raise write_error(error, path) from error
        self._frames = self.done
        self._segment: _Segment | None = None

    @property
    def info(self) -> PictureInfo:
        """What its frames must be like."""
        return self.encoding.info

    @property
    def partial(self) -> Path:
        return self._out.partial

    @property
    def staged(self) -> StagedClip:
        staged = self._out.staged
        return StagedClip(staged.path, staged.partial, staged.target, self.parts)

    def begin_at(self, frame: int) -> None:
        """The next frame is this one, the first of a segment that was there or the one after them."""
        if self._segment is not None or frame > self.done or frame % SEGMENT:
            raise ValueError(f"frame {frame} does not begin a segment")
        self._frames = frame

    def next_frame(self, info: PictureInfo) -> PictureSink:
        """A sink for the next frame, whose pixels are converted to the clip's depth."""
        if self._frames >= self.count:
            raise ValueError(f"more than {self.count} frames were written")
        if (info.height, info.width) != (self.info.height, self.info.width):
            raise ValueError(
                f"a frame of {info.width} x {info.height} px in a clip of {self.info.width} x {self.info.height} px"
            )
        return _FrameSink(self, info)

    def add(self, pixels: np.ndarray) -> None:
        """Encode a frame, H x W x C of the type of `info`."""
        with self._explained():
            if self._segment is None:
                self._segment = _Segment(self._path_of(self._frames // SEGMENT), self.encoding)
            self._segment.add(to_frame(pixels, self.encoding.tags, self.info, self.encoding.pixel_format))
            self._frames += 1
            if self._frames % SEGMENT == 0 or self._frames == self.count:
                self._segment.close()
                self._segment = None

    def commit(self) -> None:
        """All frames are there: join the segments, and look whether the clip holds them."""
        if self._frames != self.count or self._segment is not None:
            raise ValueError(f"{self._frames} of {self.count} frames were written")
        with self._explained():
            self._join()
            self._out.commit(self._check)
        self._committed = True

    def abort(self) -> None:
        """Stop; closed segments stay, for another run to go on from. Safe to call twice and after `commit`."""
        if not self._committed:
            self._give_up()

    def discard(self) -> None:
        """Remove the temporary clip, also after `commit`; segments stay."""
        self._give_up()

    def _give_up(self) -> None:
        if self._segment is not None:
            self._segment.abort()
            self._segment = None
        self._out.discard()
        with contextlib.suppress(OSError):
            self.parts.rmdir()  # only if nothing is in it

    # --- segments ----------------------------------------------------------------------------------------------

    def _begin(self, resume: bool) -> int:
        """Frames that are there; without `resume` none, and what other runs of this result left is removed."""
        if not resume:
            name = _escaped(self.parts.name.rsplit(".", 2)[0])
            for old in self.parts.parent.glob(f"{name}.{'[0-9a-f]' * _KEY}{PARTS_SUFFIX}"):
                shutil.rmtree(old, ignore_errors=True)
        self.parts.mkdir(parents=True, exist_ok=True)
        number = 0
        while (number + 1) * SEGMENT < self.count and self._path_of(number).is_file():
            number += 1
        return number * SEGMENT  # the last segment is made again: what was decided is said of it

    def _path_of(self, number: int) -> Path:
        return self.parts / f"{number:06d}.{self.encoding.codec.segments}"

    # --- the join ----------------------------------------------------------------------------------------------

    def _tracks(self, *, strip: bool) -> Carried:
        import av

        if self.source is None:
            return Carried(())
        with av.open(str(self.source.path), metadata_errors="replace") as source:
            return choose_tracks(source, pictures_of(source) or 0, self.encoding.container, self.path, strip=strip)

    def _join(self) -> None:
        import av

        options = {
            "fflags": "+bitexact",
            "avoid_negative_ts": "disabled",
        }  # no random numbers; sound may begin before 0
        if self.encoding.container in ("mp4", "mov"):
            options["movflags"] = "+faststart"
        with contextlib.ExitStack() as stack:
            target = stack.enter_context(
                av.open(str(self.partial), "w", format=self.encoding.container, options=options)
            )
            times, base = self._times()
            stream = self.encoding.add_to(target, self.encoding.container, base)
            if self.source is None:
                _interleave(target, self._pictures(stream, times, base), iter(()))
                return
            facts = self.source
            source = stack.enter_context(av.open(str(facts.path), metadata_errors="replace"))
            original = source.streams[pictures_of(source) or 0]
            carry_tags(original, stream, self._carried)
            streams = add_tracks(source, target, self._carried)
            carry_chapters(source, target, facts.first or Fraction(0), facts.last, strip=self._carried.strip)
            others = packets_of(source, streams, facts.first, facts.last)
            _interleave(target, self._pictures(stream, times, base), others)

    def _times(self) -> tuple[list[int], Fraction]:
        """When the frames are shown and, one more, when the last is no longer; and in which unit."""
        if self.source is None:
            rate = self.encoding.rate
            return [index * rate.denominator for index in range(self.count + 1)], Fraction(1, rate.numerator)
        times, base = [*self.source.times, self.source.end], self.source.time_base
        shift = round((self.source.first or 0) / base)
        return [time - shift for time in times], base

    def _pictures(self, stream: Any, times: list[int], base: Fraction) -> Iterator[Any]:
        """The packets of all segments, at their times.

        A packet is decoded before any frame is shown that needs it: the i-th of all, when the frame is shown that is
        `delay` places earlier, the most that any packet is ahead of its turn.
        """
        delay = max(index - place for index, (_, place) in enumerate(self._packets()))
        for index, (packet, place) in enumerate(self._packets()):
            packet.stream = stream
            packet.time_base = base
            packet.pts = times[place]
            step = times[1] - times[0]
            packet.dts = times[index - delay] if index >= delay else times[0] - (delay - index) * step
            packet.duration = times[place + 1] - times[place]
            yield packet

    def _packets(self) -> Iterator[tuple[Any, int]]:
        """Packets in the order of decoding, and which frame each holds."""
        import av

        for number in range(-(-self.count // SEGMENT)):
            with av.open(str(self._path_of(number)), format=self.encoding.codec.segments) as segment:
                packets = [packet for packet in segment.demux(video=0) if packet.size]
            order = {time: place for place, time in enumerate(sorted(map(_shown, packets)))}
            for packet in packets:
                yield packet, number * SEGMENT + order[_shown(packet)]

    def _check(self, partial: Path) -> None:
        """Read the result back: every frame, at its time."""
        import av

        with av.open(str(partial)) as result:
            stream = result.streams.video[0]
            unit = stream.time_base or Fraction(1)
            found = sorted(_shown(packet) * unit for packet in result.demux(stream) if packet.size)
        times, base = self._times()
        wrong = len(found) != self.count or any(
            abs(one - time * base) > max(unit, base) for one, time in zip(found, times[:-1], strict=False)
        )
        if wrong:
            raise FileError("the written clip does not read back as it should", where=self.path, fix="Report this")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        from av.error import FFmpegError

        try:
            yield
        except FFmpegError as error:
            fix = "Check the disk" if isinstance(error, OSError) else "Name another --codec"
            raise FileError("the clip cannot be written", where=self.path, why=why_of(error), fix=fix) from error


class _Segment:
    """One segment on its way, under another name until it is closed."""

    def __init__(self, path: Path, encoding: Encoding) -> None:
        import av

        self._path, self._number = path, 0
        self._partial = path.with_suffix(".partial")
        container = encoding.codec.segments
        self._target = av.open(str(self._partial), "w", format=container)
        self._stream = encoding.add_to(self._target, container)
        self._base = 1 / encoding.rate

    def add(self, frame: Any) -> None:
        frame.pts, frame.time_base = self._number, self._base
        self._number += 1
        self._target.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._target.mux(self._stream.encode())
        self._target.close()
        with self._partial.open("rb") as file:
            os.fsync(file.fileno())
        self._partial.replace(self._path)
        sync_folder(self._path.parent)

    def abort(self) -> None:
        with contextlib.suppress(Exception):
            self._target.close()
        self._partial.unlink(missing_ok=True)


class _FrameSink(MemorySink):
    """A frame on its way into the clip."""

    def __init__(self, clip: ClipSink, info: PictureInfo) -> None:
        super().__init__(info)
        self._clip, self._done = clip, False

    def commit(self) -> None:
        super().commit()
        self._done = True
        self._clip.add(_at_depth(self.picture.pixels, self.info, self._clip.info))

    def abort(self) -> None:
        if not self._done:
            super().abort()
            self._clip.abort()


def _at_depth(pixels: np.ndarray, info: PictureInfo, target: PictureInfo) -> np.ndarray:
    """Pixels at another depth, rounded."""
    if (info.dtype, info.bits) == (target.dtype, target.bits):
        return pixels
    scaled = np.clip(pixels.astype(np.float32) * (target.white / info.white), 0, target.white)
    return np.rint(scaled).astype(target.dtype)


def _interleave(target: Any, pictures: Iterator[Any], others: Iterator[Any]) -> None:
    """Write packets of two sources in the order of their times."""
    other = next(others, None)
    for packet in pictures:
        at = packet.dts * packet.time_base
        while other is not None and _time_of(other) <= at:
            target.mux_one(other)
            other = next(others, None)
        target.mux_one(packet)
    while other is not None:
        target.mux_one(other)
        other = next(others, None)


def _shown(packet: Any) -> int:
    """When a packet's frame is shown, in units of its stream."""
    return packet.pts if packet.pts is not None else 0


def _time_of(packet: Any) -> Fraction:
    time = packet.dts if packet.dts is not None else packet.pts
    return time * packet.time_base if time is not None else Fraction(0)


def _escaped(name: str) -> str:
    import glob

    return glob.escape(name)
