"""The picture, as it crosses rooms: what it is (`PictureInfo`), in memory (`Picture`), or streamed by rows.

Pixel arrays are H x W x (channels + alpha), RGB order, alpha last and straight, native dtype
(`uint8`, `uint16` or `float32`), upright (orientation already applied). Integer samples use the
whole range of `bits`; float samples are as stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast, runtime_checkable

import numpy as np

from restore.errors import UnsupportedError

SampleType = Literal["uint8", "uint16", "float32"]
TiffTag = tuple[int, bytes]
"""A TIFF tag as it is stored: its type, and its values, little-endian."""


@dataclass(frozen=True)
class Calibration:
    """What a TIFF says of its samples in space and time, as stored; carried from TIFF to TIFF.

    Attributes:
        tags: by their code.
        layout: the description of the whole file by ImageJ, OME or tifffile, in its first page; b"" for none.
        size, samples, dtype: of the page they hold for (height, width).
    """

    tags: tuple[tuple[int, TiffTag], ...] = ()
    layout: bytes = b""
    size: tuple[int, int] = (0, 0)
    samples: int = 1
    dtype: SampleType = "uint8"

    def __bool__(self) -> bool:
        return bool(self.tags or self.layout)


@dataclass(frozen=True)
class Metadata:
    """What travels beside the pixels, byte for byte, except that EXIF orientation is reset to 1."""

    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True)
class PictureInfo:
    """A picture's header.

    Attributes:
        height, width: upright size in pixels.
        channels: colour samples per pixel, alpha not counted (1 grey, 3 RGB, 1..8 scientific).
        alpha: whether a straight alpha sample follows the colour samples.
        dtype: sample type of the arrays.
        bits: significant bits the file declares (10 for a 10-bit AVIF held in uint16).
        format: format of the content as found ("png", "jpeg", …), not the file's extension.
        path: where it came from, for messages.
        notes: what was found or converted on the way in; each is reported to the user once.
        nodata: the value that marks samples without data, where the file declares one.
        stacked: so many pictures of one size lie one below the other, to be measured together.
    """

    height: int
    width: int
    channels: int
    alpha: bool = False
    dtype: SampleType = "uint8"
    bits: int = 8
    format: str = "array"
    metadata: Metadata = field(default_factory=Metadata)
    path: Path | None = None
    notes: tuple[str, ...] = ()
    nodata: float | None = None
    stacked: int = 1

    @property
    def samples(self) -> int:
        """Samples per pixel, alpha included."""
        return self.channels + int(self.alpha)

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded pixels."""
        return self.pixels * self.samples * np.dtype(self.dtype).itemsize

    @property
    def white(self) -> float:
        """The sample value of nominal white: 2**bits - 1 for integers, 1.0 for floats."""
        return 1.0 if self.dtype == "float32" else float(2**self.bits - 1)


def fits(value: float, dtype: str) -> bool:
    """Whether samples of this type can be exactly this value (of floats: about)."""
    return dtype == "float32" or (value == np.rint(value) and 0 <= value <= np.iinfo(dtype).max)


@dataclass(frozen=True)
class ValueScale:
    """How stored samples map to the unit range: unit = (stored - black) / white.

    Attributes:
        black: stored value of 0.0.
        white: stored value of 1.0, counted from black.
        clip: largest stored value that the file holds, None for no limit (floats).
        note: how it was found, for the user ("" when it is simply the file's depth).
    """

    black: float = 0.0
    white: float = 255.0
    clip: float | None = 255.0
    note: str = ""

    @classmethod
    def nominal(cls, info: PictureInfo) -> ValueScale:
        """The scale a depth declares: 0..2**bits-1 for integers, 0..1 without limit for floats."""
        return cls(0.0, info.white, None if info.dtype == "float32" else info.white)

    def to_unit(self, stored: Any) -> Any:
        """Stored samples (a float32 array or tensor) as unit values."""
        return (stored - self.black) / self.white

    def from_unit(self, unit: Any) -> Any:
        """Unit values as stored samples, neither rounded nor clipped."""
        return unit * self.white + self.black


@runtime_checkable
class PictureSource(Protocol):
    """A picture that can be read by rows, in any order; top to bottom is the fast order."""

    @property
    def info(self) -> PictureInfo: ...

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop) as (stop-start) x W x samples in `info.dtype`; 0 <= start <= stop <= height."""
        ...

    def close(self) -> None: ...


class PictureSink(Protocol):
    """A picture written top to bottom. Nothing appears under the final name before `commit`."""

    @property
    def info(self) -> PictureInfo:
        """What is being written: size, samples and sample type the rows must have."""
        ...

    def write_rows(self, rows: np.ndarray) -> None:
        """Append rows (n x W x samples, dtype of the sink's info)."""
        ...

    def commit(self) -> None:
        """All rows are there: make the result durable and visible."""
        ...

    def abort(self) -> None:
        """Forget everything; leaves no trace. Safe to call twice and after `commit`."""
        ...


@runtime_checkable
class FrameSource(Protocol):
    """Pictures that follow each other: a stack of pages, a folder of numbered frames, a video.

    Going forward once is what every member does cheaply; `frame` may have to begin again to go back. A frame
    belongs to who asked for it, may outlive the next one, and ends with the sequence.
    """

    @property
    def info(self) -> PictureInfo:
        """Header of the first frame."""
        ...

    @property
    def count(self) -> int | None:
        """How many frames there are; None if only the end will show it."""
        ...

    def time(self, index: int) -> float | None:
        """When a frame is shown, seconds from the start; None for frames without times."""
        ...

    def where(self, index: int) -> str | Path:
        """How messages call a frame ("scan.tif, page 3")."""
        ...

    def __iter__(self) -> Iterator[PictureSource]:
        """All frames in order, each opened when it is asked for."""
        ...

    def frame(self, index: int) -> PictureSource:
        """One frame, 0 <= index < count; ascending order is the fast one."""
        ...

    def close(self) -> None: ...


class FrameSink(Protocol):
    """Frames written one after another. Nothing appears under the final name before `commit`."""

    def next_frame(self, info: PictureInfo) -> PictureSink:
        """The sink of the next frame, like `info`; the frame before must be committed. Aborting one gives up all."""
        ...

    def commit(self) -> None:
        """All frames are there: make the result durable and visible."""
        ...

    def abort(self) -> None:
        """Forget everything; leaves no trace. Safe to call twice and after `commit`."""
        ...


@dataclass(frozen=True)
class Picture:
    """A picture in memory: one `PictureSource`, and what `MemorySink` produces."""

    info: PictureInfo
    pixels: np.ndarray

    @classmethod
    def from_array(cls, array: np.ndarray, *, alpha: bool | None = None) -> Picture:
        """Wrap an H x W or H x W x C array (uint8, uint16, float32; RGB order).

        With `alpha` unset, 2 and 4 channels are grey+alpha and RGBA. Raises `UnsupportedError` for
        other sample types or shapes.
        """
        known = array.dtype.name in ("uint8", "uint16", "float32")
        if not known or array.ndim not in (2, 3) or 0 in array.shape:
            raise UnsupportedError(
                f"an array of {array.dtype.name} with shape {array.shape} is not a picture",
                fix="Pass H x W or H x W x C as uint8, uint16 or float32 (float64: .astype('float32'))",
            )
        pixels = array[:, :, None] if array.ndim == 2 else array
        height, width, samples = pixels.shape
        has_alpha = samples in (2, 4) if alpha is None else alpha
        info = PictureInfo(
            height, width, samples - int(has_alpha), has_alpha,
            dtype=cast(SampleType, array.dtype.name), bits=array.dtype.itemsize * 8,
        )  # fmt: skip
        return cls(info, pixels)

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        return self.pixels[start:stop]

    def close(self) -> None:
        """Nothing to release."""

    def numpy(self) -> np.ndarray:
        """The pixels, H x W for one sample per pixel, H x W x samples otherwise."""
        return self.pixels[:, :, 0] if self.info.samples == 1 else self.pixels


class MemorySink:
    """Collects rows into a `Picture`."""

    def __init__(self, info: PictureInfo) -> None:
        self.info = info
        self._pixels = np.empty((info.height, info.width, info.samples), info.dtype)
        self._filled = 0

    def write_rows(self, rows: np.ndarray) -> None:
        self._pixels[self._filled : self._filled + len(rows)] = rows
        self._filled += len(rows)

    def commit(self) -> None:
        if self._filled != self.info.height:
            raise ValueError(f"{self._filled} of {self.info.height} rows were written")

    def abort(self) -> None:
        self._filled = 0

    @property
    def picture(self) -> Picture:
        return Picture(self.info, self._pixels)
