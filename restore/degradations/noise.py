"""Clean pictures made noisy: a random mixture of kinds and levels (`restore.physics.noise`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from restore.building import validated
from restore.degradations.degradation import CLEAN, Role, Sample
from restore.errors import ConfigError
from restore.physics.color import to_luma
from restore.physics.level import level_map, noise_curve
from restore.physics.noise import NoiseRecipe, degrade


class NoiseDegradation:
    """Input "picture", target "result", condition "noise_level": a map B x 1 x H x W in units of [0, 1].

    Where the data hold damaged counterparts (role "picture"), those are taken as they are.

    Args:
        grey_every: every n-th item of a batch is shown in grey (luma, the same noise in all channels), so that a
            colour network learns grey pictures too; 0: none.
        recipe: fields of `restore.physics.noise.NoiseRecipe` that differ from its defaults.
    """

    roles: Mapping[str, Role] = {**CLEAN, "picture": Role(optional=True)}
    conditions = ("noise_level",)

    def __init__(self, grey_every: int = 0, **recipe: Any) -> None:
        fields = validated("degradation 'noise'", NoiseRecipe, recipe, beside=["grey_every"])
        try:
            self.recipe = NoiseRecipe(**fields)
        except ValueError as error:
            raise ConfigError("degradation.arguments describe no noise", why=str(error)) from error
        self.grey_every = grey_every

    @torch.no_grad()
    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        clean = pictures["clean"]
        with torch.autocast(clean.device.type, enabled=False):
            if "picture" in pictures:
                noisy = pictures["picture"]
                return _sample(noisy, clean, level_map(noisy, noise_curve(noisy - clean, clean)))
            done = degrade(clean, self.recipe, seed, step, first_index)
            noisy, level = done.noisy, done.level_map
            grey = [i for i in range(len(clean)) if self.grey_every and (first_index + i) % self.grey_every == 0]
            clean = clean.clone() if grey else clean
            for i in grey:
                luma = to_luma(clean[i : i + 1])
                one = degrade(luma, self.recipe, seed, step, first_index + i)
                clean[i], noisy[i], level[i] = luma[0], one.noisy[0], one.level_map[0]
        return _sample(noisy, clean, level)


def _sample(noisy: Tensor, clean: Tensor, level: Tensor) -> Sample:
    return Sample({"picture": noisy}, {"result": clean}, {"noise_level": level})
