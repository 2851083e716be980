"""What travels beside the pixels: EXIF, XMP, ICC profile, resolution; and the orientation inside them.

EXIF is patched in place, byte for byte equal otherwise: re-serialising it would break maker notes,
whose offsets are absolute.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from xml.sax.saxutils import escape

import numpy as np

from restore.io.header import MAX_METADATA_BYTES
from restore.picture import Metadata

ORIENTATION, EXIF_IFD, PIXEL_WIDTH, PIXEL_HEIGHT = 0x0112, 0x8769, 0xA002, 0xA003
_THUMBNAIL_OFFSET, _THUMBNAIL_BYTES = 0x0201, 0x0202
_SHORT, _LONG = 3, 4


@dataclass(frozen=True)
class SanitisedMetadata:
    """Metadata as carried on, the orientation it gave, and notes for the user."""

    metadata: Metadata
    orientation: int = 1
    notes: tuple[str, ...] = ()


def sanitise(
    *,
    exif: bytes | None = None,
    xmp: bytes | str | None = None,
    icc: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    colour: str = "RGB",
) -> SanitisedMetadata:
    """Check raw metadata and adapt it to an upright picture.

    Args:
        exif: the TIFF-structured block, with or without its "Exif" prefix.
        colour: colour space of the pixels the profile must match: "RGB", "GRAY" or "CMYK".
    """
    notes: list[str] = []
    blocks = {"EXIF": exif, "XMP": xmp.encode() if isinstance(xmp, str) else xmp, "ICC profile": icc}
    for name, block in blocks.items():
        if block is not None and len(block) > MAX_METADATA_BYTES:
            notes.append(f"{name} dropped: {len(block) >> 20} MB is more than any picture needs")
            blocks[name] = None
    exif, orientation = upright_exif(blocks["EXIF"], notes)
    if blocks["ICC profile"]:
        notes += profile_notes(blocks["ICC profile"], colour)
        if notes and notes[-1].startswith("ICC profile dropped"):
            blocks["ICC profile"] = None
    metadata = Metadata(
        exif, upright_xmp(blocks["XMP"]), blocks["ICC profile"] or None, _sanitised_dpi(dpi, orientation)
    )
    return SanitisedMetadata(metadata, orientation, tuple(notes))


# --- orientation ---------------------------------------------------------------------------------------------


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels (H x W x samples) the way EXIF `orientation` (1..8) describes."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def upright_exif(exif: bytes | None, notes: list[str]) -> tuple[bytes | None, int]:
    """EXIF with orientation 1 and without its thumbnail, and the orientation it had."""
    if not exif:
        return None, 1
    exif = exif.removeprefix(b"Exif\0\0")
    try:
        block = bytearray(exif)
        orientation = 1
        first = _Directory(block, _first_offset(block))
        if (entry := first.find(ORIENTATION)) is not None:
            orientation = first.integer(entry)
            first.set_integer(entry, 1)
        _drop_thumbnail(block, first)
    except (struct.error, ValueError, KeyError, IndexError):
        notes.append("EXIF dropped: it is damaged")
        return None, 1
    return bytes(block), orientation if 1 <= orientation <= 8 else 1


def sized_exif(exif: bytes, width: int, height: int) -> bytes:
    """The same EXIF with its PixelXDimension and PixelYDimension (if present) set to this size."""
    block = bytearray(exif)
    try:
        first = _Directory(block, _first_offset(block))
        if (pointer := first.find(EXIF_IFD)) is None:
            return exif
        details = _Directory(block, first.integer(pointer))
        for tag, value in ((PIXEL_WIDTH, width), (PIXEL_HEIGHT, height)):
            if (entry := details.find(tag)) is not None:
                details.set_integer(entry, value)
    except (struct.error, ValueError, KeyError, IndexError):
        return exif
    return bytes(block)


class _Directory:
    """One TIFF directory inside an EXIF block: just enough to change integers in place."""

    def __init__(self, block: bytearray, offset: int) -> None:
        self.block, self.offset = block, offset
        self.order = "<" if block[:2] == b"II" else ">"
        (self.count,) = self._unpack("H", offset)
        self.end = offset + 2 + 12 * self.count
        if self.end > len(block):
            raise ValueError("a directory leaves the block")

    def _unpack(self, form: str, offset: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + form, self.block, offset)

    def find(self, tag: int) -> int | None:
        """Offset of the entry with this tag."""
        entries = range(self.offset + 2, self.end, 12)
        return next((entry for entry in entries if self._unpack("H", entry)[0] == tag), None)

    def integer(self, entry: int) -> int:
        form = {_SHORT: "H", _LONG: "I"}[self._unpack("H", entry + 2)[0]]
        return self._unpack(form, entry + 8)[0]

    def set_integer(self, entry: int, value: int) -> None:
        form = {_SHORT: "Hxx", _LONG: "I"}[self._unpack("H", entry + 2)[0]]
        struct.pack_into(self.order + form, self.block, entry + 8, value)

    @property
    def next(self) -> int:
        """Offset of the directory that follows, 0 for none; many writers leave the field out at the end."""
        return self._unpack("I", self.end)[0] if self.end + 4 <= len(self.block) else 0


def _first_offset(block: bytearray) -> int:
    if block[:4] not in (b"II*\0", b"MM\0*"):
        raise ValueError("not a TIFF structure")
    return struct.unpack_from("<I" if block[:2] == b"II" else ">I", block, 4)[0]


def _drop_thumbnail(block: bytearray, first: _Directory) -> None:
    """Unlink the second directory and blank the old, smaller picture it points to."""
    if not first.next:
        return
    try:
        second = _Directory(block, first.next)
        start, length = second.find(_THUMBNAIL_OFFSET), second.find(_THUMBNAIL_BYTES)
        if start is not None and length is not None:
            begin, end = second.integer(start), second.integer(start) + second.integer(length)
            if max(first.end, second.end) <= begin and end >= len(block):
                del block[begin:]
            elif max(first.end, second.end) <= begin < end:
                block[begin:end] = bytes(end - begin)
    except (struct.error, ValueError, KeyError):
        pass  # the thumbnail's directory is damaged: unlinking it is all there is to do
    struct.pack_into("I", block, first.end, 0)


_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:description><rdf:Alt>'
    '<rdf:li xml:lang="x-default">{}</rdf:li></rdf:Alt></dc:description></rdf:Description></rdf:RDF></x:xmpmeta>'
    '<?xpacket end="r"?>'
)


def described(text: str) -> bytes:
    """XMP whose dc:description is this text: what a file says about itself in every format that carries XMP."""
    return _XMP.format(escape(text)).encode()


_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|>)\s*)[2-8]")


def upright_xmp(xmp: bytes | None) -> bytes | None:
    """XMP with tiff:Orientation 1."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp) if xmp else None


def _sanitised_dpi(dpi: tuple[float, float] | None, orientation: int) -> tuple[float, float] | None:
    """Resolution of the upright picture; whole numbers where PNG's pixels per metre only just miss them."""
    if dpi is None or not all(np.isfinite(value) and 0 < value < 1e6 for value in dpi):
        return None
    x, y = (float(round(v)) if abs(v - round(v)) < 0.013 else float(v) for v in dpi)
    return (y, x) if orientation in (5, 6, 7, 8) else (x, y)


# --- ICC -----------------------------------------------------------------------------------------------------

_WIDE = ("display p3", "p3", "adobe rgb", "adobergb", "prophoto", "romm", "2020", "wide gamut")
_HDR = ("pq", "hlg", "2100", "st 2084", "st2084")


@lru_cache(maxsize=32)
def profile_notes(icc: bytes, colour: str) -> tuple[str, ...]:
    """Notes for the user about a profile; starts with "ICC profile dropped" if it cannot be used."""
    from PIL import ImageCms

    if len(icc) < 132 or icc[36:40] != b"acsp" or int.from_bytes(icc[:4], "big") > len(icc):
        return ("ICC profile dropped: it is damaged",)
    space = icc[16:20].decode("latin-1").strip()
    if space != colour:
        return (f"ICC profile dropped: it is for {space} and the pixels are {colour}",)
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(icc))).strip()
    except (OSError, ImageCms.PyCMSError, ValueError, TypeError):
        return ("ICC profile dropped: it is damaged",)
    words = re.split(r"[\s_\-().,]+", name.lower())
    if any(key in words or (" " in key and key in name.lower()) for key in _HDR):
        return (f"HDR profile '{name}': pixels stay in their encoding, results on HDR are not calibrated",)
    if any(key in words or (" " in key and key in name.lower()) for key in _WIDE):
        return (f"wide-gamut profile '{name}': pixels stay in their encoding, the profile is carried along",)
    return ()


_PRIMARIES = {9: "Rec.2020", 11: "DCI-P3", 12: "Display P3"}
_TRANSFERS = {16: "PQ", 18: "HLG"}


def cicp_notes(primaries: int, transfer: int) -> tuple[str, ...]:
    """A note if coded colour points (PNG cICP, AVIF nclx) hold information that is lost without them."""
    names = [n for n in (_PRIMARIES.get(primaries), _TRANSFERS.get(transfer)) if n]
    if not names:
        return ()
    return (f"colour is coded as {' '.join(names)} without a profile: the code is not carried, colours may look off",)


# --- CMYK and Lab --------------------------------------------------------------------------------------------


def cmyk_to_rgb(pixels: np.ndarray, icc: bytes | None) -> np.ndarray:
    """8-bit CMYK (H x W x 4, 255 = full ink) to sRGB.

    Through the profile if there is one; else R = 255 (1 - C)(1 - K), and so on, in integers.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels), "CMYK")
    if icc:
        return np.asarray(_to_srgb(icc, "CMYK").apply(image))
    return np.asarray(image.convert("RGB"))


def lab_to_rgb(pixels: np.ndarray, signed: bool) -> np.ndarray:
    """8-bit CIE Lab (H x W x 3, D50) to sRGB; `signed` for TIFF's CIELab, whose a and b are signed bytes."""
    from PIL import Image

    data = np.array(pixels)
    if not signed:
        data[..., 1:] ^= 128  # Pillow's raw Lab is TIFF's CIELab
    height, width = data.shape[:2]
    image = Image.frombytes("LAB", (width, height), data.tobytes(), "raw", "LAB")
    return np.asarray(_to_srgb(None, "LAB").apply(image))


@lru_cache(maxsize=4)
def _to_srgb(icc: bytes | None, mode: str):
    from PIL import ImageCms

    source = ImageCms.ImageCmsProfile(BytesIO(icc)) if icc else ImageCms.createProfile("LAB")
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
