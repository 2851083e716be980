"""The options all picture tasks share. No torch, no numpy: `restore --help` must answer at once.

Every option's text is read by a function that raises `ConfigError` naming the nearest valid value, so
that a typing mistake costs one line on stderr and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

from restore.errors import ConfigError, nearest

Value = TypeVar("Value")
INF = float("inf")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def reads(metavar: str, parse: Callable[[str], Any]) -> PrimitiveConstructorSpec[Any]:
    """How tyro turns one word of the command line into a value (`parse` raises `ConfigError`)."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: parse(words[0]),
        is_instance=lambda value: True,
        str_from_instance=lambda value: ["none" if value is None else str(value)],
    )


def hint(word: str, known: Sequence[str], otherwise: str = "") -> str:
    """The nearest known word as a question; if none is near, `otherwise` or what there is to choose from."""
    return nearest(word, known).strip() or otherwise or f"Choose from {', '.join(known)}"


def one_of(option: str, *choices: str) -> PrimitiveConstructorSpec[Any]:
    """One of a few words."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ConfigError(f"{option} cannot be {text!r}", fix=hint(text, choices))
        return text

    return reads("{" + ",".join(choices) + "}", parse)


def number(
    option: str, kind: Callable[[str], Value], low: float, high: float, metavar: str = "N"
) -> PrimitiveConstructorSpec[Any]:
    """A number between two bounds."""

    def parse(text: str) -> Value:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:  # type: ignore[operator]
            bounds = f"{low:g} or more" if high == INF else f"from {low:g} to {high:g}"
            what = "a whole number" if kind is int else "a number"
            raise ConfigError(f"{option} cannot be {text!r}", fix=f"It is {what}, {bounds}")
        return value

    return reads(metavar, parse)


def parse_pd(text: str) -> int | None:
    """`auto` (None), or the step of the pixel shuffle."""
    if text != "auto" and not (text.isdecimal() and 1 <= int(text) <= 8):
        raise ConfigError(f"--pd cannot be {text!r}", fix="Use auto, 1 (none), 2, 3 …")
    return None if text == "auto" else int(text)


def parse_noise(text: str) -> float | None:
    """`auto` (None), or a level in 8-bit units."""
    if text == "auto":
        return None
    try:
        level = float(text)
    except ValueError:
        level = -1.0
    if not 0 <= level <= 255:
        raise ConfigError(f"--noise cannot be {text!r}", fix="Use auto, or a level from 0 to 255")
    return level


def parse_memory(text: str) -> int | float:
    """`4G`, `512M`, `1073741824` (bytes, an int) or `80%` (a share of what is free, a float 0..1)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT]?)i?B?|(%))", text.strip(), re.IGNORECASE)
    if match and match[3] and 0 < float(match[1]) <= 100:
        return float(match[1]) / 100
    if match and not match[3] and float(match[1]) > 0:
        return int(float(match[1]) * _UNITS[match[2].upper()])
    raise ConfigError(f"--max-memory cannot be {text!r}", fix="Write it as 4G, 512M or 80%")


def parse_pixels(text: str) -> int:
    """`400M`, `2G` or a plain count; units are thousands, as in megapixels."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:P|px|pixels)?", text.strip(), re.IGNORECASE)
    pixels = int(float(match[1]) * {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}[match[2].upper()]) if match else 0
    if pixels < 1:
        raise ConfigError(f"--max-pixels cannot be {text!r}", fix="Write it as 400M or 400000000")
    return pixels


def parse_crop(text: str) -> tuple[int, int, int, int]:
    """`x,y,width,height` in pixels of the upright picture."""
    match = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", text.replace(" ", ""))
    if not match or not (int(match[3]) and int(match[4])):
        raise ConfigError(f"--crop cannot be {text!r}", fix="Write it as x,y,width,height, for example 100,200,512,512")
    x, y, width, height = map(int, match.groups())
    return x, y, width, height


def parse_endings(option: str) -> Callable[[str], tuple[str, str]]:
    """`_real,_mean`: ends of the names of damaged and clean pictures."""

    def parse(text: str) -> tuple[str, str]:
        damaged, comma, clean = text.partition(",")
        if not comma:
            raise ConfigError(f"{option} cannot be {text!r}", fix="Write it as _real,_mean")
        return damaged, clean

    return parse


HIDE = arg(help_behavior_hint="")
"""Leaves the default out of the help, where it says nothing."""
Flag = Annotated[bool, HIDE]


@dataclass(frozen=True)
class ReadingOptions:
    """How files are read."""

    frames: Annotated[Literal["one", "first", "all"], one_of("--frames", "one", "first", "all")] = "one"
    """Animations and multipage files: `one` refuses them, `first` takes their first picture, `all` restores every
    page of a TIFF stack, each on its own, into a stack."""
    salvage: Flag = False
    """Use what is readable of a damaged file."""
    max_pixels: Annotated[int, reads("COUNT", parse_pixels)] = 400_000_000
    """Largest width x height to accept: 400M, 2G."""


@dataclass(frozen=True)
class FileOptions(ReadingOptions):
    """What happens to files."""

    overwrite: Flag = False
    """Replace outputs that exist."""
    in_place: Flag = False
    """Replace the inputs themselves (atomically); no OUT then."""
    resume: Flag = False
    """Do what an earlier run of the same command left undone, as its ledger says."""
    dry_run: Flag = False
    """Print what would be done, and do nothing."""
    compare: Flag = False
    """Also write OUT_compare.png: before | after."""
    quality: Annotated[int, number("--quality", int, 1, 100)] = 95
    """JPEG and WebP quality; JPEG keeps full colour resolution."""
    depth: Annotated[Literal["auto", "8", "16", "float"], one_of("--depth", "auto", "8", "16", "float")] = "auto"
    """Convert the sample depth; `auto` keeps it, and refuses formats that cannot hold it."""
    strip_metadata: Flag = False
    """Leave out EXIF (camera, date, GPS) and XMP."""


@dataclass(frozen=True)
class RunOptions:
    """How the work is done."""

    strength: Annotated[float, number("--strength", float, 0, 1)] = 1.0
    """From 0 (the input, bit for bit) to 1."""
    crop: Annotated[tuple[int, int, int, int] | None, reads("X,Y,W,H", parse_crop), HIDE] = None
    """Restore only this part: a preview of what the whole would look like."""
    seed: Annotated[int | None, number("--seed", int, 0, 2**63 - 1), HIDE] = None
    """Seed of anything random; by default it comes from the pixels and settings."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps, xpu."""
    precision: Annotated[str, one_of("--precision", "auto", "fp32", "bf16", "fp16")] = "auto"
    """Type computed in; `auto` is bf16 where method and device gain from it."""
    tile: Annotated[int | None, number("--tile", int, 16, INF, "PIXELS"), HIDE] = None
    """Side of the tiles, context not counted; by default chosen by memory and time."""
    threads: Annotated[int | None, number("--threads", int, 1, 4096), HIDE] = None
    """CPU threads; by default the physical cores this process may use. Another count may change the last bit."""
    workers: Annotated[int, number("--workers", int, 0, 64)] = 2
    """Files decoded ahead and encoded behind at once; 0 and 1: one after the other."""
    max_memory: Annotated[int | float | None, reads("SIZE", parse_memory), HIDE] = None
    """Memory for tiles: 4G, 512M, 80%."""


@dataclass(frozen=True)
class ReportOptions:
    """What is told."""

    json: Flag = False
    """Print one JSON object on stdout, and nothing else there."""
    verbose: Annotated[bool, arg(aliases=["-v"], help_behavior_hint="")] = False
    """Tell more: decisions for every file, tracebacks of unexpected errors."""
    quiet: Annotated[bool, arg(aliases=["-q"], help_behavior_hint="")] = False
    """Tell only errors."""
    debug: Flag = False
    """Show the traceback of the error that ended the program."""
