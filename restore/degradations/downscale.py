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
        flat: share of samples that are replaced by one colour, any: else a network has little reason to keep colours
            exactly where nothing else is, least of all saturated ones, and at the border.
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
    """B x C x H x W with a share of the samples in one colour of 8 bits; every third value is black or white."""
    if not share:
        return clean
    draws = [
        torch.rand(1 + clean.shape[1], generator=generator_for(seed, step, first_index + i, _FLAT))
        for i in range(len(clean))
    ]
    chosen, *colour = torch.stack(draws).to(clean)[..., None, None, None].unbind(1)
    colours = ((torch.cat(colour, 1) * 1.5 - 0.25).clamp(0, 1) * 255).round() / 255
    return torch.where(chosen < share, colours, clean)


def check_multiple(clean: Tensor, factor: int) -> tuple[int, int]:
    """Height and width over `factor`. Raises `ConfigError` where they are no whole numbers."""
    height, width = clean.shape[-2:]
    if height % factor or width % factor:
        what = f"pictures of {height} x {width} px cannot become smaller by {factor}"
        raise ConfigError(what, fix=f"Set data.crop to a multiple of {factor}")
    return height // factor, width // factor
