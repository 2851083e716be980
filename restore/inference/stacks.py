"""Files of many pictures: what is in them, and a stack's frames through one restorer, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from restore.errors import FileError, RestoreError
from restore.inference.work import Report, Restores
from restore.io.codecs import ReadOptions, SaveOptions, check_stack, probe, probe_frames, target_info
from restore.picture import PictureInfo, PictureSink, PictureSource

_WARNINGS = 20  # kept of a stack: frames may each have their own


@dataclass(frozen=True)
class Contents:
    """What a file holds, from its headers.

    Attributes:
        info: the first picture.
        frames: how many pictures are to be restored.
        nbytes: decoded bytes of all of them, as they will be written.
    """

    info: PictureInfo
    frames: int
    nbytes: int


def inspect(source: Path, target: Path, read: ReadOptions, save: SaveOptions) -> Contents:
    """Read the headers of the pictures in a file; refuses what the target's format cannot hold.

    Raises:
        RestoreError: as `probe`, `probe_frames`, `target_info` and `check_stack` do.
    """
    if read.frames != "all":
        info = probe(source, read)
        return Contents(info, 1, target_info(info, target, save).nbytes)
    infos = probe_frames(source, read)
    first, second = next(infos), next(infos, None)
    if second is not None:
        check_stack(target)
    frames = nbytes = 0
    for info in chain([first, second] if second else [first], infos):
        frames, nbytes = frames + 1, nbytes + target_info(info, target, save).nbytes
    return Contents(first, frames, nbytes)


@dataclass
class StackReport:
    """What was done to a stack: what was chosen for its first frame, how many there are, and the warnings of all."""

    decisions: dict[str, str]
    warnings: list[str]
    run: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return self.run


def restore_frames(
    sources: Iterator[PictureSource],
    count: int,
    restorer: Restores,
    create_page: Callable[[PictureInfo], PictureSink],
    progress: Callable[[float], None] | None = None,
) -> StackReport:
    """Restore the frames of a stack, holding one at a time.

    Args:
        sources: taken one by one, each closed before the next is asked for.
        count: how many there are.
        create_page: makes the sink of the next frame.
        progress: called with the finished share of the whole stack, 0..1.
    Raises:
        RestoreError: whatever stops one frame stops the stack, and names the page.
    """
    first: Report | None = None
    told: dict[str, None] = {}
    done = 0
    for source in sources:
        part = _part(progress, done, count) if progress else None
        try:
            report = restorer.run(source, create_page, part)
        except RestoreError as error:
            raise error.at(f"{source.info.path}, page {done + 1}") from error.__cause__
        finally:
            source.close()
        told |= dict.fromkeys((*source.info.notes, *report.warnings))
        first, done = first or report, done + 1
        del source  # before the next is decoded: one frame in memory at a time
    if first is None or done != count:
        raise FileError("the file changed while it was read", fix="Run it again when it is complete")
    warnings = list(told)
    if len(warnings) > _WARNINGS:
        warnings[_WARNINGS:] = [f"{len(warnings) - _WARNINGS} more warnings about other pages"]
    return StackReport({**first.decisions, "frames": str(count)}, warnings, first.as_dict())


def _part(progress: Callable[[float], None], done: int, count: int) -> Callable[[float], None]:
    """Turns the share of one frame into that of the stack."""
    return lambda share: progress((done + share) / count)
