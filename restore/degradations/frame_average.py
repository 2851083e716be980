"""Consecutive sharp frames of a clip averaged to a blurred one: what deblurring of moving scenes learns from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from restore.building import validated
from restore.degradations.degradation import Role, Sample
from restore.errors import ConfigError
from restore.physics.frame_average import FrameAverageRecipe, average_frames


class FrameAverageDegradation:
    """Input "picture": the average of frames; target "result": the one in their middle.

    Args:
        frames: how many, odd, 3 or more.
        recipe: fields of `restore.physics.frame_average.FrameAverageRecipe` that differ from its defaults.
    """

    conditions: tuple[str, ...] = ()

    def __init__(self, frames: int = 7, **recipe: Any) -> None:
        if frames < 3 or frames % 2 == 0:
            what = f"degradation.arguments.frames is {frames}"
            raise ConfigError(what, fix="Give an odd number of 3 or more: the middle one is the truth")
        fields = validated("degradation 'frame_average'", FrameAverageRecipe, recipe, beside=["frames"])
        try:
            self.recipe = FrameAverageRecipe(**fields)
        except ValueError as error:
            raise ConfigError("degradation.arguments describe no average", why=str(error)) from error
        self.roles: Mapping[str, Role] = {"clean": Role(frames=frames)}

    @torch.no_grad()
    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        frames = pictures["clean"]
        with torch.autocast(frames.device.type, enabled=False):
            made = average_frames(frames, self.recipe, seed, step, first_index)
        return Sample({"picture": made.blurred}, {"result": made.middle})
