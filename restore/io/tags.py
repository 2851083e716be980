"""EXIF inside TIFF: there its directories live in the file itself, at other offsets than in an EXIF block.

`read` takes them from either, `block` makes an EXIF block of them, and `sub_directory` and
`directory` serialise them for a TIFF. Pillow parses and packs the values.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO

from restore.io import layouts

DESCRIPTIVE = {270, 271, 272, 305, 306, 315, 316, 33432}
"""Tags of the main directory carried as text: description, make, model, software, date, artist, host, copyright."""
POINTERS = (34665, 34853)
"""Tags of the main directory that point to the Exif and GPS directories."""
NODATA = 42113
"""GDAL's tag for the value of samples without data, as text."""
_INTEROPERABILITY = 0xA005

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 2, 3, 4, 5, 7, 16
_FORMS = {SHORT: "H", LONG: "I", LONG8: "Q"}
_SIZES = {SHORT: 2, LONG: 4, RATIONAL: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, LONG8: 8, 17: 8}


@dataclass(frozen=True)
class Tags:
    """Text tags of the main directory (zero-terminated), and the directories it points to."""

    texts: dict[int, bytes] = field(default_factory=dict)
    directories: dict[int, dict[int, Any]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.texts or self.directories)


def read(file: BinaryIO, offset: int | None = None) -> Tags:
    """Tags of a TIFF, BigTIFF or EXIF block: of the directory at `offset`, or of the first.

    Raises nearly anything on hostile directories.
    """
    file.seek(0)
    head = file.read(8)
    if head[2:3] == b"+" or head[3:4] == b"+":
        head += file.read(8)
    main = _load(file, head, offset, 0)
    texts = {
        tag: value.encode("latin-1") + b"\0"  # Pillow's reading of bytes, undone: UTF-8 stays UTF-8
        for tag, value in main.items()
        if tag in DESCRIPTIVE and isinstance(value, str) and not layouts.kind(value.encode("latin-1", "replace"))
    }
    directories = {tag: _load(file, head, main[tag], tag) for tag in POINTERS if isinstance(main.get(tag), int)}
    return Tags(texts, {tag: values for tag, values in directories.items() if values})


def read_block(exif: bytes) -> Tags | None:
    """Tags of an EXIF block without prefix; None if it cannot be taken apart."""
    try:
        tags = read(BytesIO(exif))
        for tag in tags.directories:
            sub_directory(tags, tag, 8, big=False)
    except Exception:  # Pillow raises nearly anything on hostile directories
        return None
    return tags


def _load(file: BinaryIO, head: bytes, offset: int | None, group: int) -> dict[int, Any]:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    stored = ImageFileDirectory_v2(head, group=group or None)
    file.seek(stored.next if offset is None else offset)
    stored.load(file)
    return {tag: stored[tag] for tag in stored if tag != _INTEROPERABILITY}


def block(tags: Tags) -> bytes:
    """An EXIF block (no prefix) of these tags."""
    entries = {tag: (ASCII, text) for tag, text in tags.texts.items()}
    entries |= {tag: packed(LONG, 0) for tag in tags.directories}
    at = 8 + len(directory(entries, 8, big=False))
    body = b""
    for tag in tags.directories:
        body += bytes((at + len(body)) % 2)
        entries[tag] = packed(LONG, at + len(body))
        body += sub_directory(tags, tag, at + len(body), big=False)
    return b"II*\0\x08\0\0\0" + directory(entries, 8, big=False) + body


def sub_directory(tags: Tags, tag: int, offset: int, big: bool) -> bytes:
    """The Exif or GPS directory, serialised to live at `offset` of a little-endian TIFF."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    stored = ImageFileDirectory_v2(b"II+\0\x08\0\0\0" + bytes(8) if big else b"II*\0\x08\0\0\0", group=tag)
    for key, value in tags.directories[tag].items():
        stored[key] = value
        if isinstance(value, str) and not value.isascii():  # Pillow would write question marks
            stored[key] = value.encode("latin-1")
            stored.tagtype[key] = ASCII
    return stored.tobytes(offset)


def packed(kind: int, *values: int) -> tuple[int, bytes]:
    """An entry of integers for `directory`."""
    return kind, struct.pack(f"<{len(values)}{_FORMS[kind]}", *values)


def directory(entries: dict[int, tuple[int, bytes]], start: int, big: bool) -> bytes:
    """A little-endian TIFF directory at file offset `start`: tag -> (type, packed values). No other follows it yet."""
    room, word = (8, "Q") if big else (4, "I")
    head, values = b"", b""
    values_at = start + struct.calcsize("<Q" if big else "<H") + len(entries) * (20 if big else 12) + room
    for tag, (kind, data) in sorted(entries.items()):
        stored = data
        if len(data) > room:
            values += bytes((values_at + len(values)) % 2)
            stored = struct.pack(f"<{word}", values_at + len(values))
            values += data
        head += struct.pack(f"<HH{word}", tag, kind, len(data) // _SIZES.get(kind, 1)) + stored.ljust(room, b"\0")
    return struct.pack("<Q" if big else "<H", len(entries)) + head + bytes(room) + values


def link_of(entries: dict[int, tuple[int, bytes]], start: int, big: bool) -> int:
    """Where `directory` left room for the offset of the directory that follows."""
    return start + (8 + 20 * len(entries) if big else 2 + 12 * len(entries))
