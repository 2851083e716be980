"""Two clean pictures as one camera sees them through a pane of glass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from restore.building import validated
from restore.degradations.degradation import CLEAN, Role, Sample
from restore.errors import ConfigError
from restore.physics.batch import per_sample
from restore.physics.jpeg import jpeg
from restore.physics.random import generator_for, normal
from restore.physics.reflection import ReflectionRecipe, draw_mixtures

_NOISE = 1000  # counter of the generators of noise: no other draw depends on them


class ReflectionDegradation:
    """Input "picture", targets "result" (the scene behind the glass) and "reflection" (what the glass adds, shown
    alone; see `restore.physics.reflection.Mixture`). No conditions.

    Args:
        recipe: fields of `restore.physics.reflection.ReflectionRecipe` that differ from its defaults.
    """

    roles: Mapping[str, Role] = {**CLEAN, "reflection": Role(independent=True)}
    conditions: tuple[str, ...] = ()

    def __init__(self, **recipe: Any) -> None:
        fields = validated("degradation 'reflection'", ReflectionRecipe, recipe)
        try:
            self.recipe = ReflectionRecipe(**fields)
        except ValueError as error:
            raise ConfigError("degradation.arguments describe no reflection", why=str(error)) from error

    @torch.no_grad()
    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        clean, scene = pictures["clean"], pictures["reflection"]
        with torch.autocast(clean.device.type, enabled=False):
            made, plan = draw_mixtures(clean, scene, self.recipe, seed, step, first_index)
            taken = made.mixture
            noisy = [i for i, std in enumerate(plan.values["noise"]) if std > 0]
            if noisy:
                at = torch.tensor(noisy, device=clean.device)
                generators = [generator_for(seed, step, first_index + i, _NOISE) for i in noisy]
                noise = normal((len(noisy), *clean.shape[1:]), generators, torch.device("cpu")).to(clean)
                std = per_sample(plan.values["noise"][noisy]).to(clean) / 255
                taken = taken.index_copy(0, at, taken[at] + std * noise)
            taken = (taken.clamp(0, 1) * 255).round() / 255
            compressed = [i for i, quality in enumerate(plan.values["quality"]) if quality > 0]
            if compressed:
                at = torch.tensor(compressed, device=clean.device)
                quality = plan.values["quality"][compressed].to(clean)
                taken = taken.index_copy(0, at, jpeg(taken[at], quality))
        return Sample({"picture": taken}, {"result": made.background, "reflection": made.reflection})
