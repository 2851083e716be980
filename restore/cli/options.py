"""The options that all picture commands share beside those of reading, writing and running. No torch, no numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from tyro.conf import arg

from restore.cli.flags import HIDE, primitive
from restore.errors import ConfigError, brief, nearest
from restore.options import Kind, Number, OneOf, Options, Parsed, Text

Flag = Annotated[bool, HIDE]


def one_of(option: str, *choices: str) -> Any:
    """One of a few words, for a command's own option."""
    return primitive(OneOf(*choices), option)


def number(option: str, kind: Callable[[str], Any], low: float, high: float, metavar: str = "N") -> Any:
    """A number between two bounds, for a command's own option."""
    return primitive(Number(low, high, metavar, whole=kind is int), option)


def reads(metavar: str, parse: Callable[[str], Any]) -> Any:
    """One word, as a function reads it (it raises `ConfigError`), for a command's own option."""
    kind: Kind = Text(metavar) if parse is str else Parsed(metavar, parse, "")
    return primitive(kind, "")


def hint(word: str, known: Sequence[str], otherwise: str = "") -> str:
    """The nearest known word as a question; if none is near, `otherwise` or what there is to choose from."""
    return nearest(word, known).strip() or otherwise or f"Choose from {', '.join(known)}"


def parse_endings(option: str) -> Callable[[str], tuple[str, str]]:
    """`_real,_mean`: ends of the names of damaged and clean pictures."""

    def parse(text: str) -> tuple[str, str]:
        damaged, comma, clean = text.partition(",")
        if not comma:
            raise ConfigError(f"{option} cannot be {brief(text)}", fix="Write it as _real,_mean")
        return damaged, clean

    return parse


@dataclass(frozen=True)
class FileOptions(Options):
    """What happens to files."""

    overwrite: bool = False
    """Replace outputs that exist."""
    in_place: bool = False
    """Replace the inputs themselves (atomically); no OUT then."""
    resume: bool = False
    """Do what an earlier run of the same command left undone, as its ledger says."""
    dry_run: bool = False
    """Print what would be done, and do nothing."""
    compare: bool = False
    """Also write OUT_compare.png: before | after, of the first frame or page, the first input and the main output."""
    frames_dir: bool = False
    """A folder is one sequence of numbered frames; so is the output."""
    measure: Annotated[str, OneOf("auto", "each", "once")] = "auto"
    """Sequences: measure `each` frame or page, or `once` (from 16 of them) for all; `auto`: pages each, numbered
    frames once."""


@dataclass(frozen=True)
class MachineOptions(Options):
    """How the machine is used."""

    threads: Annotated[int | None, Number(1, 4096, whole=True)] = None
    """CPU threads; by default the physical cores this process may use. Another count may change the last bit."""
    workers: Annotated[int, Number(0, 64, whole=True)] = 2
    """Files decoded ahead and encoded behind at once; 0 and 1: one after the other."""


@dataclass(frozen=True)
class ReportOptions:
    """What is reported."""

    json: Flag = False
    """Print one JSON object on stdout, and nothing else there."""
    verbose: Annotated[bool, arg(aliases=["-v"], help_behavior_hint="")] = False
    """Say more: decisions for every file, tracebacks of unexpected errors."""
    quiet: Annotated[bool, arg(aliases=["-q"], help_behavior_hint="")] = False
    """Say only errors."""
    debug: Flag = False
    """Show the traceback of the error that ended the program."""
