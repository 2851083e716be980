"""Reading BMP, GIF, WebP, AVIF and HEIC.

Each plugin class is called by name: Pillow's own `open` would try them all, and its pixel limit is
a global of the process, while ours is checked in `codecs` before anything is decoded.
"""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile

from restore.errors import DecodeError, UnsupportedError
from restore.io.header import MAX_METADATA_BYTES, MOTION, Header, bytes_behind, truncated
from restore.io.metadata import SanitisedMetadata, cicp_notes, sanitise
from restore.io.options import ReadOptions
from restore.picture import PictureInfo

_MODES = {"1": (1, False), "L": (1, False), "LA": (1, True), "RGB": (3, False), "RGBA": (3, True)}


def metadata_of(image: ImageFile.ImageFile, colour: str) -> SanitisedMetadata:
    """What Pillow found beside the pixels, checked."""
    facts: dict[Any, Any] = image.info
    return sanitise(
        exif=facts.get("exif"), xmp=facts.get("xmp"), icc=facts.get("icc_profile"), dpi=facts.get("dpi"), colour=colour
    )


def colour_of(channels: int) -> str:
    """The colour space that a profile for so many channels must be of."""
    return "GRAY" if channels == 1 else "RGB"


def read_bmp(file: BinaryIO, options: ReadOptions) -> Header:
    """Header of a BMP, 1 to 32 bits per pixel."""
    return _from_pillow(BmpImagePlugin.BmpImageFile, "bmp", file, options)


def read_gif(file: BinaryIO, options: ReadOptions) -> Header:
    """Header of a GIF; its count of frames is 2 for any above 1."""
    return _from_pillow(GifImagePlugin.GifImageFile, "gif", file, options)


def _from_pillow(plugin: type[ImageFile.ImageFile], name: str, file: BinaryIO, options: ReadOptions) -> Header:
    """Header of an 8-bit format that Pillow reads right as it is; palettes are expanded."""
    file.seek(0)
    image = plugin(file)
    mode = _expanded_mode(image)
    channels, alpha = _MODES[mode]
    carried = metadata_of(image, colour_of(channels))
    notes = list(carried.notes)
    if image.mode in ("P", "1"):
        notes.append("palette expanded to 8-bit samples" if image.mode == "P" else "1-bit samples expanded to 8-bit")
    info = PictureInfo(
        image.height, image.width, channels, alpha, format=name, metadata=carried.metadata, notes=tuple(notes)
    )
    frames = 2 if getattr(image, "is_animated", False) else 1

    def decode(salvage: bool) -> np.ndarray:
        file.seek(0)
        data = file.read()
        if salvage and name == "bmp":
            data += bytes(info.height * (info.width * 4 + 4))
        return np.asarray(plugin(BytesIO(data)).convert(mode))

    return Header(info, decode, carried.orientation, frames)


def _expanded_mode(image: Image.Image) -> str:
    """The mode without palette and 1-bit samples that holds everything this image holds."""
    if image.mode == "1":
        return "L"
    grey = image.mode in ("L", "LA")
    if image.mode == "P" and image.palette is not None:  # not getpalette(): that would decode the picture
        layout, table = image.palette.getdata()
        entries = np.frombuffer(table, np.uint8)
        entries = entries[: len(entries) // len(layout) * len(layout)].reshape(-1, len(layout))
        grey = not np.ptp(entries[:, :3], axis=1).any()
    alpha = image.mode in ("LA", "RGBA") or "transparency" in image.info
    if image.mode not in ("L", "LA", "P", "RGB", "RGBA"):
        raise UnsupportedError(f"cannot read a picture of mode {image.mode}", fix="Convert it to PNG or TIFF first")
    return ("L" if grey else "RGB") + ("A" if alpha else "")


# --- WebP ----------------------------------------------------------------------------------------------------


def read_webp(file: BinaryIO, options: ReadOptions) -> Header:
    """Header of a WebP, from its chunks: Pillow would already allocate the canvas."""
    size = file.seek(0, os.SEEK_END)
    file.seek(4)
    declared = int.from_bytes(file.read(4), "little") + 8
    if declared > size:
        raise truncated("WebP", f"{size} of {declared} bytes are there", fix="Copy the file again")
    chunks = _riff_chunks(file, declared)
    width, height, alpha, animated = _webp_facts(chunks)
    carried = sanitise(exif=chunks.get(b"EXIF"), xmp=chunks.get(b"XMP "), icc=chunks.get(b"ICCP"))
    notes = [*carried.notes, *bytes_behind("WebP", size - declared - (declared & 1))]
    info = PictureInfo(height, width, 3, alpha, format="webp", metadata=carried.metadata, notes=tuple(notes))

    def decode(salvage: bool) -> np.ndarray:
        file.seek(0)
        data = file.read()
        if animated:
            with Image.open(BytesIO(data), formats=["WEBP"]) as image:
                return np.asarray(image.convert("RGBA" if alpha else "RGB"))
        return imagecodecs.webp_decode(data, hasalpha=alpha)

    return Header(info, decode, carried.orientation, 2 if animated else 1)


def _riff_chunks(file: BinaryIO, end: int) -> dict[bytes, bytes]:
    """Chunks of a WebP by name; of picture data only the first bytes."""
    chunks: dict[bytes, bytes] = {}
    position = 12
    while position + 8 <= end and len(chunks) < 64:
        file.seek(position)
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        position += 8 + length + (length & 1)
        if position > end + 1:
            raise truncated("WebP", f"its {name.decode('latin-1')!r} chunk leaves the file", fix="Copy the file again")
        wanted = min(length, MAX_METADATA_BYTES + 1) if name in (b"EXIF", b"XMP ", b"ICCP") else min(length, 32)
        chunks.setdefault(name, file.read(wanted))
        if name == b"ANMF":
            break
    return chunks


def _webp_facts(chunks: dict[bytes, bytes]) -> tuple[int, int, bool, bool]:
    """Width, height, alpha, animated."""
    if head := chunks.get(b"VP8X"):
        width, height = (1 + int.from_bytes(head[i : i + 3], "little") for i in (4, 7))
        inner = {name: data for name, data in chunks.items() if name in (b"VP8 ", b"VP8L")}
        if inner and _webp_facts(inner)[:2] != (width, height):
            raise DecodeError("cannot decode this WebP: it holds two sizes", fix="Re-export it")
        return width, height, bool(head[0] & 0x10), bool(head[0] & 0x02)
    if head := chunks.get(b"VP8L"):
        bits = int.from_bytes(head[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1), False
    if head := chunks.get(b"VP8 "):
        width, height = (int.from_bytes(head[i : i + 2], "little") & 0x3FFF for i in (6, 8))
        return width, height, False, False
    raise truncated("WebP", "it holds no picture data", fix="Copy the file again")


# --- AVIF and HEIC -------------------------------------------------------------------------------------------


def read_avif(file: BinaryIO, options: ReadOptions) -> Header:
    """Header of an AVIF. 10 and 12 bits come out as uint16 with that many significant bits."""
    from PIL import AvifImagePlugin

    file.seek(0)
    data = file.read()
    more = _box_notes(data, "AVIF")
    image = AvifImagePlugin.AvifImageFile(BytesIO(data))
    head = data[: data.find(b"mdat") if b"mdat" in data else len(data)]
    flags = head[at + 6] if 0 < (at := head.find(b"av1C")) < len(head) - 6 else 0
    bits = 12 if flags & 0x20 else 10 if flags & 0x40 else 8
    alpha = image.mode == "RGBA"
    channels = 1 if flags & 0x10 else 3
    carried = metadata_of(image, colour_of(channels))
    notes = [*carried.notes, *_nclx_notes(head, carried.metadata.icc), *more]
    info = PictureInfo(
        image.height, image.width, channels, alpha, "uint8" if bits == 8 else "uint16", bits, "avif",
        carried.metadata, notes=tuple(notes),
    )  # fmt: skip

    def decode(salvage: bool) -> np.ndarray:
        import cv2  # imagecodecs 2026.3 corrupts memory on image sequences, and Pillow knows 8 bits only

        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # its complaints become our errors
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise ValueError("the decoder gave up")
        if pixels.ndim == 2:
            return pixels
        order = ([0, 3] if alpha else [0]) if channels == 1 else [2, 1, 0, 3][: info.samples]
        return pixels[:, :, order]

    return Header(info, decode, carried.orientation, getattr(image, "n_frames", 1))


_BOXES = frozenset((b"ftyp", b"meta", b"mdat", b"moov", b"moof", b"free", b"skip", b"uuid", b"idat", b"mpvd"))


def _box_notes(data: bytes, what: str) -> list[str]:
    """What a box file holds behind its picture. Refuses a file that ends before its last box does.

    What begins like no box that such files have is no part of it (a phone's video may simply be appended).
    """
    position, notes = 0, []
    while position + 8 <= len(data):
        size, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size == 0:
            return notes
        if position + size > len(data) and name in _BOXES:
            raise truncated(what, f"{len(data)} of {position + size} bytes are there", fix="Copy the file again")
        if position + size > len(data) or size < 8:
            break
        if name == b"mpvd":
            notes.append(MOTION)
        position += size
    return notes + bytes_behind(what, len(data) - position)


def _nclx_notes(head: bytes, icc: bytes | None) -> tuple[str, ...]:
    at = head.find(b"colrnclx")
    if icc or at < 0 or len(head) < at + 12:
        return ()
    return cicp_notes(int.from_bytes(head[at + 8 : at + 10], "big"), int.from_bytes(head[at + 10 : at + 12], "big"))


def read_heic(file: BinaryIO, options: ReadOptions) -> Header:
    """Header of a HEIC, through pillow-heif; libheif itself turns the picture upright."""
    try:
        import pillow_heif
    except ImportError as error:
        raise UnsupportedError(
            "cannot read HEIC: pillow-heif is not installed", fix="Run: pip install 'restore-toolkit[heic]'"
        ) from error
    file.seek(0)
    data = file.read()
    more = _box_notes(data, "HEIC")
    heif = pillow_heif.open_heif(BytesIO(data), convert_hdr_to_8bit=False)
    image = heif[heif.primary_index]
    facts = image.info
    bits = int(facts.get("bit_depth", 8))
    alpha = image.mode.startswith(("RGBA", "LA"))
    channels = 1 if image.mode.startswith("L") else 3
    carried = sanitise(
        exif=facts.get("exif"), xmp=facts.get("xmp"), icc=facts.get("icc_profile"), colour=colour_of(channels)
    )
    notes = [*carried.notes, *_nclx_notes(data[:65536], carried.metadata.icc), *more]
    width, height = image.size
    info = PictureInfo(
        height, width, channels, alpha, "uint8" if bits == 8 else "uint16", bits, "heic",
        carried.metadata, notes=tuple(notes),
    )  # fmt: skip

    def decode(salvage: bool) -> np.ndarray:
        pixels = np.asarray(image).reshape(height, width, info.samples)
        return pixels if bits == 8 else pixels >> (16 - bits)  # libheif's samples fill 16 bits from the top

    return Header(info, decode, 1, len(heif))
