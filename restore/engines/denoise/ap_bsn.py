"""Denoising by a network that is always blind: AP-BSN's pixel-shuffle by 2 and random replacing refinement (R3).

    z     the blind network on the phases of a pixel-shuffle by 2
    R3    mean over t = 1 ... 8 of the blind network on z, with 16 % of its samples replaced by the noisy ones

Source: Lee, Son, Lee, "AP-BSN: Self-Supervised Denoising for Real-World Images via Asymmetric PD and Blind-Spot
Network", CVPR 2022, https://arxiv.org/abs/2203.11799. Which samples are replaced is a function of the seed and of their
place in the picture, so that tiles of any size give the same picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from restore.engines.network import NetworkEngine
from restore.inference.engine import Condition, EngineOptions, Outputs, Place
from restore.physics.random import hashed_field
from restore.physics.resample import pixel_shuffle_batch, pixel_unshuffle_batch
from restore.picture import PictureSource

PD, PASSES, SHARE = 2, 8, 0.16


class ApBsnEngine:
    """A blind network on phases, then refined.

    Args:
        network: the engine of a blind network, which is given whole pictures' channels of mean 0 and std 1.
    """

    def __init__(self, network: NetworkEngine) -> None:
        self._network = network
        self.fingerprint = f"ap-bsn: {network.fingerprint}"
        radius = network.spec.radius
        self.spec = replace(network.spec, multiple_of=PD, min_size=PD, radius=PD * (radius + 1) - 1 + radius)

    def cast(self, dtype: torch.dtype, device: torch.device) -> ApBsnEngine:
        return ApBsnEngine(self._network.cast(dtype, device))

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        condition = self._network.prepare(sources, options)
        method = f"{condition.decisions['method']}, blind: pixel-shuffle {PD} and {PASSES} refinements"
        data = condition.data, options.seed or 0
        return replace(condition, data=data, decisions=condition.decisions | {"method": method})

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        """B x 1 x C x H x W unit values, H and W even -> B x C x H x W."""
        inner, seed = condition.data
        inner = replace(condition, data=inner)
        phases = pixel_unshuffle_batch(x[:, 0], PD)[:, None]
        first = pixel_shuffle_batch(self._denoised(phases, inner, places), PD)
        refined = []
        for number in range(PASSES):
            mixed = torch.where(replacement_mask(x[:, 0], places, seed, number, SHARE), x[:, 0], first)
            refined.append(self._denoised(mixed[:, None], inner, places))
        return {"result": torch.stack(refined).mean(0)}

    def _denoised(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Tensor:
        return self._network(x, condition, places)["result"]


def replacement_mask(x: Tensor, places: Sequence[Place], seed: int, number: int, share: float) -> Tensor:
    """A share of the samples of tiles B x C x H x W, by chance and by their place in the picture: bool, like x."""
    fields = [hashed_field(x.shape[1:], (place.top, place.left), x.device, seed, number) for place in places]
    return torch.stack(fields) < share
