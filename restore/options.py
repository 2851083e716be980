"""How the options of a method, a run or a file are declared: one annotated field of a frozen dataclass each.

    @dataclass(frozen=True)
    class DiscOptions(Options):
        radius: Annotated[float, Number(0.5, 50, "PIXELS")] = 2.0
        \"\"\"Radius of the disc.\"\"\"

The field is the command line's flag (`--radius`, its docstring the help), a keyword of `restore.load`, what the engine
is built from, and part of the ledger's fingerprint. Values are checked when the object is made, whoever makes it.
Nothing heavy is imported here.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from restore.errors import ConfigError, RestoreError, brief, nearest

Function = TypeVar("Function", bound=Callable[..., Any])
INF = float("inf")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Kind:
    """What values an option takes, and how they are written. `rule` of a subclass describes it in words."""

    metavar: str
    rule: str

    def parse(self, text: str) -> Any:
        """The value of a word of the command line. Raises `ValueError` (or `ConfigError`) for one that is none."""
        return text

    def normalised(self, value: Any) -> Any:
        """What an option holds for a value that a caller gave: the same, or what it stands for."""
        return value

    def accepts(self, value: Any) -> bool:
        """Whether a value is allowed; None, where it is the default, is not checked."""
        return True

    def advice(self, value: Any) -> str:
        """What to do about a wrong value."""
        return self.rule


@dataclass(frozen=True)
class Number(Kind):
    """A number from `low` to `high`; `whole` ones only; `auto` may stand for None."""

    low: float = -INF
    high: float = INF
    metavar: str = "N"
    whole: bool = False
    auto: bool = False

    def parse(self, text: str) -> float | None:
        if self.auto and text == "auto":
            return None
        value = int(text) if self.whole else float(text)
        if not self.accepts(value):
            raise ValueError(text)
        return value

    def accepts(self, value: Any) -> bool:
        types = int if self.whole else int | float
        return isinstance(value, types) and not isinstance(value, bool) and self.low <= value <= self.high

    @property
    def rule(self) -> str:  # type: ignore[override]
        bounds = f"{self.low:g} or more" if self.high == INF else f"from {self.low:g} to {self.high:g}"
        what = "a whole number" if self.whole else "a number"
        return f"It is {'auto, or ' if self.auto else ''}{what}, {bounds}"


class OneOf(Kind):
    """One of a few words."""

    def __init__(self, *choices: str) -> None:
        self.choices = choices
        self.metavar = "{" + ",".join(choices) + "}"

    def parse(self, text: str) -> str:
        if text not in self.choices:
            raise ValueError(text)
        return text

    def normalised(self, value: Any) -> Any:
        """A whole number for the word that writes it: 8 for "8"."""
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def accepts(self, value: Any) -> bool:
        return value in self.choices

    def advice(self, value: Any) -> str:
        return nearest(str(value), self.choices).strip() or f"Choose from {', '.join(self.choices)}"


@dataclass(frozen=True)
class Text(Kind):
    """Any word but an empty one: a name, a file, a folder."""

    metavar: str = "TEXT"
    rule: str = "It is empty: give a name, a file or a folder"

    def parse(self, text: str) -> str:
        if not text:
            raise ValueError(text)
        return text

    def accepts(self, value: Any) -> bool:
        return not isinstance(value, str) or value != ""  # an array is neither


@dataclass(frozen=True)
class Parsed(Kind):
    """A word that a function turns into a value; it raises `ValueError` for what it does not understand."""

    metavar: str
    read: Callable[[str], Any]
    rule: str
    allows: Callable[[Any], bool] = lambda value: True

    def parse(self, text: str) -> Any:
        try:
            value = self.read(text)
        except OverflowError as error:  # digits without end
            raise ValueError(text) from error
        if not self.allows(value):
            raise ValueError(text)
        return value

    def normalised(self, value: Any) -> Any:
        """Text as the command line reads it: "4G"."""
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except ConfigError:
            raise
        except ValueError:
            return value  # is refused like any other wrong value

    def accepts(self, value: Any) -> bool:
        try:
            return self.allows(value)
        except TypeError:  # a value of another type
            return False


@dataclass(frozen=True)
class OptionalPath(Kind):
    """`--flag` alone or `--flag PATH`: True, or the path as text. False: not given."""

    metavar: str = "[FILE]"
    rule: str = "Give a path, or True"

    def parse(self, text: str) -> bool | str:
        return text or True

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool) or _is_path(value)


class ExtraOutput(OptionalPath):
    """Requests an extra output of the engine, the one of the option's name: beside the main output, or at a path."""


class FromInputs(OptionalPath):
    """Pictures to learn or measure from: files or folders; `--flag` alone means the inputs themselves."""

    def accepts(self, value: Any) -> bool:
        several = isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0
        return super().accepts(value) or (several and all(map(_is_path, value)))


@dataclass(frozen=True)
class Alias:
    """An older name of an option, still taken."""

    name: str


class Options:
    """Base of all option classes: every annotated field is checked when an object is made.

    Raises `ConfigError` naming the option as the command line does; `restore.api` renames it for Python callers.
    """

    def __post_init__(self) -> None:
        for name, kind, default in declared(type(self)):
            given = getattr(self, name)
            if given is default:
                continue
            value = kind.normalised(given)
            if value is not default and not kind.accepts(value):
                raise wrong_value(flag(name), given, kind)
            object.__setattr__(self, name, value)

    def settings(self) -> dict[str, Any]:
        """The choices, numbers and switches among the options, which shape a result as they are; what names files is
        left to whoever reads them (the content counts, not the name)."""
        kinds = kinds_of(type(self))
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {
            name: bool(value) if isinstance(kinds.get(name), ExtraOutput) else value
            for name, value in values.items()
            if isinstance(kinds.get(name), Number | OneOf | Parsed | ExtraOutput) or isinstance(value, bool)
        }


def declared(options: type) -> Iterator[tuple[str, Kind, Any]]:
    """(name, kind, default) of the fields that have a kind."""
    kinds = kinds_of(options)
    for field in dataclasses.fields(options):
        if field.name in kinds:
            yield field.name, kinds[field.name], field.default


@functools.cache
def aliases_of(options: type) -> dict[str, str]:
    """Older name -> name, of the fields that have one."""
    hints = typing.get_type_hints(options, include_extras=True).items()
    return {
        each.name: name for name, hint in hints for each in getattr(hint, "__metadata__", ()) if isinstance(each, Alias)
    }


@functools.cache
def kinds_of(options: type) -> dict[str, Kind]:
    """Field -> its kind, of the fields that have one."""
    fields = {}
    for name, hint in typing.get_type_hints(options, include_extras=True).items():
        kinds = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Kind)]
        if kinds:
            fields[name] = kinds[0]
    return fields


def _is_path(value: Any) -> bool:
    return isinstance(value, str | Path) and str(value) != ""


def wrong_value(option: str, value: Any, kind: Kind) -> ConfigError:
    """The error for a value that an option does not take."""
    return ConfigError(f"{option} cannot be {brief(value)}", fix=kind.advice(value))


def flag(name: str) -> str:
    """The command line's name of a field: `--psf-size` for psf_size."""
    return f"--{name.replace('_', '-')}"


_IN_PYTHON: tuple[tuple[str, str], ...] = (
    (r"--frames all", "restore.read_frames(path)"),
    (r"--frames first", "restore.read(path, frames='first')"),
    (r"--salvage", "restore.read(path, salvage=True)"),
    (r"--max-pixels (\d+)", r"restore.read(path, max_pixels=\1)"),
    (r"--depth (8|16)", r"depth=\1"),
    (r"--depth float", "depth='float'"),
)
"""What the command line's advice is in Python, where it is more than a keyword in place of a flag."""


def in_python(text: str) -> str:
    """A message that names flags, as Python callers know the options: psf_size for `--psf-size`."""
    for words, instead in _IN_PYTHON:
        text = re.sub(rf"(?<![\w-]){words}", instead, text)
    return re.sub(r"(?<![\w-])--([a-z][a-z-]*)", lambda match: match[1].replace("-", "_"), text)


def python_names(function: Function) -> Function:
    """A function whose errors name options as keywords, not as flags of the command line."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except RestoreError as error:
            raise error.reworded(in_python)  # noqa: B904  the same error

    return cast(Function, wrapped)


def seconds_of(text: str) -> float:
    """Seconds in "90", "90s", "65m", "1.5h" or "2d". Raises `ConfigError`."""
    text = text.strip()
    unit = _UNITS.get(text[-1:].lower())
    try:
        seconds = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < INF:
        raise ConfigError(f"a budget cannot be {brief(text)}", fix="Write it as 90s, 65m or 2h")
    return seconds


Budget = Annotated[float | None, Parsed("TIME", seconds_of, "Give seconds, above 0", lambda value: 0 < value < INF)]
