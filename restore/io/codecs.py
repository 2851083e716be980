"""Between files and pictures: `probe`, `open_picture`, `target_info`, `create`; for stacks of pages
`probe_frames`, `open_frames`, `create_stack`."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from restore.errors import UnsupportedError
from restore.io import calibration, tags, tiff
from restore.io.atomic import AtomicFile
from restore.io.clip.names import names_clip
from restore.io.header import SALVAGED
from restore.io.metadata import upright_exif, upright_xmp
from restore.io.options import ReadOptions, SaveOptions
from restore.io.paths import WRITABLE
from restore.io.picture_file import PictureFile
from restore.io.stack import StackSink
from restore.io.streams import EncodedSink, PngSink, Sink, TiffSink
from restore.io.verify import COLOUR_ONLY, check_pages, check_written
from restore.picture import Metadata, PictureInfo, PictureSink, PictureSource, SampleType

__all__ = [
    "SALVAGED", "PictureFile", "ReadOptions", "SaveOptions", "StackSink", "check_stack", "create", "create_stack",
    "open_frames", "open_picture", "probe", "probe_frames", "target_info",
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
    with PictureFile(path, options) as file:
        return file.info


def open_picture(path: str | os.PathLike[str], options: ReadOptions | None = None) -> PictureSource:
    """The picture at `path`: in memory, or by rows if it is a TIFF larger than `options.stream_above`.

    Errors as in `probe`. The caller closes the source.
    """
    file = PictureFile(path, options)
    try:
        return file.picture(close_file=True)
    except BaseException:
        file.close()
        raise


def probe_frames(
    path: str | os.PathLike[str], options: ReadOptions | None = None
) -> Generator[PictureInfo, None, None]:
    """What the pictures are that `open_frames` yields, from their headers. Errors as there; decodes nothing."""
    with PictureFile(path, options) as file:
        yield from file.infos()


def open_frames(
    path: str | os.PathLike[str], options: ReadOptions | None = None
) -> Generator[PictureSource, None, None]:
    """The pictures of a file, as `PictureFile.frames` gives them; those read by rows live until the next is taken."""
    with PictureFile(path, options) as file:
        yield from file.frames()


# --- writing -------------------------------------------------------------------------------------------------

_LARGEST_SIDE = {"png": 2**31 - 1, "tiff": 2**32 - 1, "jpeg": 65535, "webp": 16383, "bmp": 2**31 - 1, "avif": 65536}
_DTYPES: dict[str, SampleType] = {"8": "uint8", "16": "uint16", "float": "float32"}
_HOLDS: dict[str, tuple[SampleType, ...]] = {
    "png": ("uint8", "uint16"), "tiff": ("uint8", "uint16", "float32"),
    "jpeg": ("uint8",), "webp": ("uint8",), "bmp": ("uint8",), "avif": ("uint8",),
}  # fmt: skip
_JPEG_SEGMENT = 65_000
_JPEG_DPI = 65_535


def target_info(
    info: PictureInfo, path: str | os.PathLike[str], options: SaveOptions | None = None, *, pages: int | None = 1
) -> PictureInfo:
    """What will be written at `path`: the format of its extension, and the depth asked for or kept.

    Where `dtype` or `white` differ from `info`, the caller converts the samples. Anything the format
    cannot hold is an `UnsupportedError` naming the option that helps, or a note if it is only metadata.

    Args:
        pages: how many the file will hold; None for as many as the one that was read.
    """
    options = options or SaveOptions()
    path = Path(path)
    name = WRITABLE.get(path.suffix.lower())
    if names_clip(path):
        raise UnsupportedError(
            "a still picture is not written as a clip", where=path, fix=f"Use one of: {' '.join(WRITABLE)}"
        )
    if name is None:
        raise UnsupportedError(
            f"cannot write the format {path.suffix!r}" if path.suffix else "cannot write a file without an extension",
            where=path,
            fix=f"Use one of: {' '.join(WRITABLE)}",
        )
    dtype = _target_dtype(info, name, path, options)
    _check_samples(info, name, path)
    keeps_scale = name == "tiff" == info.format and dtype == info.dtype
    bits = info.bits if keeps_scale else 8 * np.dtype(dtype).itemsize
    info = replace(info, dtype=dtype, bits=bits, format=name, path=path)
    metadata, lost = _carried(info, options, pages)
    if name in COLOUR_ONLY and info.channels == 1:
        lost.append(f"{name.upper()} has no grey: written as RGB with three equal samples")
    notes = tuple(dict.fromkeys((*info.notes, *lost)))
    return replace(info, metadata=metadata, notes=notes)


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


def _carried(info: PictureInfo, options: SaveOptions, pages: int | None) -> tuple[Metadata, list[str]]:
    """Metadata that the format of this target can hold, and notes about the rest."""
    name, metadata = info.format, info.metadata
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
        drop |= {"dpi": None} if max(metadata.dpi or (0.0,)) > _JPEG_DPI else {}
    lost += [f"{name.upper()} cannot hold the {key.upper()}: not carried" for key in drop if getattr(metadata, key)]
    if name == "tiff" and metadata.exif and tags.read_block(metadata.exif) is None:
        drop = {"exif": None}
        lost.append("EXIF is damaged: not carried")
    metadata = replace(metadata, **drop)
    if metadata.calibration is None:
        return metadata, lost
    calibrated, more = metadata.calibration, []
    if name != "tiff":
        more = calibration.lost_note(calibrated, name.upper(), keeps_dpi=metadata.dpi is not None or "dpi" in drop)
        calibrated = None
    else:
        if options.strip_metadata:
            calibrated = calibration.stripped(calibrated)
        calibrated, more = calibration.fitted(calibrated, info, pages)
    return replace(metadata, calibration=calibrated), lost + more


def create(
    path: str | os.PathLike[str],
    info: PictureInfo,
    options: SaveOptions | None = None,
    out: AtomicFile | None = None,
) -> PictureSink:
    """A sink for a picture like `info` at `path`; its `info` is `target_info(info, path, options)`.

    The file appears under its name at `commit`, after its header was read back; a file that was there
    is replaced at that moment and untouched before. Raises `UnsupportedError` or `FileError`.

    Args:
        out: where the bytes go, such as a file that is held back; None opens one for `path`.
    """
    options = options or SaveOptions()
    path = Path(path)
    target = target_info(info, path, options)
    return _SINKS[target.format](path, target, options, partial(check_written, target=target), out)


def bytes_to_write(info: PictureInfo) -> int:
    """Memory that a picture with this header (of `target_info`) takes until its file is complete; 0 where rows stream.

    Formats without rows are encoded from a whole picture, of which the encoder makes a copy.
    """
    return 2 * info.nbytes if _SINKS[info.format] is EncodedSink else 0


def check_stack(path: str | os.PathLike[str]) -> None:
    """Raise `UnsupportedError` unless the format that `path` names holds more than one picture."""
    path = Path(path)
    if WRITABLE.get(path.suffix.lower()) != "tiff":
        raise UnsupportedError(
            f"cannot write a stack of pages as {path.suffix or 'a file without extension'}",
            where=path,
            fix="Write .tif, or use --frames first",
        )


def create_stack(
    path: str | os.PathLike[str],
    nbytes: int,
    options: SaveOptions | None = None,
    out: AtomicFile | None = None,
    *,
    pages: int | None = None,
) -> StackSink:
    """A TIFF at `path` that takes one page after another, `nbytes` decoded bytes in all; `out` as in `create`.

    `pages` is how many there will be; None for as many as the file had that they come from.

    Each page's header comes from `target_info`, and keeps its own metadata.
    """
    check_stack(path)
    path, options = Path(path), options or SaveOptions()
    header = partial(target_info, path=path, options=options, pages=pages)
    return StackSink(path, nbytes, options, header, partial(check_pages, where=path), out)
