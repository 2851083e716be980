"""Hostile and odd files, generated: seeded, tiny, licence-free. Used by the io tests and the command line's.

`hostile()` gives every damaged, foreign or oversized file with the error it must end in;
`accepted()` the odd ones that must be read.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np
import tifffile
from PIL import Image

from restore import errors

FORMATS = ("png", "jpg", "webp", "tif", "bmp", "gif", "avif")


@dataclass(frozen=True)
class Case:
    """One file: its name, its bytes, the error class reading it must raise, a word the message must hold."""

    name: str
    data: bytes
    error: type[errors.RestoreError] = errors.DecodeError
    word: str = ""

    def __str__(self) -> str:
        return self.name


def pattern(height: int = 48, width: int = 64, samples: int = 3, dtype: str = "uint8", seed: int = 7) -> np.ndarray:
    """A smooth picture with a little noise, H x W x samples."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / (7 + i)) + np.cos(y / (5 + 2 * i)) for i in range(samples)]
    unit = np.stack(waves, axis=-1) / 5 + 0.5 + rng.normal(0, 0.02, (height, width, samples))
    if dtype.startswith("float"):
        return unit.astype(dtype)
    return (unit.clip(0, 1) * np.iinfo(dtype).max).astype(dtype)


def encoded(extension: str, array: np.ndarray | None = None, **options: object) -> bytes:
    """A valid file of this format, by Pillow (tifffile for TIFF)."""
    array = pattern() if array is None else array
    buffer = io.BytesIO()
    if extension == "tif" and "compression" not in options:
        tifffile.imwrite(buffer, array, compression="zlib", **options)
        return buffer.getvalue()
    names = {"jpg": "JPEG", "tif": "TIFF"}
    Image.fromarray(array.squeeze()).save(buffer, names.get(extension, extension.upper()), **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Chunks of a valid PNG, in order."""
    chunks, at = [], 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        chunks.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png_with(*extra: tuple[bytes, bytes], base: bytes | None = None) -> bytes:
    """A valid PNG with further chunks after its header."""
    chunks = png_chunks(base or encoded("png"))
    chunks[1:1] = extra
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that declares a size and holds next to nothing."""
    ihdr = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [png_chunk(b"IHDR", ihdr), png_chunk(b"IDAT", zlib.compress(bytes(100))), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_bomb(side: int = 16_000) -> bytes:
    """A real PNG of side x side black RGB pixels, a thousandth of its size."""
    deflater, line = zlib.compressobj(9), bytes(1 + 3 * side)
    packed = b"".join(deflater.compress(line) for _ in range(side)) + deflater.flush()
    ihdr = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(*chunk) for chunk in ((b"IHDR", ihdr), (b"IDAT", packed), (b"IEND", b""))
    )


def damaged_crc(data: bytes, kind: bytes) -> bytes:
    """Flip one bit of the CRC of the first chunk of this kind."""
    at = data.index(kind)
    length = int.from_bytes(data[at - 4 : at], "big")
    end = at + 4 + length
    return data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]


def exif(orientation: int = 1, *, thumbnail: bytes = b"", gps: bool = False) -> bytes:
    """A hand-made little-endian EXIF block (no prefix), optionally with a thumbnail directory at its end."""
    entries = [struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)]
    pointers = {0x8769: [(0xA002, 64), (0xA003, 48)]} | ({0x8825: [(5, 1)]} if gps else {})
    size = 8 + 2 + 12 * (1 + len(pointers)) + 4
    tail = b""
    for tag, values in pointers.items():
        entries.append(struct.pack("<HHII", tag, 4, 1, size + len(tail)))
        body = b"".join(struct.pack("<HHII", key, 4, 1, value) for key, value in values)
        tail += struct.pack("<H", len(values)) + body + bytes(4)
    following = size + len(tail) if thumbnail else 0
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", following)
    block += tail
    if thumbnail:
        at = len(block) + 2 + 24 + 4
        block += struct.pack("<HHHIIHHIII", 2, 0x0201, 4, 1, at, 0x0202, 4, 1, len(thumbnail), 0) + thumbnail
    return block


def _tiff(entries: list[tuple[int, int, int, int]], following: int, tail: bytes = b"") -> bytes:
    """A minimal TIFF of one directory with inline values (tag, type, count, value)."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + struct.pack("<I", following) + tail


_GREY = [(256, 4, 1, 4), (257, 4, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 0)]
_GREY += [(277, 3, 1, 1), (278, 4, 1, 4), (279, 4, 1, 16)]


def tiff_loop() -> bytes:
    """A TIFF whose first directory is followed by itself."""
    return _tiff(_GREY, 8, bytes(64))


def tiff_chain(count: int = 10_000) -> bytes:
    """A TIFF with a long chain of directories, each a thumbnail."""
    entries = sorted([*_GREY, (254, 4, 1, 1)])
    size = 2 + 12 * len(entries) + 4
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    chain = (
        struct.pack("<H", len(entries)) + body + struct.pack("<I", 8 + (i + 1) * size if i + 1 < count else 0)
        for i in range(count)
    )
    return b"II*\0\x08\0\0\0" + b"".join(chain)


def many_scans(scans: int = 1000) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = encoded("jpg", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + b"\xff\xd9"


def tiff_with_inner(compression: int, payload: bytes, side: int = 64) -> bytes:
    """A small TIFF whose only strip is this payload."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros((side, side, 3), np.uint8), photometric="rgb", compression="zlib")
    data = bytearray(buffer.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as tif:
        for tag, value in ((259, compression), (273, len(data)), (279, len(payload))):
            entry = tif.pages.first.tags[tag]
            struct.pack_into("<H" if int(entry.dtype) == 3 else "<I", data, entry.valueoffset, value)
    return bytes(data) + payload


def animated(extension: str) -> bytes:
    frames = [Image.fromarray(pattern(seed=seed)) for seed in (1, 2, 3)]
    buffer = io.BytesIO()
    names = {"tif": "TIFF"}
    frames[0].save(buffer, names.get(extension, extension.upper()), save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def mpo() -> bytes:
    buffer = io.BytesIO()
    first, second = (Image.fromarray(pattern(seed=seed)) for seed in (1, 2))
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    return buffer.getvalue()


def zip_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "hello")
    return buffer.getvalue()


def _foreign() -> list[Case]:
    unsupported = errors.UnsupportedError
    mp4 = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41" + bytes(64)
    dng = _tiff([*_GREY, (50706, 1, 4, 0x00000401)], 0, bytes(64))
    return [
        Case("text.png", b"just some words, no picture\n", unsupported, "looks like text"),
        Case("page.png", b"\n<!DOCTYPE html><html><body>404</body></html>", unsupported, "looks like HTML"),
        Case("drawing.png", b"<?xml version='1.0'?><svg xmlns='x'/>", unsupported, "looks like SVG"),
        Case("archive.png", zip_archive(), unsupported, "looks like a zip"),
        Case("paper.png", b"%PDF-1.7\n" + bytes(50), unsupported, "looks like a PDF"),
        Case("clip.png", mp4, unsupported, "looks like a video"),
        Case("vector.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%id) (r) file", unsupported, "PostScript"),
        Case("layers.psd", b"8BPS\0\x01" + bytes(40), unsupported, "Photoshop"),
        Case("script.msl", b"<?xml version='1.0'?><image><read filename='/etc/passwd'/></image>", unsupported, "XML"),
        Case("script.mvg", b"push graphic-context\nimage over 0,0 0,0 'x'\n", unsupported, "ImageMagick"),
        Case("icon.ico", b"\0\0\x01\0\x01\0" + bytes(40), unsupported, "icon"),
        Case("hdr.exr", b"\x76\x2f\x31\x01" + bytes(40), unsupported, "OpenEXR"),
        Case("raw.dng", dng, unsupported, "RAW"),
        Case("raw.cr2", b"II*\0\x10\0\0\0CR\x02\0" + bytes(40), unsupported, "RAW"),
        Case("raw.cr3", b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom" + bytes(40), unsupported, "RAW"),
    ]


def _limits() -> list[Case]:
    limit = errors.LimitError
    huge_tiff = _tiff([(256, 4, 1, 100_000), (257, 4, 1, 100_000), *_GREY[2:]], 0, bytes(64))
    huge_bmp = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 200, 0, 0, 54, 40, 100_000, 100_000, 1, 24, 0, 0, 0, 0, 0, 0)
    huge_gif = b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
    palette = bytes(range(256)) * 4
    palette_bmp = b"BM" + struct.pack(
        "<IHHIIiiHHIIiiII", 2000, 0, 0, 1078, 40, 100_000, 100_000, 1, 8, 0, 0, 0, 0, 0, 0
    )
    palette_gif = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0xF7, 0, 0) + palette[:768] + huge_gif[13:]
    return [
        Case("huge_palette.bmp", palette_bmp + palette, limit, "--max-pixels"),
        Case("huge_palette.gif", palette_gif, limit, "--max-pixels"),
        Case("huge.png", png_header(100_000, 100_000), limit, "--max-pixels"),
        Case("huge16.png", png_header(2**31 - 1, 2**31 - 1, 16), limit, "--max-pixels"),
        Case("huge.tif", huge_tiff, limit, "--max-pixels"),
        Case("huge.bmp", huge_bmp, limit, "--max-pixels"),
        Case("huge.gif", huge_gif, limit, "--max-pixels"),
        Case("inner.tif", tiff_with_inner(7, encoded("jpg", pattern(700, 900))), errors.DecodeError, "900 x 700"),
        Case("inner_deflate.tif", tiff_with_inner(8, zlib.compress(bytes(50_000_000))), errors.DecodeError),
        Case("inner_jxl.tif", tiff_with_inner(50002, bytes(90)), errors.UnsupportedError, "compression JPEGXL"),
        Case("zero.png", png_header(0, 10), errors.DecodeError, "0 x 10"),
        Case("loop.tif", tiff_loop(), limit, "loop"),
        Case("chain.tif", tiff_chain(), limit, "directories"),
        Case("scans.jpg", many_scans(), limit, "scans"),
        Case("animated.gif", animated("gif"), errors.UnsupportedError, "--frames first"),
        Case("animated.webp", animated("webp"), errors.UnsupportedError, "--frames first"),
        Case("animated.png", animated("png"), errors.UnsupportedError, "--frames first"),
        Case("animated.avif", animated("avif"), errors.UnsupportedError, "--frames first"),
        Case("pages.tif", animated("tif"), errors.UnsupportedError, "--frames first"),
    ]


def _damaged() -> list[Case]:
    cut = errors.TruncatedError
    png, jpg = encoded("png"), encoded("jpg")
    cases = [Case("empty.png", b"", word="empty"), Case("onebyte.png", b"\x89")]
    for extension in FORMATS:
        whole = encoded(extension)
        cases.append(Case(f"magic.{extension}", whole[: 12 if extension in ("webp", "avif") else 8]))
        cases.append(Case(f"cut10.{extension}", whole[: len(whole) // 10]))
        parts = {percent: whole[: len(whole) * percent // 100] for percent in (50, 90, 99)}
        cases += [Case(f"cut{percent}.{extension}", part, cut, "ends early") for percent, part in parts.items()]
    two_gigabytes = png[:33] + struct.pack(">I", 2**31 - 1) + png[37:]
    return [
        *cases,
        Case("crc_ihdr.png", damaged_crc(png, b"IHDR"), word="IHDR"),
        Case("crc_idat.png", damaged_crc(png, b"IDAT"), word="CRC"),
        Case("no_iend.png", png[:-12], cut, "IEND"),
        Case("no_eoi.jpg", jpg[:-2], cut),
        Case("chunk_2gb.png", two_gigabytes, cut),
        Case("two_soi.jpg", b"\xff\xd8" + jpg),
        Case("no_header.png", png[:8] + png[33:], word="IHDR"),
        Case("colour_type.png", png_header(8, 8, 8, 5), word="impossible"),
    ]


@cache
def hostile() -> list[Case]:
    """Every file that must be refused, with its error."""
    return [*_damaged(), *_foreign(), *_limits()]


@cache
def accepted() -> list[Case]:
    """Odd files that must be read; `word` is in one of the notes if not empty."""
    png, jpg = encoded("png"), encoded("jpg")
    icc_bomb = b"bomb\0\0" + zlib.compress(bytes(64 << 20), 9)
    return [
        Case("trailing.png", png + b"x" * 1024, word="after the end"),
        Case("really_jpeg.png", jpg),
        Case("polyglot.gif", encoded("gif", pattern(samples=1)) + zip_archive()),
        Case(
            "crc_ancillary.png",
            damaged_crc(png_with((b"pHYs", struct.pack(">IIB", 3000, 3000, 1))), b"pHYs"),
            word="bad CRC",
        ),
        Case("icc_bomb.png", png_with((b"iCCP", icc_bomb)), word="ICC profile dropped"),
        Case("mpo.jpg", mpo(), word="not carried"),
        Case(
            "big_thumbnail.jpg", encoded("jpg", exif=b"Exif\0\0" + exif(1, thumbnail=encoded("jpg", pattern(96, 96))))
        ),
        Case("bad_exif.jpg", encoded("jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"), word="EXIF dropped"),
    ]
