"""How pictures are read and written. Light: the command line shows these without loading a codec."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from restore.errors import ConfigError, brief
from restore.options import Number, OneOf, Options, Parsed


def parse_pixels(text: str) -> int:
    """`400M`, `2G` or a plain count; units are thousands, as in megapixels."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:P|px|pixels)?", text.strip(), re.IGNORECASE)
    pixels = float(match[1]) * {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}[match[2].upper()] if match else 0.0
    if not 1 <= pixels < 2**63:
        raise ConfigError(f"--max-pixels cannot be {brief(text)}", fix="Write it as 400M or 400000000")
    return int(pixels)


_PIXELS = Parsed("COUNT", parse_pixels, "Give a number of pixels, 1 or more", lambda count: count >= 1)


def parse_time(text: str) -> float:
    """`12.5`, `1:30` or `0:01:30.5` as seconds. Raises `ValueError`."""
    values = [float(part) for part in text.strip().split(":")]
    whole = all(value == int(value) for value in values[:-1]) and all(value < 60 for value in values[1:])
    if len(values) > 3 or min(values) < 0 or not whole:
        raise ValueError(text)
    seconds = 0.0
    for value in values:
        seconds = 60 * seconds + value
    return seconds


_TIME = Parsed("TIME", parse_time, "Write seconds (12.5) or minutes and seconds (1:30)", lambda at: 0 <= at < 1e7)


@dataclass(frozen=True)
class ReadOptions(Options):
    """How files are read.

    Beside its flags: `max_bytes`, the largest file, and `stream_above`, decoded bytes above which a TIFF or PNG is
    read by rows instead of into memory.
    """

    frames: Annotated[Literal["one", "first", "all"], OneOf("one", "first", "all")] = "one"
    """Animations and multipage files: `one` refuses them, `first` takes their first picture, `all` restores every
    page of a TIFF stack, each on its own, into a stack."""
    salvage: bool = False
    """Use what is readable of a damaged file."""
    start: Annotated[float | None, _TIME] = None
    """Clips: begin at this time, seconds or minutes:seconds, as players show it."""
    end: Annotated[float | None, _TIME] = None
    """Clips: stop before this time of the clip."""
    count: Annotated[int | None, Number(1, whole=True)] = None
    """Clips: so many frames at most."""
    max_pixels: Annotated[int, _PIXELS] = 400_000_000
    """Largest width x height to accept: 400M, 2G."""
    max_bytes: int = 4 << 30
    stream_above: int = 256 << 20


@dataclass(frozen=True)
class SaveOptions(Options):
    """How files are written.

    Beside its flags: `compression` of PNG and TIFF; "none" is the fastest, "small" takes several times as long as
    "fast".
    """

    quality: Annotated[int, Number(1, 100, whole=True)] = 95
    """JPEG and WebP quality; JPEG keeps full colour resolution. WebP at 100 is still lossy."""
    depth: Annotated[Literal["auto", "8", "16", "float"], OneOf("auto", "8", "16", "float")] = "auto"
    """Convert the sample depth; `auto` keeps it, and refuses formats that cannot hold it."""
    strip_metadata: bool = False
    """Leave out EXIF (camera, date, GPS) and XMP; the colour profile and resolution stay. Of clips: all tags but
    languages and titles of chapters, and tracks of data."""
    codec: Annotated[str, OneOf("auto", "h264", "hevc", "av1", "vp9", "ffv1", "prores")] = "auto"
    """Clips: `auto` is H.264 (x264) for 8 bits, HEVC (x265) for more, VP9 in .webm; ffv1 is lossless, for .mkv."""
    crf: Annotated[int | None, Number(0, 63, whole=True)] = None
    """Clips: quality, smaller is better (h264 and hevc 16, vp9 18, av1 20); about 6 more halve the file. The
    largest is 51 for h264 and hevc."""
    fps: Annotated[float | None, Number(0.01, 1000)] = None
    """Numbered frames into a clip: frames a second (25)."""
    compression: Literal["fast", "small", "none"] = "fast"
