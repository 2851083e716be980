"""The clip that a job writes: its encoding, and the sink of its frames."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

from restore.io.clip.encoders import Encoding, encoding_for
from restore.io.clip.reader import ClipFile
from restore.io.clip.sink import ClipSink
from restore.io.options import SaveOptions
from restore.picture import FrameSource, PictureInfo

RATE = Fraction(25)
"""Frames a second of numbered pictures, where the user says nothing."""


def clip_encoding(source: FrameSource, info: PictureInfo, target: Path, save: SaveOptions) -> Encoding:
    """How frames like `info` of a sequence become a clip. Raises as `encoding_for` does."""
    if isinstance(source, ClipFile):
        facts = source.facts
        tags = facts.tags.at_height(source.info.height, info.height)
        return encoding_for(info, target, save, facts.rate, tags, facts.aspect, facts.matrix)
    return encoding_for(info, target, save, Fraction(save.fps).limit_denominator(1001) if save.fps else RATE)


def clip_sink(
    source: FrameSource, info: PictureInfo, target: Path, save: SaveOptions, count: int, work: str, *, resume: bool
) -> ClipSink:
    """The sink of the frames of a sequence.

    Args:
        info: of the frames that are written.
        work: names what is done; an earlier run's segments of the same are used with `resume`.
    """
    key = hashlib.sha256(work.encode()).hexdigest()
    facts = source.facts if isinstance(source, ClipFile) else None
    encoding = clip_encoding(source, info, target, save)
    return ClipSink(target, encoding, count, key, facts, resume=resume, strip=save.strip_metadata)
