"""A network learns from noisy pictures alone, starting from weights of the zoo, until held-out pixels say stop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from restore.data.batches import Batch
from restore.errors import ConfigError
from restore.objectives.blind_spot import BlindSpot
from restore.objectives.noisy_alone import Blind2Unblind, Neighbor2Neighbor, Noise2Void, NoisyAlone
from restore.physics.level import level_map
from restore.physics.random import generator_for

_EMA, _RISE = 0.99, 0.05
_LEAST_CROP = 32


@dataclass(frozen=True)
class FitSettings:
    """How long and how fast.

    Attributes:
        steps: at most.
        look_every: steps between looks at the held-out pixels.
        patience: looks without a better result before it stops.
        learning_rate: at most; it falls to 0.
        crop: side of the crops, px.
        batch: crops of a step.
        budget: seconds after which it ends; None: steps and held-out pixels alone decide.
    """

    steps: int = 400
    look_every: int = 50
    patience: int = 3
    learning_rate: float = 1e-4
    crop: int = 120
    batch: int = 2
    budget: float | None = None


class Fit(NamedTuple):
    """What came out.

    Attributes:
        network: the best one that was looked at, the first among them.
        steps: after which it was.
        error: its mean held-out error.
        of: steps taken in all.
        seconds: they took.
    """

    network: nn.Module
    steps: int
    error: float
    of: int
    seconds: float


class LevelTold(nn.Module):
    """A network that asks for a level map, told one noise curve: B x C x H x W -> the same.

    Args:
        curve: `restore.physics.level.KNOTS` stds over intensity, units of [0, 1].
    """

    curve: Tensor

    def __init__(self, network: nn.Module, curve: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("curve", curve, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(torch.cat([x, level_map(x, self.curve.expand(len(x), -1))], 1))


class Known(NamedTuple):
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
        crop, batch: of a step.
        multiple: of the crops' sides.
        arguments: of the network, other than those that it had.
    """

    begin: str
    objective: Callable[[nn.Module, Known], NoisyAlone]
    crop: int
    batch: int
    multiple: int
    arguments: Mapping[str, Any] = MappingProxyType({})


def _cbsn(network: nn.Module, noise: Known) -> NoisyAlone:
    return BlindSpot(network, pd=_shuffle(noise.length), weight=2.0, ramp=1)


def _ap_bsn(network: nn.Module, noise: Known) -> NoisyAlone:
    return BlindSpot(network, pd=_shuffle(noise.length), ramp=0)


def _neighbor2neighbor(network: nn.Module, noise: Known) -> NoisyAlone:
    return Neighbor2Neighbor(LevelTold(network, noise.curve), weight=1.0, ramp=1)


def _noise2void(network: nn.Module, noise: Known) -> NoisyAlone:
    return Noise2Void(LevelTold(network, noise.curve))


def _blind2unblind(network: nn.Module, noise: Known) -> NoisyAlone:
    return Blind2Unblind(LevelTold(network, noise.curve), still=160, ramp=240)


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


def crop_side(pictures: Sequence[Tensor], settings: FitSettings, multiple: int) -> int:
    """Side of the crops that fit all pictures. Raises `ConfigError` if there is nothing to learn from."""
    smallest = min(min(x.shape[-2:]) for x in pictures)
    side = min(settings.crop, smallest) // multiple * multiple
    if side < _LEAST_CROP:
        why = f"the smallest side is {smallest} px"
        fix = f"Give pictures of {_LEAST_CROP + multiple} px or more, or use --method zero-shot"
        raise ConfigError("the pictures are too small to learn from", why=why, fix=fix)
    return side


def crops(pictures: Sequence[Tensor], side: int, count: int, step: int) -> Batch:
    """Crops of pictures C x H x W as three colours, turned and mirrored, a function of `step`.

    Of pictures without three channels one channel is taken, by chance, three times: as networks are shown it.
    """
    generator = generator_for(0, step)

    def chance(count: int) -> int:
        return int(torch.randint(count, (1,), generator=generator))

    found = []
    for _ in range(count):
        x = pictures[chance(len(pictures))]
        top, left = chance(x.shape[-2] - side + 1), chance(x.shape[-1] - side + 1)
        x = x[:, top : top + side, left : left + side]
        channel = chance(len(x))
        x = x if len(x) == 3 else x[channel : channel + 1].expand(3, -1, -1)
        x = x.rot90(chance(4), (1, 2))
        found.append(x.flip(2) if chance(2) else x)
    return Batch(torch.stack(found), seed=0, step=step, first_index=0)


def learn(
    objective: NoisyAlone,
    draw: Callable[[int], Batch],
    look: Callable[[nn.Module], float],
    settings: FitSettings,
    tell: Callable[[str], None],
) -> Fit:
    """Train an objective's network and keep what did best on held-out pixels.

    Args:
        draw: the batch of a step.
        look: the held-out error of a network; of the very first too, so that learning cannot make it worse.
        tell: is told how it goes.
    """
    started = time.monotonic()
    objective.train()
    averaged = AveragedModel(objective.averaged, multi_avg_fn=get_ema_multi_avg_fn(_EMA))
    optimizer = torch.optim.Adam(objective.phases[0].parameters, settings.learning_rate)
    best = Fit(copy.deepcopy(objective.averaged), 0, look(objective.averaged), 0, 0.0)
    tell(f"before learning: held-out error {best.error:.3g}")
    step, tired = 0, 0
    while tired < settings.patience:
        done = max(step / settings.steps, (time.monotonic() - started) / (settings.budget or math.inf))
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (done + 1 / settings.steps) / _RISE) * (1 - done)
        loss = objective(draw(step), objective.phases[0].name, step + 1, generator_for(0, step))["loss"]
        if not torch.isfinite(loss):
            break  # what was good before is kept
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        averaged.update_parameters(objective.averaged)
        step += 1
        if step % settings.look_every == 0:
            error = look(averaged.module)
            tell(f"step {step} of {settings.steps}: held-out error {error:.3g}")
            tired = 0 if error < best.error else tired + 1
            if error < best.error:
                best = Fit(copy.deepcopy(averaged.module), step, error, 0, 0.0)
    return best._replace(network=best.network.eval(), of=step, seconds=time.monotonic() - started)
