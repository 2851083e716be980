"""Clean pictures made smaller and bad, as pictures from the wild are: what blind super-resolution learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from restore.building import validated
from restore.degradations.degradation import CLEAN, Role, Sample
from restore.degradations.downscale import check_multiple, checked_flat, flattened
from restore.errors import ConfigError
from restore.physics.blur_kernels import SINC, Kernel
from restore.physics.real_world import (
    SECOND,
    PassPlan,
    PassRecipe,
    RealWorldPlan,
    RealWorldRecipe,
    degrade_real_world,
)


class RealWorldDegradation:
    """Input "picture": the clean one through the high-order pipeline of `restore.physics.real_world`, smaller by
    `factor`, rounded to 8 bits; target "result": the clean one.

    Args:
        factor: side of the clean picture over that of the input, 1 to 8.
        flat: share of samples of one colour before the damage (`restore.degradations.downscale.flattened`).
        first, second: fields of `restore.physics.real_world.PassRecipe` that differ from that pass's own.
        recipe: fields of `restore.physics.real_world.RealWorldRecipe` that differ from its defaults.
    """

    roles: Mapping[str, Role] = CLEAN
    conditions: tuple[str, ...] = ()

    def __init__(
        self,
        factor: int = 4,
        flat: float = 0.0,
        first: Mapping[str, Any] | None = None,
        second: Mapping[str, Any] | None = None,
        **recipe: Any,
    ) -> None:
        if not 1 <= factor <= 8:
            raise ConfigError(f"degradation.arguments.factor is {factor}", fix="Give a whole number from 1 to 8")
        self.factor, self.flat = factor, checked_flat(flat)
        own = ["factor", "flat", "first", "second"]
        fields = validated("degradation 'real_world'", RealWorldRecipe, recipe, beside=own)
        try:
            fields["first"] = _changed("first", PassRecipe(), first or {})
            fields["second"] = _changed("second", SECOND, second or {})
            self.recipe = RealWorldRecipe(**fields)
        except ValueError as error:
            raise ConfigError("degradation.arguments describe no damage", why=str(error)) from error

    @torch.no_grad()
    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        clean = flattened(pictures["clean"], self.flat, seed, step, first_index)
        check_multiple(clean, self.factor)
        with torch.autocast(clean.device.type, enabled=False):
            small = degrade_real_world(clean, self.recipe, self.factor, seed, step, first_index)
        return Sample({"picture": small}, {"result": clean})


def _changed(name: str, recipe: PassRecipe, fields: Mapping[str, Any]) -> PassRecipe:
    return replace(recipe, **validated(f"degradation 'real_world', {name}", PassRecipe, fields))


def describe(plan: RealWorldPlan) -> dict[str, str]:
    """What becomes of a picture, in words: "first pass", "second pass" and "end"."""
    if plan.first is None or plan.second is None:
        return {"damage": f"made smaller alone{f', JPEG {plan.quality}' if plan.quality else ''}"}
    last = f"JPEG {plan.second.quality}"
    parts = [f"resized ({plan.mode})", *([] if plan.sinc is None else [_kernel_in_words(plan.sinc)])]
    return {
        "first pass": f"{_pass_in_words(plan.first, 'the picture')}, JPEG {plan.first.quality}",
        "second pass": _pass_in_words(plan.second, "the result"),
        "end": ", ".join([*parts, last] if plan.compressed_last else [last, *parts]),
    }


def _pass_in_words(plan: PassPlan, of: str) -> str:
    words = [] if plan.kernel is None else [_kernel_in_words(plan.kernel)]
    words.append(f"{plan.scale:.2f} times the size of {of} ({plan.mode})")
    noise = f"Gaussian noise of sigma {plan.noise:.1f}" if plan.gaussian else f"{plan.noise:.2f} times Poisson noise"
    words.append(f"{'grey ' if plan.grey else ''}{noise}")
    return ", ".join(words)


def _kernel_in_words(kernel: Kernel) -> str:
    if kernel.kind == SINC:
        return f"sinc of {kernel.size} px, cut-off {kernel.cutoff:.2f}"
    sigma = " and ".join(f"{each:.2f}" for each in dict.fromkeys(kernel.sigma))
    power = "" if kernel.power == 1 else f", power {kernel.power:.2f}"
    return f"{kernel.kind} blur of {kernel.size} px, sigma {sigma}{power}"
