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
    "multi_output": "restore.objectives.multi_output:MultiOutputLearning",
    "adversarial": "restore.objectives.adversarial:Adversarial",
    "deconvolution": "restore.objectives.deconvolution:Deconvolution",
    "reflection": "restore.objectives.reflection:ReflectionRemoval",
    "blind_spot": "restore.objectives.blind_spot:BlindSpot",
    "noise2void": "restore.objectives.self_supervised:Noise2Void",
    "neighbor2neighbor": "restore.objectives.self_supervised:Neighbor2Neighbor",
    "blind2unblind": "restore.objectives.self_supervised:Blind2Unblind",
}
DISCRIMINATORS: dict[str, str] = {
    "patch_discriminator": "restore.objectives.discriminator:PatchDiscriminator",
    "srgan_discriminator": "restore.objectives.vgg_discriminators:SRGANDiscriminator",
    "vgg_discriminator": "restore.objectives.vgg_discriminators:VGGDiscriminator",
    "unet_discriminator": "restore.objectives.unet_discriminator:UNetDiscriminator",
}
"""What distinguishes restored from clean pictures: B x C x H x W of [0, 1] -> logits of any shape. The first is the
default."""


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
    from restore.losses.table import LOSSES, build_losses

    constructor = imported(name, OBJECTIVES, "objective", "MyObjective")
    takes = inspect.signature(constructor).parameters
    given: dict[str, Any] = {}
    for setting, value in (("losses", losses), ("degradation", degradation)):
        if value is not None and setting not in takes:
            where = "objective.losses" if setting == "losses" else "degradation"
            raise ConfigError(f"the objective {name!r} does not use {where}", fix="Leave it out")
    given |= {} if losses is None else {"losses": build_losses(losses, getattr(constructor, "loss_table", LOSSES))}
    given |= {} if degradation is None else {"degradation": degradation}
    rest = with_tuples(arguments or {})
    if "discriminator" in takes:
        given["discriminator"] = _discriminator(network, rest.pop("discriminator", {}))
    supplied = (next(iter(takes), "network"), "losses", "degradation", "discriminator")
    what = f"objective {name!r}"
    arguments = validated(what, constructor, rest, supplied=supplied)
    return made(what, functools.partial(constructor, network), given | arguments)


def _discriminator(network: nn.Module, described: Any) -> nn.Module:
    """The discriminator that a config describes, by default of the network's colours."""
    from torch import nn

    from restore.models.spec import spec_of

    if not isinstance(described, Mapping):
        fix = "Give its arguments, for example {width: 32}, and its name if it is another"
        raise ConfigError(f"objective.arguments.discriminator cannot be {brief(described)}", fix=fix)
    arguments = {"channels": spec_of(network).channels or 3, **described}
    name = str(arguments.pop("name", next(iter(DISCRIMINATORS))))
    constructor = imported(name, DISCRIMINATORS, "discriminator", "MyDiscriminator")
    if not (isinstance(constructor, type) and issubclass(constructor, nn.Module)):
        raise ConfigError(f"{name!r} is not a torch.nn.Module class", fix="Name a class that derives from nn.Module")
    what = f"discriminator {name!r}"
    return made(what, constructor, validated(what, constructor, arguments))
