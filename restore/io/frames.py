"""Sequences that are read: the pages of a TIFF, and a folder of numbered pictures."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from restore.errors import FileError, UnsupportedError, counted
from restore.io.hashes import combined_sha256
from restore.io.options import ReadOptions
from restore.io.paths import Skipped, list_pictures
from restore.io.picture_file import PictureFile, Stamp, file_changed, stamp_of
from restore.picture import PictureInfo, PictureSource

_NAMED = 5  # files that are left out are named up to this number


def pass_to(ahead: Iterator[PictureSource], number: int) -> PictureSource:
    """The frame after so many of an iterator, which are closed. Raises `IndexError` where it ends before."""
    for place, source in enumerate(ahead):
        if place == number:
            return source
        source.close()
    raise IndexError(f"there is no frame {number} further on")


class StackFrames:
    """The pictures of an open file as a `FrameSource`; closing it closes the file."""

    def __init__(self, file: PictureFile) -> None:
        self.file = file
        self._info: PictureInfo | None = None
        self._count: int | None = None
        self._ahead: Iterator[PictureSource] | None = None
        self._next = 0

    @property
    def info(self) -> PictureInfo:
        if self._info is None:
            self._info = next(self.file.infos())
        return self._info

    @property
    def count(self) -> int:
        if self._count is None:
            self._count = sum(1 for _ in self.infos())
        return self._count

    def infos(self) -> Iterator[PictureInfo]:
        """Headers of all frames, in order; decodes nothing."""
        count = 0
        for info in self.file.infos():
            self._info, count = self._info or info, count + 1
            yield info
        self._count = count

    def sha256(self) -> str:
        """Hash of the file's bytes."""
        return self.file.sha256()

    def check_unchanged(self) -> None:
        """Raise `FileError` if the file was written to since it was opened."""
        self.file.check_unchanged()

    def time(self, index: int) -> None:
        """Pages have no times."""

    def where(self, index: int) -> str:
        return f"{self.file.path}, page {index + 1}"

    def __iter__(self) -> Iterator[PictureSource]:
        return self.file.frames()

    def frame(self, index: int) -> PictureSource:
        """One page. Going on from the last one that was asked for passes over those between; else it begins anew."""
        if self._ahead is None or index < self._next:
            self._ahead, self._next = self.file.frames(), 0
        source = pass_to(self._ahead, index - self._next)
        self._next = index + 1
        return source

    def close(self) -> None:
        self._ahead = None
        self.file.close()


class FrameFolder:
    """The numbered pictures of a folder as a `FrameSource`: `frame_1.png`, `frame_2.png`, `frame_10.png`.

    Names may differ in their numbers only, which give the order; numbers may be missing, and are named in `notes`. All
    frames have one size and kind. Hidden and system files are passed over, other files that are no pictures are named
    in `notes`.

    Args:
        hashed: hash the files while their headers are read, so that both take one opening.
    Raises:
        FileError: no frames, a picture that is not of the sequence, two with one number, or no such folder.
    """

    def __init__(self, folder: str | os.PathLike[str], options: ReadOptions | None = None, *, hashed: bool = False):
        self.path, self.options = Path(folder), options or ReadOptions()
        others: list[Skipped] = []
        names = [path.name for path in list_pictures(self.path, others.append)]
        self.names = in_order(names, self.path)
        self.notes = _missing(self.names) + _left_out([other.path.name for other in others if not other.clutter])
        self._info: PictureInfo | None = None
        self._hashed = hashed
        self._sha256 = ""
        self._stamps: list[Stamp] = []

    @property
    def info(self) -> PictureInfo:
        if self._info is None:
            with self._open(0) as file:
                self._info = file.info
        return self._info

    @property
    def count(self) -> int:
        return len(self.names)

    def infos(self) -> Iterator[PictureInfo]:
        """Headers of all frames, in order; decodes nothing.

        Raises `UnsupportedError` naming the first frame that differs from the first one in size or kind.
        """
        hashes: list[str] = []
        stamps: list[Stamp] = []
        for index in range(self.count):
            with self._open(index) as file:
                info = file.info
                self._info = self._info or info
                check_alike(self._info, info, self.where(index))
                stamps.append(file.stamp)
                if self._hashed:
                    hashes.append(file.sha256())
            yield info
        self._stamps, self._sha256 = stamps, combined_sha256(zip(self.names, hashes, strict=True)) if hashes else ""

    def sha256(self) -> str:
        """Hash over the frames' names and bytes."""
        if not self._sha256:
            self._hashed = True
            for _ in self.infos():
                pass
        return self._sha256

    def check_unchanged(self) -> None:
        """Raise `FileError` if a frame was written to or replaced since its header was read."""
        for name, stamp in zip(self.names, self._stamps, strict=False):
            path = self.path / name
            try:
                unchanged = stamp_of(path.stat()) == stamp
            except OSError:
                unchanged = False
            if not unchanged:
                raise file_changed(path)

    def time(self, index: int) -> None:
        """Numbered pictures have no times."""

    def where(self, index: int) -> Path:
        return self.path / self.names[index]

    def __iter__(self) -> Iterator[PictureSource]:
        return map(self.frame, range(self.count))

    def frame(self, index: int) -> PictureSource:
        file = self._open(index)
        try:
            return file.picture(close_file=True)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """Nothing to release: each frame holds its own file."""

    def _open(self, index: int) -> PictureFile:
        return PictureFile(self.path / self.names[index], self.options)


def in_order(names: Iterable[str], folder: Path) -> tuple[str, ...]:
    """Names of one sequence, by the numbers in them. Raises `FileError`, see `FrameFolder`."""
    parts = {name: re.split(r"(\d+)", Path(name).stem) for name in names}
    if not parts:
        raise FileError(
            "holds no numbered frames", where=folder, fix="Name a folder of pictures such as frame_0001.png"
        )
    texts = {name: tuple(text.casefold() for text in pieces[::2]) for name, pieces in parts.items()}
    common = Counter(texts.values()).most_common(1)[0][0]
    for name, text in texts.items():
        if len(text) == 1:
            raise _no_frame("its name has no number", folder / name)
        if text != common:
            other = next(one for one in texts if texts[one] == common)
            raise _no_frame(f"its name differs from {other} in more than the number", folder / name)
    numbers = {name: _numbers(name) for name in parts}
    ordered = sorted(numbers, key=lambda name: (numbers[name], name))
    for one, other in pairwise(ordered):
        if numbers[one] == numbers[other]:
            raise FileError(
                f"has the same number as {one}", where=folder / other, fix="Keep one picture for each number"
            )
    return tuple(ordered)


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", Path(name).stem)))


def _missing(names: Sequence[str]) -> tuple[str, ...]:
    """Which numbers are missing between neighbours that differ in one number; a sequence may count in larger steps."""
    gaps = []
    for one, other in pairwise(map(_numbers, names)):
        changed = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
        gaps += changed if len(changed) == 1 else []
    step = min((b - a for a, b in gaps), default=1)
    runs = [(a + step, b - step) for a, b in gaps if b - a > step]
    if not runs:
        return ()
    shown = ", ".join(f"{a}" if a >= b else f"{a} to {b}" for a, b in runs[:_NAMED])
    more = f" and {len(runs) - _NAMED} more gaps" if len(runs) > _NAMED else ""
    return (f"numbers are missing between the frames: {shown}{more}",)


def _no_frame(why: str, where: Path) -> FileError:
    return FileError(
        "is not a frame of this sequence", where=where, why=why, fix="Keep the frames of one sequence alone in a folder"
    )


def check_alike(first: PictureInfo, other: PictureInfo, where: str | Path) -> None:
    """Raise `UnsupportedError` unless two frames have one size and kind of samples."""
    if _kind(first) != _kind(other):
        raise UnsupportedError(
            f"is {_shape(other)}, unlike the first frame, which is {_shape(first)}", where=where,
            fix="All frames must have one size and kind",
        )  # fmt: skip


def _kind(info: PictureInfo) -> tuple[int, int, int, bool, str]:
    return info.height, info.width, info.channels, info.alpha, info.dtype


def _shape(info: PictureInfo) -> str:
    samples = counted(info.channels, "channel") + " and alpha" * info.alpha
    return f"{info.width} x {info.height} with {samples} of {info.dtype}"


def _left_out(names: list[str]) -> tuple[str, ...]:
    if not names:
        return ()
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (f"left out, not a frame: {', '.join(names[:_NAMED])}{more}",)
