"""Denoising by a network that is always blind: AP-BSN's pixel-shuffle by 2 and random replacing refinement (R3).

    z     the blind network on the phases of a pixel-shuffle by 2
    R3    mean over t = 1 ... 8 of the blind network on z, with 16 % of its samples replaced by the noisy ones

Source: Lee, Son, Lee, "AP-BSN: Self-Supervised Denoising for Real-World Images via Asymmetric PD and Blind-Spot
Network", CVPR 2022, https://arxiv.org/abs/2203.11799. Difference: which samples are replaced is drawn from the pixels'
own values, not from a generator, so that tiles of any size give the same picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.engines.network import NetworkEngine
from restore.inference.engine import Condition, EngineOptions
from restore.physics.resample import pixel_shuffle_batch, pixel_unshuffle_batch
from restore.picture import PictureSource

PD, PASSES, SHARE = 2, 8, 0.16
_LEVELS, _RANGE = 1 << 16, 1 << 32


class ApBsnEngine:
    """See the module's text.

    Args:
        network: the engine of a blind network, which is shown whole pictures' channels of mean 0 and std 1.
    """

    def __init__(self, network: NetworkEngine) -> None:
        self._network = network
        self.fingerprint = f"ap-bsn: {network.fingerprint}"
        radius = network.spec.radius
        self.spec = replace(network.spec, multiple_of=PD, min_size=PD, radius=PD * (radius + 1) - 1 + radius)

    def cast(self, dtype: torch.dtype, device: torch.device) -> ApBsnEngine:
        network = self._network.cast(dtype, device)
        return self if network is self._network else ApBsnEngine(network)

    def prepare(self, sources: Sequence[PictureSource], options: EngineOptions) -> Condition:
        condition = self._network.prepare(sources, options)
        method = f"{condition.decisions['method']}, blind: pixel-shuffle {PD} and {PASSES} refinements"
        return replace(condition, decisions=condition.decisions | {"method": method})

    def __call__(self, x: Tensor, condition: Condition) -> Tensor:
        """B x 1 x C x H x W unit values, H and W even -> the same."""
        phases = pixel_unshuffle_batch(x[:, 0], PD)[:, None]
        first = pixel_shuffle_batch(self._network(phases, condition)[:, 0], PD)[:, None]
        refined = [self._network(torch.where(drawn(x, number, SHARE), x, first), condition) for number in range(PASSES)]
        return torch.stack(refined).mean(0)


def drawn(x: Tensor, number: int, share: float) -> Tensor:
    """A share of the samples, by chance from the samples' values and those of their neighbours: bool, like x."""
    codes = (x.clamp(-1, 2) * _LEVELS).round().long() + _LEVELS
    wide = F.pad(codes.flatten(0, -3).float(), (1, 1, 1, 1), mode="replicate").long().unflatten(0, x.shape[:-2])
    mixed = codes + number * 1_000_003
    for row, column in ((0, 1), (1, 0), (2, 1), (1, 2)):
        mixed = _mixed(mixed) + wide[..., row : row + x.shape[-2], column : column + x.shape[-1]]
    return _mixed(mixed) < share * _RANGE


def _mixed(x: Tensor) -> Tensor:
    """A 32-bit integer hash, elementwise."""
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) % _RANGE
    return x ^ (x >> 16)
