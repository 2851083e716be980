"""The ways in which a denoiser can learn from noisy pictures alone, and the crops it learns from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from restore.data.batches import Batch
from restore.errors import ConfigError
from restore.models.spec import ModelSpec, spec_of
from restore.objectives.blind_spot import BlindSpot
from restore.objectives.self_supervised import Blind2Unblind, Neighbor2Neighbor, Noise2Void, SelfSupervised
from restore.physics.level import MAP_RADIUS, level_map
from restore.physics.random import generator_for

_LEAST_CROP = 32


class WithNoiseLevel(nn.Module):
    """A network that asks for a level map, given one noise curve: B x C x H x W -> the same.

    Args:
        curve: `restore.physics.level.KNOTS` stds over intensity, units of [0, 1].
    """

    curve: Tensor

    def __init__(self, network: nn.Module, curve: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("curve", curve, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x, noise_level=level_map(x, self.curve.expand(len(x), -1)))

    def spec(self) -> ModelSpec:
        """The network's, without the condition that it is given here."""
        spec = spec_of(self.network)
        return replace(spec, conditions=(), residual=False, radius=spec.radius + MAP_RADIUS)


class NoiseStats(NamedTuple):
    """What has been measured of the noise.

    Attributes:
        curve: its effective std at `restore.physics.level.KNOTS` intensities, units of [0, 1].
        length: its correlation length, px.
    """

    curve: Tensor
    length: float


class Learner(NamedTuple):
    """A way to learn from noisy pictures alone.

    Attributes:
        begin: name of the shipped weights that it goes on from.
        objective: (network, noise) -> what is minimised.
        crop, batch: of a step, px and crops.
        multiple: of the crops' sides.
        arguments: of the network, other than those that it had.
    """

    begin: str
    objective: Callable[[nn.Module, NoiseStats], SelfSupervised]
    crop: int
    batch: int
    multiple: int
    arguments: Mapping[str, Any] = MappingProxyType({})


def _cbsn(network: nn.Module, noise: NoiseStats) -> SelfSupervised:
    return BlindSpot(network, pd=_shuffle(noise.length), weight=2.0, ramp=1)


def _ap_bsn(network: nn.Module, noise: NoiseStats) -> SelfSupervised:
    return BlindSpot(network, pd=_shuffle(noise.length), ramp=0)


def _neighbor2neighbor(network: nn.Module, noise: NoiseStats) -> SelfSupervised:
    return Neighbor2Neighbor(WithNoiseLevel(network, noise.curve), weight=1.0, ramp=1)


def _noise2void(network: nn.Module, noise: NoiseStats) -> SelfSupervised:
    return Noise2Void(WithNoiseLevel(network, noise.curve))


def _blind2unblind(network: nn.Module, noise: NoiseStats) -> SelfSupervised:
    return Blind2Unblind(WithNoiseLevel(network, noise.curve), still=160, ramp=240)


def _shuffle(length: float) -> int:
    """Factor of the pixel-shuffle that takes a correlation length apart."""
    return min(max(math.ceil(2 * length), 2), 5)


LEARNERS = {
    "cbsn": Learner("cbsn", _cbsn, crop=120, batch=2, multiple=20),
    "ap-bsn": Learner("cbsn", _ap_bsn, crop=120, batch=2, multiple=20, arguments={"blind": True}),
    "neighbor2neighbor": Learner("denoise_white", _neighbor2neighbor, crop=96, batch=8, multiple=8),
    "noise2void": Learner("denoise_white", _noise2void, crop=96, batch=8, multiple=8),
    "blind2unblind": Learner("denoise_white", _blind2unblind, crop=96, batch=2, multiple=8),
}
"""By name. The first two are for noise with correlation, the others for noise without."""


def crop_side(pictures: Sequence[Tensor], most: int, multiple: int) -> int:
    """Side of crops that fit all pictures, at most `most`. Raises `ConfigError` if there is nothing to learn from."""
    smallest = min(min(x.shape[-2:]) for x in pictures)
    side = min(most, smallest) // multiple * multiple
    if side < _LEAST_CROP:
        why = f"the smallest side is {smallest} px"
        fix = f"Give pictures of {_LEAST_CROP + multiple} px or more, or use --method zero-shot"
        raise ConfigError("the pictures are too small to learn from", why=why, fix=fix)
    return side


def crops(pictures: Sequence[Tensor], side: int, count: int, step: int, seed: int = 0) -> Batch:
    """Crops of pictures C x H x W as three colours, turned and mirrored, a function of (seed, step).

    Of pictures without three channels one channel is taken, by chance, three times: as networks are given it.
    """
    generator = generator_for(seed, step)

    def chance(count: int) -> int:
        return int(torch.randint(count, (1,), generator=generator))

    patches = []
    for _ in range(count):
        x = pictures[chance(len(pictures))]
        top, left = chance(x.shape[-2] - side + 1), chance(x.shape[-1] - side + 1)
        x = x[:, top : top + side, left : left + side]
        channel = chance(len(x))
        x = x if len(x) == 3 else x[channel : channel + 1].expand(3, -1, -1)
        x = x.rot90(chance(4), (1, 2))
        patches.append(x.flip(2) if chance(2) else x)
    return Batch({"clean": torch.stack(patches)}, seed=seed, step=step, first_index=0)
