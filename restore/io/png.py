"""Reading PNG: its chunks by ourselves (depth, metadata, damage), its pixels through libpng."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import imagecodecs
import numpy as np

from restore.errors import DecodeError, LimitError, UnsupportedError
from restore.io.header import MAX_METADATA_BYTES, Header, bytes_behind, truncated
from restore.io.metadata import cicp_notes, sanitise
from restore.io.options import ReadOptions
from restore.io.png_chunks import SIGNATURE, XMP_KEYWORD, chunk
from restore.io.png_rows import Layout, PngRows
from restore.picture import PictureInfo

_MAX_CHUNKS = 1_000_000
_KEPT_KINDS = {b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"pHYs", b"iTXt", b"acTL", b"cICP", b"gAMA", b"sRGB"}
_COLOUR_SAMPLES = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


@dataclass
class _Chunks:
    """The payloads of chunks by kind; IDAT stays in the file."""

    payloads: dict[bytes, bytes] = field(default_factory=dict)
    has_data: bool = False
    complete: bool = False
    trailing: int = 0
    notes: list[str] = field(default_factory=list)


def read_header(file: BinaryIO, options: ReadOptions) -> Header:
    """Header of a PNG. Refuses files without IEND unless `options.salvage`."""
    chunks = _walk(file)
    if not chunks.complete and not options.salvage:
        raise truncated("PNG", "no IEND chunk at its end")
    if not chunks.has_data:
        raise truncated("PNG", "it holds no pixel data", fix="Copy the file again")
    width, height, depth, colour_type, _, _, interlace = struct.unpack(">IIBBBBB", chunks.payloads[b"IHDR"])
    if colour_type not in _DEPTHS or depth not in _DEPTHS[colour_type] or not width or not height:
        raise DecodeError(
            "cannot decode this PNG: its header is impossible",
            why=f"{width} x {height}, colour type {colour_type}, {depth} bits",
            fix="Copy the file again",
        )
    palette = np.frombuffer(chunks.payloads.get(b"PLTE", b""), np.uint8)
    grey_palette = colour_type == 3 and len(palette) % 3 == 0 and not np.ptp(palette.reshape(-1, 3), axis=1).any()
    channels = 1 if grey_palette else _COLOUR_SAMPLES[colour_type]
    alpha = colour_type in (4, 6) or b"tRNS" in chunks.payloads
    carried = sanitise(
        exif=chunks.payloads.get(b"eXIf"),
        xmp=_xmp(chunks),
        icc=_icc(chunks),
        dpi=_dpi(chunks),
        colour="GRAY" if colour_type in (0, 4) else "RGB",
    )
    if grey_palette and carried.metadata.icc:
        channels, grey_palette = 3, False  # an RGB profile needs RGB samples
    notes = [*chunks.notes, *_kind_notes(chunks, colour_type, depth), *carried.notes]
    bits = max(depth, 8)
    dtype = "uint8" if bits == 8 else "uint16"
    info = PictureInfo(height, width, channels, alpha, dtype, bits, "png", carried.metadata, notes=tuple(notes))
    frames = struct.unpack(">I", chunks.payloads[b"acTL"][:4])[0] if len(chunks.payloads.get(b"acTL", b"")) == 8 else 1

    def decode(salvage: bool) -> np.ndarray:
        file.seek(0)
        parts = list(_picture_chunks(file.read(), {b"tRNS"} & chunks.payloads.keys()))
        bits_per_pixel = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
        data = _repaired(parts, width, height, bits_per_pixel, bool(interlace)) if salvage else _joined(parts)
        pixels = imagecodecs.png_decode(data)
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        return pixels[:, :, [0, 3] if alpha else [0]] if grey_palette else pixels

    layout = _layout(chunks, colour_type, depth, grey=grey_palette)
    by_rows = not interlace and carried.orientation <= 2 and layout is not None  # from the top, which comes first
    rows = (lambda: PngRows(file, info, layout)) if by_rows and layout is not None else None
    return Header(info, decode, carried.orientation, max(1, frames), rows)


def _layout(chunks: _Chunks, colour_type: int, depth: int, *, grey: bool) -> Layout | None:
    """How samples are stored; None if the palette or the transparent colour is not as it should be."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    clear = chunks.payloads.get(b"tRNS")
    if colour_type != 3:
        if clear is not None and len(clear) != 2 * samples:
            return None
        transparent = struct.unpack(f">{samples}H", clear) if clear is not None else ()
        return Layout(colour_type, depth, samples, transparent=transparent)
    palette = np.frombuffer(chunks.payloads.get(b"PLTE", b""), np.uint8)
    if not 0 < len(palette) <= 768 or len(palette) % 3:
        return None
    colours = np.zeros((256, 3 if clear is None else 4), np.uint8)  # what is beyond the palette is black, as for libpng
    colours[: len(palette) // 3, :3] = palette.reshape(-1, 3)
    if clear is not None:
        colours[:, 3] = 255
        colours[: len(clear), 3] = np.frombuffer(clear, np.uint8)[:256]
    return Layout(colour_type, depth, samples, palette=colours, grey=grey)


def _walk(file: BinaryIO) -> _Chunks:
    size = file.seek(0, os.SEEK_END)
    file.seek(len(SIGNATURE))
    chunks, position = _Chunks(), len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head)
        position += 12 + length
        if kind == b"IDAT":
            chunks.has_data = True
        if position > size:
            break
        if kind == b"IEND":
            chunks.complete, chunks.trailing = True, size - position
            break
        _take(chunks, kind, length, file) if kind in _KEPT_KINDS else file.seek(length + 4, os.SEEK_CUR)
        if kind == b"CgBI":
            raise UnsupportedError(
                "cannot read a PNG in Apple's private form (CgBI chunk)",
                fix="Revert it first: pngcrush -revert-iphone-optimizations in.png out.png",
            )
        if len(chunks.payloads) == 0:
            raise DecodeError("cannot decode this PNG: it does not begin with IHDR", fix="Copy the file again")
    else:
        raise LimitError("refuses this PNG: it has over a million chunks", fix="Re-export it")
    if b"IHDR" not in chunks.payloads:
        raise truncated("PNG", "it ends inside its header", fix="Copy the file again")
    chunks.notes += bytes_behind("PNG", chunks.trailing)
    return chunks


def _take(chunks: _Chunks, kind: bytes, length: int, file: BinaryIO) -> None:
    """Read one chunk we want; a bad one is an error if critical and a note otherwise."""
    name = kind.decode()
    if length > MAX_METADATA_BYTES:
        chunks.notes.append(f"{name} chunk dropped: {length >> 20} MB is more than any picture needs")
        file.seek(length + 4, os.SEEK_CUR)
        return
    payload, crc = file.read(length), file.read(4)
    if zlib.crc32(kind + payload) != int.from_bytes(crc, "big"):
        if kind in (b"IHDR", b"PLTE"):
            raise DecodeError(
                f"cannot decode this PNG: its {name} chunk is damaged", why="bad CRC", fix="Copy the file again"
            )
        chunks.notes.append(f"{name} chunk dropped: it is damaged (bad CRC)")
    elif kind == b"IHDR" and length != 13:
        raise DecodeError("cannot decode this PNG: its IHDR has a wrong length", fix="Copy the file again")
    elif kind != b"iTXt" or payload.startswith(XMP_KEYWORD + b"\0"):
        chunks.payloads.setdefault(kind, payload)


def _kind_notes(chunks: _Chunks, colour_type: int, depth: int) -> Iterator[str]:
    if colour_type == 3:
        yield "palette expanded to 8-bit samples"
    elif depth < 8:
        yield f"{depth}-bit samples expanded to 8-bit"
    if len(coded := chunks.payloads.get(b"cICP", b"")) == 4:
        yield from cicp_notes(coded[0], coded[1])
    gama = chunks.payloads.get(b"gAMA", b"")
    if len(gama) == 4 and chunks.payloads.keys().isdisjoint({b"iCCP", b"sRGB", b"cICP"}):
        gamma = int.from_bytes(gama, "big") / 100_000
        if abs(gamma - 1 / 2.2) > 0.02:
            yield f"gAMA chunk ({gamma:.3f}) not carried: pixels stay in their encoding"


def _inflate(data: bytes, what: str, notes: list[str]) -> bytes | None:
    """Inflate a metadata block, but never to more than the metadata limit."""
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data, MAX_METADATA_BYTES)
    except zlib.error:
        notes.append(f"{what} dropped: it is damaged")
        return None
    if not inflater.eof:
        notes.append(f"{what} dropped: it is damaged or inflates to more than {MAX_METADATA_BYTES >> 20} MB")
        return None
    return plain


def _icc(chunks: _Chunks) -> bytes | None:
    if (payload := chunks.payloads.get(b"iCCP")) is None:
        return None
    name, _, rest = payload.partition(b"\0")
    return _inflate(rest[1:], "ICC profile", chunks.notes) if name else None


def _xmp(chunks: _Chunks) -> bytes | None:
    if (payload := chunks.payloads.get(b"iTXt")) is None:
        return None
    compressed, rest = payload[len(XMP_KEYWORD) + 1 :][:1] == b"\1", payload[len(XMP_KEYWORD) + 3 :]
    text = rest.split(b"\0", 2)[-1]
    return _inflate(text, "XMP", chunks.notes) if compressed else text


def _dpi(chunks: _Chunks) -> tuple[float, float] | None:
    if len(payload := chunks.payloads.get(b"pHYs", b"")) != 9 or payload[8] != 1:
        return None
    x, y = struct.unpack(">II", payload[:8])
    return x * 0.0254, y * 0.0254


# --- pixels --------------------------------------------------------------------------------------------------


def _picture_chunks(data: bytes, wanted: set[bytes]) -> Iterator[tuple[bytes, memoryview]]:
    """Critical chunks and `wanted` ones, whole: libpng prints its opinion of all others to the terminal."""
    view, position = memoryview(data), len(SIGNATURE)
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if kind[:1].isupper() or kind in wanted:
            yield kind, view[position:end]
        if kind == b"IEND":
            return
        position = end


def _joined(parts: list[tuple[bytes, memoryview]]) -> bytes:
    return b"".join([SIGNATURE, *(part for _, part in parts)])


def _repaired(
    parts: list[tuple[bytes, memoryview]], width: int, height: int, bits_per_pixel: int, interlaced: bool
) -> bytes:
    """A whole PNG from the readable part of a broken one: missing rows are black."""
    keep = [chunk(kind, bytes(part[8:-4])) for kind, part in parts if kind in (b"IHDR", b"PLTE", b"tRNS")]
    expected = _raw_bytes(width, height, bits_per_pixel, interlaced)
    raw = bytearray()
    inflater = zlib.decompressobj()
    try:
        for kind, part in parts:
            if kind == b"IDAT":
                length = int.from_bytes(part[:4], "big")
                raw += inflater.decompress(part[8 : 8 + length], max(1, expected - len(raw)))
    except zlib.error:
        pass  # what came out before the damage is what can be saved
    raw = raw[:expected] + bytes(max(0, expected - len(raw)))
    body = chunk(b"IDAT", zlib.compress(bytes(raw), 1))
    return SIGNATURE + b"".join(keep) + body + chunk(b"IEND", b"")


def _raw_bytes(width: int, height: int, bits_per_pixel: int, interlaced: bool) -> int:
    """Bytes of the filtered scan lines before compression."""
    passes = (
        [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
        if interlaced
        else [(0, 0, 1, 1)]
    )
    total = 0
    for x, y, step_x, step_y in passes:
        columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits_per_pixel + 7) // 8)
    return total
