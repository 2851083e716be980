"""Clean pictures blurred by a known PSF, circular, with noise: the two regimes of deconvolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from restore.building import validated
from restore.degradations.degradation import CLEAN, Role, Sample
from restore.errors import ConfigError
from restore.physics.blurred_noise import blurred_noises
from restore.physics.random_blur import SIDE, BlurRecipe, blur, draw_bank

_LEAST_NOISE = 0.3 / 255  # as given to the network: rounding to 8 bits


class BlurDegradation:
    """Input "picture"; targets "result" and "blurred" (blurred, without noise, not clipped); conditions "psf"
    (B x 1 x h x w, sum 1) and "noise_level" (B x 1 x 1 x 1, as it would be measured, units of [0, 1]).

    Args:
        recipe: fields of `restore.physics.random_blur.BlurRecipe` that differ from its defaults.
    """

    roles: Mapping[str, Role] = CLEAN
    conditions = ("psf", "noise_level")

    def __init__(self, **recipe: Any) -> None:
        fields = validated("degradation 'blur'", BlurRecipe, recipe)
        try:
            self.recipe = BlurRecipe(**fields)
        except ValueError as error:
            raise ConfigError("degradation.arguments describe no blur", why=str(error)) from error
        self._bank = draw_bank(self.recipe.bank)

    @torch.no_grad()
    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        clean = pictures["clean"]
        if min(clean.shape[-2:]) < SIDE:
            what = f"blurs are up to {SIDE} px wide, the pictures have {min(clean.shape[-2:])} px"
            raise ConfigError(what, fix=f"Set data.crop to {SIDE} or more")
        with torch.autocast(clean.device.type, enabled=False):
            made = blur(clean, self.recipe, self._bank, seed, step, first_index)
            level = blurred_noises(made.noisy).clamp(min=_LEAST_NOISE)[:, None, None, None]
        targets = {"result": clean, "blurred": made.clean}
        return Sample({"picture": made.noisy}, targets, {"psf": made.psf, "noise_level": level})
