"""How many bytes a clip's own header promises: a file that ends before them was cut, and no decoder says so."""

from __future__ import annotations

from pathlib import Path

_HEAD = 4096  # bytes in which the header of the container lies
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def bytes_beyond_end(path: Path) -> int:
    """Bytes that the outermost part of a Matroska, WebM, AVI or WAV file declares and the file does not hold.

    0 for other files, and where no length is declared (streams, recordings that are still written to).
    Sources: RFC 8794 (EBML), section 4 and 5; RFC 9559 (Matroska), section 4.5; RIFF, chunk layout.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return max(0, _declared(head) - path.stat().st_size)


def _declared(head: bytes) -> int:
    """At which byte the outermost part ends; 0: not said."""
    if head[:4] == b"RIFF" and len(head) >= 12:
        size = int.from_bytes(head[4:8], "little")
        return 8 + size if 0 < size < 0xFFFFFFFF else 0
    if head[:4] != _EBML:
        return 0
    begin, size = _sized(head, 4)
    begin += size or 0
    if head[begin : begin + 4] != _SEGMENT:
        return 0
    begin, size = _sized(head, begin + 4)
    return 0 if size is None else begin + size


def _sized(head: bytes, at: int) -> tuple[int, int | None]:
    """Where an element's data begin, and how many bytes they are; None: not said."""
    if at >= len(head) or not head[at]:
        return at, None
    width = 9 - head[at].bit_length()
    value = int.from_bytes(head[at : at + width], "big") & (1 << 7 * width) - 1
    return at + width, None if value == (1 << 7 * width) - 1 else value
