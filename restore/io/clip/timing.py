"""When the frames of a clip are shown: as the file says, and for frames of which it says nothing, in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from restore.errors import counted
from restore.io.clip.declared import bytes_beyond_end
from restore.io.clip.pyav import av_error, why_of
from restore.io.clip.side_data import is_cover
from restore.io.clip.tracks import plain_time

_SLACK = Fraction(1, 2)  # seconds that a file that is whole may be shorter than it says


@dataclass(frozen=True)
class FrameTimes:
    """When all frames of a clip are shown, in units of the time base of its pictures.

    Attributes:
        times: in order, each later than the one before.
        given: what the file says of each; None: nothing.
        keys: when frames are shown that stand by themselves; none where times are not enough to find a frame by.
        lasts: how long the last frame is shown.
        origin: seconds of the file at which players begin to count.
        notes: what is not as the file says.
        damage: what is missing of the file, with the error that said so.
    """

    times: tuple[int, ...]
    given: tuple[int | None, ...]
    keys: tuple[int, ...]
    lasts: int
    origin: Fraction
    notes: tuple[str, ...] = ()
    damage: tuple[tuple[str, Exception | None], ...] = ()

    def in_turn(self, decoded: Iterator[tuple[int | None, Any]]) -> Iterator[tuple[int, Any]]:
        """Frames as they were decoded, each with the time at which it is shown."""
        if self.given == self.times:
            yield from ((time, frame) for time, frame in decoded if time is not None)
            return
        waiting: dict[int | None, deque[int]] = {}
        for given, time in zip(self.given, self.times, strict=True):
            waiting.setdefault(given, deque()).append(time)
        for given, frame in decoded:
            places = waiting.get(given) or waiting.get(None)
            if places:
                yield places.popleft(), frame


def times_of(container: Any, stream: Any) -> FrameTimes:
    """Pass over an open clip, decoding nothing.

    Args:
        stream: its pictures.
    """
    found: list[int | None] = []
    keys, stored, end, lengths, damage = [], [], Fraction(0), {}, []
    try:
        for packet in container.demux():
            if packet.size and packet.pts is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
            if packet.stream_index != stream.index or not packet.size or packet.is_discard:
                continue
            found.append(packet.pts)
            stored.append(packet.dts)
            lengths[packet.pts] = packet.duration
            if packet.is_keyframe and packet.pts is not None:
                keys.append(packet.pts)
    except av_error() as error:
        damage.append((f"it cannot be read after frame {len(found)}: {why_of(error)}", error))
    damage += [(what, None) for what in _missing(container, stream, end)]
    step = 1 / ((stream.average_rate or stream.guessed_rate or Fraction(25)) * stream.time_base)
    reordered = bool(stream.codec_context.has_b_frames)
    if reordered and container.format.name == "avi":
        found = [None] * len(found)  # AVI has times of storage only
    given, times, notes = _arranged(found, stored, step, reordered=reordered)
    own = times == given
    lasts = (lengths[times[-1]] if own and times else 0) or max(1, round(step))
    origin = min([_origin(container), *(time * stream.time_base for time in times[:1])])
    return FrameTimes(
        tuple(times), tuple(given), tuple(sorted(keys)) if own else (), lasts, origin, notes, tuple(damage)
    )


def _arranged(
    found: Sequence[int | None], stored: Sequence[int | None], step: Fraction, *, reordered: bool
) -> tuple[list[int | None], list[int], tuple[str, ...]]:
    """What the file says of each frame in the order in which they are shown, when they are shown, and notes.

    Args:
        found, stored: times of showing and of decoding, in the order of storage.
        reordered: whether that may be another than the order of showing.
    """
    known = {time for time in found if time is not None}
    doubt = _doubt(found, stored, reordered=reordered) if len(known) < len(found) else ""
    if doubt or not known:
        begin = min(known, default=0)
        notes = (f"its times are not used, because {doubt}: all frames are shown evenly",) if doubt else ()
        return [None] * len(found), [begin + round(index * step) for index in range(len(found))], notes
    given = _in_order(found)
    times = placed(given, step)
    moved = sum(time != own for time, own in zip(times, given, strict=True))
    have, their = ("has", "its") if moved == 1 else ("have", "their")
    text = f"{counted(moved, 'frame')} {have} no time of {their} own; placed between {their} neighbours"
    return given, times, (text,) if moved else ()


def _doubt(found: Sequence[int | None], stored: Sequence[int | None], *, reordered: bool) -> str:
    """Why times of which some are missing or doubled do not tell the order of the frames; "": they do."""
    known = [time for time in stored if time is not None]
    if any(after < before for before, after in pairwise(known)):
        return "they begin again in the middle"
    some = any(time is not None for time in found)
    return "some are missing and frames are stored in another order" if some and reordered and None in found else ""


def placed(given: Sequence[int | None], step: Fraction) -> list[int]:
    """Times that grow from frame to frame.

    Args:
        given: in the order in which frames are shown, at least one of them known; None and what was there already are
            no times.
        step: between frames of which no other time is known, before the first known and after the last.
    Returns:
        those that are known, where there is room for the others between them, and others evenly between these.
    """
    times: list[int] = []
    last: int | None = None
    open_places = 0
    for time in given:
        if time is None or time == last:
            open_places += 1
            continue
        begin = time - step * (open_places + 1) if last is None else Fraction(last)
        times += [round(begin + (time - begin) * (n + 1) / (open_places + 1)) for n in range(open_places)]
        times.append(time)
        last, open_places = time, 0
    times += [round((last or 0) + step * (n + 1)) for n in range(open_places)]
    for index in range(1, len(times)):
        times[index] = max(times[index], times[index - 1] + 1)
    return times


def _in_order(found: Sequence[int | None]) -> list[int | None]:
    """As they are shown; one without a time comes after the one that is stored before it."""
    keyed: list[tuple[float, int]] = []
    last = float("-inf")
    for number, time in enumerate(found):
        last = last if time is None else time
        keyed.append((last, number))
    return [found[number] for _, number in sorted(keyed)]


def _missing(container: Any, stream: Any, end: Fraction) -> Iterator[str]:
    """What the file promises and does not hold; `end`: seconds at which the last packet ends."""
    missing = Fraction(container.duration or 0, 1_000_000) - end
    if container.format.name.startswith("matroska") and missing > _SLACK:
        yield f"it says it is {plain_time(float(missing + end))} long, and ends at {plain_time(float(end))}"
    elif bytes_missing := bytes_beyond_end(Path(container.name)):
        yield f"its header counts {counted(bytes_missing, 'byte')} more than it holds"
    elif "mov" in container.format.name:
        for one, what in [(stream, "frames"), *((sound, "packets of sound") for sound in container.streams.audio)]:
            beyond = sum(entry.pos + entry.size > container.size for entry in one.index_entries)
            if beyond:
                yield f"{beyond} of {len(one.index_entries)} {what} lie beyond its end"


def _origin(container: Any) -> Fraction:
    """When the first of pictures and sound begins: there players begin to count."""
    streams = [one for one in container.streams if one.type in ("audio", "video") and not is_cover(one)]
    return min((one.start_time * one.time_base for one in streams if one.start_time is not None), default=Fraction(0))
