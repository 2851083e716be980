"""Random blur and noise for training deconvolution, circular: in the two regimes that INFWIDE is trained for.

    gaussian   y = k * x + n, n white, of std up to a few percent; some are clipped and rounded as files are
    low-light  y = what a dark sensor makes of k * x (`restore.physics.low_light`), lights clipped; some have
               white noise instead, as of daylight with clipped lights

PSFs come from a bank that is drawn once: camera-shake trajectories, some lines and some discs; each in one of its
eight orientations. A sample is a pure function of (seed, step, index).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from restore.physics.batch import crop_or_pad
from restore.physics.fourier import convolve, otf
from restore.physics.low_light import Sensor, add_low_light, clip_lights, draw_sensors, draw_trajectories
from restore.physics.psf import disc, motion
from restore.physics.random import generator_for

SIDE = 37  # px, of all PSFs
_LINES, _DISCS = 0.12, 0.1  # shares of the bank


@dataclass(frozen=True)
class BlurRecipe:
    """What is drawn.

    Attributes:
        regime: what noise: "gaussian", white, of std `sigma`; "low-light", that of a dark sensor.
        sigma: least and largest std of white noise, of 255; low levels are likelier.
        clipped: share of the gaussian regime that is clipped and rounded to 8 bits.
        white: share of the low-light regime that has white noise.
        bank: number of PSFs.
    """

    regime: Literal["gaussian", "low-light"] = "gaussian"
    sigma: tuple[float, float] = (0.0, 12.75)
    clipped: float = 0.5
    white: float = 0.3
    bank: int = 512

    def __post_init__(self) -> None:
        if self.regime not in ("gaussian", "low-light"):
            raise ValueError(f"the regime is gaussian or low-light, not {self.regime!r}")
        shares = 0 <= self.clipped <= 1 and 0 <= self.white <= 1
        if not (0 <= self.sigma[0] <= self.sigma[1] <= 255 and shares and self.bank >= 1):
            raise ValueError("sigma lies within 0 and 255, clipped and white within 0 and 1, bank is 1 or more")


class Blurred(NamedTuple):
    """Pictures B x C x H x W.

    Attributes:
        clean: blurred, without noise, not clipped.
        noisy: what a camera gives.
        psf: B x 1 x SIDE x SIDE, of sum 1.
    """

    clean: Tensor
    noisy: Tensor
    psf: Tensor


def draw_bank(count: int, seed: int = 0) -> Tensor:
    """count x 1 x SIDE x SIDE PSFs of sum 1."""
    generator = generator_for(seed, count)
    lines, discs = int(_LINES * count), int(_DISCS * count)
    chance = torch.rand(2, lines, generator=generator)
    drawn = [motion(2 + 33 * float(length), 180 * float(angle)) for length, angle in chance.T]
    drawn += [disc(0.7 + 8 * float(u)) for u in torch.rand(discs, generator=generator)]
    padded = [crop_or_pad(psf, (SIDE, SIDE)) for psf in drawn]
    normalised = [(psf / psf.sum())[None, None] for psf in padded]
    return torch.cat([draw_trajectories(count - lines - discs, generator, SIDE), *normalised])


def blur(x: Tensor, recipe: BlurRecipe, bank: Tensor, seed: int, step: int, first: int) -> Blurred:
    """Blurred versions of clean pictures B x 3 x H x W in [0, 1], sides of at least SIDE px.

    Args:
        bank: of `draw_bank`.
        first: number of the first sample; sample i is a function of (seed, step, first + i).
    """
    generators = (generator_for(seed, step, first + i) for i in range(len(x)))
    samples = [_blur_one(each[None], recipe, bank, stream) for each, stream in zip(x, generators, strict=True)]
    return Blurred(*(torch.cat(parts) for parts in zip(*samples, strict=True)))


def _blur_one(x: Tensor, recipe: BlurRecipe, bank: Tensor, generator: torch.Generator) -> Blurred:
    which, turns = (int(torch.randint(n, (), generator=generator)) for n in (len(bank), 8))
    psf = torch.rot90(bank[which : which + 1], turns % 4, (-2, -1))
    psf = (psf.flip(-1) if turns >= 4 else psf).to(x.device)
    clean = convolve(x, otf(psf, (x.shape[-2], x.shape[-1])))
    dark = recipe.regime == "low-light"
    level, choice = torch.rand(2, generator=generator).tolist()
    stream = _generator_on(x.device, generator)
    if dark and choice >= recipe.white:
        sensor = Sensor(*(each.to(x.device) for each in draw_sensors(1, generator)))
        return Blurred(clean, clip_lights(add_low_light(clean, sensor, stream)), psf)
    low, high = recipe.sigma
    sigma = (low + (high - low) * math.pow(level, 1.5)) / 255
    noisy = clean + sigma * torch.randn(x.shape, generator=stream, device=x.device)
    if dark:
        noisy = clip_lights(noisy)
    elif choice < recipe.clipped:
        noisy = (noisy.clamp(0, 1) * 255).round() / 255
    return Blurred(clean, noisy, psf)


def _generator_on(device: torch.device, generator: torch.Generator) -> torch.Generator:
    """A generator on the device that goes on from one on the CPU."""
    if device.type == "cpu":
        return generator
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=generator)))
