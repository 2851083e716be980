"""How networks learn: objectives by name, with their own arguments, losses and degradation.

Importing this package imports no torch.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from restore.building import made, validated, with_tuples
from restore.errors import ConfigError, brief
from restore.naming import imported

if TYPE_CHECKING:
    from torch import nn

    from restore.degradations.degradation import Degradation
    from restore.objectives.objective import Objective

OBJECTIVES: dict[str, str] = {
    "supervised": "restore.objectives.supervised:Supervised",
    "adversarial": "restore.objectives.adversarial:Adversarial",
    "deconvolution": "restore.objectives.deconvolution:Deconvolution",
    "blind_spot": "restore.objectives.blind_spot:BlindSpot",
    "noise2void": "restore.objectives.self_supervised:Noise2Void",
    "neighbor2neighbor": "restore.objectives.self_supervised:Neighbor2Neighbor",
    "blind2unblind": "restore.objectives.self_supervised:Blind2Unblind",
}
DISCRIMINATOR = "restore.objectives.discriminator:PatchDiscriminator"


def build(
    name: str,
    network: nn.Module,
    *,
    losses: Mapping[str, Any] | None = None,
    degradation: Degradation | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Objective:
    """An objective: a key of `OBJECTIVES`, "my_pkg.my_file:MyObjective" or "my_file.py:MyObjective".

    Args:
        network: what is trained.
        losses: weight of each loss, or its options (`restore.losses.table`); None: the objective's own.
        degradation: what damages the pictures; None: the objective's own, or none.
        arguments: further ones; `discriminator` of those that take one describes it (name and arguments).
    Raises:
        ConfigError: an unknown name or argument, a wrong value, or something given that the objective does not use.
    """
    from restore.losses.table import build_losses

    constructor = imported(name, OBJECTIVES, "objective", "MyObjective")
    takes = inspect.signature(constructor).parameters
    given: dict[str, Any] = {}
    for setting, value in (("losses", losses), ("degradation", degradation)):
        if value is not None and setting not in takes:
            where = "objective.losses" if setting == "losses" else "degradation"
            raise ConfigError(f"the objective {name!r} does not use {where}", fix="Leave it out")
    given |= {} if losses is None else {"losses": build_losses(losses)}
    given |= {} if degradation is None else {"degradation": degradation}
    rest = with_tuples(arguments or {})
    if "discriminator" in takes:
        given["discriminator"] = _discriminator(network, rest.pop("discriminator", {}))
    supplied = (next(iter(takes), "network"), "losses", "degradation", "discriminator")
    what = f"objective {name!r}"
    arguments = validated(what, constructor, rest, supplied=supplied)
    return made(what, functools.partial(constructor, network), given | arguments)


def _discriminator(network: nn.Module, described: Any) -> nn.Module:
    from restore.models import build as build_network
    from restore.models.spec import spec_of

    if not isinstance(described, Mapping):
        fix = "Give its arguments, for example {width: 32}, and its name if it is another"
        raise ConfigError(f"objective.arguments.discriminator cannot be {brief(described)}", fix=fix)
    arguments = {"channels": spec_of(network).channels or 3, **described}
    return build_network(arguments.pop("name", DISCRIMINATOR), **arguments)
