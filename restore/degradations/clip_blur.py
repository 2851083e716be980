"""Clean pictures as consecutive frames of a moving camera: what deblurring with neighbouring frames learns from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from restore.building import validated
from restore.degradations.degradation import CLEAN, Role, Sample
from restore.errors import ConfigError
from restore.physics.clip_blur import ClipBlurRecipe, blur_as_clip


class ClipBlurDegradation:
    """Input "picture": B x T x C x H x W, frames of which the middle one is wanted; target "result": that one, without
    the margin that the motion needs.

    Args:
        recipe: fields of `restore.physics.clip_blur.ClipBlurRecipe` that differ from its defaults.
    """

    roles: Mapping[str, Role] = CLEAN
    conditions: tuple[str, ...] = ()

    def __init__(self, **recipe: Any) -> None:
        fields = validated("degradation 'clip_blur'", ClipBlurRecipe, recipe)
        try:
            self.recipe = ClipBlurRecipe(**fields)
        except ValueError as error:
            raise ConfigError("degradation.arguments describe no blur", why=str(error)) from error

    @torch.no_grad()
    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        """Raises `ConfigError` for crops that the margin leaves nothing of."""
        clean, least = pictures["clean"], 2 * self.recipe.margin + 32
        if min(clean.shape[-2:]) < least:
            sides = f"motion cuts off {self.recipe.margin} px at every side"
            what = f"{sides}, the pictures have {min(clean.shape[-2:])} px"
            raise ConfigError(what, fix=f"Set data.crop to {least} or more")
        with torch.autocast(clean.device.type, enabled=False):
            made = blur_as_clip(clean, self.recipe, seed, step, first_index)
        return Sample({"picture": made.frames}, {"result": made.clean})
