"""One picture file, opened once: its hash, its headers and its pictures come through the same handle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from io import BufferedReader
from itertools import count
from pathlib import Path
from typing import BinaryIO

import numpy as np

from restore.closing import Closing
from restore.errors import DecodeError, FileError, RestoreError, SeveralPicturesError, UnsupportedError
from restore.io import tiff
from restore.io.clip.names import HEAD_BYTES, is_clip_head
from restore.io.formats import kind_of, read_header
from restore.io.header import ONLY_FIRST, SALVAGED, Header, check_pixels, decoding
from restore.io.metadata import upright
from restore.io.options import ReadOptions
from restore.io.regular_file import open_regular
from restore.picture import Picture, PictureInfo, PictureSource

Stamp = tuple[int, int, int, int]
"""Device, inode, size and time of change of a file: what differs if it was written to or replaced."""


class PictureFile(Closing):
    """An open picture file. Use as a context manager, or close it when the pictures were read.

    Opening checks that it is a file and within `options.max_bytes`; every header is checked against the other
    limits before anything is decoded.

    Raises:
        FileError, LimitError: at once; all errors, also of the methods, name the path.
    """

    def __init__(self, path: str | os.PathLike[str], options: ReadOptions | None = None) -> None:
        self.path, self.options = Path(path), options or ReadOptions()
        with reading(self.path):
            self._file = _open(self.path, self.options)
            self.stamp = stamp_of(os.fstat(self._file.fileno()))

    @property
    def is_clip(self) -> bool:
        """Whether it holds a clip, of which there is no picture here."""
        with reading(self.path):
            self._file.seek(0)
            return is_clip_head(self._file.read(HEAD_BYTES))

    @property
    def kind(self) -> str:
        """The format of its contents. Raises `UnsupportedError` or `DecodeError` for what is no picture we read."""
        with reading(self.path):
            return kind_of(self._file)

    def close(self) -> None:
        """Release the file; pictures read by rows end with it. Safe to call twice."""
        self._file.close()

    def sha256(self) -> str:
        """Hash of the file's bytes."""
        with reading(self.path):
            self._file.seek(0)
            return hashlib.file_digest(self._file, "sha256").hexdigest()

    def check_unchanged(self) -> None:
        """Raise `FileError` if the path no longer holds what was opened: written to, replaced or gone."""
        try:
            unchanged = stamp_of(self.path.stat()) == self.stamp
        except OSError:
            unchanged = False
        if not unchanged:
            raise file_changed(self.path)

    @property
    def info(self) -> PictureInfo:
        """Header of the one picture. Raises as `picture` does."""
        with reading(self.path):
            return _upright_info(self._header, self.path)

    def picture(self, *, close_file: bool = False) -> PictureSource:
        """The one picture: in memory, or by rows if it is a TIFF or PNG larger than `options.stream_above`.

        Args:
            close_file: the picture closes the file with itself, or has already done so if it is in memory.
        Raises:
            DecodeError, TruncatedError, LimitError, UnsupportedError: also for a file of several pictures, unless
                `options.frames` is "first".
        """
        with reading(self.path):
            source = _source(self._header, self.path, self.options, close=self.close if close_file else None)
        if close_file and isinstance(source, Picture):
            self.close()
        return source

    def infos(self) -> Generator[PictureInfo, None, None]:
        """Headers of what `frames` yields. Errors as there; decodes nothing."""
        for header, _ in self._headers():
            yield _upright_info(header, self.path)

    def frames(self) -> Generator[PictureSource, None, None]:
        """Every page of a TIFF that is a picture of its own, in order; of other files the one picture there is.

        A page is read when it is asked for, and belongs to who asked. Pages may differ in size and type, and the
        limits hold for each. `options.frames` is ignored.

        Raises errors as `picture` does, naming the page, and `UnsupportedError` for animations.
        """
        for header, where in self._headers():
            with reading(where):
                source = _source(header, self.path, self.options, where=where)
            yield source
            del source  # before the next is decoded: it may be the last to hold it

    @cached_property
    def _header(self) -> Header:
        return _header(self._file, self.options)

    def _headers(self) -> Iterator[tuple[Header, Path | str]]:
        """Headers of the pictures of the file, each with the name of its place for messages."""
        with reading(self.path):
            headers = _headers(self._file, self.options)
        for number in count(1):
            where = page_name(self.path, number)
            with reading(where):
                header = next(headers, None)
            if header is None:
                return
            yield header, where


def page_name(path: Path, number: int) -> Path | str:
    """How messages call a page, counted from 1: the file itself for the first."""
    return f"{path}, page {number}" if number > 1 else path


def stamp_of(status: os.stat_result) -> Stamp:
    """The part of a file's status that changes when it is written to or replaced."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def file_changed(path: Path) -> FileError:
    """The error of a file that was written to while it was read."""
    return FileError("the file changed while it was read", where=path, fix="Run it again when it is complete")


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Errors leave with the path in them."""
    try:
        yield
    except RestoreError as error:
        raise error.at(path) from error.__cause__
    except OSError as error:
        raise FileError(
            "cannot read this file", where=path, why=error.strerror or str(error), fix="Check the path and permissions"
        ) from error


def _headers(file: BinaryIO, options: ReadOptions) -> Iterator[Header]:
    if kind_of(file) != "tiff":
        yield _header(file, replace(options, frames="all"))
        return
    headers = tiff.read_frames(file, options)
    while True:
        with decoding("TIFF"):
            header = next(headers, None)
        if header is None:
            return
        yield _within_limits(header, options)


def _source(
    header: Header,
    path: Path,
    options: ReadOptions,
    *,
    where: Path | str = "",
    close: Callable[[], None] | None = None,
) -> PictureSource:
    """The picture of a header: by rows if it is large and can be, else decoded."""
    info = _upright_info(header, path)
    if header.rows and header.orientation <= 4 and info.nbytes > options.stream_above and not options.salvage:
        return _UprightRows(header.rows(), info, header.orientation, where or path, close)
    with decoding(info.format.upper()):
        return _decoded(header, info, options)


def _open(path: Path, options: ReadOptions) -> BufferedReader:
    fix = "Raise the limit (max_bytes) if you trust this file"
    return open_regular(path, options.max_bytes, fix="Name a picture file", raise_limit=fix)


def _header(file: BinaryIO, options: ReadOptions) -> Header:
    """The file's header, within the limits, of one picture."""
    kind = kind_of(file)
    header = _within_limits(read_header(file, options), options)
    if header.frames > 1 and options.frames != "first":
        raise _several(kind, options)
    return header


def _within_limits(header: Header, options: ReadOptions) -> Header:
    info = header.info
    if info.height < 1 or info.width < 1:
        raise DecodeError(f"cannot decode: it says it is {info.width} x {info.height} pixels", fix="Re-export it")
    check_pixels(info, options)
    return header


def _several(kind: str, options: ReadOptions) -> UnsupportedError:
    """The refusal of a file of many pictures where one is wanted."""
    if kind != "tiff" and options.frames == "all":
        return SeveralPicturesError(
            "is an animation, and only TIFF stacks are read whole", fix="Use --frames first to take its first picture"
        )
    every = "--frames all for every page, or " if kind == "tiff" else ""
    return SeveralPicturesError(
        "holds more than one picture (animation or pages)",
        fix=f"Use {every}--frames first for the first one only",
    )


def _upright_info(header: Header, path: Path) -> PictureInfo:
    info = header.info
    notes = info.notes
    if header.frames > 1:
        notes += (ONLY_FIRST,)
    height, width = (info.width, info.height) if header.orientation > 4 else (info.height, info.width)
    return replace(info, height=height, width=width, path=path, notes=notes)


def _decoded(header: Header, info: PictureInfo, options: ReadOptions) -> Picture:
    """All pixels in memory; with salvage, what can be had of a damaged file and a note about it."""
    try:
        with decoding(info.format.upper()):
            pixels = header.decode(False)
    except DecodeError as error:
        if not options.salvage:
            raise
        pixels = header.decode(True)
        info = replace(info, notes=(*info.notes, f"{SALVAGED}, missing parts are blank: {error.why}"))
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    stored = (header.info.height, header.info.width, info.samples)
    if pixels.shape != stored or pixels.dtype.name != info.dtype:
        raise DecodeError(
            "cannot decode: pixels and header disagree",
            why=f"{pixels.shape} {pixels.dtype} instead of {stored} {info.dtype}",
            fix="Re-export it",
        )
    return Picture(info, upright(pixels, header.orientation))


class _UprightRows:
    """A row source mirrored or turned upside down (EXIF orientation 1..4), still by rows."""

    def __init__(
        self,
        stored: PictureSource,
        info: PictureInfo,
        orientation: int,
        where: Path | str,
        close: Callable[[], None] | None,
    ) -> None:
        self.info = info
        self._stored, self._orientation, self._where, self._close = stored, orientation, where, close

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        with reading(self._where):
            if self._orientation in (1, 2):
                rows = self._stored.read_rows(start, stop)
            else:
                rows = self._stored.read_rows(self.info.height - stop, self.info.height - start)
            return upright(rows, self._orientation)

    def close(self) -> None:
        self._stored.close()
        if self._close is not None:
            self._close()
