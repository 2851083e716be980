"""What the user sees: results on stdout, everything else on stderr; plain lines without a terminal."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from restore.errors import ExitCode, FileError, RestoreError

if TYPE_CHECKING:
    from rich.progress import Progress


def prepare_streams() -> None:
    """Make the standard streams safe to write to, whatever the caller closed or set.

    A closed descriptor is opened on the null device (else the next file opened would take its number and
    other messages would end up in a picture); characters the terminal cannot show are escaped.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif number and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def exit_code_of(error: BaseException) -> ExitCode:
    """What the process returns when this ends it."""
    if isinstance(error, RestoreError):
        return error.exit_code
    return ExitCode.INTERRUPTED if isinstance(error, KeyboardInterrupt) else ExitCode.SOME_FAILED


def describe(error: BaseException) -> dict[str, Any]:
    """An error that ended the program, for JSON."""
    code = error.code if isinstance(error, RestoreError) else type(error).__name__
    return {"error": {"code": code, "line": str(error)}, "exit_code": int(exit_code_of(error))}


def print_error(error: BaseException, *, debug: bool = False) -> None:
    """`restore: error: …`, one line; with `debug` the traceback before it."""
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, OSError) and error.filename and error.strerror:  # also of names that no system takes
        error = FileError(
            "cannot be reached", where=f"{error.filename!s:.200}", why=error.strerror, fix="Check the path"
        )
    text = str(error) if isinstance(error, RestoreError) else f"unexpected {type(error).__name__}: {error}"
    say(f"restore: error: {' '.join(text.splitlines())}")


def say(line: str) -> None:
    """A line for the user, on stderr; never fails because nobody listens."""
    with contextlib.suppress(OSError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


@contextlib.contextmanager
def log_to_user(quiet: bool) -> Iterator[None]:
    """What the program logs while it works, as lines for the user; warnings even when quiet."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(("restore: warning: " if record.levelno >= logging.WARNING else "  ") + record.getMessage())

    logger, handler = logging.getLogger("restore"), Handler(logging.WARNING if quiet else logging.INFO)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def one_line(path: object) -> str:
    """A path on one line, whatever its name holds."""
    return str(path).replace("\r", "\\r").replace("\n", "\\n")


def put(line: str) -> None:
    """A line of results, on stdout; a closed pipe (`| head`) is not an error."""
    put_text(line + "\n")


def put_text(text: str) -> None:
    """Text of results, on stdout. Raises `FileError` if it cannot be written for another reason than a closed pipe."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
    except OSError as error:
        silence_stdout()
        why = error.strerror or str(error)
        raise FileError("the results cannot be written to standard output", why=why, fix="Make room") from error


def put_json(entry: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    put(json.dumps(entry, default=str))


def silence_stdout() -> None:
    """Nobody reads stdout any more: send the rest, and Python's flush at exit, to the null device."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class JsonReport:
    """One JSON object on stdout, written as results come in: {"files": [...], "summary": {...}}."""

    def __init__(self, command: str) -> None:
        self._first = True
        put_text(f'{{"command": {json.dumps(command)}, "files": [')

    def add(self, entry: dict[str, Any]) -> None:
        put_text(("\n" if self._first else ",\n") + json.dumps(entry, default=str))
        self._first = False

    def finish(self, **facts: Any) -> None:
        """Close the list of files and add what concerns all of them."""
        put_text("\n]")
        for name, value in facts.items():
            put_text(f", {json.dumps(name)}: {json.dumps(value, default=str)}")
        put_text("}\n")


class Bar:
    """How far the current file is: a bar on a terminal, a line now and then elsewhere, nothing when quiet."""

    def __init__(self, *, quiet: bool, plain_every: float = 10.0) -> None:
        self._quiet, self._every = quiet, plain_every
        self._next = time.monotonic() + plain_every
        self._name, self._frames, self._began = "", 0, 0.0
        self._rich: Progress | None = None

    def __enter__(self) -> Bar:
        if not self._quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._rich = _rich_progress()
            self._task = self._rich.add_task("", total=1.0)
            self._rich.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._rich is not None:
            self._rich.stop()

    def start(self, name: str, frames: int = 0) -> None:
        """A new file begins; of a sequence its number of frames is told, too."""
        self._name, self._frames, self._began = name, frames, time.monotonic()
        if self._rich is not None:
            self._rich.reset(self._task, description=name.replace("[", r"\["))
        self.update(0.0)

    def update(self, share: float) -> None:
        """`share` (0..1) of the current file is done."""
        if self._rich is not None:
            self._rich.update(
                self._task, completed=share, description=(self._name + self._pace(share)).replace("[", r"\[")
            )
        elif not self._quiet and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            say(f"{self._name}: {share:.0%}{self._pace(share)}")

    def _pace(self, share: float) -> str:
        """Of a sequence: frames, frames a second and what is left."""
        seconds = time.monotonic() - self._began
        if not self._frames or not share or seconds < 1:
            return ""
        left = seconds * (1 - share) / share
        rate = share * self._frames / seconds
        minutes, rest = divmod(round(left), 60)
        at = f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
        return f", frame {int(share * self._frames)} of {self._frames}, {rate:.2g} a second, {at} left"


def _rich_progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(*columns, console=Console(stderr=True), transient=True)
