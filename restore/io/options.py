"""How pictures are read and written. Light: the command line shows these without loading a codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from restore.errors import ConfigError


@dataclass(frozen=True)
class ReadOptions:
    """How pictures are read.

    Attributes:
        max_pixels: largest width x height, checked in the header before anything is decoded.
        max_bytes: largest file.
        frames: "one" refuses animations and multipage files, "first" takes their first picture, "all" is every
            page of a TIFF stack, for those who read frame by frame (`open_frames`).
        salvage: read what is readable of a damaged file instead of refusing it.
        stream_above: decoded bytes above which a TIFF is read by rows instead of into memory.
    """

    max_pixels: int = 400_000_000
    max_bytes: int = 4 << 30
    frames: Literal["one", "first", "all"] = "one"
    salvage: bool = False
    stream_above: int = 256 << 20


@dataclass(frozen=True)
class SaveOptions:
    """How pictures are written.

    Attributes:
        quality: of JPEG and WebP, 1..100. WebP at 100 is still lossy.
        strip_metadata: leave EXIF (with GPS) and XMP out; the colour profile and resolution stay.
        depth: "auto" keeps the picture's; "8", "16" and "float" convert.
        compression: of PNG and TIFF; "none" is the fastest, "small" takes several times as long as "fast".
    """

    quality: int = 95
    strip_metadata: bool = False
    depth: Literal["auto", "8", "16", "float"] = "auto"
    compression: Literal["fast", "small", "none"] = "fast"

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality {self.quality} is not within 1..100", where="--quality", fix="Try 95")
