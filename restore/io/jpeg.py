"""Reading JPEG: its markers by ourselves (kind, size, scans, where it ends), its pixels through Pillow.

What lies behind the end (a motion photo's video, a second view, raw data, an archive) is not the picture's: it is
neither searched nor decoded, and a note says how many bytes it has.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import JpegImagePlugin

from restore.errors import LimitError, UnsupportedError
from restore.io.header import FURTHER, MOTION, Header, bytes_behind, truncated
from restore.io.metadata import cmyk_to_rgb
from restore.io.options import ReadOptions
from restore.io.pillow import colour_of, metadata_of
from restore.picture import PictureInfo

_MAX_SCANS = 200
_BLOCK = 1 << 20  # bytes of coded samples searched at a time

_START, _END, _SCAN, _NO_LENGTH = 0xD8, 0xD9, 0xDA, {0x01, *range(0xD0, 0xD8)}
_LOSSLESS, _HIERARCHICAL, _JPEG_LS = 0xC3, 0xDE, 0xF7
_FRAMES = {*range(0xC0, 0xD0), _HIERARCHICAL, _JPEG_LS} - {0xC4, 0xC8, 0xCC}
_DECODED = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # sequential and progressive, by Huffman or arithmetic codes
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""What ends coded samples: no stuffed 0xFF, no restart, no filling."""


@dataclass
class Structure:
    """What the markers of a JPEG say.

    Attributes:
        frame: the marker of its kind of coding, 0 if there is none.
        bits, width, height, components: of the frame.
        scans: how often its samples are gone over.
        end: offset behind its last byte; of the file if the picture does not end before.
    """

    frame: int = 0
    bits: int = 0
    width: int = 0
    height: int = 0
    components: int = 0
    scans: int = 0
    end: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, as Pillow's pictures have them."""
        return self.width, self.height


def structure(file: BinaryIO) -> Structure:
    """Follow the markers of a JPEG from its start to its end: what lies in its segments or behind it does not count."""
    size = file.seek(0, os.SEEK_END)
    found, at = Structure(end=size), 2
    while (marker_at := _next_marker(file, at)) is not None:
        file.seek(marker_at + 1)
        marker, length = file.read(1)[0], int.from_bytes(file.read(2), "big")
        at = marker_at + 2
        if marker == _END:
            found.end = at
            break
        if marker == _START:  # another picture begins, and this one did not end
            found.end = marker_at
            break
        if marker in _NO_LENGTH:
            continue
        if marker in _FRAMES and not found.frame:
            head = file.read(6)
            if len(head) < 6:
                break
            found.frame, found.bits, found.components = marker, head[0], head[5]
            found.height, found.width = (int.from_bytes(head[i : i + 2], "big") for i in (1, 3))
        found.scans += marker == _SCAN
        at += max(2, length)
    return found


def _next_marker(file: BinaryIO, start: int) -> int | None:
    """Where the next marker begins, from `start` on; None for none."""
    while True:
        file.seek(start)
        block = file.read(_BLOCK)
        if (match := _MARKER.search(block)) is not None:
            return start + match.start()
        if len(block) < _BLOCK:
            return None
        start += len(block) - 1  # a marker may lie across


def read_jpeg(file: BinaryIO, options: ReadOptions) -> Header:
    """Header of a JPEG: grey, YCbCr/RGB, CMYK or YCCK, 8 bits. Other kinds are refused by name."""
    found = structure(file)
    _check_kind(found)
    file.seek(0)
    image = JpegImagePlugin.JpegImageFile(file)
    cmyk = image.mode == "CMYK"
    carried = metadata_of(image, "CMYK" if cmyk else colour_of(len(image.getbands())))
    metadata, notes = carried.metadata, list(carried.notes)
    icc = metadata.icc
    if cmyk:
        notes.append(_cmyk_note(icc))
        metadata = replace(metadata, icc=None)
    notes += _more_notes(file, found, image, metadata.xmp or b"")
    channels = 1 if image.mode == "L" else 3
    info = PictureInfo(image.height, image.width, channels, False, format="jpeg", metadata=metadata, notes=tuple(notes))

    def decode(salvage: bool) -> np.ndarray:
        if found.scans > _MAX_SCANS:
            raise LimitError(f"refuses this JPEG: it has over {_MAX_SCANS} scans", fix="Re-export it")
        file.seek(0)
        data = file.read(found.end)
        if salvage:
            data += b"\xff\xd9"  # an early end: the missing part stays grey
        loaded = JpegImagePlugin.JpegImageFile(BytesIO(data))
        pixels = np.asarray(loaded)
        return cmyk_to_rgb(pixels, icc) if cmyk else pixels

    return Header(info, decode, carried.orientation)


def _more_notes(file: BinaryIO, found: Structure, image: JpegImagePlugin.JpegImageFile, xmp: bytes) -> list[str]:
    """What else the file holds beside the picture."""
    notes = []
    if "mp" in image.info or b"hdrgm" in xmp:
        notes.append(FURTHER)
    if b"MotionPhoto" in xmp or b"MicroVideo" in xmp:
        notes.append(MOTION)
    return notes + bytes_behind("JPEG", file.seek(0, os.SEEK_END) - found.end)


def _check_kind(found: Structure) -> None:
    """Refuse the kinds of JPEG that are well-formed and not read here."""
    if not found.frame:
        raise truncated("JPEG", "it ends inside its header", fix="Copy the file again")
    export = "Convert it to PNG or TIFF in the program that made it"
    codec = "jpegls" if found.frame == _JPEG_LS else "jpeg"
    fix = (
        "Convert it to TIFF first, for example in Python: "
        f"tifffile.imwrite('out.tif', imagecodecs.imread('in.jpg', codec='{codec}'))"
    )
    if found.frame == _JPEG_LS:
        raise UnsupportedError("cannot read JPEG-LS", fix=fix)
    if found.frame == _LOSSLESS:
        raise UnsupportedError(f"cannot read a lossless JPEG ({found.bits} bits a sample)", fix=fix)
    if found.frame not in _DECODED:
        raise UnsupportedError("cannot read a JPEG of this kind (hierarchical, or arithmetic lossless)", fix=export)
    if found.bits != 8:
        raise UnsupportedError(f"cannot read a JPEG of {found.bits} bits a sample, only of 8", fix=fix)
    if found.components not in (1, 3, 4):
        raise UnsupportedError(f"cannot read a JPEG of {found.components} components, only of 1, 3 or 4", fix=export)
    if not found.height:
        raise UnsupportedError("cannot read a JPEG whose height stands behind its samples (DNL marker)", fix=export)


def _cmyk_note(icc: bytes | None) -> str:
    how = "through its profile" if icc else "without a profile, R = (1 - C)(1 - K)"
    return f"CMYK converted to sRGB {how}; the CMYK profile is not carried"
