"""A PNG by rows: its stream is inflated as rows are asked for, and each band goes through libpng as a PNG of its own.

A scan line is filtered by the one above it, so a band begins with the line above it, already unfiltered.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import imagecodecs
import numpy as np

from restore.errors import DecodeError
from restore.io.header import decoding, truncated
from restore.io.png_chunks import SIGNATURE, chunk
from restore.picture import PictureInfo

_BAND = 4 << 20
"""Bytes of scan lines that are decoded at once."""
_PIECE = 1 << 16


class Layout(NamedTuple):
    """How a PNG stores its samples.

    Attributes:
        colour_type, depth: of its header; bits of a sample as it is stored.
        samples: stored samples of a pixel.
        palette: N x 3 or N x 4 (with alpha), uint8, of colour type 3.
        transparent: the stored samples that mean transparent, of colour types 0 and 2.
        grey: only the first channel (and alpha) of a palette is wanted, all three being alike.
    """

    colour_type: int
    depth: int
    samples: int
    palette: np.ndarray | None = None
    transparent: tuple[int, ...] = ()
    grey: bool = False


class PngRows:
    """A PNG that is not interlaced, as a `PictureSource`.

    The rows of the latest read are kept, so top-to-bottom bands with halos decode each once; rows above those begin
    again at the top. Errors are those of decoding the whole file, when the rows that they concern are read.
    """

    def __init__(self, file: BinaryIO, info: PictureInfo, layout: Layout) -> None:
        self.info = info
        self._file, self._layout = file, layout
        self._row_bytes = (info.width * layout.samples * layout.depth + 7) // 8
        self._restart()

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        with decoding("PNG"):
            if start < self._first:
                self._restart()
            rows = [self._kept[start - self._first : stop - self._first]] if start < self._next else []
            while self._next < stop:
                band = self._decode_band(start, stop)
                rows.append(band[max(start - (self._next - len(band)), 0) :])
            out = np.concatenate(rows) if rows else np.empty((0, *self._kept.shape[1:]), self._kept.dtype)
            if stop == self._next:
                self._first, self._kept = start, out
            return out

    def close(self) -> None:
        """Forget what was decoded; the file is closed by who opened it."""
        self._restart()

    def _restart(self) -> None:
        self._stream = _inflated(self._file)
        self._first = self._next = 0  # rows `first` to `next` are kept, `next` comes from the stream
        self._kept = np.empty((0, self.info.width, self.info.samples), self.info.dtype)
        self._above = bytes(self._row_bytes)
        self._left = bytearray()

    def _decode_band(self, start: int, stop: int) -> np.ndarray:
        """The next rows, none of them on both sides of `start`; not more than to `stop`."""
        end = start if self._next < start else stop
        rows = min(max(_BAND // (self._row_bytes + 1), 1), end - self._next)
        lines = self._take(rows * (self._row_bytes + 1))
        stored = self._unfiltered(lines, rows)
        self._above = stored[-1].astype(stored.dtype.newbyteorder(">")).tobytes()
        self._next += rows
        if self._next == self.info.height:
            self._check_end()
        return _expanded(_samples(stored, self.info.width, self._layout), self._layout)

    def _take(self, nbytes: int) -> bytes:
        while len(self._left) < nbytes:
            piece = next(self._stream, b"")
            if not piece:
                missing = (self.info.height - self._next) - len(self._left) // (self._row_bytes + 1)
                raise truncated("PNG", f"{missing} of its rows are missing")
            self._left += piece
        taken = bytes(self._left[:nbytes])
        del self._left[:nbytes]
        return taken

    def _check_end(self) -> None:
        """Read what follows the last row, so that the stream's check sum is verified."""
        while next(self._stream, b""):
            pass

    def _unfiltered(self, lines: bytes, rows: int) -> np.ndarray:
        """Scan lines before they were filtered: rows x width x samples, or whole bytes of samples below 8 bits."""
        layout = self._layout
        whole = layout.depth >= 8
        width = self.info.width if whole else self._row_bytes
        colour_type = layout.colour_type if whole and layout.colour_type != 3 else 0
        header = struct.pack(">IIBBBBB", width, rows + 1, max(layout.depth, 8), colour_type, 0, 0, 0)
        body = zlib.compress(b"\0" + self._above + lines, 0)
        picture = b"".join([SIGNATURE, chunk(b"IHDR", header), chunk(b"IDAT", body), chunk(b"IEND", b"")])
        return imagecodecs.png_decode(picture)[1:].reshape(rows, width, -1)


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """The scan lines' bytes, in pieces. The sums of chunks and stream are checked, as libpng does."""
    inflater = zlib.decompressobj()
    for piece in _data(file):
        while piece and not inflater.eof:  # behind its end only the chunks' sums count
            plain = inflater.decompress(piece, _PIECE)
            piece = inflater.unconsumed_tail
            if plain:
                yield plain
    if rest := inflater.flush():
        yield rest


def _data(file: BinaryIO) -> Iterator[bytes]:
    """The payload of the IDAT chunks, in pieces."""
    position = len(SIGNATURE)
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        length, position = int.from_bytes(head[:4], "big"), position + 8
        if head[4:] == b"IDAT":
            check = zlib.crc32(b"IDAT")
            for done in range(0, length, _PIECE):
                file.seek(position + done)
                piece = file.read(min(_PIECE, length - done))
                check = zlib.crc32(piece, check)
                yield piece
            file.seek(position + length)
            if file.read(4) != check.to_bytes(4, "big"):
                raise DecodeError("cannot decode this PNG: it is damaged", why="bad CRC", fix="Copy the file again")
        position += length + 4


def _samples(stored: np.ndarray, width: int, layout: Layout) -> np.ndarray:
    """Samples as they are stored: rows x width x samples."""
    if layout.depth >= 8:
        return stored
    bits = np.unpackbits(stored[:, :, 0], axis=1).reshape(len(stored), -1, layout.depth)
    weights = 1 << np.arange(layout.depth - 1, -1, -1, dtype=np.uint8)
    return (bits * weights).sum(2, dtype=np.uint8)[:, :width, None]


def _expanded(samples: np.ndarray, layout: Layout) -> np.ndarray:
    """Stored samples as ours: palettes and transparent colours resolved, 8 bits at least."""
    if layout.palette is not None:
        pixels = layout.palette[samples[:, :, 0]]
        return pixels[:, :, [0, 3][: pixels.shape[2] - 2]] if layout.grey else pixels
    wide = samples * np.uint8(255 // (2**layout.depth - 1)) if layout.depth < 8 else samples
    if not layout.transparent:
        return wide
    opaque = (samples != np.array(layout.transparent, samples.dtype)).any(2, keepdims=True)
    alpha = opaque.astype(wide.dtype) * wide.dtype.type(np.iinfo(wide.dtype).max)
    return np.concatenate([wide, alpha], axis=2)
