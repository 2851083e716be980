"""The directories of a TIFF: the chain they form, and which of them are pictures of their own."""

from __future__ import annotations

import copy
import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import tifffile

from restore.errors import LimitError
from restore.io.header import truncated

MAX_FRAMES = 65_536
REDUCED, MASK = 1, 4
_SEARCHED = 256  # directories searched for a second picture: more thumbnails than that are an attack


@dataclass(frozen=True)
class Chain:
    """Offsets of the directories in order, and how the chain breaks off ("" if it ends as it should)."""

    offsets: list[int]
    broken: str = ""


def chain(tif: tifffile.TiffFile) -> Chain:
    """Follow the directories by their links only. A loop, or a chain without end, is a `LimitError`."""
    file, form = tif.filehandle, tif.tiff
    offsets: dict[int, None] = {}
    offset = tif.pages.first.offset
    while offset:
        if offset in offsets:
            raise LimitError("refuses this TIFF: its directories form a loop", fix="Re-export it")
        if len(offsets) == MAX_FRAMES:
            raise LimitError(f"refuses this TIFF: over {MAX_FRAMES:,} directories", fix="Split it into smaller files")
        file.seek(offset)
        count = file.read(form.tagnosize)
        link = b""
        if len(count) == form.tagnosize:
            file.seek(struct.unpack(form.tagnoformat, count)[0] * form.tagsize, os.SEEK_CUR)
            link = file.read(form.offsetsize)
        if len(link) < form.offsetsize:
            return Chain(list(offsets), f"directory {len(offsets) + 1} lies outside the file")
        offsets[offset] = None
        offset = struct.unpack(form.offsetformat, link)[0]
    return Chain(list(offsets))


def has_several(tif: tifffile.TiffFile) -> bool:
    """Whether a TIFF holds more than one picture."""
    offsets = chain(tif).offsets
    if _imagej_images(tif) > 1 or next(islice(_pictures(tif, offsets[:_SEARCHED]), 1, None), None) is not None:
        return True
    if len(offsets) > _SEARCHED:
        raise LimitError(
            f"refuses this TIFF: over {_SEARCHED} directories without a second picture", fix="Re-export it"
        )
    return False


def frames(tif: tifffile.TiffFile, *, salvage: bool) -> tuple[Iterator[Any], str]:
    """The pages that are pictures, read one at a time, and what was lost ("" for nothing).

    Thumbnails and masks are left out. What ImageJ keeps behind a single directory counts as pages.
    Raises `TruncatedError` for a stack that breaks off, unless it is to be salvaged.
    """
    directories = chain(tif)
    images, page = _imagej_images(tif), tif.pages.first
    if images > MAX_FRAMES:
        raise LimitError(f"refuses this TIFF: it says it holds {images:,} pictures", fix="Split it into smaller files")
    pages, broken = _pictures(tif, directories.offsets), directories.broken
    if images > 1 and len(directories.offsets) == 1 and not broken and _is_plain(page):
        there = max(1, min(images, (tif.filehandle.size - page.dataoffsets[0]) // page.nbytes))
        pages = _behind(page, there)
        broken = f"{there:,} of its {images:,} pictures are there" if there < images else ""
    elif images > len(directories.offsets):
        broken = broken or f"{len(directories.offsets):,} of its {images:,} pictures are there"
    if broken and not salvage:
        raise truncated("TIFF stack", broken)
    return pages, broken


def _pictures(tif: tifffile.TiffFile, offsets: Iterable[int]) -> Iterator[Any]:
    """The first page, and all others but thumbnails and masks."""
    for index, offset in enumerate(offsets):
        tif.filehandle.seek(offset)
        page = tifffile.TiffPage(tif, index)
        if index == 0 or not int(page.subfiletype) & (REDUCED | MASK):
            yield page


def _imagej_images(tif: tifffile.TiffFile) -> int:
    """How many pictures ImageJ says there are: its large stacks have one directory for all of them."""
    match = re.search(r"^images=(\d{1,18})$", str(tif.pages.first.description), re.M) if tif.is_imagej else None
    return int(match[1]) if match else 1


def _is_plain(page: Any) -> bool:
    """Whether the pixels lie in one uncompressed piece, so that the next picture's may follow them."""
    starts, counts = page.dataoffsets, page.databytecounts
    whole = bool(starts) and page.compression == 1 and not page.is_tiled and page.nbytes > 0
    return whole and all(a + n == b for a, n, b in zip(starts, counts, starts[1:], strict=False))


def _behind(first: Any, count: int) -> Iterator[Any]:
    """The pictures that follow each other from the first one's on."""
    for index in range(count):
        page = copy.copy(first)
        page.dataoffsets = tuple(start + index * first.nbytes for start in first.dataoffsets)
        yield page
