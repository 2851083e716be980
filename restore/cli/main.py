"""The `restore` command: picks the subcommand, and turns whatever happens into one line and an exit code."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import operator
import os
import re
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import dropwhile, pairwise, takewhile
from pathlib import Path
from typing import Annotated, Any, Protocol, Union

# Idle OpenMP threads must not spin: it costs CPU time and steals it from decoding. Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import tyro

from restore.cli.adapt import Adapt
from restore.cli.console import describe, exit_code_of, prepare_streams, print_error, put, put_json, say, silence_stdout
from restore.cli.data import Data
from restore.cli.doctor import Doctor
from restore.cli.evaluate import Eval, Score
from restore.cli.flags import NotGiven, older_names, optional_paths
from restore.cli.inspect import Inspect
from restore.cli.new_model import NewModel
from restore.cli.options import hint
from restore.cli.task import task_command
from restore.cli.train import Train
from restore.cli.weights import Weights
from restore.errors import ConfigError, ExitCode, RestoreError
from restore.interrupts import raise_if_interrupted, raised_interrupts
from restore.tasks import all_tasks, both_names


class Command(Protocol):
    """A subcommand: a dataclass of its options."""

    def run(self) -> int: ...


_COMMANDS: dict[str, type[Command]] = {
    "adapt": Adapt,
    "inspect": Inspect,
    "score": Score,
    "eval": Eval,
    "train": Train,
    "new-model": NewModel,
    "data": Data,
    "weights": Weights,
    "doctor": Doctor,
}


def commands() -> dict[str, type[Command]]:
    """Every subcommand: one for each task, and those that work on something else than pictures alone."""
    return {name: task_command(name, task) for name, task in all_tasks().items()} | _COMMANDS


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code (see `restore.errors.ExitCode`)."""
    prepare_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        with raised_interrupts():
            try:
                return _run(words)
            except Exception:
                raise_if_interrupted()  # imports that a signal broke off fail otherwise
                raise
    except KeyboardInterrupt as error:
        say("restore: interrupted")
        return exit_code_of(error)
    except BrokenPipeError:  # nobody reads the help
        silence_stdout()
        return ExitCode.OK
    except Exception as error:
        print_error(error, debug=debug)
        return exit_code_of(error)


def _run(words: list[str]) -> int:
    if words in (["--version"], ["-V"]):
        from importlib.metadata import version

        put(f"restore {version('restore-toolkit')}")
        return ExitCode.OK
    try:
        command = parse(words)
    except SystemExit as stop:  # --help
        return int(stop.code or 0)
    except ConfigError as error:
        if "--json" in words:
            put_json(describe(error))
        raise
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # other packages' advice to programmers
    try:
        return command.run()
    except SystemExit as error:  # of code of the user's
        raise RestoreError(
            f"something ended the program (SystemExit: {error})", fix="See where with --debug"
        ) from error


def parse(words: Sequence[str]) -> Command:
    """A command line as a command. Raises `ConfigError` in one line; `SystemExit` after printing help."""
    known = commands()
    if words and not words[0].startswith("-") and words[0] not in known:
        is_path = Path(words[0]).exists()
        fix = f"Try: restore denoise {words[0]} …" if is_path else hint(words[0], list(known))
        raise ConfigError(f"there is no command {words[0]!r}", fix=fix)
    if words and words[0].startswith("-") and words[0] not in ("-h", "--help"):
        raise ConfigError(f"there is no option {words[0]}", fix="A command comes first; see restore --help")
    options = words[: words.index("--")] if "--" in words else words
    literal = words[len(options) + 1 :]
    if words and words[0] in known:
        _refuse_both_names(options, older_names(known[words[0]]))
        options = _with_empty_values(options, optional_paths(known[words[0]]))
    any_command: Any = Union[tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in known.items())]  # noqa: UP007
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            command, rest = tyro.cli(
                any_command,
                prog="restore",
                description="Bring damaged pictures back.",
                args=options,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ConfigError(_unboxed(box.getvalue()), fix="See restore --help") from None
    return _with_paths(command, rest, literal)


def _with_empty_values(words: Sequence[str], optional: Collection[str]) -> list[str]:
    """Flags that need no value, with an empty one where an option or nothing follows them.

    Raises `ConfigError` for an empty value that the user gave, such as that of a variable that is not set.
    """
    for word, after in pairwise([*words, "-"]):
        if word.partition("=")[0] in optional and (word.endswith("=") or not after):
            option = word.rstrip("=")
            raise ConfigError(f"{option} has an empty value", fix=f"Give a path, or {option} alone")
    return [
        f"{word}=" if word in optional and (not after or after[0].startswith("-")) else word
        for word, after in ((word, words[place + 1 : place + 2]) for place, word in enumerate(words))
    ]


def _refuse_both_names(words: Sequence[str], older: Mapping[str, str]) -> None:
    """Raise `ConfigError` if an option is given by its name and by an older one too."""
    given = {word.partition("=")[0] for word in words}
    for name in older.keys() & given:
        if older[name] in given:
            raise both_names(older[name], name)


def _with_paths(command: Any, rest: Sequence[str], literal: Sequence[str]) -> Command:
    """Paths may stand anywhere among the options; what else tyro did not know is a mistake."""
    for word in rest:
        if word.startswith("-") and word != "-":
            option, known = word.split("=")[0], [f"--{name.replace('_', '-')}" for name in _option_names(command)]
            raise ConfigError(f"there is no option {option}", fix=hint(option, known, "See restore --help"))
    extra = (*rest, *literal)
    if extra and not hasattr(command, "paths"):
        raise ConfigError(f"unexpected argument {extra[0]!r}", fix="See restore --help")
    if "" in (*getattr(command, "paths", ()), *extra):
        raise ConfigError("an argument is empty", why="a variable that is not set", fix="Name a file or a folder")
    return dataclasses.replace(command, paths=(*command.paths, *extra)) if extra else command


def _option_names(options: Any) -> Iterator[str]:
    for entry in dataclasses.fields(options):
        value = getattr(options, entry.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, NotGiven):
            yield from _option_names(value)
        elif entry.name != "paths":
            yield entry.name


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = re.compile(r"^[\s-]*$|^[\s\u2500-\u257f]+|[\s\u2500-\u257f]+$")  # a ruled line, or both ends of a line


def _unboxed(text: str) -> str:
    """The message inside tyro's box, without its title and the advice below the first rule."""
    # tyro 1.0 gives its errors as text to hooks of its private module `tyro._errors` alone, so what it prints is read
    # here, whatever its width, colours and drawing characters. Our own checks raise past tyro and need none of this.
    lines = (_FRAME.sub("", _COLOUR.sub("", line)) for line in text.splitlines()[1:])
    message = takewhile(bool, dropwhile(operator.not_, lines))
    return " ".join(message).rstrip(".") or "the command line is not understood"
