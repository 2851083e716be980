"""The shipped denoisers as one engine: a network for white noise and one for all other, chosen by what is measured.

White noise and the coarse noise of developed photographs pull one network apart: what is coarse may be texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from restore.analysis.value_range import find_scale
from restore.engines.measure import measure_level
from restore.engines.network import NetworkEngine, from_weights
from restore.inference.engine import Condition, Engine, EngineOptions
from restore.picture import PictureSource
from restore.zoo.resolver import available

GENERAL, WHITE = "denoise", "denoise_white"
"""Names of the shipped weights."""


def by_network(weights: str | Path | None = None, model: str | None = None) -> Engine:
    """The engine of weights, or of the shipped ones. Raises `WeightsError`."""
    if weights is not None or WHITE not in available():
        return from_weights(weights or GENERAL, model)
    return DiagnosingDenoiser(from_weights(GENERAL), from_weights(WHITE))


class DiagnosingDenoiser:
    """Shows every picture to the network for its noise.

    Args:
        general, white: networks that are told the level; of the same needs.
    """

    def __init__(self, general: NetworkEngine, white: NetworkEngine) -> None:
        self._general, self._white = general, white
        self.spec = replace(general.spec, radius=max(general.spec.radius, white.spec.radius))
        self.fingerprint = f"{general.fingerprint}, white: {white.fingerprint}"

    def cast(self, dtype: torch.dtype, device: torch.device) -> DiagnosingDenoiser:
        general, white = self._general.cast(dtype, device), self._white.cast(dtype, device)
        same = general is self._general and white is self._white
        return self if same else DiagnosingDenoiser(general, white)

    def prepare(self, sources: Sequence[PictureSource], options: EngineOptions) -> Condition:
        scale = find_scale(sources[0])
        found = measure_level(sources[0], scale, options)
        network = self._white if found.white else self._general
        decisions = {"method": f"network {network.name}", "noise": found.told}
        return Condition(scale, (found.white, found.curve), decisions)

    def __call__(self, x: Tensor, condition: Condition) -> Tensor:
        white, curve = condition.data
        return (self._white if white else self._general)(x, replace(condition, data=curve))
