"""Networks: one file each, built by name from one dict, or by import path from the user's own code.

A model is a plain `nn.Module` whose constructor arguments are typed and serialisable, with

    spec() -> ModelSpec         what it needs and promises
    condition_channels: int     (only if it has any) input planes after the colours
    residual(x) -> Tensor       (only if it has a global skip) what `forward` adds to the input's colours

Importing this package imports no torch.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from restore.errors import ConfigError, nearest
from restore.naming import imported

if TYPE_CHECKING:
    from torch import nn

MODELS: dict[str, str] = {
    "plain_unet": "restore.models.plain_unet:PlainUNet",
    "cbsn": "restore.models.cbsn:CBSN",
    "wiener_unet": "restore.models.wiener_unet:WienerUNet",
    "infwide": "restore.models.infwide:INFWIDE",
    "dwdn": "restore.models.dwdn:DWDN",
}


def build(model: str, /, **arguments: Any) -> nn.Module:
    """The network `model`, freshly initialised: a key of `MODELS`, an import path ("my_pkg.my_file:MyNet") or a
    class in a file ("nets/my_net.py:MyNet").

    The arguments are validated and converted by the constructor's type hints ("1e-3" becomes a float).
    Raises `ConfigError` for an unknown model, an unknown argument (naming the nearest) or a wrong value.
    """
    constructor = model_class(model)
    return constructor(**_validated(model, constructor, arguments))


def model_class(model: str) -> type[nn.Module]:
    """The class behind a name of `MODELS`, an import path or a file ("nets/my_net.py:MyNet").

    Raises `ConfigError` if there is none.
    """
    from torch import nn

    candidate = imported(model, MODELS, "model", "MyNet")
    if not (isinstance(candidate, type) and issubclass(candidate, nn.Module)):
        raise ConfigError(f"{model!r} is not a torch.nn.Module class", fix="Name a class that derives from nn.Module")
    return candidate


def _validated(model: str, constructor: type[nn.Module], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments converted to the types in the constructor's signature."""
    parameters = inspect.signature(constructor).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {k: p for k, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    missing = [k for k, p in named.items() if p.default is p.empty and k not in arguments]
    if missing:
        raise ConfigError(f"model {model!r} needs the argument {missing[0]!r}", fix=_takes(constructor))
    unknown = [] if takes_any else [k for k in arguments if k not in named]
    if unknown:
        raise ConfigError(
            f"model {model!r} has no argument {unknown[0]!r}",
            fix=nearest(unknown[0], named) + _takes(constructor),
        )
    hints = typing.get_type_hints(constructor.__init__)
    return {k: _converted(model, k, v, hints.get(k, Any)) for k, v in arguments.items()}


def _converted(model: str, argument: str, value: Any, hint: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (argument, *first["loc"]))
        raise ConfigError(
            f"model {model!r}: argument {where} cannot be {first['input']!r:.60}", why=first["msg"]
        ) from error


def _takes(constructor: type[nn.Module]) -> str:
    return f"It takes {inspect.signature(constructor)}".replace("'", "")
