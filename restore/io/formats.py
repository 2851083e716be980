"""Formats by their contents, and who reads the header of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from restore.io import jpeg, pillow, png, tiff
from restore.io.header import Header, decoding
from restore.io.options import ReadOptions
from restore.io.sniff import HEAD_BYTES, raw_refusal, sniff

_READERS: dict[str, Callable[[BinaryIO, ReadOptions], Header]] = {
    "png": png.read_header,
    "jpeg": jpeg.read_jpeg,
    "webp": pillow.read_webp,
    "tiff": tiff.read_header,
    "bmp": pillow.read_bmp,
    "gif": pillow.read_gif,
    "avif": pillow.read_avif,
    "heic": pillow.read_heic,
}


def kind_of(file: BinaryIO) -> str:
    """The format of a file's contents. Raises `UnsupportedError` or `DecodeError` for what is no picture we read."""
    file.seek(0)
    kind = sniff(file.read(HEAD_BYTES))
    if kind == "raw":
        raise raw_refusal()
    return kind


def read_header(file: BinaryIO, options: ReadOptions) -> Header:
    """The header of the (first) picture, whatever the format."""
    kind = kind_of(file)
    with decoding(kind.upper()):
        return _READERS[kind](file, options)
