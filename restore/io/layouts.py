"""Descriptions of a whole TIFF inside its first page: ImageJ's lines, OME-XML, tifffile's shape."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from restore.picture import SampleType

_OME_TYPES = {"uint8": "uint8", "uint16": "uint16", "float32": "float"}
_AXES = ("images", "channels", "slices", "frames", "hyperstack", "mode", "loop", "order")
_SHOWN = {"images", "channels", "slices", "frames", "spacing", "unit", "finterval", "fps", "min", "max"}


@dataclass(frozen=True)
class Pages:
    """Pages of a file: how many (None: not known), their height and width, samples a pixel, sample type."""

    count: int | None
    size: tuple[int, int]
    samples: int
    dtype: SampleType


class _NotFittingError(Exception):
    """The description cannot be made to hold."""


def kind(description: bytes) -> str:
    """ "ImageJ", "OME-XML" or "tifffile" for a description of the file's layout; "" for any other text."""
    if description.startswith(b"ImageJ="):
        return "ImageJ"
    if description.rstrip(b"\0 \r\n\t").endswith(b"OME>"):
        return "OME-XML"
    return "tifffile" if description.startswith(b'{"shape"') else ""


def pages_of(description: bytes) -> int:
    """How many pages a description speaks of; 0 if it does not say."""
    try:
        return {"ImageJ": _imagej_pages, "OME-XML": _ome_pages, "tifffile": lambda text: 0}[kind(description)](
            description
        )
    except (KeyError, _NotFittingError, ElementTree.ParseError, ValueError):
        return 0


def summary(description: bytes) -> str:
    """What is in a description, for a note that it is not carried."""
    name = kind(description)
    try:
        facts = {"ImageJ": _imagej_facts, "OME-XML": _ome_facts, "tifffile": _tifffile_facts}[name](description)
    except (KeyError, _NotFittingError, ElementTree.ParseError, ValueError):
        return f"{name} description"
    shown = ", ".join(f"{key} {value}" for key, value in facts.items())
    return f"{name} ({shown})" if shown else "" if name == "tifffile" else f"{name} description"


def scaled(description: bytes, ratios: tuple[float, float]) -> bytes:
    """The description of pages of `ratios` times as many pixels across and down; their size is left to `fitted`."""
    if kind(description) != "OME-XML":
        return description
    try:
        root = _parsed(description)
    except (_NotFittingError, ElementTree.ParseError):
        return description
    for pixels in _all(root, "Pixels"):
        for axis, ratio in zip("XY", ratios, strict=True):
            if size := _number(pixels.get(f"PhysicalSize{axis}")):
                pixels.set(f"PhysicalSize{axis}", repr(size / ratio))
    return _written(root)


def fitted(description: bytes, before: Pages, after: Pages) -> tuple[bytes, list[str]]:
    """The description as it holds for pages that were like `before` and are written like `after`; and notes.

    b"" where it cannot be made to hold: a note then says what was in it.
    """
    name = kind(description)
    if not name:
        return b"", []
    change: Callable[[bytes, Pages, Pages, list[str]], bytes]
    change = {"ImageJ": _fitted_imagej, "OME-XML": _fitted_ome, "tifffile": _fitted_tifffile}[name]
    notes: list[str] = []
    try:
        return change(description, before, after, notes), notes
    except _NotFittingError as why:
        lost = summary(description)
        return b"", [f"{lost} not carried: {why}"] if lost else []
    except (ElementTree.ParseError, ValueError):
        return b"", [f"{name} description not carried: it is damaged"]


# --- ImageJ --------------------------------------------------------------------------------------------------


def _imagej_lines(text: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b"=") for line in text.replace(b"\r", b"").split(b"\n") if b"=" in line)
    return {key: value for key, _, value in lines}


def _imagej_facts(text: bytes) -> dict[str, str]:
    lines = {key.decode("latin-1"): value.decode("latin-1") for key, value in _imagej_lines(text).items()}
    return {key: value for key, value in lines.items() if key in _SHOWN}


def _imagej_axes(text: bytes) -> list[int]:
    """Channels, slices, frames."""
    lines = _imagej_lines(text)
    return [int(lines.get(key, b"1")) for key in (b"channels", b"slices", b"frames")]


def _imagej_pages(text: bytes) -> int:
    return max(math.prod(_imagej_axes(text)), int(_imagej_lines(text).get(b"images", b"1")))


def _fitted_imagej(text: bytes, before: Pages, after: Pages, notes: list[str]) -> bytes:
    drop: set[bytes] = set()
    channels, slices, frames = _imagej_axes(text)
    counts = {_imagej_pages(text)} | ({slices * frames} if channels == before.samples > 1 else set())
    if after.count is not None and after.count not in counts:
        lost = {key: value for key, value in _imagej_facts(text).items() if key in _AXES}
        notes.append(
            f"axes of ImageJ ({', '.join(f'{key} {value}' for key, value in lost.items())}) not carried: "
            f"{after.count} page{'s are' if after.count > 1 else ' is'} written"
        )
        drop |= {key.encode() for key in _AXES}
    if before.dtype != after.dtype and not _imagej_lines(text).keys().isdisjoint((b"min", b"max")):
        notes.append("display range of ImageJ (min, max) not carried: the sample type changed")
        drop |= {b"min", b"max"}
    if not drop:
        return text
    kept = [line for line in text.split(b"\n") if line.partition(b"=")[0] not in drop]
    if b"images" in drop and after.count and after.count > 1:
        kept[1:1] = [b"images=%d" % after.count, b"frames=%d" % after.count]
    return b"\n".join(kept)


# --- OME-XML -------------------------------------------------------------------------------------------------


def _parsed(text: bytes) -> ElementTree.Element:
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise _NotFittingError("it defines entities")
    return ElementTree.fromstring(text)


def _written(root: ElementTree.Element) -> bytes:
    space = root.tag.partition("}")[0].removeprefix("{") if root.tag.startswith("{") else ""
    if space:
        ElementTree.register_namespace("", space)
    return ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _all(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [element for element in root.iter() if _name(element) == name]


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _samples_of(pixels: ElementTree.Element) -> int:
    """Samples of all channels that are no pages of their own (RGB)."""
    return max((int(one.get("SamplesPerPixel", "1")) for one in _all(pixels, "Channel")), default=1)


def _planes(pixels: ElementTree.Element) -> int:
    return math.prod(int(pixels.get(f"Size{axis}", "1")) for axis in "ZCT") // _samples_of(pixels)


def _ome_pages(text: bytes) -> int:
    return sum(map(_planes, _all(_parsed(text), "Pixels")))


def _ome_facts(text: bytes) -> dict[str, str]:
    keys = ("SizeZ", "SizeC", "SizeT", "PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ", "TimeIncrement")
    pixels = _all(_parsed(text), "Pixels")
    facts = {key: pixels[0].get(key, "") + pixels[0].get(f"{key}Unit", "") for key in keys} if pixels else {}
    channels = [one.get("Name", "") for one in _all(pixels[0], "Channel")] if pixels else []
    return {key: value for key, value in {**facts, "channels": "/".join(filter(None, channels))}.items() if value}


def _fitted_ome(text: bytes, before: Pages, after: Pages, notes: list[str]) -> bytes:
    root = _parsed(text)
    pixels, planes = _all(root, "Pixels"), _ome_pages(text)
    if len({one.text for one in _all(root, "UUID")}) > 1 or _all(root, "BinaryOnly"):
        raise _NotFittingError("it describes several files, or another one")
    if not pixels:
        raise _NotFittingError("it describes no picture")
    if before.samples != after.samples:
        raise _NotFittingError("the samples of a pixel changed")
    if before.size != after.size and len(pixels) > 1:
        raise _NotFittingError("it describes several pictures, of other sizes")
    several = after.count not in (None, planes)
    if several and (
        after.count != 1 or int(_all(root, "TiffData")[0].get("IFD", "0")) if _all(root, "TiffData") else 0
    ):
        raise _NotFittingError(f"it describes {planes} pages, and {after.count} are written")
    if any(int(one.get("IFD", "0")) >= planes for one in _all(root, "TiffData")):
        raise _NotFittingError("it counts pages that are not carried")
    if not several and (before.size, before.dtype) == (after.size, after.dtype):
        return text
    if several:
        notes.append(f"{summary(text)}: axes and further channels not carried, one page is written")
        _keep_first(root, pixels)
    for one in _all(root, "Pixels"):
        if before.size != after.size:
            one.set("SizeX", str(after.size[1]))
            one.set("SizeY", str(after.size[0]))
        if before.dtype != after.dtype:
            one.set("Type", _OME_TYPES[after.dtype])
            one.attrib.pop("SignificantBits", None)
    return _written(root)


def _keep_first(root: ElementTree.Element, pixels: list[ElementTree.Element]) -> None:
    """Leave of an OME-XML what it says of the first plane of the first picture."""
    images = [child for child in root if _name(child) == "Image"]
    for image in images[1:]:
        root.remove(image)
    first = pixels[0]
    samples = _samples_of(first)
    for axis, size in (("Z", 1), ("C", samples), ("T", 1)):
        first.set(f"Size{axis}", str(size))
    for name in ("Channel", "TiffData", "Plane"):
        for extra in _all(first, name)[1:]:
            first.remove(extra)
    for data in _all(first, "TiffData"):
        for key in ("PlaneCount", "FirstZ", "FirstC", "FirstT"):
            data.attrib.pop(key, None)
        data.set("IFD", "0")
        data.set("PlaneCount", "1")


# --- tifffile ------------------------------------------------------------------------------------------------


def _tifffile_facts(text: bytes) -> dict[str, Any]:
    facts = json.loads(text)
    shape = facts.get("shape", [])
    return (
        {}
        if len(facts) == 1 and len(shape) <= 3
        else {key: value for key, value in facts.items() if key != "truncated"}
    )


def _fitted_tifffile(text: bytes, before: Pages, after: Pages, notes: list[str]) -> bytes:
    facts = json.loads(text)
    shape = facts["shape"]
    end = [*before.size, before.samples] if before.samples > 1 else [*before.size]
    if not isinstance(shape, list) or shape[-len(end) :] != end or facts.get("truncated"):
        raise _NotFittingError("the samples are stored in another order")
    if before.samples != after.samples:
        raise _NotFittingError("the samples of a pixel changed")
    pages = math.prod(shape[: -len(end)])
    if after.count not in (None, pages):
        raise _NotFittingError(f"it describes {pages} pages, and {after.count} are written")
    if not _tifffile_facts(text):
        return b""
    if before.size == after.size:
        return text
    facts["shape"] = [*shape[: -len(end)], *after.size, *end[2:]]
    return json.dumps(facts).encode()
