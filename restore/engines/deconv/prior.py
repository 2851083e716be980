"""The denoiser that plug-and-play deconvolution takes for its prior."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.engines.deconv.network import WITHOUT_WEIGHTS
from restore.engines.network import NetworkEngine
from restore.errors import WeightsError
from restore.physics.level import MAP_RADIUS
from restore.zoo import load
from restore.zoo.resolver import available

PRIORS = ("deconv_prior", "denoise_white", "denoise")
"""Shipped weights, the best first: one that learned to be given the level of white noise, or what is nearest to it.
What a data step leaves is no grain of a camera."""


class DenoisingPrior(NetworkEngine):
    """A denoising network as a function of pictures of any size and number of channels."""

    provides = ("noise_level",)

    @property
    def radius(self) -> int:
        """Receptive radius, px."""
        return self.spec.radius + (MAP_RADIUS if self.spec.conditions else 0)

    def denoise(self, x: Tensor, level: float) -> Tensor:
        """B x C x H x W -> the same; `level` is the noise's std, units of [0, 1]."""
        height, width = x.shape[-2:]
        step = self.spec.multiple_of
        padded = F.pad(x, (0, -width % step, 0, -height % step), mode="replicate")
        conditions = {}
        if self.spec.conditions:
            conditions["noise_level"] = torch.full((len(x), 1, 1, 1), level, device=x.device)
        denoised = self.cast(x.dtype, x.device).run(padded[:, None], **conditions)["result"]
        return denoised[..., :height, :width]


def prior_of(weights: str | Path | None = None) -> DenoisingPrior:
    """The prior of weights of the task "denoise"; by default the best of the shipped ones. Raises `WeightsError`."""
    if weights is None:
        weights = next((name for name in PRIORS if name in available()), PRIORS[-1])
    loaded = load(weights, "denoise", otherwise=WITHOUT_WEIGHTS)
    if "noise_level" not in loaded.spec.conditions:
        raise WeightsError(
            "these weights cannot be the prior of plug-and-play", where=loaded.path,
            why="their network cannot be given a noise level", fix=f"Use {', '.join(PRIORS)}",
        )  # fmt: skip
    return DenoisingPrior(loaded.net, loaded.spec, loaded.name, loaded.sha256)
