"""What a TIFF says of its samples in space and time: read as stored, and fitted to the file that is written.

Tags (resolution, LUTs and ranges of ImageJ, map coordinates) are copied as they are. The description of ImageJ, OME-XML
or tifffile, which speaks of the whole file, is copied byte for byte where it holds for what is written; where pages,
size or sample type differ it is changed in just that, or left out with a note of what was in it.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from restore.io import imagej_tags, layouts
from restore.io.header import MAX_METADATA_BYTES
from restore.picture import Calibration, PictureInfo, SampleType, TiffTag

_DESCRIPTION, _PHOTOMETRIC, _PALETTE, _COLOURS = 270, 262, 3, 320
_SMOOTH = 24 << 8
"""The most by which neighbours in a LUT differ, of 16 bits; tables of pictures with few colours jump."""
_RESOLUTION, _UNIT, _INCH = (282, 283), 296, 2
_IMAGEJ = (imagej_tags.COUNTS, imagej_tags.BLOCKS)
_PLACES = (33550, 33922, 34264, 34735, 34736, 34737)  # of GeoTIFF
_GDAL = (42112, 42113)  # metadata, no-data value
_PRIVATE = 32768
_ELSEWHERE = {33432, 33723, 34377, 34665, 34675, 34853, 37724, 40965, 59932}
"""Private tags read by others, or of photographs: copyright, IPTC, Photoshop, EXIF, ICC, GPS, padding."""
_FORMS = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 10: "i4", 11: "f4", 12: "f8"}
_FORMS |= {16: "u8", 17: "i8"}
_MOST_NAMED = 6


def read(file: BinaryIO, page: Any, info: PictureInfo, orientation: int, *, first: bool) -> Calibration:
    """The calibration of a page; the first one's holds what is said about the whole file, too."""
    tags = {code: tag for code in (*_RESOLUTION, _UNIT) if (tag := _raw(file, page, code)) is not None}
    if not all(code in tags and _is_ratio(tags[code]) for code in _RESOLUTION):
        tags = {}
    elif orientation > 4:
        tags[_RESOLUTION[0]], tags[_RESOLUTION[1]] = (tags[code] for code in reversed(_RESOLUTION))
    layout = b""
    if orientation == 1:
        tags |= {code: tag for code in (*_PLACES, *_GDAL) if (tag := _raw(file, page, code)) is not None}
        if first and layouts.kind(description := _text(file, page)):
            layout = description
            tags |= _imagej(file, page)
    if is_lut(page) and (colours := _raw(file, page, _COLOURS)) is not None:
        tags |= {_COLOURS: colours, _PHOTOMETRIC: (3, struct.pack("<H", _PALETTE))}
    size = (info.width, info.height) if orientation > 4 else (info.height, info.width)
    return Calibration(tuple(sorted(tags.items())), layout, size, info.samples, info.dtype)


def is_lut(page: Any) -> bool:
    """Whether the colour table of a page is but the display of 8-bit measurements: ImageJ's, and smooth inside."""
    if page.photometric != _PALETTE or page.dtype != np.uint8 or page.bitspersample != 8 or page.samplesperpixel != 1:
        return False
    if page.colormap is None or not layouts.pages_of(page.parent.pages.first.description.encode("latin-1", "replace")):
        return False
    steps = np.abs(np.diff(np.asarray(page.colormap, np.int64), axis=1))[:, 1:-1]  # HiLo marks both ends
    return bool(page.parent.is_imagej and (steps <= _SMOOTH).all())


def unread_note(page: Any) -> list[str]:
    """A note that names the private tags of a page of which nothing is carried."""
    handled = {*_ELSEWHERE, *_PLACES, *_GDAL, *_IMAGEJ}
    names = [tag.name if tag.name != str(tag.code) else f"tag {tag.code}" for tag in page.tags
             if tag.code >= _PRIVATE and tag.code not in handled]  # fmt: skip
    if not names:
        return []
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return [f"private tags of the TIFF not carried: {', '.join(names[:_MOST_NAMED])}{more}"]


def scaled(calibration: Calibration, height: int, width: int, new_height: int, new_width: int) -> Calibration:
    """The calibration of a picture that shows the same in more (or fewer) pixels; `fitted` sees to its size."""
    ratios = new_width / width, new_height / height
    tags = dict(calibration.tags)
    if tags.get(_UNIT, (3, b"\2\0"))[1] != struct.pack("<H", _INCH):  # of inches: for print, as in photographs
        for code, ratio in zip(_RESOLUTION, ratios, strict=True):
            if code in tags:
                above, below = struct.unpack("<II", tags[code][1])
                tags[code] = _ratio(above * ratio, below)
    layout = layouts.scaled(calibration.layout, ratios)
    return replace(calibration, tags=tuple(sorted(tags.items())), layout=layout)


def fitted(calibration: Calibration, target: PictureInfo, pages: int | None) -> tuple[Calibration, list[str]]:
    """The calibration as it holds for a file of `pages` like `target` (None: as many as before), and notes."""
    tags, notes = dict(calibration.tags), []
    size = (target.height, target.width)
    if calibration.size != size and not tags.keys().isdisjoint(_PLACES):
        tags = {code: tag for code, tag in tags.items() if code not in _PLACES}
        notes.append("map coordinates (GeoTIFF) not carried: they are those of the picture before it changed its size")
    there = layouts.Pages(pages, size, target.samples, target.dtype)
    before = layouts.Pages(None, calibration.size, calibration.samples, calibration.dtype)
    layout, lost = layouts.fitted(calibration.layout, before, there)
    notes += lost
    if _COLOURS in tags and (target.dtype, target.samples) != ("uint8", 1):
        tags = {code: tag for code, tag in tags.items() if code not in (_COLOURS, _PHOTOMETRIC)}
        notes.append("LUT (colour table) not carried: it is for 8 bits")
    if imagej_tags.BLOCKS in tags:
        imagej = _fitted_imagej(tags, calibration, layout, target.dtype, notes)
        tags = {code: tag for code, tag in tags.items() if code not in _IMAGEJ} | imagej
    return Calibration(tuple(sorted(tags.items())), layout, size, target.samples, target.dtype), notes


def stripped(calibration: Calibration) -> Calibration:
    """The calibration without texts: only the resolution."""
    kept = tuple(tag for tag in calibration.tags if tag[0] in (*_RESOLUTION, _UNIT))
    return replace(calibration, tags=kept, layout=b"")


def lost_note(calibration: Calibration, name: str, *, keeps_dpi: bool) -> list[str]:
    """What a format other than TIFF does not hold of a calibration."""
    tags = dict(calibration.tags)
    lost = [layouts.summary(calibration.layout)] if calibration.layout else []
    if values := imagej_tags.unpacked(tags):
        lost.append(", ".join(values))
    lost += ["LUT (colour table)"] * (_COLOURS in tags)
    if _RESOLUTION[0] in tags and not keeps_dpi:
        x, y = (above / below for above, below in (struct.unpack("<II", tags[code][1]) for code in _RESOLUTION))
        if (x, y) != (1, 1):
            lost.append(f"resolution {x:g} x {y:g} pixels a unit")
    lost += ["map coordinates (GeoTIFF)"] * (not tags.keys().isdisjoint(_PLACES))
    lost += ["no-data value or metadata of GDAL"] * (not tags.keys().isdisjoint(_GDAL))
    lost = [what for what in lost if what]
    return [f"{name} cannot hold the calibration: {'; '.join(lost)} not carried"] if lost else []


def entries(calibration: Calibration) -> dict[int, TiffTag]:
    """Entries for a directory of the file that is written."""
    found = dict(calibration.tags)
    if calibration.layout:
        found[_DESCRIPTION] = (2, calibration.layout.rstrip(b"\0") + b"\0")
    return found


# --- tags ----------------------------------------------------------------------------------------------------


def _raw(file: BinaryIO, page: Any, code: int) -> TiffTag | None:
    """A tag's type and values as they are stored, in little-endian order; None if there is no such tag."""
    tag = page.tags.get(code)
    kind = None if tag is None else int(tag.dtype)
    if tag is None or kind not in _FORMS:
        return None
    form = np.dtype(_FORMS[kind])
    count = tag.count * (2 if kind in (5, 10) else 1) * form.itemsize
    if count > MAX_METADATA_BYTES:
        return None
    file.seek(tag.valueoffset)
    values = np.frombuffer(file.read(count), form.newbyteorder(page.parent.byteorder))
    return kind, values.astype(form.newbyteorder("<")).tobytes()


def _imagej(file: BinaryIO, page: Any) -> dict[int, TiffTag]:
    stored = {code: tag for code in _IMAGEJ if (tag := _raw(file, page, code)) is not None}
    return imagej_tags.packed(imagej_tags.unpacked(stored))


def _text(file: BinaryIO, page: Any) -> bytes:
    stored = _raw(file, page, _DESCRIPTION)
    return stored[1].rstrip(b"\0") if stored is not None else b""


def _is_ratio(tag: TiffTag) -> bool:
    return tag[0] == 5 and len(tag[1]) == 8 and all(struct.unpack("<II", tag[1]))


def _ratio(above: float, below: float) -> TiffTag:
    """A ratio of 32-bit integers, as exact as they allow."""
    from fractions import Fraction

    exact = Fraction(above).limit_denominator(2**31) / Fraction(below).limit_denominator(2**31)
    most = 2**32 - 1
    limit = most if exact <= 1 else max(1, int(most / exact))
    near = exact.limit_denominator(limit)
    return 5, struct.pack("<II", min(near.numerator, most), max(near.denominator, 1))


def _fitted_imagej(
    tags: dict[int, TiffTag], calibration: Calibration, layout: bytes, dtype: SampleType, notes: list[str]
) -> dict[int, TiffTag]:
    """LUTs, ranges, labels and the rest of ImageJ, as far as they hold for what is written."""
    values = imagej_tags.unpacked(tags)
    if not layout:
        notes.append(f"{', '.join(values)} of ImageJ not carried")
        return {}
    if calibration.dtype != dtype and values.pop("Ranges", None) is not None:
        notes.append("display ranges of ImageJ not carried: the sample type changed")
    if layout != calibration.layout and layouts.pages_of(layout) == 1 < layouts.pages_of(calibration.layout):
        values = imagej_tags.of_first_page(values)
    return imagej_tags.packed(values)
