"""A TIFF page by rows: only the strips or tiles that the asked rows touch are read and decoded."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from PIL import Jpeg2KImagePlugin

from restore.errors import DecodeError, counted
from restore.io import jpeg
from restore.io.header import decoding, truncated
from restore.picture import PictureInfo

Convert = Callable[[np.ndarray], np.ndarray]
"""Turns stored samples (rows x columns x stored samples) into ours."""

INNER_HEADERS: dict[int, Callable[[BinaryIO], Any]] = {
    7: jpeg.structure,
    33003: Jpeg2KImagePlugin.Jpeg2KImageFile,
    33005: Jpeg2KImagePlugin.Jpeg2KImageFile,
    34712: Jpeg2KImagePlugin.Jpeg2KImageFile,
}
"""Compressions whose strips and tiles are JPEG or JPEG 2000 files, with a size of their own to check."""


def bits_per_sample(page: Any) -> int:
    """Bits of each stored sample of a page."""
    bits = page.bitspersample
    return int(bits[0] if isinstance(bits, tuple) else bits)


class TiffRows:
    """A TIFF page as a `PictureSource`: decodes only the strips or tiles the asked rows touch.

    The segments of the latest read are kept, so top-to-bottom bands with halos decode each once.
    """

    def __init__(
        self, file: BinaryIO, page: Any, info: PictureInfo, convert: Convert | None, *, salvage: bool = False
    ) -> None:
        self.info = info
        self._file, self._page, self._convert, self._salvage = file, page, convert, salvage
        self._lock = threading.Lock()
        self._cache: dict[int, tuple[np.ndarray, tuple[int, ...]] | None] = {}
        raw = np.dtype(page.dtype)
        self._raw_samples = page.samplesperpixel
        self._planes = self._raw_samples if page.planarconfig == 2 and self._raw_samples > 1 else 1
        self._plain = (
            page.compression == 1 and not page.is_tiled and self._planes == 1 and page.fillorder == 1
            and page.predictor == 1 and bits_per_sample(page) == 8 * raw.itemsize and raw.kind in "uf"
        )  # fmt: skip
        rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, info.width)
        self._segment_rows = max(1, min(int(rows), info.height) if not page.is_tiled else int(rows))
        self._across = -(-info.width // max(1, columns))
        self._down = -(-info.height // self._segment_rows)
        if len(page.dataoffsets) < self._across * self._down * self._planes and not salvage:
            raise truncated("TIFF", f"it lists {len(page.dataoffsets)} of {self._across * self._down} strips or tiles")

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        with decoding("TIFF"):
            raw = self._read_plain(start, stop) if self._plain else self._read_segments(start, stop)
            return raw if self._convert is None else self._convert(raw)

    def close(self) -> None:
        """Forget what was decoded; the file is closed by who opened it."""
        self._cache.clear()

    def _empty(self, start: int, stop: int) -> np.ndarray:
        return np.zeros((stop - start, self.info.width, self._raw_samples), self._page.dtype)

    def _bytes(self, offset: int, count: int) -> bytes:
        with self._lock:
            self._file.seek(offset)
            data = self._file.read(count)
        if len(data) < count and not self._salvage:
            raise truncated("TIFF", f"{counted(count - len(data), 'byte')} missing at offset {offset}")
        return data

    def _read_plain(self, start: int, stop: int) -> np.ndarray:
        """Uncompressed strips: just the bytes of these rows, however tall the strips are."""
        out = self._empty(start, stop)
        row_bytes = out[:1].nbytes if stop > start else 0
        stored = out.dtype.newbyteorder(self._page.parent.byteorder)
        row = start
        while row < stop:
            strip, skip = divmod(row, self._segment_rows)
            rows = min(self._segment_rows - skip, stop - row)
            data = b""
            if strip < len(self._page.dataoffsets):
                data = self._bytes(self._page.dataoffsets[strip] + skip * row_bytes, rows * row_bytes)
            values = np.frombuffer(data[: len(data) // stored.itemsize * stored.itemsize], stored)
            out[row - start : row - start + rows].reshape(-1)[: len(values)] = values
            row += rows
        return out

    def _read_segments(self, start: int, stop: int) -> np.ndarray:
        out = self._empty(start, stop)
        wanted = list(self._indices(start, stop))
        missing = [index for index in wanted if index not in self._cache]
        kept = {index: self._cache[index] for index in wanted if index in self._cache}
        if len(missing) > 1:
            with ThreadPoolExecutor(min(len(missing), os.cpu_count() or 1)) as pool:
                kept.update(zip(missing, pool.map(self._segment, missing), strict=True))
        else:
            kept.update((index, self._segment(index)) for index in missing)
        self._cache = kept if stop < self.info.height or start > 0 else {}
        for segment in kept.values():
            if segment is not None:
                self._paste(out, start, *segment)
        return out

    def _indices(self, start: int, stop: int) -> Iterator[int]:
        if stop <= start:
            return
        for plane in range(self._planes):
            first = plane * self._down + start // self._segment_rows
            last = plane * self._down + (stop - 1) // self._segment_rows
            stored = range(first * self._across, (last + 1) * self._across)
            yield from (index for index in stored if index < len(self._page.dataoffsets))

    def _segment(self, index: int) -> tuple[np.ndarray, tuple[int, ...]] | None:
        """One decoded strip or tile (rows x columns x samples) and its (plane, row, column); None if sparse."""
        count = self._page.databytecounts[index]
        if not count:
            return None
        try:
            data = self._bytes(self._page.dataoffsets[index], count)
            self._check_inner_size(data)
            options = {"jpegtables": self._page.jpegtables, "jpegheader": self._page.jpegheader}
            decoded, (plane, _, row, column, _), _ = self._page.decode(data, index, **options)
        except Exception:
            if self._salvage:
                return None
            raise
        return None if decoded is None else (decoded[0], (plane, row, column))

    def _check_inner_size(self, data: bytes) -> None:
        """A strip or tile that is a picture file itself must not be larger than its place."""
        if (reader := INNER_HEADERS.get(self._page.compression)) is not None:
            width, height = reader(BytesIO(data)).size
            columns = self._page.tilewidth if self._page.is_tiled else self.info.width
            if width > columns + 15 or height > self._segment_rows + 15:
                raise DecodeError(f"a strip or tile holds {width} x {height} pixels", fix="Re-export it")

    def _paste(self, out: np.ndarray, start: int, segment: np.ndarray, where: tuple[int, ...]) -> None:
        plane, row, column = where
        top, bottom = max(row, start), min(row + len(segment), start + len(out))
        if top >= bottom or column >= out.shape[1]:
            return
        part = segment[top - row : bottom - row, : out.shape[1] - column]
        target = out[top - start : bottom - start, column : column + part.shape[1]]
        if self._planes > 1:
            target[:, :, plane] = part[:, :, 0]
        else:
            target[...] = part
