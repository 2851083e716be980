"""From option classes (`restore.options`) to what tyro parses: one flag a field, its docstring the help."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Annotated, Any

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from restore.errors import ConfigError
from restore.options import Kind, Number, OptionalPath, aliases_of, flag, kinds_of, wrong_value

HIDE = tyro.conf.arg(help_behavior_hint="")
"""Leaves the default out of the help, where it says nothing."""


@dataclasses.dataclass(frozen=True)
class NotGiven:
    """Stands for an option that the user did not give.

    Attributes:
        default: what holds then.
    """

    default: Any


def flag_class(options: type, *, left_out: Collection[str] = ()) -> type:
    """A subclass of an option class whose fields tyro reads as flags; with the same defaults.

    Args:
        left_out: fields that are no flags here; neither are those that are not described by a kind or a bool.
    """
    flags = [each for each in dataclasses.fields(options) if each.name not in left_out and _is_flag(options, each)]
    fields = [
        (each.name, _annotation(options, each, each.default, kinds_of(options).get(each.name)), _default(each))
        for each in flags
    ]
    suppressed = [each for each in dataclasses.fields(options) if each not in flags]
    fields += [(each.name, Annotated[Any, tyro.conf.Suppress], _default(each)) for each in suppressed]
    return dataclasses.make_dataclass(
        options.__name__, fields, bases=(options,), frozen=True, namespace={"__doc__": options.__doc__}
    )


def method_fields(options: Collection[type]) -> list[tuple[str, Any, Any]]:
    """(name, annotation, default) of the flags of several option classes together, `NotGiven` where none was.

    A number may be whatever one of the classes takes: each checks its own bounds.
    """
    flags: dict[str, tuple[str, Any, Any]] = {}
    for each in options:
        for field in dataclasses.fields(each):
            if field.name not in flags and _is_flag(each, field):
                default: Any = field.default if isinstance(field.default, bool) else NotGiven(field.default)
                if isinstance(kinds_of(each).get(field.name), OptionalPath):
                    default = NotGiven(field.default)
                flags[field.name] = field.name, _annotation(each, field, default, _widest(options, field.name)), default
    return list(flags.values())


def given_of(command: Any, names: Collection[str]) -> dict[str, Any]:
    """The options that the user gave, of those names."""
    values = {name: getattr(command, name) for name in names}
    return {name: value for name, value in values.items() if not isinstance(value, NotGiven) and value is not False}


def primitive(kind: Kind, option: str) -> PrimitiveConstructorSpec[Any]:
    """How tyro turns one word of the command line into a value."""

    def read(words: list[str]) -> Any:
        try:
            return kind.parse(words[0])
        except ConfigError:
            raise
        except ValueError:
            raise wrong_value(option, words[0], kind) from None

    def as_words(value: Any) -> list[str]:
        default = value.default if isinstance(value, NotGiven) else value
        return ["none" if default is None else str(default)]

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=kind.metavar,
        instance_from_str=read,
        is_instance=lambda value: True,
        str_from_instance=as_words,
    )


def optional_paths(command: type) -> frozenset[str]:
    """The flags of a command whose value may be left out."""
    return getattr(command, "__optional_paths__", frozenset())


def older_names(command: type) -> dict[str, str]:
    """Older name -> name, of the flags of a command that have one."""
    return getattr(command, "__older_names__", {})


def _is_flag(options: type, field: dataclasses.Field[Any]) -> bool:
    return field.name in kinds_of(options) or isinstance(field.default, bool)


def _widest(options: Collection[type], name: str) -> Kind | None:
    """The kind of an option that several classes have; of numbers one that takes all of theirs."""
    kinds = [kinds_of(each)[name] for each in options if name in kinds_of(each)]
    numbers = [kind for kind in kinds if isinstance(kind, Number)]
    if not numbers or len(numbers) < len(kinds):
        return kinds[0] if kinds else None
    low, high = min(kind.low for kind in numbers), max(kind.high for kind in numbers)
    whole, auto = all(kind.whole for kind in numbers), any(kind.auto for kind in numbers)
    return dataclasses.replace(numbers[0], low=low, high=high, whole=whole, auto=auto)


def _annotation(options: type, field: dataclasses.Field[Any], default: Any, kind: Kind | None) -> Any:
    older = [flag(name) for name, now in aliases_of(options).items() if now == field.name]
    plain = default.default if isinstance(default, NotGiven) else default
    says_nothing = plain is None or plain is False
    arg = tyro.conf.arg(aliases=older or None, help_behavior_hint="" if says_nothing else None)
    return Annotated[bool, arg] if kind is None else Annotated[Any, primitive(kind, flag(field.name)), arg]


def _default(field: dataclasses.Field[Any]) -> Any:
    return (
        field.default
        if field.default is not dataclasses.MISSING
        else dataclasses.field(default_factory=field.default_factory)
    )  # type: ignore[arg-type, misc]
