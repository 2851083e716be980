"""What a clip holds beside its pictures: sound, subtitles, data, covers, chapters and tags, copied as they are."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from restore.errors import UnsupportedError
from restore.io.clip.side_data import holds_chapters, is_cover

_NAMES = {"audio": "sound", "subtitle": "subtitles", "data": "data", "attachment": "attachment", "video": "cover"}


@dataclass(frozen=True)
class Carried:
    """Which tracks of a clip go into the result (their indices), what is said of the others, and whether metadata are
    left out."""

    indices: tuple[int, ...]
    notes: tuple[str, ...] = ()
    strip: bool = False


def plain_time(seconds: float) -> str:
    """Seconds as 1:02.500, or 1:00:02.500."""
    minutes, rest = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest / 1000:06.3f}" if hours else f"{minutes}:{rest / 1000:06.3f}"


def choose_tracks(source: Any, pictures: int, container: str, path: Path, *, strip: bool = False) -> Carried:
    """The tracks that a container holds, and notes on tags and tracks that it does not.

    Args:
        source: the open clip.
        pictures: index of the track that is restored.
        container: FFmpeg's name.
        path: of the result, for messages.
        strip: without metadata (`SaveOptions.strip_metadata`), as data of cameras (positions, times) are.
    Raises:
        UnsupportedError: sound that the container does not hold.
    """
    kept: list[int] = []
    notes: list[str] = []
    for stream in source.streams:
        if stream.index == pictures or (stream.type == "video" and not is_cover(stream)) or holds_chapters(stream):
            continue
        if strip and stream.type == "data":
            notes.append(f"its data ({_codec(stream)}) are metadata: not carried")
            continue
        if _fits(stream, container):
            kept.append(stream.index)
            continue
        codec = _codec(stream)
        if stream.type == "audio":
            raise UnsupportedError(
                f"{path.suffix} cannot hold its sound ({codec})", where=path, fix="Write .mkv, which holds any"
            )
        name = stream.metadata.get("handler_name", "").strip("\0 ")
        title = f" {name!r}" if name and stream.type == "data" else ""
        notes.append(
            f"{path.suffix} cannot hold its {_NAMES.get(stream.type, stream.type)}{title} ({codec}): not carried"
        )
    if not strip and (lost := _lost_tags(_tags(source.metadata), container)):
        notes.append(
            f"{path.suffix} cannot hold its {'tag' if len(lost) == 1 else 'tags'} {', '.join(lost)}: not carried"
        )
    return Carried(tuple(kept), tuple(notes), strip)


def add_tracks(source: Any, target: Any, carried: Carried) -> dict[int, Any]:
    """Streams of the target for tracks of the source, by the source's indices; tags of the whole too."""
    if not carried.strip:
        target.metadata.update(_tags(source.metadata))
    return {index: _copied(target, source.streams[index], strip=carried.strip) for index in carried.indices}


def carry_tags(original: Any, stream: Any, carried: Carried) -> None:
    """Tags of the pictures, for the stream that takes their place."""
    tags = {name: text for name, text in original.metadata.items() if name != "DURATION"}
    stream.metadata.update(_needed(tags) if carried.strip else tags)


def carry_chapters(source: Any, target: Any, first: Fraction, last: Fraction | None, *, strip: bool = False) -> None:
    """Chapters, as far as they lie in what is kept; with `strip` nothing but their titles."""
    chapters = []
    for chapter in source.chapters():
        base = chapter["time_base"]
        start, end = (chapter[name] * base for name in ("start", "end"))
        if end <= first or (last is not None and start >= last):
            continue
        inside = max(start - first, 0), (end if last is None else min(end, last)) - first
        title = {name: text for name, text in chapter["metadata"].items() if not strip or name.lower() == "title"}
        chapters.append({**chapter, "start": int(inside[0] / base), "end": int(inside[1] / base), "metadata": title})
    if chapters:
        target.set_chapters(chapters)


def packets_of(source: Any, streams: dict[int, Any], first: Fraction | None, last: Fraction | None) -> Iterator[Any]:
    """The packets of the tracks that are carried, in the file's order, ready for the target.

    Args:
        first, last: seconds of the file's own times that are kept; packets that begin there are, and their times count
            from `first`. None: all, at their own times.
    """
    if not streams:
        return
    for packet in source.demux([source.streams[index] for index in streams]):
        if not packet.size:
            continue
        time = packet.pts if packet.pts is not None else packet.dts
        if first is not None and time is not None:
            at = time * packet.time_base
            if at < first or (last is not None and at >= last):
                continue
            shift = round(first / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = streams[packet.stream_index]
        yield packet


def _fits(stream: Any, container: str) -> bool:
    """Whether a container takes a track: tried, with nothing but its header."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(io.BytesIO(), "w", format=container) as target:
            _copied(target, stream)
            target.start_encoding()
        return True
    except (FFmpegError, ValueError):
        return False


def _lost_tags(tags: dict[str, str], container: str) -> list[str]:
    """Tags that a container does not keep: tried, with one small picture."""
    import av

    if not tags:
        return []
    file = io.BytesIO()
    with av.open(file, "w", format=container) as target:
        target.metadata.update(tags)
        stream: Any = target.add_stream("libvpx-vp9" if container == "webm" else "mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        target.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        target.mux(stream.encode())
    file.seek(0)
    with av.open(file, metadata_errors="replace") as result:
        kept = {name.lower() for name in result.metadata}
    return sorted(name for name in tags if name.lower() not in kept)


def _copied(target: Any, stream: Any, *, strip: bool = False) -> Any:
    """A stream like another one."""
    copy = target.add_stream_from_template(stream)
    copy.metadata.update(_needed(stream.metadata) if strip else _tags(stream.metadata))
    if stream.type in ("audio", "video", "subtitle"):
        copy.disposition = stream.disposition
    if stream.time_base is not None:
        with contextlib.suppress(AttributeError):
            copy.time_base = stream.time_base
    return copy


def _tags(metadata: dict[str, str]) -> dict[str, str]:
    """What containers say of themselves is left out: the result is another file."""
    own = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "number_of_frames"}
    return {name: value for name, value in metadata.items() if name.lower() not in own and not name.startswith("_STAT")}


def _needed(metadata: dict[str, str]) -> dict[str, str]:
    """Tags without which a track is no longer what it was: in which language, and the name of an attachment."""
    return {name: text for name, text in metadata.items() if name.lower() in ("language", "filename", "mimetype")}


def _codec(stream: Any) -> str:
    context = stream.codec_context
    return context.name if context is not None else "an unknown kind"
