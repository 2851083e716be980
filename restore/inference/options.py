"""What can be asked of a run beside the method: device, tiles, memory, strength. Light: no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from restore.errors import ConfigError, brief
from restore.options import INF, Number, OneOf, Options, Parsed, Text

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
Box = tuple[int, int, int, int]


def parse_memory(text: str) -> int | float:
    """`4G`, `512M`, `1073741824` (bytes, an int) or `80%` (a share of what is free, a float 0..1)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT]?)i?B?|(%))", text.strip(), re.IGNORECASE)
    if match and match[3] and 0 < float(match[1]) <= 100:
        return float(match[1]) / 100
    if match and not match[3] and float(match[1]) > 0:
        return int(float(match[1]) * _UNITS[match[2].upper()])
    raise ConfigError(f"--max-memory cannot be {brief(text)}", fix="Write it as 4G, 512M or 80%")


def parse_crop(text: str) -> Box:
    """`x,y,width,height` in pixels of the upright picture."""
    match = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", text.replace(" ", ""))
    if not match or not (int(match[3]) and int(match[4])):
        raise ConfigError(
            f"--crop cannot be {brief(text)}", fix="Write it as x,y,width,height, for example 100,200,512,512"
        )
    x, y, width, height = map(int, match.groups())
    return x, y, width, height


def _is_size(size: int | float) -> bool:
    return size > 0 and (isinstance(size, int) or size <= 1)


_CROP = Parsed("X,Y,W,H", parse_crop, "Give x, y, width, height in pixels", lambda box: len(box) == 4)
_MEMORY = Parsed("SIZE", parse_memory, "Give bytes, a share of what is free (0.8), or 4G, 512M, 80%", _is_size)


@dataclass(frozen=True)
class RunOptions(Options):
    """How the work is done."""

    strength: Annotated[float, Number(0, 1)] = 1.0
    """From 0 (the input, bit for bit) to 1; values between mix linearly."""
    crop: Annotated[Box | None, _CROP] = None
    """Restore only this part: a preview of what the whole would look like."""
    seed: Annotated[int | None, Number(0, 2**63 - 1, whole=True)] = None
    """Seed of anything random; by default it comes from the pixels and settings."""
    device: Annotated[str, Text("DEVICE")] = "auto"
    """auto, cpu, cuda, cuda:1, mps, xpu."""
    precision: Annotated[str, OneOf("auto", "fp32", "bf16", "fp16")] = "auto"
    """Type computed in; `auto` is bf16 where method and device gain from it."""
    tile: Annotated[int | None, Number(16, INF, "PIXELS", whole=True)] = None
    """Side of the tiles, context not counted; by default chosen by memory and time."""
    max_memory: Annotated[int | float | None, _MEMORY] = None
    """Memory for tiles: 4G, 512M, 80%."""

    @property
    def result_settings(self) -> dict[str, object]:
        """What of it shapes the pixels: not where and in which tiles they are computed."""
        return {name: getattr(self, name) for name in ("strength", "crop", "seed", "precision")}
