"""A clip as a sequence of frames, decoded by PyAV one after the other; every one of them, at its own time."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from restore.errors import DecodeError, FileError, RestoreError, TruncatedError, UnsupportedError
from restore.io.clip.pixels import ColourTags, depth_of, small_grey, to_pixels
from restore.io.clip.pyav import av_error, import_av, unreadable
from restore.io.clip.side_data import display_matrix, not_carried, other_pictures, pictures_of
from restore.io.clip.timing import times_of
from restore.io.clip.tracks import plain_time
from restore.io.frames import pass_to
from restore.io.hashes import file_sha256
from restore.io.header import SALVAGED, check_pixels
from restore.io.options import ReadOptions
from restore.io.picture_file import Stamp, file_changed, stamp_of
from restore.picture import PictureInfo, PictureSource

_DEINTERLACE = "Deinterlace it first, for example: ffmpeg -i IN -vf bwdif -c:v ffv1 -c:a copy OUT.mkv"
_SALVAGE = "Copy it again from where it came, or use --salvage for what can be decoded of it"
_LOOKED_AT = 3  # frames that must decode before any work starts


@dataclass(frozen=True)
class ClipFacts:
    """What of a clip is carried beside its pixels.

    Attributes:
        path: the file.
        time_base: unit of `times`, seconds.
        times: of its frames that are read, in order; without times in the file, as evenly as they are played.
        end: when the last of them is no longer shown, in the same unit.
        rate: frames a second, in the mean.
        first, last: what of the file is read, seconds of its own times; None: from its beginning, up to its end.
        aspect: of a pixel, width / height; None: not declared.
        matrix: nine numbers of the display matrix; None: none.
        tags: of the colours.
        pixel_format: of the stream, by FFmpeg's name.
    """

    path: Path
    time_base: Fraction
    times: tuple[int, ...]
    end: int
    rate: Fraction
    first: Fraction | None = None
    last: Fraction | None = None
    aspect: Fraction | None = None
    matrix: tuple[int, ...] | None = None
    tags: ColourTags = field(default_factory=ColourTags)
    pixel_format: str = "yuv420p"


class ClipFrame:
    """A decoded frame; its pixels are converted when they are asked for."""

    def __init__(self, frame: Any, info: PictureInfo, tags: ColourTags) -> None:
        self.info = info
        self._frame, self._tags = frame, tags
        self._pixels: np.ndarray | None = None

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        if self._pixels is None:
            self._pixels = to_pixels(self._frame, self._tags, self.info)
        return self._pixels[start:stop]

    def small(self, height: int, width: int) -> np.ndarray:
        """The frame, small and grey, uint8: what cuts are found by."""
        return small_grey(self._frame, height, width)

    def close(self) -> None:
        self._pixels = None


class ClipFile:
    """The frames of a clip as a `FrameSource`, as they are stored: a rotation is the player's.

    Args:
        path: of the file; sound and other tracks are not read.
        options: `start`, `end` and `count` say which frames; `salvage` takes what can be decoded.
        hashed: not used; the file is hashed when that is asked for.
    Raises:
        FileError, DecodeError, UnsupportedError: no clip, no pictures, interlaced, transparent, not decodable.
    """

    def __init__(self, path: Path, options: ReadOptions | None = None, *, hashed: bool = False) -> None:
        self.path, self.options = path, options or ReadOptions()
        self.notes: tuple[str, ...] = ()
        try:
            self._stamp: Stamp = stamp_of(path.stat())
            with self._opened() as (container, stream):
                self._read_header(container, stream)
            self._look_at_first()
        except RestoreError as error:
            raise error.at(path) from error.__cause__
        self._ahead: Iterator[PictureSource] | None = None
        self._next = 0

    @property
    def count(self) -> int:
        return len(self.facts.times)

    def infos(self) -> Iterator[PictureInfo]:
        """Headers of all frames; they are alike."""
        return (self.info for _ in range(self.count))

    def sha256(self) -> str:
        """Hash of the file's bytes."""
        return file_sha256(self.path)

    def check_unchanged(self) -> None:
        """Raise `FileError` if the file was written to since it was opened."""
        try:
            unchanged = stamp_of(self.path.stat()) == self._stamp
        except OSError:
            unchanged = False
        if not unchanged:
            raise file_changed(self.path)

    def time(self, index: int) -> float:
        facts = self.facts
        return float((facts.times[index] - facts.times[0]) * facts.time_base)

    def where(self, index: int) -> str:
        return f"{self.path}, frame {self._first + index + 1} at {plain_time(self._clock(index))}"

    def _clock(self, index: int) -> float:
        """When a frame is shown as players count, which is how `start` and `end` are given: seconds."""
        return float(self.facts.times[index] * self.facts.time_base - self._timing.origin)

    def __iter__(self) -> Iterator[PictureSource]:
        return self._frames(0)

    def frame(self, index: int) -> PictureSource:
        """One frame. Going on from the last one that was asked for passes over those between; else it seeks."""
        if self._ahead is None or not self._next <= index < self._next + self._group:
            self._ahead, self._next = self._frames(index), index
        source = pass_to(self._ahead, index - self._next)
        self._next = index + 1
        return source

    def close(self) -> None:
        self._ahead = None

    # --- the header --------------------------------------------------------------------------------------------

    def _read_header(self, container: Any, stream: Any) -> None:
        codec = stream.codec_context
        if codec.format is None or not codec.width:
            raise DecodeError("its pictures cannot be decoded", fix="Copy it again from where it came")
        if codec.field_order not in (0, 1):
            raise UnsupportedError("is interlaced", fix=_DEINTERLACE)
        self._kind = container.format.name.split(",")[0]
        self.info = self._info_of(codec)
        timing = self._timing = times_of(container, stream)
        for what, error in timing.damage:
            self._salvaged(what, error)
        if not timing.times:
            raise DecodeError("holds no frames", fix="Copy it again from where it came")
        self._first, last = self._window(stream.time_base)
        self._group = max(1, len(timing.times) // max(1, len(timing.keys)))
        base = stream.time_base
        self.facts = ClipFacts(
            self.path, base, timing.times[self._first : last], [*timing.times, timing.times[-1] + timing.lasts][last],
            stream.average_rate or stream.guessed_rate or Fraction(25), self._begin(base),
            timing.times[last] * base if last < len(timing.times) else None, stream.sample_aspect_ratio or None,
            tags=ColourTags(codec.color_primaries, codec.color_trc, codec.colorspace, codec.color_range),
            pixel_format=codec.format.name,
        )  # fmt: skip
        self.notes = (*self.notes, *timing.notes, *other_pictures(container, stream))

    def _info_of(self, pictures: Any) -> PictureInfo:
        """The header of frames like these (a codec's, or a decoded one). Raises `UnsupportedError`, `LimitError`."""
        components = pictures.format.components
        bits = depth_of(pictures.format.name, len(components), max(part.bits for part in components))
        info = PictureInfo(
            pictures.height, pictures.width, 1 if len(components) == 1 else 3, dtype="uint8" if bits == 8 else "uint16",
            bits=bits, format=self._kind, path=self.path,
        )  # fmt: skip
        check_pixels(info, self.options)
        return info

    def _salvaged(self, what: str, error: Exception | None = None) -> None:
        """Note what is missing, if the user takes what is there. Raises `TruncatedError`."""
        if not self.options.salvage:
            raise TruncatedError("the clip is damaged or not whole", why=what, fix=_SALVAGE) from error
        self.notes = (*self.notes, f"{SALVAGED}: {what}")

    def _window(self, time_base: Fraction) -> tuple[int, int]:
        """First frame that is read, and the one after the last."""
        options, timing = self.options, self._timing
        shown = [float(time * time_base - timing.origin) for time in timing.times]
        first = int(np.searchsorted(shown, options.start or 0.0))
        last = len(shown) if options.end is None else int(np.searchsorted(shown, options.end))
        if options.count is not None:
            last = min(last, first + options.count)
        if first >= last:
            begins = f"it begins at {plain_time(shown[0])} and " if shown[0] else "it "
            raise UnsupportedError(
                f"no frame is shown from {plain_time(options.start or 0.0)}"
                + (f" to {plain_time(options.end)}" if options.end is not None else ""),
                why=f"{begins}ends at {plain_time(shown[-1])}", fix="Name another --start or --end",
            )  # fmt: skip
        return first, last

    def _begin(self, time_base: Fraction) -> Fraction | None:
        """From where sound and other tracks are kept: the first frame, or where sound begins before all pictures."""
        options, timing = self.options, self._timing
        if not (options.start or options.end or options.count):
            return None
        if self._first:
            return timing.times[self._first] * time_base
        return min(timing.origin + Fraction(options.start or 0), timing.times[0] * time_base)

    def _look_at_first(self) -> None:
        """Decode the first frames that are read: they say how large all are, which the file's header may not."""
        wanted = self.facts.times[0]
        ahead = (frame for time, frame in self._from(0) if time >= wanted)
        for number, frame in enumerate(islice(ahead, _LOOKED_AT)):
            if frame.interlaced_frame:
                raise UnsupportedError("is interlaced", fix=_DEINTERLACE)
            if not number:
                self.info = self._info_of(frame)
                self.facts = replace(self.facts, pixel_format=frame.format.name)
            self.facts = replace(self.facts, matrix=self.facts.matrix or display_matrix(frame))
            self.notes += not_carried(frame)

    # --- decoding ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        """The open file and its stream of pictures."""
        import_av()
        import av

        failed = av_error()  # now: at the end of the interpreter nothing is imported any more
        try:
            with av.open(str(self.path), metadata_errors="replace") as container:
                index = pictures_of(container)
                if index is None:
                    has = "sound and " if container.streams.audio else ""
                    raise FileError(f"holds {has}no pictures that move", fix="Name a clip")
                stream = container.streams[index]
                codec = stream.codec_context
                if codec is None:
                    raise UnsupportedError("its pictures cannot be decoded", why="an unknown codec", fix="Convert it")
                codec.thread_count = 1  # frames decode side by side would be held in memory
                codec.options = {"err_detect": "explode"}  # rather than to conceal what is damaged, unsaid
                yield container, stream
        except failed as error:
            raise unreadable(error) from error

    def _frames(self, index: int) -> Iterator[PictureSource]:
        """Frames from one on, each in its turn."""
        try:
            yield from self._shown(self._from(index), index)
        except RestoreError as error:
            raise error.at(self.path) from error.__cause__

    def _from(self, index: int) -> Iterator[tuple[int, Any]]:
        """Decoded frames with their times, from a frame on or from one before it."""
        wanted = self.facts.times[index]
        for start in self._starts(index):
            with self._opened() as (container, stream):
                if start is not None:
                    with contextlib.suppress(av_error()):
                        container.seek(start, stream=stream, backward=True)
                decoded = self._timing.in_turn(self._decoded(container, stream))
                first = next(decoded, None)
                if start is None or (first is not None and first[0] <= wanted):
                    yield from _put_back(first, decoded)
                    return

    def _starts(self, index: int) -> list[int | None]:
        """From where a frame may be decoded: frames that stand by themselves, the nearest first, and the beginning.

        More than one, because where a seek comes out is not certain: in a transport stream it may be later.
        """
        if not index and not self._first:
            return [None]
        keys = self._timing.keys
        return [*reversed(keys[: bisect_right(keys, self.facts.times[index])][-2:]), None]

    def _shown(self, decoded: Iterator[tuple[int, Any]], index: int) -> Iterator[PictureSource]:
        """For every time from a frame on the frame that was decoded for it. Raises where one is missing."""
        wanted = self.facts.times
        last: Any = None
        for place in range(index, len(wanted)):
            frame = next(decoded, None)
            while frame is not None and frame[0] < wanted[place]:
                last = frame[1]
                frame = next(decoded, None)
            info = self.info
            if frame is None or frame[0] > wanted[place]:
                decoded = _put_back(frame, decoded)
                last = last or (frame and frame[1])
                info = replace(info, notes=(self._lost(place, last),))
            else:
                last = frame[1]
                self._check(last, place)
            yield ClipFrame(last, info, self.facts.tags)

    def _decoded(self, container: Any, stream: Any) -> Iterator[tuple[int | None, Any]]:
        """Frames as they come; what cannot be decoded is passed over, and missed by who waits for it."""
        failed = av_error()
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except failed:
                packet = None
            if packet is None:
                return
            try:
                frames = packet.decode()
            except failed:
                continue
            for frame in frames:
                yield frame.pts, frame

    def _check(self, frame: Any, place: int) -> None:
        """Refuse what is unlike the first frames, or damaged."""
        if (frame.height, frame.width) != (self.info.height, self.info.width):
            before, after = f"{self.info.width} x {self.info.height}", f"{frame.width} x {frame.height}"
            at = plain_time(int(1000 * self._clock(place)) / 1000)  # not after the frame
            raise UnsupportedError(
                f"its frames change their size, from {before} to {after} px", where=self.where(place),
                fix=f"Process its parts apart: one with --end {at}, the other with --start {at}",
            )  # fmt: skip
        if frame.interlaced_frame:
            raise UnsupportedError("is interlaced here", where=self.where(place), fix=_DEINTERLACE)
        if frame.is_corrupt and not self.options.salvage:
            raise DecodeError("this frame is damaged", where=self.where(place), fix=_SALVAGE)

    def _lost(self, place: int, instead: Any) -> str:
        """A note on a frame that was not decoded; with `salvage` its neighbour is shown. Raises `DecodeError`."""
        if not self.options.salvage or instead is None:
            raise DecodeError("this frame cannot be decoded", where=self.where(place), fix=_SALVAGE)
        number, at = self._first + place + 1, plain_time(self._clock(place))
        return f"{SALVAGED}: frame {number} at {at} cannot be decoded, its neighbour is shown"


def _put_back(frame: tuple[int, Any] | None, rest: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    return rest if frame is None else chain([frame], rest)
