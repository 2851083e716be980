"""Clips written by the sink, for its tests."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from restore.inference.clips import clip_encoding
from restore.io.clip.encoders import encoding_for
from restore.io.clip.reader import ClipFile
from restore.io.clip.sink import ClipSink
from restore.io.options import ReadOptions, SaveOptions
from restore.picture import Picture, PictureInfo
from tests.clips import Made


def sink_of(made: Made, target: Path, *, key: str = "a" * 64, resume: bool = False, read=None, **save) -> ClipSink:
    """What writes a clip like another one."""
    if not target.parent.exists():
        target.parent.mkdir()
    source = ClipFile(made.path, ReadOptions(**(read or {})))
    encoding = clip_encoding(source, source.info, target, SaveOptions(**save))
    strip = save.get("strip_metadata", False)
    return ClipSink(target, encoding, source.count, key, source.facts, resume=resume, strip=strip)


def put(sink: ClipSink, frames: Sequence[np.ndarray] | np.ndarray, info: PictureInfo | None = None) -> ClipSink:
    """Write frames, a few rows at a time."""
    for frame in frames:
        rows = sink.next_frame(info or Picture.from_array(frame).info)
        for top in range(0, len(frame), 16):
            rows.write_rows(frame[top : top + 16])
        rows.commit()
        rows.abort()  # says nothing after a commit
    return sink


def finish(sink: ClipSink) -> Path:
    sink.commit()
    sink.staged.publish()
    return sink.path


def copied(made: Made, target: Path, *, read=None, **options) -> tuple[Path, tuple[str, ...]]:
    """A clip written anew from its frames, and what is said of it."""
    frames = [source.read_rows(0, source.info.height) for source in ClipFile(made.path, ReadOptions(**(read or {})))]
    sink = sink_of(made, target, read=read, **options)
    return finish(put(sink, frames, ClipFile(made.path).info)), sink.notes


def from_frames(frames: np.ndarray, target: Path, rate: Fraction = Fraction(25), **save) -> Path:
    """A clip of pictures, without another one."""
    info = Picture.from_array(frames[0]).info
    encoding = encoding_for(info, target, SaveOptions(**save), rate)
    return finish(put(ClipSink(target, encoding, len(frames), "b" * 64), frames))
