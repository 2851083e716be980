"""Clean pictures made smaller: the classic setting of super-resolution."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from restore.degradations.degradation import CLEAN, Role, Sample
from restore.errors import ConfigError
from restore.physics.resample import resize


class DownscaleDegradation:
    """Input "picture": the clean one made smaller by antialiased bicubic resampling (MATLAB's `imresize`), rounded to
    8 bits; target "result": the clean one.

    Args:
        factor: side of the clean picture over that of the small one.
    """

    roles: Mapping[str, Role] = CLEAN
    conditions: tuple[str, ...] = ()

    def __init__(self, factor: int = 4) -> None:
        if not 2 <= factor <= 16:
            raise ConfigError(f"degradation.arguments.factor is {factor}", fix="Give a whole number from 2 to 16")
        self.factor = factor

    @torch.no_grad()
    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        clean = pictures["clean"]
        height, width = check_multiple(clean, self.factor)
        with torch.autocast(clean.device.type, enabled=False):
            small = resize(clean, (height, width))
        return Sample({"picture": (small.clamp(0, 1) * 255).round() / 255}, {"result": clean})


def check_multiple(clean: Tensor, factor: int) -> tuple[int, int]:
    """Height and width over `factor`. Raises `ConfigError` where they are no whole numbers."""
    height, width = clean.shape[-2:]
    if height % factor or width % factor:
        what = f"pictures of {height} x {width} px cannot become smaller by {factor}"
        raise ConfigError(what, fix=f"Set data.crop to a multiple of {factor}")
    return height // factor, width // factor
