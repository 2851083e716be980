"""Sinks: pictures written row by row. PNG and TIFF keep only a band in memory, the others all rows."""

from __future__ import annotations

import os
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import imagecodecs
import numpy as np

from restore.errors import FileError
from restore.io import calibration, tags
from restore.io.atomic import AtomicFile, undone_on_failure
from restore.io.metadata import sized_exif
from restore.io.options import SaveOptions
from restore.io.png_chunks import SIGNATURE, XMP_KEYWORD, chunk
from restore.picture import Calibration, Metadata, PictureInfo

BIG_TIFF_ABOVE = 3_900_000_000


_LEVELS = {"fast": 1, "small": 9, "none": 0}  # of zlib


class Output(Protocol):
    """Where a sink's bytes go: an `AtomicFile`, or one that several pages share."""

    file: BinaryIO

    def commit(self, check: Callable[[Path], None]) -> None: ...

    def abort(self) -> None: ...


class Sink(ABC):
    """What all sinks share: checks of every band, and no trace after any failure."""

    def __init__(
        self,
        path: Path,
        info: PictureInfo,
        options: SaveOptions,
        check: Callable[[Path], None],
        out: Output | None = None,
    ) -> None:
        self._info, self._options, self._check = info, options, check
        self._path = path
        self._written = 0
        self._closed = False
        self._out: Output = out or AtomicFile(path)
        with undone_on_failure(self.abort, self._path):
            self._begin()

    @property
    def info(self) -> PictureInfo:
        return self._info

    def write_rows(self, rows: np.ndarray) -> None:
        expected = (self._info.width, self._info.samples)
        if self._closed:
            raise ValueError("rows were written after commit or abort")
        if rows.dtype.name != self._info.dtype or rows.ndim != 3 or rows.shape[1:] != expected:
            self.abort()
            raise ValueError(
                f"rows of {rows.dtype} {rows.shape} do not fit n x {expected[0]} x {expected[1]} {self._info.dtype}"
            )
        if self._written + len(rows) > self._info.height:
            self.abort()
            raise ValueError(f"more than {self._info.height} rows were written")
        self._written += len(rows)
        if len(rows):
            with undone_on_failure(self.abort, self._path):
                self._write(np.ascontiguousarray(rows))

    def commit(self) -> None:
        if self._closed:
            raise ValueError("commit after commit or abort")
        if self._written != self._info.height:
            self.abort()
            raise ValueError(f"{self._written} of {self._info.height} rows were written")
        with undone_on_failure(self.abort, self._path):
            self._finish()
            self._out.commit(self._check)
        self._closed = True

    def abort(self) -> None:
        self._closed = True
        self._out.abort()

    @property
    def _metadata(self) -> Metadata:
        return self._info.metadata

    @property
    def _exif(self) -> bytes | None:
        exif = self._metadata.exif
        return sized_exif(exif, self._info.width, self._info.height) if exif else None

    def _begin(self) -> None:  # noqa: B027  nothing to do for some
        """Write what comes before the pixels."""

    @abstractmethod
    def _write(self, rows: np.ndarray) -> None:
        """Take the next rows, of the sink's type and width."""

    def _finish(self) -> None:  # noqa: B027  nothing to do for some
        """Write what comes after the pixels."""


class BlockSink(Sink):
    """Regroups rows into blocks of `_block_rows`: the file's bytes do not depend on how its rows arrived."""

    _block_rows = 1
    _pending: np.ndarray | None = None

    def _write(self, rows: np.ndarray) -> None:
        if self._pending is not None and len(self._pending):
            rows = np.concatenate([self._pending, rows])
        last = self._written == self._info.height
        whole = len(rows) if last else len(rows) // self._block_rows * self._block_rows
        self._pending = rows[whole:].copy()
        if whole:
            self._write_blocks([rows[i : min(i + self._block_rows, whole)] for i in range(0, whole, self._block_rows)])

    @abstractmethod
    def _write_blocks(self, blocks: list[np.ndarray]) -> None:
        """Take whole blocks; only the picture's last may be shorter."""


# --- PNG -----------------------------------------------------------------------------------------------------


class PngSink(BlockSink):
    """PNG, 8 or 16 bits, grey or RGB, with or without alpha."""

    def _begin(self) -> None:
        info = self._info
        colour_type = {(1, False): 0, (3, False): 2, (1, True): 4, (3, True): 6}[info.channels, info.alpha]
        depth = 8 * np.dtype(info.dtype).itemsize
        self._pixel_bytes = info.samples * depth // 8
        self._above = np.zeros((1, info.width * self._pixel_bytes), np.uint8)
        self._block_rows = max(1, (1 << 20) // self._above.size)
        # Run lengths and Huffman codes: three times as fast as matching, and smaller on photographs.
        strategy = zlib.Z_FILTERED if self._options.compression == "small" else zlib.Z_RLE
        self._deflater = zlib.compressobj(_LEVELS[self._options.compression], zlib.DEFLATED, 15, 9, strategy)
        out = self._out.file
        out.write(SIGNATURE)
        out.write(chunk(b"IHDR", struct.pack(">IIBBBBB", info.width, info.height, depth, colour_type, 0, 0, 0)))
        if self._metadata.icc:
            out.write(chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(self._metadata.icc)))
        if self._metadata.dpi:
            per_metre = (round(value / 0.0254) for value in self._metadata.dpi)
            out.write(chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1)))
        if self._exif:
            out.write(chunk(b"eXIf", self._exif))
        if self._metadata.xmp:
            out.write(chunk(b"iTXt", XMP_KEYWORD + bytes(5) + self._metadata.xmp))

    def _write_blocks(self, blocks: list[np.ndarray]) -> None:
        lines = [self._lines(block) for block in blocks]
        above = [self._above, *(block[-1:] for block in lines)]
        self._above = above.pop().copy()
        with ThreadPoolExecutor(2) as pool:
            for filtered in pool.map(filter_lines, lines, above, [self._pixel_bytes] * len(lines)):
                self._put(self._deflater.compress(filtered))

    @staticmethod
    def _lines(rows: np.ndarray) -> np.ndarray:
        """Rows as PNG stores them: big-endian bytes, one line each."""
        return (rows.astype(">u2").view(np.uint8) if rows.dtype == np.uint16 else rows).reshape(len(rows), -1)

    def _put(self, data: bytes) -> None:
        if data:
            self._out.file.write(chunk(b"IDAT", data))

    def _finish(self) -> None:
        self._put(self._deflater.flush())
        self._out.file.write(chunk(b"IEND", b""))


_SUB, _UP, _PAETH = 1, 2, 4


def filter_lines(lines: np.ndarray, above: np.ndarray, pixel_bytes: int) -> bytes:
    """PNG-filter scan lines (n x bytes) below `above` (1 x bytes): per line Sub, Up or Paeth, by smallest sum."""
    upper = np.concatenate([above, lines[:-1]])
    left, corner = np.zeros_like(lines), np.zeros_like(lines)
    left[:, pixel_bytes:] = lines[:, :-pixel_bytes]
    corner[:, pixel_bytes:] = upper[:, :-pixel_bytes]
    columns = slice(None, None, 1 + lines.shape[1] // 512)  # enough of each line to rank the filters
    near = lines[:, columns], left[:, columns], upper[:, columns], corner[:, columns]
    kinds = (_SUB, _UP, _PAETH)
    costs = [_size(near[0] - _predicted(kind, *near[1:])) for kind in kinds]
    best = np.array(kinds, np.uint8)[np.argmin(costs, axis=0)]
    out = np.empty((len(lines), lines.shape[1] + 1), np.uint8)
    out[:, 0] = best
    for kind in np.unique(best):
        chosen = best == kind
        out[chosen, 1:] = lines[chosen] - _predicted(int(kind), left[chosen], upper[chosen], corner[chosen])
    return out.tobytes()


def _size(residual: np.ndarray) -> np.ndarray:
    """Sum of absolute values per line, residuals taken as signed bytes."""
    return np.minimum(residual, -residual).sum(axis=1, dtype=np.int64)


def _predicted(kind: int, left: np.ndarray, upper: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """What filter `kind` predicts (PNG specification 9.2).

    Paeth takes the neighbour nearest to p = left + upper - corner, ties going left, then up. In bytes:
    |p - left| = |upper - corner| and |p - upper| = |left - corner|, and p is nearest to the corner only
    if the corner's value lies between the others and both distances exceed their difference.
    """
    if kind != _PAETH:
        return left if kind == _SUB else upper
    to_left = np.maximum(upper, corner) - np.minimum(upper, corner)
    to_upper = np.maximum(left, corner) - np.minimum(left, corner)
    nearer, farther = np.minimum(to_left, to_upper), np.maximum(to_left, to_upper)
    take_corner = (farther - nearer < nearer) & ((left > corner) != (upper > corner))
    return np.where(take_corner, corner, np.where(to_left <= to_upper, left, upper))


# --- TIFF ----------------------------------------------------------------------------------------------------


def begin_tiff(file: BinaryIO, big: bool) -> int:
    """Write the header of a TIFF or BigTIFF; returns where the offset of the first directory belongs."""
    file.write(b"II+\0\x08\0\0\0" + bytes(8) if big else b"II*\0" + bytes(4))
    return 8 if big else 4


class TiffSink(BlockSink):
    """TIFF or BigTIFF: Deflate strips with a predictor, the directory after the pixels."""

    def _begin(self) -> None:
        info = self._info
        row_bytes = info.width * info.samples * np.dtype(info.dtype).itemsize
        self._big, self._link = self._start()
        self._block_rows = max(1, min(info.height, (512 << 10) // row_bytes))
        self._offsets: list[int] = []
        self._counts: list[int] = []

    def _start(self) -> tuple[bool, int]:
        """Whether this is a BigTIFF, and where the offset of the directory will be noted."""
        big = self._info.nbytes > BIG_TIFF_ABOVE
        return big, begin_tiff(self._out.file, big)

    def _write_blocks(self, blocks: list[np.ndarray]) -> None:
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            for data in pool.map(self._packed, blocks):
                self._offsets.append(self._out.file.tell())
                self._counts.append(len(data))
                self._out.file.write(data)

    def _packed(self, strip: np.ndarray) -> bytes:
        if self._options.compression == "none":
            return strip.astype(strip.dtype.newbyteorder("<"), copy=False).tobytes()
        if strip.dtype == np.float32:
            differences = imagecodecs.floatpred_encode(strip, axis=-2)
        else:
            differences = imagecodecs.delta_encode(strip, axis=-2)
        return bytes(
            imagecodecs.deflate_encode(
                np.ascontiguousarray(differences).tobytes(), level=_LEVELS[self._options.compression]
            )
        )

    def _finish(self) -> None:
        out = self._out.file
        entries = self._entries()
        exif_tags = (tags.read_block(self._exif) if self._exif else None) or tags.Tags()
        entries = {tag: (tags.ASCII, text) for tag, text in exif_tags.texts.items()} | entries
        for tag in exif_tags.directories:
            self._align()
            entries[tag] = tags.packed(tags.LONG8 if self._big else tags.LONG, out.tell())
            out.write(tags.sub_directory(exif_tags, tag, out.tell(), self._big))
        self._align()
        start = out.tell()
        out.write(tags.directory(entries, start, self._big))
        out.seek(self._link)
        out.write(struct.pack("<Q" if self._big else "<I", start))
        out.seek(0, os.SEEK_END)
        self._link = tags.link_of(entries, start, self._big)

    def _align(self) -> None:
        self._out.file.write(bytes(-self._out.file.tell() % 8))

    def _entries(self) -> dict[int, tuple[int, bytes]]:
        info, samples = self._info, self._info.samples
        bits, is_float = 8 * np.dtype(info.dtype).itemsize, info.dtype == "float32"
        wide = tags.LONG8 if self._big else tags.LONG
        entries: dict[int, tuple[int, bytes]] = {
            256: tags.packed(tags.LONG, info.width),
            257: tags.packed(tags.LONG, info.height),
            258: tags.packed(tags.SHORT, *[bits] * samples),
            259: tags.packed(tags.SHORT, 1 if self._options.compression == "none" else 8),
            262: tags.packed(tags.SHORT, 2 if info.channels == 3 else 1),
            273: tags.packed(wide, *self._offsets),
            274: tags.packed(tags.SHORT, 1),
            277: tags.packed(tags.SHORT, samples),
            278: tags.packed(tags.LONG, self._block_rows),
            279: tags.packed(wide, *self._counts),
            284: tags.packed(tags.SHORT, 1),
            339: tags.packed(tags.SHORT, *[3 if is_float else 1] * samples),
        }
        if self._options.compression != "none":
            entries[317] = tags.packed(tags.SHORT, 3 if is_float else 2)
        extra = [0] * (info.channels - (3 if info.channels == 3 else 1)) + [2] * info.alpha
        if extra:
            entries[338] = tags.packed(tags.SHORT, *extra)
        if not is_float and info.bits < bits:
            entries[281] = tags.packed(tags.SHORT, *[int(info.white)] * samples)
        calibrated = calibration.entries(self._metadata.calibration or Calibration())
        if self._metadata.dpi and 282 not in calibrated:
            for tag, value in zip((282, 283), self._metadata.dpi, strict=True):
                entries[tag] = (tags.RATIONAL, struct.pack("<II", round(value * 1000), 1000))
            entries[296] = tags.packed(tags.SHORT, 2)
        if self._metadata.xmp:
            entries[700] = (tags.BYTE, self._metadata.xmp)
        if self._metadata.icc:
            entries[34675] = (tags.UNDEFINED, self._metadata.icc)
        return entries | calibrated


# --- JPEG, WebP, BMP -----------------------------------------------------------------------------------------


class EncodedSink(Sink):
    """Formats that are encoded whole: rows are collected, Pillow encodes at commit."""

    def _begin(self) -> None:
        info = self._info
        self._pixels = np.empty((info.height, info.width, info.samples), info.dtype)

    def _write(self, rows: np.ndarray) -> None:
        self._pixels[self._written - len(rows) : self._written] = rows

    def _finish(self) -> None:
        from PIL import Image

        pixels, metadata = self._pixels, self._metadata
        name = {"jpeg": "JPEG", "webp": "WEBP", "bmp": "BMP", "avif": "AVIF"}[self._info.format]
        if pixels.dtype != np.uint8:
            raise FileError(f"{name} holds 8-bit samples only", where=self._path, fix="Add --depth 8")
        if name in ("WEBP", "AVIF") and self._info.channels == 1:
            pixels = pixels[:, :, [0, 0, 0, 1] if self._info.alpha else [0, 0, 0]]
        keep: dict[str, Any] = {"exif": self._exif, "xmp": metadata.xmp, "icc_profile": metadata.icc}
        if name == "JPEG" and self._exif:
            keep["exif"] = b"Exif\0\0" + self._exif
        keep |= {"dpi": metadata.dpi} if metadata.dpi else {}
        how: dict[str, Any] = {
            "JPEG": {"quality": self._options.quality, "subsampling": 0},
            "WEBP": {"quality": self._options.quality, "method": 4, "exact": True},
            "AVIF": {"quality": self._options.quality, "subsampling": "4:4:4", "speed": 6},
            "BMP": {},
        }[name]
        buffer = BytesIO()
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        image.save(buffer, name, **how, **{key: value for key, value in keep.items() if value})
        self._out.file.write(buffer.getbuffer())
