"""Clean pictures blurred as by a moving or unfocused camera: what blind deblurring learns from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from restore.building import validated
from restore.degradations.degradation import CLEAN, Role, Sample
from restore.errors import ConfigError
from restore.physics.camera_blur import CameraBlurRecipe, blur_as_camera


class CameraBlurDegradation:
    """Input "picture", target "result" (without the margin that the blur needs), conditions "psf" (B x 1 x h x w,
    sum 1; of blur that changes over the picture one of its two) and "varying" (B x 1 x 1 x 1, 0 or 1).

    Args:
        recipe: fields of `restore.physics.camera_blur.CameraBlurRecipe` that differ from its defaults.
    """

    roles: Mapping[str, Role] = CLEAN
    conditions = ("psf", "varying")

    def __init__(self, **recipe: Any) -> None:
        fields = validated("degradation 'camera_blur'", CameraBlurRecipe, recipe)
        try:
            self.recipe = CameraBlurRecipe(**fields)
        except ValueError as error:
            raise ConfigError("degradation.arguments describe no blur", why=str(error)) from error

    @torch.no_grad()
    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        """Raises `ConfigError` for crops that the margin leaves nothing of."""
        clean, least = pictures["clean"], max(2 * self.recipe.margin + 32, self.recipe.side)
        if min(clean.shape[-2:]) < least:
            what = f"blurs cut off {self.recipe.margin} px at every side, the pictures have {min(clean.shape[-2:])} px"
            raise ConfigError(what, fix=f"Set data.crop to {least} or more")
        with torch.autocast(clean.device.type, enabled=False):
            made = blur_as_camera(clean, self.recipe, seed, step, first_index)
        varying = made.varying.to(made.blurred).view(-1, 1, 1, 1)
        return Sample({"picture": made.blurred}, {"result": made.clean}, {"psf": made.psf, "varying": varying})
