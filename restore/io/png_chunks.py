"""What reading and writing PNG share."""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"


def chunk(kind: bytes, payload: bytes) -> bytes:
    """One PNG chunk: length, type, payload, CRC."""
    return struct.pack(">I4s", len(payload), kind) + payload + struct.pack(">I", zlib.crc32(payload, zlib.crc32(kind)))
