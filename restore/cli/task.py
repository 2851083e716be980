"""The command of a task, made from its entry in `restore.tasks` and the option classes of its methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, fields, make_dataclass
from typing import Annotated, Any

import tyro

from restore.cli.flags import flag_class, given_of, method_fields, primitive
from restore.cli.options import FileOptions, MachineOptions, ReportOptions
from restore.inference.options import RunOptions
from restore.io.options import ReadOptions, SaveOptions
from restore.options import OneOf, OptionalPath, aliases_of, flag, kinds_of
from restore.tasks import Task, method_names, options_class

_SHARED: tuple[tuple[str, type], ...] = (
    ("files", FileOptions), ("reading", ReadOptions), ("saving", SaveOptions), ("running", RunOptions),
    ("machine", MachineOptions), ("report", ReportOptions),
)  # fmt: skip


def task_command(name: str, task: Task) -> type:
    """The dataclass that tyro parses `restore NAME …` into; its `run` does the work.

    An option of a method that is called as a shared one (jpeg's `--quality`) is that method's, and the shared one's
    for the other methods.
    """
    classes = list(dict.fromkeys(options_class(method) for method in task.methods.values()))
    classes = [each for each in classes if not any(each in other.__mro__[1:] for other in classes)]
    own = method_fields(classes)
    names = [entry[0] for entry in own]
    declared: list[tuple[str, Any, Any]] = [("paths", _paths(task), ())]
    if not task.subcommand:
        words = tyro.conf.arg(help="How it is done; auto chooses by the other options and the picture, and says why.")
        method = Annotated[str, primitive(OneOf(*method_names(task)), "--method"), words]
        declared.append(("method", method, "auto"))
    declared += own
    for group, options in _SHARED:
        kind = options if options is ReportOptions else flag_class(options, left_out=names)
        declared.append((group, kind, field(default_factory=kind)))
    optional = {
        name for options in classes for name, kind in kinds_of(options).items() if isinstance(kind, OptionalPath)
    }
    older = {name: now for options in classes for name, now in aliases_of(options).items()}
    optional |= {name for name, now in older.items() if now in optional}

    def run(self: Any) -> int:
        return _run(self, name, task, names)

    namespace = {
        "__doc__": task.summary, "__post_init__": lambda self: None, "run": run,
        "__optional_paths__": frozenset(map(flag, optional)),
        "__older_names__": {flag(name): flag(now) for name, now in older.items()},
    }  # fmt: skip
    return make_dataclass(
        f"{name.title().replace('-', '')}Command", declared, bases=tuple(classes), frozen=True, namespace=namespace
    )


def _paths(task: Task) -> Any:
    first = "KIND " if task.subcommand else ""
    several = len(task.inputs) > 1
    inputs = " ".join(each.upper() for each in task.inputs) if several else "IN..."
    text = (
        "Pictures or folders. The last of two or more is the output, a file or a folder; without one it is "
        f"photo_{task.ending}.png beside photo.png, photos_{task.ending}/ beside photos/."
    )
    text = f"The {task.subcommand}; then p{text[1:]}" if first else text
    words = tyro.conf.arg(metavar=f"{first}{inputs} [OUT]", help_behavior_hint="", help=text)
    return Annotated[tyro.conf.Positional[tuple[str, ...]], words]


def _run(command: Any, name: str, task: Task, names: Sequence[str]) -> int:
    from restore.cli.pictures import Request, restore_pictures

    paths = tuple(command.paths)
    method = getattr(command, "method", "auto")
    if task.subcommand:
        method, paths = (paths[0] if paths else ""), paths[1:]
    given = given_of(command, names)
    saving = command.saving
    if method in task.methods:
        takes = {each.name for each in fields(options_class(task.methods[method]))}  # type: ignore[arg-type]
        theirs = {each: given.pop(each) for each in list(given) if each not in takes and hasattr(SaveOptions, each)}
        saving = SaveOptions(**_values(saving, SaveOptions) | dict(task.methods[method].save) | theirs)
    request = Request(
        name, task, method, given,
        *(_plain(getattr(command, group), options) for group, options in _SHARED if group != "saving"),
        saving=_plain(saving, SaveOptions),
    )  # fmt: skip
    return restore_pictures(paths, request)


def _plain(value: Any, options: type) -> Any:
    """An option object of the class itself, not of tyro's subclass."""
    return options(**_values(value, options))


def _values(value: Any, options: type | None = None) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(options or type(value))}  # type: ignore[arg-type]
