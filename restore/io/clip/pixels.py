"""Frames of a clip as pixels and back: YUV at any depth and chroma resolution, through libswscale by PyAV.

The matrix and range are those the clip declares; where it declares none, BT.709 from 720 rows on and BT.601 below, as
players do. Chroma is interpolated bicubically at full accuracy. Transfer curves (PQ, HLG) are left as they are: what
is restored is what the file holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from restore.errors import UnsupportedError
from restore.picture import PictureInfo

UNSPECIFIED, RGB = 2, 0
"""Values of H.273 where a clip says nothing of its matrix, or has none."""
_BT709, _SMPTE170M, _BT2020_CONSTANT, _BT2020 = 1, 6, 10, 9
_ITU601, _ITU709, _FCC, _SMPTE240M = 5, 1, 4, 7
_MATRICES = {_BT709: _ITU709, 4: _FCC, 5: _ITU601, _SMPTE170M: _ITU601, 7: _SMPTE240M, _BT2020: _BT2020}
_HIGH = 720  # rows from which an undeclared matrix is BT.709
LIMITED, FULL = 1, 2
"""Ranges of samples, by FFmpeg's numbers: 16..235, and 0..255."""
_DEPTHS = (8, 10, 12, 16)


@dataclass(frozen=True)
class ColourTags:
    """What a clip declares of its colours, by the numbers of ITU-T H.273 (2: nothing)."""

    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    range: int = 0

    def matrix_at(self, height: int) -> int:
        """The matrix of frames of this height, H.273."""
        if self.matrix in (UNSPECIFIED, RGB):
            return _BT709 if height >= _HIGH else _SMPTE170M
        return self.matrix

    def at_height(self, before: int, after: int) -> ColourTags:
        """The tags of frames of another height, with the matrix where players would guess another one."""
        same = self.matrix_at(before) == self.matrix_at(after)
        return self if same and self.matrix != RGB else replace(self, matrix=self.matrix_at(before))

    @property
    def samples_range(self) -> int:
        return FULL if self.range == FULL else LIMITED


def depth_of(name: str, components: int, bits: int) -> int:
    """Bits of the pixels of a format that are kept: 8, 10, 12 or 16. Raises `UnsupportedError` for others."""
    if components in (2, 4) and not name.startswith(("nv", "p0", "p2", "p4")):
        raise UnsupportedError(
            f"has transparency ({name}), which is not kept in clips",
            fix="Extract its frames as PNG and use --frames-dir",
        )
    if "f32" in name or bits not in _DEPTHS:
        raise UnsupportedError(f"has samples of a kind that is not read ({name})", fix="Convert it to 8 or 10 bits")
    return bits


def to_pixels(frame: Any, tags: ColourTags, info: PictureInfo) -> np.ndarray:
    """A decoded frame -> H x W x C in the type of `info`, full range."""
    name = _packed(info)
    if frame.format.name == name:
        pixels = frame.to_ndarray()
    else:
        rgb_already = frame.format.is_rgb or info.channels == 1
        pixels = frame.reformat(
            format=name, src_colorspace=None if rgb_already else _matrix(tags.matrix_at(info.height)),
            src_color_range=FULL if frame.format.is_rgb else _range_of(frame, tags), dst_color_range=FULL,
            interpolation=_accurate(), threads=1,
        ).to_ndarray()  # fmt: skip
    if info.channels == 1 and tags.range == LIMITED:
        pixels = _full_range(pixels, info)  # libswscale takes every grey for full range
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def to_frame(pixels: np.ndarray, tags: ColourTags, info: PictureInfo, pixel_format: str) -> Any:
    """H x W x C of the type of `info` -> a frame of a pixel format. Raises `ValueError` for another size."""
    import av

    if pixels.shape != (info.height, info.width, info.channels):
        raise ValueError(f"a frame of {pixels.shape} in a clip of {info.width} x {info.height} px")
    array = np.ascontiguousarray(pixels if info.channels == 3 else pixels[:, :, 0])
    frame = av.VideoFrame.from_ndarray(array, format=_packed(info))
    if frame.format.name == pixel_format:
        return frame
    target = av.VideoFormat(pixel_format, info.width, info.height)
    yuv = None if target.is_rgb else _matrix(tags.matrix_at(info.height))
    return frame.reformat(
        format=pixel_format, dst_colorspace=yuv, src_color_range=FULL,
        dst_color_range=FULL if target.is_rgb else tags.samples_range, interpolation=_accurate(), threads=1,
    )  # fmt: skip


def small_grey(frame: Any, height: int, width: int) -> np.ndarray:
    """A frame, small and grey: height x width, uint8. What it declares of its range does not matter here."""
    from av.video.reformatter import Interpolation

    return frame.reformat(width, height, "gray", interpolation=Interpolation.AREA, threads=1).to_ndarray()


def _full_range(luma: np.ndarray, info: PictureInfo) -> np.ndarray:
    """16..235, or the same of a deeper format, as the whole range of its type."""
    unit = 2 ** (info.bits - 8)
    full = (luma.astype(np.float32) - 16 * unit) * (info.white / (219 * unit))
    return np.rint(np.clip(full, 0, info.white)).astype(info.dtype)


def _packed(info: PictureInfo) -> str:
    """The format of pixels in memory: one plane, or three samples a pixel."""
    if info.channels == 1:
        return {8: "gray", 10: "gray10le", 12: "gray12le"}.get(info.bits, "gray16le")
    return "rgb24" if info.bits == 8 else f"gbrp{info.bits}le"


def _range_of(frame: Any, tags: ColourTags) -> int:
    return FULL if frame.format.name.startswith("yuvj") else tags.samples_range


def _matrix(declared: int) -> int:
    """libswscale's number of a matrix of H.273. Raises `UnsupportedError`."""
    if declared not in _MATRICES:
        names = {8: "YCgCo", _BT2020_CONSTANT: "BT.2020 with constant luminance", 14: "ICtCp"}
        raise UnsupportedError(
            f"has colours of a kind that is not read (matrix {names.get(declared, declared)})",
            fix="Convert it to BT.709 or BT.2020 with non-constant luminance",
        )
    return _MATRICES[declared]


def _accurate() -> Any:
    from av.video.reformatter import Interpolation as How

    return How.BICUBIC | How.ACCURATE_RND | How.FULL_CHR_H_INT | How.FULL_CHR_H_INP
