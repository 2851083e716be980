"""Clean pictures made smaller: the classic setting of super-resolution."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from restore.degradations.degradation import CLEAN, Role, Sample
from restore.errors import ConfigError
from restore.physics.random import generator_for
from restore.physics.resample import resize

_FLAT = 0xF1A7  # keeps these draws apart from others of the same sample


class DownscaleDegradation:
    """Input "picture": the clean one made smaller by antialiased bicubic resampling (MATLAB's `imresize`), rounded to
    8 bits; target "result": the clean one.

    Args:
        factor: side of the clean picture over that of the small one.
        flat: share of samples of one colour, the mean of the crop: else a network has little reason to keep colours
            exactly where nothing else is, least of all at the border.
    """

    roles: Mapping[str, Role] = CLEAN
    conditions: tuple[str, ...] = ()

    def __init__(self, factor: int = 4, flat: float = 0.0) -> None:
        if not 2 <= factor <= 16:
            raise ConfigError(f"degradation.arguments.factor is {factor}", fix="Give a whole number from 2 to 16")
        self.factor, self.flat = factor, checked_flat(flat)

    @torch.no_grad()
    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        clean = flattened(pictures["clean"], self.flat, seed, step, first_index)
        height, width = check_multiple(clean, self.factor)
        with torch.autocast(clean.device.type, enabled=False):
            small = resize(clean, (height, width))
        return Sample({"picture": (small.clamp(0, 1) * 255).round() / 255}, {"result": clean})


def checked_flat(share: float) -> float:
    """A share of samples. Raises `ConfigError`."""
    if not 0 <= share <= 1:
        raise ConfigError(f"degradation.arguments.flat is {share}", fix="Give a share from 0 to 1, for example 0.05")
    return share


def flattened(clean: Tensor, share: float, seed: int, step: int, first_index: int) -> Tensor:
    """B x C x H x W with a share of the samples in one colour, their mean rounded to 8 bits."""
    if not share:
        return clean
    draws = [torch.rand((), generator=generator_for(seed, step, first_index + i, _FLAT)) for i in range(len(clean))]
    chosen = (torch.stack(draws) < share).to(clean.device)[:, None, None, None]
    return torch.where(chosen, (clean.mean((2, 3), keepdim=True) * 255).round() / 255, clean)


def check_multiple(clean: Tensor, factor: int) -> tuple[int, int]:
    """Height and width over `factor`. Raises `ConfigError` where they are no whole numbers."""
    height, width = clean.shape[-2:]
    if height % factor or width % factor:
        what = f"pictures of {height} x {width} px cannot become smaller by {factor}"
        raise ConfigError(what, fix=f"Set data.crop to a multiple of {factor}")
    return height // factor, width // factor
