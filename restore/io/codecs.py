"""The door between files and pictures: `probe`, `open_picture`, `target_info`, `create`; for stacks of pages
`probe_frames`, `open_frames`, `create_stack`."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import BinaryIO

import numpy as np

from restore.errors import DecodeError, FileError, LimitError, RestoreError, UnsupportedError
from restore.io import tags, tiff
from restore.io.header import SALVAGED, Header, decoding
from restore.io.metadata import upright, upright_exif, upright_xmp
from restore.io.options import ReadOptions, SaveOptions
from restore.io.paths import WRITABLE
from restore.io.readers import kind_of, read_header
from restore.io.stack import StackSink
from restore.io.streams import EncodedSink, PngSink, Sink, TiffSink
from restore.io.written import COLOUR_ONLY, check_pages, check_written
from restore.picture import Metadata, Picture, PictureInfo, PictureSink, PictureSource, SampleType

__all__ = [
    "SALVAGED", "ReadOptions", "SaveOptions", "StackSink", "check_stack", "create", "create_stack", "open_frames",
    "open_picture", "probe", "probe_frames", "target_info",
]  # fmt: skip

_SINKS: dict[str, type[Sink]] = {
    "png": PngSink, "tiff": TiffSink,
    "jpeg": EncodedSink, "webp": EncodedSink, "bmp": EncodedSink, "avif": EncodedSink,
}  # fmt: skip

# --- reading -------------------------------------------------------------------------------------------------


def probe(path: str | os.PathLike[str], options: ReadOptions | None = None) -> PictureInfo:
    """What the picture at `path` is, from its header. Checks the limits; decodes nothing.

    Raises `DecodeError`, `TruncatedError`, `LimitError`, `UnsupportedError` or `FileError`, each naming `path`.
    """
    options = options or ReadOptions()
    path = Path(path)
    with _reading(path), _open(path, options) as file:
        return _upright_info(_header(file, options), path)


def open_picture(path: str | os.PathLike[str], options: ReadOptions | None = None) -> PictureSource:
    """The picture at `path`: in memory, or by rows if it is a TIFF larger than `options.stream_above`.

    Errors as in `probe`. The caller closes the source.
    """
    options = options or ReadOptions()
    path = Path(path)
    with _reading(path):
        file = _open(path, options)
        try:
            source = _source(_header(file, options), path, options, close=file.close)
        except BaseException:
            file.close()
            raise
        if isinstance(source, Picture):
            file.close()
        return source


def probe_frames(
    path: str | os.PathLike[str], options: ReadOptions | None = None
) -> Generator[PictureInfo, None, None]:
    """What the pictures are that `open_frames` yields, from their headers. Errors as there; decodes nothing."""
    path = Path(path)
    for header, _ in _frames(path, options or ReadOptions()):
        yield _upright_info(header, path)


def open_frames(
    path: str | os.PathLike[str], options: ReadOptions | None = None
) -> Generator[PictureSource, None, None]:
    """Every page of a TIFF that is a picture of its own, in order; of other files the one picture there is.

    A page is opened when it is asked for and lives until the next one is: use it, close it, go on. Pages may
    differ in size and type, and the limits hold for each. `options.frames` is not looked at.

    Raises errors as `open_picture` does, naming the page, and `UnsupportedError` for animations.
    """
    options = options or ReadOptions()
    path = Path(path)
    for header, where in _frames(path, options):
        with _reading(where):
            source = _source(header, path, options, where=where)
        yield source
        del source  # before the next is decoded: one frame in memory at a time


def _frames(path: Path, options: ReadOptions) -> Iterator[tuple[Header, Path | str]]:
    """Headers of the pictures of a file, each with the name of its place for messages."""
    with _reading(path):
        file = _open(path, options)
    with file:
        headers, where = _headers(file, options), path
        for number in count(1):
            where = f"{path}, page {number}" if number > 1 else path
            with _reading(where):
                header = next(headers, None)
            if header is None:
                return
            yield header, where


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
    close: Callable[[], None] = lambda: None,
) -> PictureSource:
    """The picture of a header: by rows if it is large and can be, else decoded."""
    info = _upright_info(header, path)
    if header.rows and header.orientation <= 4 and info.nbytes > options.stream_above and not options.salvage:
        return _UprightRows(header.rows(), info, header.orientation, where or path, close)
    with decoding(info.format.upper()):
        return _decoded(header, info, options)


@contextmanager
def _reading(path: Path | str) -> Iterator[None]:
    """Errors leave with the path in them."""
    try:
        yield
    except RestoreError as error:
        raise error.at(path) from error.__cause__
    except OSError as error:
        raise FileError(
            "cannot read this file", where=path, why=error.strerror or str(error), fix="Check the path and permissions"
        ) from error


def _open(path: Path, options: ReadOptions) -> BinaryIO:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise FileError(f"cannot read this: it is {kind}, not a file", where=path, fix="Name a picture file")
    if status.st_size > options.max_bytes:
        raise LimitError(
            f"is {status.st_size:,} bytes, more than the limit of {options.max_bytes:,}",
            fix="Raise the limit (max_bytes) if you trust this file",
        )
    return path.open("rb")


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
    if info.pixels > options.max_pixels:
        raise LimitError(
            f"is {info.width} x {info.height} = {info.pixels:,} pixels, more than the limit of {options.max_pixels:,}",
            fix=f"Add --max-pixels {info.pixels} if you trust this file",
        )
    return header


def _several(kind: str, options: ReadOptions) -> UnsupportedError:
    """The refusal of a file of many pictures where one is wanted."""
    if kind != "tiff" and options.frames == "all":
        return UnsupportedError(
            "is an animation, and only TIFF stacks are read whole", fix="Use --frames first to take its first picture"
        )
    every = "--frames all to use every page, or " if kind == "tiff" else ""
    return UnsupportedError(
        "holds more than one picture (animation or pages)",
        fix=f"Add {every}--frames first to use the first one only",
    )


def _upright_info(header: Header, path: Path) -> PictureInfo:
    info = header.info
    notes = info.notes
    if header.frames > 1:
        notes += ("only the first picture of this file is used",)
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
        close: Callable[[], None],
    ) -> None:
        self.info = info
        self._stored, self._orientation, self._where, self._close = stored, orientation, where, close

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        with _reading(self._where):
            if self._orientation in (1, 2):
                rows = self._stored.read_rows(start, stop)
            else:
                rows = self._stored.read_rows(self.info.height - stop, self.info.height - start)
            return upright(rows, self._orientation)

    def close(self) -> None:
        self._stored.close()
        self._close()


# --- writing -------------------------------------------------------------------------------------------------

_LARGEST_SIDE = {"png": 2**31 - 1, "tiff": 2**32 - 1, "jpeg": 65535, "webp": 16383, "bmp": 2**31 - 1, "avif": 65536}
_DTYPES: dict[str, SampleType] = {"8": "uint8", "16": "uint16", "float": "float32"}
_HOLDS: dict[str, tuple[SampleType, ...]] = {
    "png": ("uint8", "uint16"), "tiff": ("uint8", "uint16", "float32"),
    "jpeg": ("uint8",), "webp": ("uint8",), "bmp": ("uint8",), "avif": ("uint8",),
}  # fmt: skip
_JPEG_SEGMENT = 65_000


def target_info(info: PictureInfo, path: str | os.PathLike[str], options: SaveOptions | None = None) -> PictureInfo:
    """What will be written at `path`: the format of its extension, and the depth asked for or kept.

    Where `dtype` or `white` differ from `info`, the caller converts the samples. Anything the format
    cannot hold is an `UnsupportedError` naming the option that helps, or a note if it is only metadata.
    """
    options = options or SaveOptions()
    path = Path(path)
    name = WRITABLE.get(path.suffix.lower())
    if name is None:
        raise UnsupportedError(
            f"cannot write the format {path.suffix or 'of a file without extension'!r}",
            where=path,
            fix=f"Use one of: {' '.join(WRITABLE)}",
        )
    dtype = _target_dtype(info, name, path, options)
    _check_samples(info, name, path)
    keeps_scale = name == "tiff" == info.format and dtype == info.dtype
    bits = info.bits if keeps_scale else 8 * np.dtype(dtype).itemsize
    metadata, lost = _carried(info.metadata, name, options)
    if name in COLOUR_ONLY and info.channels == 1:
        lost.append(f"{name.upper()} has no grey: written as RGB with three equal samples")
    notes = tuple(dict.fromkeys((*info.notes, *lost)))
    return replace(info, dtype=dtype, bits=bits, format=name, metadata=metadata, path=path, notes=notes)


def _target_dtype(info: PictureInfo, name: str, path: Path, options: SaveOptions) -> SampleType:
    dtype = info.dtype if options.depth == "auto" else _DTYPES[options.depth]
    if dtype in _HOLDS[name]:
        return dtype
    best = _HOLDS[name][-1]
    flag = "16" if best == "uint16" else "8"
    held = "8 bits" if best == "uint8" else "8 or 16 bits"
    better = ".png or .tif" if dtype == "uint16" else ".tif"
    raise UnsupportedError(
        f"{name.upper()} holds {held} and this picture has {dtype} samples",
        where=path,
        fix=f"Add --depth {flag} or write {better}",
    )


def _check_samples(info: PictureInfo, name: str, path: Path) -> None:
    if name != "tiff" and info.channels not in (1, 3):
        raise UnsupportedError(f"{name.upper()} cannot hold {info.channels} channels", where=path, fix="Write .tif")
    if info.alpha and name in ("jpeg", "bmp"):
        raise UnsupportedError(f"{name.upper()} holds no transparency", where=path, fix="Write .png")
    if info.channels > tiff.MAX_CHANNELS:
        raise UnsupportedError(f"cannot write {info.channels} channels", where=path, fix="Write at most 8 to a file")
    if max(info.height, info.width) > _LARGEST_SIDE[name]:
        raise UnsupportedError(
            f"{name.upper()} holds at most {_LARGEST_SIDE[name]} pixels a side, not {info.width} x {info.height}",
            where=path,
            fix="Write .tif or .png",
        )


def _carried(metadata: Metadata, name: str, options: SaveOptions) -> tuple[Metadata, list[str]]:
    """Metadata that this format can hold, and notes about the rest."""
    if options.strip_metadata:
        metadata = replace(metadata, exif=None, xmp=None)
    metadata = replace(metadata, exif=upright_exif(metadata.exif, [])[0], xmp=upright_xmp(metadata.xmp))
    drop: dict[str, None] = {}
    lost: list[str] = []
    if name == "bmp":
        drop = dict.fromkeys(("exif", "xmp", "icc"))
    elif name in ("webp", "avif"):
        drop = {"dpi": None}
    elif name == "jpeg":
        drop = dict.fromkeys(key for key in ("exif", "xmp") if len(getattr(metadata, key) or b"") > _JPEG_SEGMENT)
    lost += [f"{name.upper()} cannot hold the {key.upper()}: not carried" for key in drop if getattr(metadata, key)]
    if name == "tiff" and metadata.exif and tags.read_block(metadata.exif) is None:
        drop = {"exif": None}
        lost.append("EXIF is damaged: not carried")
    return replace(metadata, **drop), lost


def create(path: str | os.PathLike[str], info: PictureInfo, options: SaveOptions | None = None) -> PictureSink:
    """A sink for a picture like `info` at `path`; its `info` is `target_info(info, path, options)`.

    The file appears under its name at `commit`, after its header was read back; a file that was there
    is replaced at that moment and untouched before. Raises `UnsupportedError` or `FileError`.
    """
    options = options or SaveOptions()
    path = Path(path)
    target = target_info(info, path, options)
    return _SINKS[target.format](path, target, options, partial(check_written, target=target))


def check_stack(path: str | os.PathLike[str]) -> None:
    """Raise `UnsupportedError` unless the format that `path` names holds more than one picture."""
    path = Path(path)
    if WRITABLE.get(path.suffix.lower()) != "tiff":
        raise UnsupportedError(
            f"cannot write a stack of pages as {path.suffix or 'a file without extension'}",
            where=path,
            fix="Write .tif, or use --frames first",
        )


def create_stack(path: str | os.PathLike[str], nbytes: int, options: SaveOptions | None = None) -> StackSink:
    """A TIFF at `path` that takes one page after another, `nbytes` decoded bytes in all; see `create`.

    Each page's header comes from `target_info`, and keeps its own metadata.
    """
    check_stack(path)
    path = Path(path)
    return StackSink(path, nbytes, options or SaveOptions(), partial(check_pages, where=path))
