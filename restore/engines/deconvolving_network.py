"""A trained network that takes out a known blur, as a function of circular pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from restore.errors import ModelError
from restore.physics.low_light import HEADROOM
from restore.zoo.resolver import available, resolve
from restore.zoo.weights import load_weights

DAYLIGHT, LOW_LIGHT = "deconv", "deconv_low_light"
"""Names of the shipped weights of the two regimes."""


def shipped() -> bool:
    """Whether the weights of both regimes are on this machine."""
    return {DAYLIGHT, LOW_LIGHT} <= set(available())


class DeconvolvingNetwork:
    """Weights of the task "deconv": their network is called with picture, PSF and noise level.

    Args:
        weights: a name of the zoo or a file. Raises `WeightsError` or `ModelError`.
    """

    def __init__(self, weights: str | Path) -> None:
        path = resolve(weights)
        loaded = load_weights(path)
        if loaded.spec.task != "deconv":
            fix = f"Give weights of deconvolution, such as {DAYLIGHT}"
            raise ModelError(f"{path.stem} are weights of the task {loaded.spec.task!r}", where=path, fix=fix)
        self._net, self._like = loaded.net.to(memory_format=torch.channels_last), torch.empty(0)
        self.name, self.fingerprint = path.stem, loaded.sha256

    @torch.inference_mode()
    def __call__(self, y: Tensor, psf: Tensor, sigma: float) -> Tensor:
        """B x C x H x W -> the same; other than three channels are shown one by one, as grey."""
        channels = y.shape[1]
        colours = y if channels == 3 else y.flatten(0, 1)[:, None].expand(-1, 3, -1, -1)
        colours = colours.contiguous(memory_format=torch.channels_last)
        level = torch.full((len(colours),), sigma, device=y.device)
        told = psf.to(y).expand(len(colours), 1, -1, -1)
        x = self._net.to(y.device)(colours, told, level).pictures[-1].float()
        return x if channels == 3 else x.mean(1).unflatten(0, (-1, channels))


def headroom(white: float) -> float:
    """By what a picture that is clipped at `white` is multiplied for the low-light network, which saw lights clipped
    at 1 / 1.2 and gives them back brighter."""
    return 1 / (HEADROOM * white)
