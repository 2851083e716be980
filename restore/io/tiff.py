"""Reading TIFF: tags and segments through tifffile, meaning (depth, alpha, photometric) decided here."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import tifffile

from restore.errors import DecodeError, UnsupportedError
from restore.io import calibration, tags, tiff_pages
from restore.io.header import MAX_METADATA_BYTES, SALVAGED, Header, truncated
from restore.io.metadata import cmyk_to_rgb, lab_to_rgb, sanitise
from restore.io.options import ReadOptions
from restore.io.sniff import raw_refusal
from restore.io.tiff_rows import INNER_HEADERS, Convert, TiffRows, bits_per_sample
from restore.picture import PictureInfo, SampleType

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its complaints become our errors and notes

MAX_CHANNELS = 8
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB, _ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9
_CFA, _LINEAR_RAW = 32803, 34892
_TAG_PHOTOMETRIC, _TAG_ORIENTATION, _TAG_MAX_SAMPLE, _TAG_XMP, _TAG_ICC, _TAG_DNG, _TAG_SUB_IFDS = (
    262,
    274,
    281,
    700,
    34675,
    50706,
    330,
)

_SAMPLES = {
    _WHITE_IS_ZERO: (1, 1),
    _BLACK_IS_ZERO: (1, 65535),  # the bands of a scientific TIFF, of which too many are refused by their number
    _RGB: (3, 65535),
    _PALETTE: (1, 1),
    _CMYK: (1, 65535),  # refused by name in `_converted_colour`, as the next
    _YCBCR: (3, 3),
    _LAB: (1, 65535),
    _ICC_LAB: (1, 65535),
}
"""Photometric kinds that are understood, and how many samples a pixel they may have here."""
_RE_EXPORT = "Convert it to grey or RGB in the program that made it"

_STREAM_COMPRESSIONS = {1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000}
"""None, CCITT, LZW, Deflate, PackBits, LZMA and Zstandard: inflate to what is asked and no more."""


@dataclass(frozen=True)
class _Layout:
    """What the samples of a page mean, and how stored samples become ours."""

    channels: int
    alpha: bool
    dtype: SampleType
    bits: int
    convert: Convert | None = None
    notes: tuple[str, ...] = ()


def read_header(file: BinaryIO, options: ReadOptions) -> Header:
    """Header of a TIFF or BigTIFF. Camera RAW in TIFF clothes (DNG, NEF, ARW) is refused."""
    tif = _tiff(file)
    return replace(_page_header(file, tif.pages.first, options), frames=1 + tiff_pages.has_several(tif))


def read_frames(file: BinaryIO, options: ReadOptions) -> Iterator[Header]:
    """Headers of the pages that are pictures of their own, in order, each made when it is asked for.

    Errors as in `read_header`, and `TruncatedError` if pages are missing. Headers share `file`.
    """
    pages, lost = tiff_pages.frames(_tiff(file), salvage=options.salvage)
    for number, page in enumerate(pages):
        header = _page_header(file, page, options, first=number == 0)
        if lost:
            note = f"{SALVAGED}, pages are missing: {lost}"
            header, lost = replace(header, info=replace(header.info, notes=(*header.info.notes, note))), ""
        yield header


def _tiff(file: BinaryIO) -> tifffile.TiffFile:
    file.seek(0)
    return tifffile.TiffFile(file)


def _page_header(file: BinaryIO, page: Any, options: ReadOptions, *, first: bool = True) -> Header:
    _check_numbers(page)
    _refuse_raw(page)
    if page.compression not in _STREAM_COMPRESSIONS and page.compression not in INNER_HEADERS:
        name = getattr(page.compression, "name", page.compression)
        raise UnsupportedError(f"cannot read TIFF compression {name}", fix="Save it with LZW or Deflate first")
    if not page.imagelength or not page.imagewidth or page.imagedepth != 1:
        size = f"{page.imagewidth} x {page.imagelength} x {page.imagedepth}"
        raise DecodeError("cannot decode this TIFF: it has no two-dimensional picture", why=size, fix="Re-export it")
    icc, xmp = _block(page, _TAG_ICC), _block(page, _TAG_XMP)
    layout = _layout(page, icc)
    converted = page.photometric in (_CMYK, _LAB, _ICC_LAB)
    carried = sanitise(
        exif=_exif(file, page.offset),
        xmp=xmp,
        icc=None if converted else icc,
        dpi=_dpi(page),
        colour="GRAY" if layout.channels == 1 else "RGB",
    )
    info = PictureInfo(
        page.imagelength, page.imagewidth, layout.channels, layout.alpha, layout.dtype, layout.bits, "tiff",
        carried.metadata, notes=(*layout.notes, *carried.notes, *calibration.unread_note(page)),
        nodata=_nodata(page, layout),
    )  # fmt: skip
    orientation = _tag(page, _TAG_ORIENTATION, 1)
    orientation = orientation if orientation in range(1, 9) else 1
    if calibrated := calibration.read(file, page, info, orientation, first=first):
        info = replace(info, metadata=replace(info.metadata, calibration=calibrated))
    if not options.salvage:
        _check_extent(page, file)

    def decode(salvage: bool) -> np.ndarray:
        return TiffRows(file, page, info, layout.convert, salvage=salvage).read_rows(0, info.height)

    return Header(info, decode, orientation, rows=partial(TiffRows, file, page, info, layout.convert))


def _tag(page: Any, code: int, default: Any = None) -> Any:
    tag = page.tags.get(code)
    return default if tag is None else tag.value


def _block(page: Any, code: int) -> bytes | None:
    """A metadata block, unless it is larger than any should be (one byte more, so that `sanitise` notes it)."""
    tag = page.tags.get(code)
    if tag is None:
        return None
    if tag.count > MAX_METADATA_BYTES:
        return bytes(MAX_METADATA_BYTES + 1)
    return tag.value if isinstance(tag.value, bytes) else bytes(np.asarray(tag.value, np.uint8))


def _check_numbers(page: Any) -> None:
    """tifffile returns a tag's value whatever its type; these must be numbers."""
    names = ("imagelength", "imagewidth", "imagedepth", "samplesperpixel", "photometric", "compression", "subfiletype")
    names += ("planarconfig", "predictor", "fillorder", "rowsperstrip", "tilelength", "tilewidth")
    wrong = [name for name in names if not isinstance(getattr(page, name), int)]
    if wrong:
        raise DecodeError("cannot decode this TIFF: it is damaged", why=f"{wrong[0]} is no number", fix="Re-export it")


def _refuse_raw(page: Any) -> None:
    thumbnail_first = page.subfiletype & tiff_pages.REDUCED and _TAG_SUB_IFDS in page.tags
    if _TAG_DNG in page.tags or page.photometric in (_CFA, _LINEAR_RAW) or thumbnail_first:
        raise raw_refusal()


def _check_extent(page: Any, file: BinaryIO) -> None:
    size = file.seek(0, os.SEEK_END)
    ends = np.asarray(page.dataoffsets, np.int64) + np.asarray(page.databytecounts, np.int64)
    missing = int((ends > size).sum())
    if missing or not len(ends):
        raise truncated("TIFF", f"{missing or 'all'} of its {len(ends)} strips or tiles are cut off")


def _dpi(page: Any) -> tuple[float, float] | None:
    scale = {2: 1.0, 3: 2.54}.get(int(_tag(page, 296, 2)))
    x, y = _tag(page, 282), _tag(page, 283)
    if scale is None or not isinstance(x, tuple) or not isinstance(y, tuple) or not x[1] or not y[1]:
        return None
    return x[0] / x[1] * scale, y[0] / y[1] * scale


def _nodata(page: Any, layout: _Layout) -> float | None:
    """The value that GDAL's tag declares for samples without data, as these samples hold it."""
    try:
        value = float(str(_tag(page, tags.NODATA, "")).strip("\0 "))
    except ValueError:
        return None
    return float(np.float32(value)) if layout.dtype == "float32" else value


def _exif(file: BinaryIO, offset: int) -> bytes | None:
    """The descriptive tags, Exif and GPS directories of the page at `offset` as one EXIF block."""
    try:
        directory = tags.read(file, offset)
        return tags.block(directory) if directory else None
    except Exception:  # hostile directories raise nearly anything; the picture itself may be fine
        return None


# --- what samples mean ---------------------------------------------------------------------------------------


def _layout(page: Any, icc: bytes | None) -> _Layout:
    samples, bits, photometric = page.samplesperpixel, bits_per_sample(page), page.photometric
    _check_photometric(page, samples, bits)
    if photometric == _YCBCR and page.compression not in (6, 7):
        raise UnsupportedError("cannot read an uncompressed YCbCr TIFF", fix="Convert it to RGB first")
    if photometric in (_CMYK, _LAB, _ICC_LAB):
        return _converted_colour(page, icc)
    if samples > MAX_CHANNELS:
        raise UnsupportedError(
            f"has {samples} bands, and {MAX_CHANNELS} are the most", fix="Split it into files of at most 8 bands"
        )
    if photometric == _PALETTE and samples == 1 and bits <= 8 and not calibration.is_lut(page):
        return _palette(page)
    extra = tuple(int(kind) for kind in page.extrasamples)
    if photometric == _RGB and samples == 4 and not extra:
        extra = (0,)  # OpenCV leaves the tag out
    alpha = bool(extra) and (extra[-1] in (1, 2) or (photometric == _RGB and samples == 4))
    dtype, notes, steps = _sample_type(page, bits)
    if photometric == _WHITE_IS_ZERO and samples == 1:
        if dtype == "float32":
            raise UnsupportedError("cannot read a float TIFF whose white is zero", fix="Save it as BlackIsZero first")
        white = np.dtype(dtype).type(2 ** max(bits, 8) - 1)
        steps.append(lambda x: white - x)
    if alpha and extra[-1] == 1:
        notes.append("premultiplied alpha turned into straight alpha")
        steps.append(_straight)
    elif alpha and extra[-1] == 0:
        notes.append("extra sample of unknown kind kept as straight alpha")
    bits = 32 if dtype == "float32" else _declared_bits(page, max(bits, 8), dtype)
    return _Layout(samples - alpha, alpha, dtype, bits, partial(_chain, steps) if steps else None, tuple(notes))


def _check_photometric(page: Any, samples: int, bits: int) -> None:
    """Refuse what would have to be guessed: kinds of colour that are not known here, or that do not fit the samples."""
    kind = page.photometric
    name = getattr(kind, "name", kind)
    if _TAG_PHOTOMETRIC not in page.tags:
        raise UnsupportedError("does not say what its samples mean (no photometric tag)", fix=_RE_EXPORT)
    if kind not in _SAMPLES:
        raise UnsupportedError(f"has samples of the kind {name}, which is not known here", fix=_RE_EXPORT)
    low, high = _SAMPLES[kind]
    if not low <= samples <= high or (kind == _PALETTE and bits > 8):
        raise UnsupportedError(f"says {name}, with {samples} samples of {bits} bits a pixel", fix=_RE_EXPORT)


def _chain(steps: list[Convert], pixels: np.ndarray) -> np.ndarray:
    for step in steps:
        pixels = step(pixels)
    return pixels


def _sample_type(page: Any, bits: int) -> tuple[SampleType, list[str], list[Convert]]:
    """Sample type of the decoded array, or an error with its fix."""
    name = str(page.dtype)
    if name in ("uint8", "uint16", "float32") and bits in (8, 16, 24, 32):
        return ("float32" if name == "float32" else "uint8" if name == "uint8" else "uint16"), [], []
    if name == "bool" or (name == "uint8" and bits < 8):
        top = 2**bits - 1
        note = f"{bits}-bit samples expanded to 8-bit"
        return "uint8", [note], [lambda x: (x.astype(np.uint16) * 255 // top).astype(np.uint8)]
    if name == "uint16" and 8 < bits < 16:
        return "uint16", [f"{bits}-bit samples kept in 16 bits, values unchanged"], []
    if name == "float16":
        return "float32", ["half-precision samples widened to float32"], [lambda x: x.astype(np.float32)]
    raise UnsupportedError(
        f"has {name} samples; uint8, uint16 and float32 are read",
        fix="Convert it first, for example: tifffile.imwrite('out.tif', data.astype('float32'))",
    )


def _declared_bits(page: Any, bits: int, dtype: SampleType) -> int:
    """Significant bits: MaxSampleValue counts if it is the white of a 9..15-bit camera."""
    top = _tag(page, _TAG_MAX_SAMPLE)
    top = max(top) if isinstance(top, tuple) and top else top
    if dtype == "uint16" and isinstance(top, int) and 255 < top < 65535 and (top + 1) & top == 0:
        return top.bit_length()
    return bits


def _palette(page: Any) -> _Layout:
    table = np.asarray(page.colormap, np.uint16)  # 3 x 2**bits
    grey = bool((table == table[0]).all())
    lookup = (table[:1] if grey else table).T >> (8 if table.max() > 255 else 0)
    lookup = np.vstack([lookup, np.zeros((256 - len(lookup), lookup.shape[1]), lookup.dtype)]).astype(np.uint8)
    return _Layout(
        1 if grey else 3, False, "uint8", 8, lambda x: lookup[x[:, :, 0].astype(np.uint8)],
        ("palette expanded to 8-bit samples",),
    )  # fmt: skip


def _converted_colour(page: Any, icc: bytes | None) -> _Layout:
    """CMYK and Lab pages, turned into sRGB."""
    name = "CMYK" if page.photometric == _CMYK else "Lab"
    if str(page.dtype) != "uint8" or page.samplesperpixel != (4 if name == "CMYK" else 3):
        raise UnsupportedError(
            f"has {name} colour with {page.samplesperpixel} samples of {page.dtype}", fix="Convert it to RGB first"
        )
    if name == "Lab":
        convert = partial(lab_to_rgb, signed=page.photometric == _LAB)
        return _Layout(3, False, "uint8", 8, convert, ("Lab converted to sRGB; its profile is not carried",))
    usable = icc if icc and icc[16:20] == b"CMYK" else None
    how = "through its profile" if usable else "without a profile, R = (1 - C)(1 - K)"
    note = f"CMYK converted to sRGB {how}; the CMYK profile is not carried"
    return _Layout(3, False, "uint8", 8, partial(cmyk_to_rgb, icc=usable), (note,))


def _straight(pixels: np.ndarray) -> np.ndarray:
    """Divide colour by alpha (the last sample); where alpha is 0 colour stays as stored."""
    alpha = pixels[..., -1:].astype(np.float64)
    white = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    colour = pixels[..., :-1] * np.divide(white, alpha, out=np.ones_like(alpha), where=alpha != 0)
    if pixels.dtype.kind == "u":
        colour = np.rint(colour).clip(0, white)
    return np.concatenate([colour.astype(pixels.dtype), pixels[..., -1:]], axis=-1)
