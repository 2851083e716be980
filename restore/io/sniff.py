"""What a file is, by its first bytes and never by its name."""

from __future__ import annotations

import codecs

from restore.errors import DecodeError, UnsupportedError

HEAD_BYTES = 4096
"""How much of a file `sniff` wants to see."""

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0\x08\0\0\0": "tiff",
    b"MM\0+\0\x08\0\0": "tiff",
    b"BM": "bmp",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
}

_RAW_FIX = "Develop it to a 16-bit TIFF with a raw converter (darktable, RawTherapee, dcraw -T -6) first"
_CLIP_FIX = "Use a command that takes clips, such as restore denoise"
NAME_A_PICTURE = "Name a picture file"
"""What to do about text and the like."""
_RASTER_FIX = "Export it as a PNG or TIFF picture first"
_FOREIGN: dict[bytes, tuple[str, str]] = {
    b"IIU\0": ("a camera RAW file (Panasonic)", _RAW_FIX),
    b"IIRO": ("a camera RAW file (Olympus)", _RAW_FIX),
    b"IIRS": ("a camera RAW file (Olympus)", _RAW_FIX),
    b"FUJIFILMCCD-RAW": ("a camera RAW file (Fujifilm)", _RAW_FIX),
    b"FOVb": ("a camera RAW file (Sigma)", _RAW_FIX),
    b"8BPS": ("a Photoshop document", _RASTER_FIX),
    b"%PDF": ("a PDF document", _RASTER_FIX),
    b"%!PS": ("PostScript (EPS)", _RASTER_FIX),
    b"\xc5\xd0\xd3\xc6": ("PostScript (EPS)", _RASTER_FIX),
    b"push graphic-context": ("an ImageMagick script", _RASTER_FIX),
    b"viewbox ": ("an ImageMagick script", _RASTER_FIX),
    b"PK\x03\x04": ("a zip archive", "Unpack it and name the pictures inside"),
    b"\x1f\x8b": ("a gzip archive", "Unpack it and name the pictures inside"),
    b"7z\xbc\xaf": ("a 7z archive", "Unpack it and name the pictures inside"),
    b"Rar!": ("a RAR archive", "Unpack it and name the pictures inside"),
    b"\x76\x2f\x31\x01": ("OpenEXR", "Convert it to a float32 TIFF first"),
    b"#?RADIANCE": ("Radiance HDR", "Convert it to a float32 TIFF first"),
    b"\0\0\x01\0": ("a Windows icon", _RASTER_FIX),
    b"\xff\x0a": ("JPEG XL", "Convert it to PNG or TIFF first"),
    b"\0\0\0\x0cJXL ": ("JPEG XL", "Convert it to PNG or TIFF first"),
    b"\0\0\0\x0cjP  ": ("JPEG 2000", "Convert it to PNG or TIFF first"),
    b"\xffO\xffQ": ("JPEG 2000", "Convert it to PNG or TIFF first"),
    b"\x89HDF": ("an HDF5 file", "Export the data as TIFF first"),
    b"\x93NUMPY": ("a NumPy array", "Load it with numpy.load and use restore.picture.Picture.from_array"),
    b"\x1aE\xdf\xa3": ("a Matroska/WebM video", _CLIP_FIX),
    b"OggS": ("an Ogg media file", "Extract frames first"),
    b"SIMPLE  =": ("a FITS file", "Export the data as a float32 TIFF first"),
    b"ZISRAWFILE": ("a Zeiss CZI file", "Export it as OME-TIFF first"),
    b"\xda\xce\xbe\x0a": ("a Nikon ND2 file", "Export it as OME-TIFF first"),
    b"II\xbc\x01": ("JPEG XR", "Convert it to PNG or TIFF first"),
    b"qoif": ("QOI", "Convert it to PNG or TIFF first"),
    b"BPG\xfb": ("BPG", "Convert it to PNG or TIFF first"),
    b"DDS ": ("a DirectDraw surface", _RASTER_FIX),
    b"gimp xcf": ("a GIMP document", _RASTER_FIX),
    b"\x8aMNG": ("MNG", "Convert it to PNG or TIFF first"),
    b"\x8bJNG": ("JNG", "Convert it to PNG or TIFF first"),
    b"P5": ("a PGM picture", "Convert it to PNG or TIFF first"),
    b"P6": ("a PPM picture", "Convert it to PNG or TIFF first"),
}

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}


def sniff(head: bytes) -> str:
    """Name the format of a file from its first `HEAD_BYTES` bytes.

    Returns one of png, jpeg, tiff, bmp, gif, webp, avif, heic. Raises `UnsupportedError` for known
    formats that are refused and `DecodeError` for anything else, without a path (see `RestoreError.at`).
    """
    if not head:
        raise DecodeError("cannot read an empty file", fix="Copy it again from where it came")
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return "raw" if name == "tiff" and head[8:10] == b"CR" else name
    if head[:4] == b"RIFF":
        if head[8:12] == b"WEBP":
            return "webp"
        raise _refusal("a RIFF media file (AVI or WAV)", _CLIP_FIX)
    if head[4:8] == b"ftyp":
        return _sniff_boxes(head)
    if head[128:132] == b"DICM":
        raise _refusal("a DICOM file", "Export its pictures as 16-bit TIFF first")
    for magic, (name, fix) in _FOREIGN.items():
        if head.startswith(magic):
            raise _refusal(name, fix)
    raise _text_or_unknown(head)


def _sniff_boxes(head: bytes) -> str:
    """AVIF, HEIC, CR3 and MP4 share one container; its brands distinguish them."""
    size = int.from_bytes(head[:4], "big")
    brands = {head[8:12], *(head[i : i + 4] for i in range(16, min(size, len(head)), 4))}
    if head[8:12] == b"crx ":
        return "raw"
    if brands & _AVIF_BRANDS:
        return "avif"
    if brands & _HEIF_BRANDS:
        return "heic"
    raise _refusal("a video (MP4 or MOV)", _CLIP_FIX)


def _text_or_unknown(head: bytes) -> DecodeError | UnsupportedError:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return _refusal("HTML", "Download the picture itself, not the page that shows it")
    if text.startswith((b"<svg", b"<?xml")) and b"<svg" in text:
        return _refusal("SVG", _RASTER_FIX)
    if text.startswith(b"<?xml"):
        return _refusal("XML", NAME_A_PICTURE)
    if len(head) > 1 and _is_text(head):
        return _refusal("text", NAME_A_PICTURE)
    why = "only a few bytes" if len(head) < 12 else "unknown file signature"
    return DecodeError("is not a picture this program can read", why=why, fix="Convert it to PNG or TIFF first")


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the head may end inside a character
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\r\n" for character in text)


def _refusal(name: str, fix: str) -> UnsupportedError:
    return UnsupportedError(f"is not a picture: it looks like {name}", fix=fix)


def raw_refusal() -> UnsupportedError:
    """The answer to every camera RAW file, DNG included."""
    return UnsupportedError("is not developed: it looks like camera RAW data", fix=_RAW_FIX)
