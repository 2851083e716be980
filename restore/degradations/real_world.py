"""Clean pictures made smaller and bad, as pictures from the wild are: what blind super-resolution learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from restore.building import validated
from restore.degradations.degradation import CLEAN, Role, Sample
from restore.degradations.downscale import check_multiple
from restore.errors import ConfigError
from restore.physics.real_world import SECOND, PassRecipe, RealWorldRecipe, degrade_real_world


class RealWorldDegradation:
    """Input "picture": the clean one through the high-order pipeline of `restore.physics.real_world`, smaller by
    `factor`, rounded to 8 bits; target "result": the clean one.

    Args:
        factor: side of the clean picture over that of the input, 1 to 8.
        first, second: fields of `restore.physics.real_world.PassRecipe` that differ from that pass's own.
        recipe: fields of `restore.physics.real_world.RealWorldRecipe` that differ from its defaults.
    """

    roles: Mapping[str, Role] = CLEAN
    conditions: tuple[str, ...] = ()

    def __init__(
        self,
        factor: int = 4,
        first: Mapping[str, Any] | None = None,
        second: Mapping[str, Any] | None = None,
        **recipe: Any,
    ) -> None:
        if not 1 <= factor <= 8:
            raise ConfigError(f"degradation.arguments.factor is {factor}", fix="Give a whole number from 1 to 8")
        self.factor = factor
        own = ["factor", "first", "second"]
        fields = validated("degradation 'real_world'", RealWorldRecipe, recipe, beside=own)
        try:
            fields["first"] = _changed("first", PassRecipe(), first or {})
            fields["second"] = _changed("second", SECOND, second or {})
            self.recipe = RealWorldRecipe(**fields)
        except ValueError as error:
            raise ConfigError("degradation.arguments describe no damage", why=str(error)) from error

    @torch.no_grad()
    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        clean = pictures["clean"]
        check_multiple(clean, self.factor)
        with torch.autocast(clean.device.type, enabled=False):
            small = degrade_real_world(clean, self.recipe, self.factor, seed, step, first_index)
        return Sample({"picture": small}, {"result": clean})


def _changed(name: str, recipe: PassRecipe, fields: Mapping[str, Any]) -> PassRecipe:
    return replace(recipe, **validated(f"degradation 'real_world', {name}", PassRecipe, fields))
