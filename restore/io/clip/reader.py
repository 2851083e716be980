"""A clip as a sequence of frames, decoded by PyAV one after the other; every one of them, at its own time."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from restore.errors import DecodeError, FileError, RestoreError, TruncatedError, UnsupportedError, counted
from restore.io.clip.pixels import ColourTags, depth_of, small_grey, to_pixels
from restore.io.clip.pyav import av_error, import_av, unreadable, why_of
from restore.io.clip.side_data import display_matrix, not_carried, other_pictures, pictures_of
from restore.io.clip.tracks import plain_time
from restore.io.frames import pass_to
from restore.io.hashes import file_sha256
from restore.io.header import SALVAGED
from restore.io.options import ReadOptions
from restore.io.picture_file import Stamp, file_changed, stamp_of
from restore.picture import PictureInfo, PictureSource

_DEINTERLACE = "Deinterlace it first, for example: ffmpeg -i IN -vf bwdif OUT.mkv"
_SALVAGE = "Copy it again from where it came, or use --salvage for what can be decoded of it"
_LOOKED_AT = 3  # frames that must decode before any work starts
_SLACK = Fraction(1, 2)  # seconds that a file that is whole may be shorter than it says


@dataclass(frozen=True)
class ClipFacts:
    """What of a clip is carried beside its pixels.

    Attributes:
        path: the file.
        time_base: unit of `times`, seconds.
        times: of its frames that are read, in order; without times in the file, as evenly as they are played.
        end: when the last of them is no longer shown, in the same unit.
        rate: frames a second, in the mean.
        first, last: what of the file is read, seconds from its beginning; None: up to the end.
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
        facts = self.facts
        at = plain_time(float(facts.times[index] * facts.time_base))
        return f"{self.path}, frame {self._first + index + 1} at {at}"

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
        components = codec.format.components
        bits = depth_of(codec.format.name, len(components), max(part.bits for part in components))
        tags = ColourTags(codec.color_primaries, codec.color_trc, codec.colorspace, codec.color_range)
        notes = other_pictures(container, stream)
        self.info = PictureInfo(
            codec.height, codec.width, 1 if len(components) == 1 else 3, dtype="uint8" if bits == 8 else "uint16",
            bits=bits, format=container.format.name.split(",")[0], path=self.path,
        )  # fmt: skip
        times, keys = self._times(container, stream)
        if not times:
            raise DecodeError("holds no frames", fix="Copy it again from where it came")
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        first, last = self._window(times, stream.time_base)
        self._all, self._first = times, first
        self._keys = sorted(keys)
        self._group = max(1, len(times) // max(1, len(keys)))
        matrix = self._look_at_first(container, stream)
        options, base = self.options, stream.time_base
        self.facts = ClipFacts(
            self.path, stream.time_base, tuple(times[first:last]), [*times, times[-1] + self._lasts][last], rate,
            times[first] * base if options.start or options.end or options.count else None,
            times[last] * base if last < len(times) else None,
            stream.sample_aspect_ratio or None, matrix, tags, codec.format.name,
        )  # fmt: skip
        self.notes = (*self.notes, *notes)

    def _times(self, container: Any, stream: Any) -> tuple[list[int], list[int]]:
        """When frames are shown, in units of the stream's time base, and those that stand by themselves."""
        times, keys, order, end, lengths = [], [], 0, Fraction(0), {}
        try:
            for packet in container.demux():
                if packet.size and packet.pts is not None:
                    end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
                if packet.stream_index != stream.index or not packet.size or packet.is_discard:
                    continue
                times.append(packet.pts)
                lengths[packet.pts] = packet.duration
                order += 1
                if packet.is_keyframe and packet.pts is not None:
                    keys.append(packet.pts)
        except av_error() as error:
            self._salvaged(f"it cannot be read after frame {order}: {why_of(error)}", error)
        missing = Fraction(container.duration or 0, 1_000_000) - end
        if container.format.name.startswith("matroska") and missing > _SLACK:
            self._salvaged(
                f"it says it is {plain_time(float(missing + end))} long, and ends at {plain_time(float(end))}"
            )
        elif "mov" in container.format.name:
            beyond = sum(entry.pos + entry.size > container.size for entry in stream.index_entries)
            if beyond:
                self._salvaged(f"{beyond} of {counted(len(stream.index_entries), 'frame')} lie beyond its end")
        by_storage = container.format.name == "avi" and stream.codec_context.has_b_frames  # not as they are shown
        self._timed = None not in times and len(set(times)) == len(times) and not by_storage
        step = 1 / ((stream.average_rate or stream.guessed_rate or Fraction(25)) * stream.time_base)
        self._lasts = (lengths[max(times)] if self._timed and times else 0) or max(1, round(step))
        if not self._timed:
            return [round(index * step) for index in range(order)], []
        return sorted(times), keys

    def _salvaged(self, what: str, error: Exception | None = None) -> None:
        """Note what is missing, if the user takes what is there. Raises `TruncatedError`."""
        if not self.options.salvage:
            raise TruncatedError("the clip is damaged or not whole", why=what, fix=_SALVAGE) from error
        self.notes = (*self.notes, f"{SALVAGED}: {what}")

    def _window(self, times: list[int], time_base: Fraction) -> tuple[int, int]:
        """First frame that is read, and the one after the last."""
        options = self.options
        shown = [float((time - times[0]) * time_base) for time in times]
        first = int(np.searchsorted(shown, options.start or 0.0))
        last = len(times) if options.end is None else int(np.searchsorted(shown, options.end))
        if options.count is not None:
            last = min(last, first + options.count)
        if first >= last:
            raise UnsupportedError(
                f"no frame is shown from {plain_time(options.start or 0.0)}"
                + (f" to {plain_time(options.end)}" if options.end is not None else ""),
                why=f"it ends at {plain_time(shown[-1])}", fix="Name another --start or --end",
            )  # fmt: skip
        return first, last

    def _look_at_first(self, container: Any, stream: Any) -> tuple[int, ...] | None:
        """Decode a few frames; the display matrix they come with."""
        with contextlib.suppress(av_error()):
            container.seek(0)
        matrix = None
        for number, (_, frame) in enumerate(self._decoded(container, stream)):
            if frame.interlaced_frame:
                raise UnsupportedError("is interlaced", fix=_DEINTERLACE)
            matrix = matrix or display_matrix(frame)
            self.notes += not_carried(frame)
            if number + 1 == _LOOKED_AT:
                break
        return matrix

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
        wanted = self.facts.times[index]
        try:
            for start in self._starts(index):
                with self._opened() as (container, stream):
                    if start is not None:
                        with contextlib.suppress(av_error()):
                            container.seek(start, stream=stream, backward=True)
                    decoded = self._in_turn(container, stream)
                    first = next(decoded, None)
                    if start is None or (first is not None and first[0] <= wanted):
                        yield from self._shown(_put_back(first, decoded), index)
                        return
        except RestoreError as error:
            raise error.at(self.path) from error.__cause__

    def _starts(self, index: int) -> list[int | None]:
        """From where a frame may be decoded: frames that stand by themselves, the nearest first, and the beginning.

        More than one, because where a seek comes out is not certain: in a transport stream it may be later.
        """
        if not index and not self._first:
            return [None]
        return [*reversed(self._keys[: bisect_right(self._keys, self.facts.times[index])][-2:]), None]

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

    def _in_turn(self, container: Any, stream: Any) -> Iterator[tuple[int, Any]]:
        """Decoded frames with their times; of clips without times, by their number."""
        for number, (time, frame) in enumerate(self._decoded(container, stream)):
            if self._timed:
                if time is not None:
                    yield time, frame
            elif number < len(self._all):
                yield self._all[number], frame

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
            raise UnsupportedError(
                f"its frames change their size, to {frame.width} x {frame.height} px", where=self.where(place),
                fix="Process its parts apart: --end before the change, --start after it",
            )  # fmt: skip
        if frame.interlaced_frame:
            raise UnsupportedError("is interlaced here", where=self.where(place), fix=_DEINTERLACE)
        if frame.is_corrupt and not self.options.salvage:
            raise DecodeError("this frame is damaged", where=self.where(place), fix=_SALVAGE)

    def _lost(self, place: int, instead: Any) -> str:
        """A note on a frame that was not decoded; with `salvage` its neighbour is shown. Raises `DecodeError`."""
        if not self.options.salvage or instead is None:
            raise DecodeError("this frame cannot be decoded", where=self.where(place), fix=_SALVAGE)
        number, at = self._first + place + 1, plain_time(self.time(place))
        return f"{SALVAGED}: frame {number} at {at} cannot be decoded, its neighbour is shown"


def _put_back(frame: tuple[int, Any] | None, rest: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    return rest if frame is None else chain([frame], rest)
