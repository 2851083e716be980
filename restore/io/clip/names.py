"""Which files are clips: by their contents when they are read, by their names when they are written. No PyAV here."""

from __future__ import annotations

from pathlib import Path

from restore.errors import UnsupportedError

WRITABLE = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Extensions that can be written, and the container (by FFmpeg's name) each means."""
READABLE = frozenset({
    *WRITABLE, ".avi", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".vob", ".wmv", ".asf", ".flv", ".3gp", ".3g2", ".ogv",
    ".mxf", ".y4m",
})  # fmt: skip
"""Extensions of clips, where only names are looked at: in folders."""
HEAD_BYTES = 4096
"""How much of a file `is_clip` wants to see."""

_PICTURE_BRANDS = {b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"crx "}
_MAGIC = (
    b"\x1aE\xdf\xa3", b"OggS", b"FLV\x01", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\0\0\x01\xba", b"\0\0\x01\xb3",
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01", b"YUV4MPEG2",
)  # fmt: skip
_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # of QuickTime files without a type
_TRANSPORT = (188, 192)  # bytes of a packet; of the second kind four come before its sync byte
_PACKETS, _UNALIGNED = 5, 1024  # that are looked at, and bytes before the first of them at most
_OTHERS = frozenset({
    ".dv", ".nut", ".ivf", ".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".obu", ".mjpeg", ".mjpg", ".m2v", ".m1v",
    ".rm", ".gxf",
})  # fmt: skip  # of clips in containers that are not read


def is_clip(path: Path) -> bool:
    """Whether a file is a clip, by its first bytes; False for what cannot be read, which reading explains."""
    if not path.is_file():  # nor a pipe, which would be waited for
        return False
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    return is_clip_head(head)


def is_clip_head(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a video or audio container."""
    if head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:11] in (b"AVI", b"WAV")):
        return True
    if head[4:8] == b"ftyp":
        size = int.from_bytes(head[:4], "big")
        brands = {head[8:12], *(head[i : i + 4] for i in range(16, min(size, len(head)), 4))}
        return not brands & _PICTURE_BRANDS
    if head[4:8] in _BOXES:
        return True
    return any(_is_transport(head, side) for side in _TRANSPORT)


def _is_transport(head: bytes, side: int) -> bool:
    """Whether this is an MPEG transport stream in packets of `side` bytes, from wherever in a packet it was cut."""
    last = min(_UNALIGNED, len(head) - (_PACKETS - 1) * side - 3)
    return any(all(_is_packet(head, at + i * side) for i in range(_PACKETS)) for at in range(last))


def _is_packet(head: bytes, at: int) -> bool:
    """A sync byte, and a header that says that the packet holds something, which no row of equal bytes does."""
    return head[at] == 0x47 and head[at + 3] & 0x30 != 0


def written_clip(name: str) -> str:
    """The name that the result of a clip has elsewhere: its own, but Matroska's for containers that are only read."""
    path = Path(name)
    return name if path.suffix.lower() in WRITABLE else path.with_suffix(".mkv").name


def means_clip(path: Path) -> bool:
    """Whether a file is called like a clip, of a kind that is read or of another."""
    return path.suffix.lower() in READABLE | _OTHERS


def names_clip(path: Path) -> bool:
    """Whether a clip would be written under this name."""
    return path.suffix.lower() in WRITABLE


def container_of(path: Path) -> str:
    """FFmpeg's name of the container that a path names. Raises `UnsupportedError`."""
    name = WRITABLE.get(path.suffix.lower())
    if name is None:
        raise UnsupportedError(
            f"cannot write a clip as {path.suffix or 'a file without an extension'}", where=path,
            fix=f"Use one of: {' '.join(WRITABLE)}, or --frames-dir for a folder of pictures",
        )  # fmt: skip
    return name
