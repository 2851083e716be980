"""What can go wrong, in one place: every error says what, where, why, and what to do.

Each class has a stable `code` for scripts and for the batch ledger. The command line prints one
line per error and returns the exit code its class carries; Python callers catch `RestoreError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Exit codes of the `restore` command."""

    OK = 0  # every file was done
    SOME_FAILED = 1  # at least one file failed; the report names each
    USAGE = 2  # the command line or a config is wrong; nothing was started
    NOTHING_RAN = 3  # nothing could run: no weights, no device, no readable input
    INTERRUPTED = 130  # Ctrl-C or SIGTERM


class RestoreError(Exception):
    """Base of all errors that are somebody's answerable question rather than our bug.

    Args:
        what: what failed, a short sentence without a full stop.
        where: the file (or setting) it concerns.
        why: the cause, if known.
        fix: what to do about it.
    """

    code = "E_RESTORE"
    exit_code = ExitCode.SOME_FAILED

    def __init__(self, what: str, *, where: str | Path | None = None, why: str = "", fix: str = "") -> None:
        self.what, self.where, self.why, self.fix = what, where, why, fix
        super().__init__(self._line())

    def _line(self) -> str:
        text = f"{self.where}: {self.what}" if self.where is not None else self.what
        if self.why:
            text += f" ({self.why})"
        if self.fix:
            text += f". {self.fix}"
        return text.replace("\r", "\\r").replace("\n", "\\n")

    def at(self, where: str | Path) -> RestoreError:
        """The same error, naming the file it happened in (kept if it already names one, of which this is no page)."""
        if self.where is not None and not str(where).startswith(f"{self.where}, "):
            return self
        return type(self)(self.what, where=where, why=self.why, fix=self.fix)

    def reworded(self, words: Callable[[str], str]) -> RestoreError:
        """This same error with its sentences put into other words."""
        self.what, self.why, self.fix = words(self.what), words(self.why), words(self.fix)
        self.args = (self._line(),)
        return self


class DecodeError(RestoreError):
    """The bytes are not a picture this program can read."""

    code = "E_DECODE"


class TruncatedError(DecodeError):
    """The picture's bytes end before the picture does."""

    code = "E_TRUNCATED"


class LimitError(RestoreError):
    """The picture is larger than a limit the user can raise."""

    code = "E_LIMIT"


class UnsupportedError(RestoreError):
    """A picture, format or combination that is refused rather than guessed."""

    code = "E_UNSUPPORTED"


class SeveralPicturesError(UnsupportedError):
    """The file holds more pictures than one, where one is wanted."""


class FileError(RestoreError):
    """Reading or writing a file failed, or would have destroyed something."""

    code = "E_IO"


class ModelError(RestoreError):
    """A network broke its contract: wrong shape, not-finite output, out of memory at the smallest tile."""

    code = "E_MODEL"


class WeightsError(RestoreError):
    """Weights are missing, damaged, or belong to another network."""

    code = "E_WEIGHTS"
    exit_code = ExitCode.NOTHING_RAN


class ConfigError(RestoreError):
    """An option or config value is wrong."""

    code = "E_CONFIG"
    exit_code = ExitCode.USAGE


def counted(number: int, noun: str) -> str:
    """ "1 picture", "2 pictures"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def brief(value: object, most: int = 60) -> str:
    """The repr of a value that was given, of a long one the beginning."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def nearest(word: str, known: Iterable[str]) -> str:
    """ "Did you mean 'x'? " for the known word closest to `word`, "" if none is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean {close[0]!r}? " if close else ""
