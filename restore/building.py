"""Objects from names and arguments of a config: networks, degradations, objectives alike.

A name is a key of a table, "my_pkg.my_file:MyClass", or "my_file.py:MyClass"; the arguments are validated and converted
by the type hints of its constructor.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Collection, Mapping
from dataclasses import is_dataclass
from typing import Any

from restore.errors import ConfigError, RestoreError, brief, nearest


def validated(
    what: str,
    constructor: Any,
    arguments: Mapping[str, Any],
    *,
    supplied: Collection[str] = (),
    beside: Collection[str] = (),
) -> dict[str, Any]:
    """The arguments converted to the types in the constructor's signature ("1e-3" becomes a float).

    Args:
        what: is built, for messages ("model 'plain_unet'").
        supplied: parameters that the caller gives itself; they are no arguments.
        beside: further names that would have been right, where the constructor is only a part of what is built.
    Raises:
        ConfigError: a missing or unknown argument (naming the nearest) or a wrong value.
    """
    parameters = inspect.signature(constructor).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {
        name: p for name, p in parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name not in supplied
    }  # fmt: skip
    missing = [name for name, p in named.items() if p.default is p.empty and name not in arguments]
    if missing:
        raise ConfigError(f"{what} needs the argument {missing[0]!r}", fix=_takes(named))
    unknown = [] if takes_any else [name for name in arguments if name not in named]
    if unknown:
        fix = nearest(unknown[0], [*named, *beside]) + _takes(named)
        raise ConfigError(f"{what} has no argument {unknown[0]!r}", fix=fix)
    signed = constructor.__init__ if inspect.isclass(constructor) and not is_dataclass(constructor) else constructor
    hints = typing.get_type_hints(signed)  # those of a dataclass may come from other modules
    return {name: _converted(what, name, value, hints.get(name, Any)) for name, value in arguments.items()}


def with_tuples(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with the lists of a config as tuples, for objects that keep what they are given."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}


def made(what: str, constructor: Any, arguments: Mapping[str, Any]) -> Any:
    """The object of a constructor that may be the user's. Raises `ConfigError` for whatever that raises."""
    try:
        return constructor(**arguments)
    except RestoreError:
        raise
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}"[:200]
        raise ConfigError(f"{what} cannot be made", why=why, fix="Check its arguments") from error


def _converted(what: str, argument: str, value: Any, hint: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (argument, *first["loc"]))
        raise ConfigError(f"{what}: argument {where} cannot be {brief(first['input'])}", why=first["msg"]) from error


def _takes(parameters: Mapping[str, inspect.Parameter]) -> str:
    signature = ", ".join(str(each) for each in parameters.values())
    return f"It takes ({signature})".replace("'", "")
