"""What the format readers share: options, the header they return, and how library errors become ours."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from restore.errors import DecodeError, FileError, LimitError, RestoreError, TruncatedError, UnsupportedError
from restore.io.options import ReadOptions
from restore.picture import PictureInfo, PictureSource

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # what it mutters is in our notes

MAX_METADATA_BYTES = 16 << 20
"""Larger EXIF, XMP or ICC blocks are dropped with a note: they are attacks or accidents."""

ONLY_FIRST = "only the first picture of this file is used"
FURTHER = "further pictures in the file (gain map, second view) are not carried"
MOTION = "the video of this motion photo is not carried"
_BEHIND = re.compile(r"[\d,]+ bytes? after the end of the .* not carried")


def bytes_behind(what: str, count: int) -> list[str]:
    """The note about bytes behind a picture's end, if there are any."""
    return [f"{count:,} byte{'s' * (count != 1)} after the end of the {what} not carried"] if count > 0 else []


def what_else(notes: Iterable[str]) -> str:
    """What a file holds beside the picture that is read, by the notes about it; "" for nothing."""
    if not {ONLY_FIRST, FURTHER, MOTION}.isdisjoint(notes):
        return "the file's other pictures away, or its video"
    return "away what follows the picture in its file" if any(map(_BEHIND.fullmatch, notes)) else ""


SALVAGED = "damaged file salvaged"
"""How the note about a picture begins that is incomplete."""


@dataclass(frozen=True)
class Header:
    """A file's header, and how to get at its pixels.

    Attributes:
        info: the picture as it will be after decoding, still in stored orientation.
        decode: all pixels, H x W x samples of `info`, in stored orientation; True salvages what it can.
        orientation: EXIF orientation 1..8 still to be applied.
        frames: pictures in the file (thumbnails and masks not counted); some formats give 2 for any number above 1.
        rows: a source that decodes by rows, where the format allows it; the file is closed by who opened it.
    """

    info: PictureInfo
    decode: Callable[[bool], np.ndarray]
    orientation: int = 1
    frames: int = 1
    rows: Callable[[], PictureSource] | None = None


def check_pixels(info: PictureInfo, options: ReadOptions) -> None:
    """Raise `LimitError` for a picture, or frame of a clip, that is larger than the user takes."""
    if info.pixels > options.max_pixels:
        raise LimitError(
            f"is {info.width} x {info.height} = {info.pixels:,} pixels, more than the limit of {options.max_pixels:,}",
            fix=f"Use --max-pixels {info.pixels} if you trust this file",
        )


_TRUNCATED = re.compile(
    r"truncat|too small|too short|unexpected end|end of (file|data|stream|image)|premature|not enough|incomplete"
    r"|unexpected eof|eof while|buffer is not large",
    re.I,
)
_UNSUPPORTED = re.compile(
    r"unsupported|not (yet )?(supported|implemented)|cannot handle|no support|unknown (image )?(mode|compression)"
    r"|requires? the '?imagecodecs",
    re.I,
)
SALVAGE_FIX = "Copy the file again, or use --salvage for the part that is readable"


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Turn whatever a decoder raises on hostile bytes into one of our errors.

    Decoders raise nearly every built-in exception on damaged input, so all of them are caught here,
    in the one place where untrusted bytes are parsed.
    """
    try:
        yield
    except RestoreError:
        raise
    except MemoryError as error:
        raise LimitError(
            f"cannot decode this {what}: not enough memory", fix="Free memory, or lower --max-pixels"
        ) from error
    except Exception as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        if isinstance(error, OSError) and error.errno is not None:
            raise FileError(f"cannot read this {what}", why=why, fix="Check the disk and try again") from error
        if _UNSUPPORTED.search(why) or isinstance(error, NotImplementedError):
            raise UnsupportedError(
                f"cannot read this kind of {what}", why=why,
                fix="Convert it to PNG or TIFF with a program that opens it; if none does, the file is damaged",
            ) from error  # fmt: skip
        if _TRUNCATED.search(why) or isinstance(error, EOFError):
            raise TruncatedError(f"cannot read all of this {what}: it ends early", why=why, fix=SALVAGE_FIX) from error
        raise DecodeError(
            f"cannot decode this {what}: it is damaged", why=why, fix="Copy the file again or re-export it"
        ) from error


def truncated(what: str, why: str, fix: str = SALVAGE_FIX) -> TruncatedError:
    """The error of a file that ends before its picture does."""
    return TruncatedError(f"cannot read all of this {what}: it ends early", why=why, fix=fix)
