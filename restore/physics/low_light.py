"""Low light: a CMOS sensor's noise and clipping, and camera-shake PSFs, as INFWIDE trains on them.

Source: Zhang, Cheng, Suo, Bian, Dai, TIP 2023, https://arxiv.org/abs/2207.08201. In 8-bit numbers, for a picture B in
[0, 1] and a total gain k = 6 kd:

    electrons  255 B / k (red, blue), 2 * 255 B / k (green); gain g = 6, and 3 for green
    s = g beta_row (Poisson(electrons) + max(Poisson(dark) - dark, 0) + N(0, read^2)),  beta_row ~ N(1, banding^2)
    salt (255) with probability 1e-5 g, pepper (0) with 1e-6 g;  DN = trunc(clip(trunc(s) kd, 0, 255))
    y = min(1.2 DN / 255, 1) / 1.2                       lights beyond 0.833 are clipped
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.physics.batch import constant, crop_or_pad, per_sample
from restore.physics.filters import gaussian_taps

HEADROOM = 1.2
_ANALOGUE = 6.0
_GREENS = (1.0, 2.0, 1.0)  # pixels of each colour in a Bayer cell
_SALT, _PEPPER = 1e-5, 1e-6
_STEPS = 250


class Sensor(NamedTuple):
    """A sensor's settings, one for each picture: B values each.

    Attributes:
        gain: total gain k, digital numbers of 255 an electron, 4 to 16.
        banding: std of the rows' gains.
        read: std of the read noise, electrons.
        dark: mean of the dark current, electrons.
    """

    gain: Tensor
    banding: Tensor
    read: Tensor
    dark: Tensor


def draw_sensors(count: int, generator: torch.Generator) -> Sensor:
    """Random sensors as in the paper, on the CPU."""
    chance = torch.rand(4, count, generator=generator)
    return Sensor((4 + 12 * chance[0]).floor(), 0.01 + 0.02 * chance[1], 0.5 + 3.5 * chance[2], 2 + 6 * chance[3])


def add_low_light(x: Tensor, sensor: Sensor, generator: torch.Generator) -> Tensor:
    """RGB pictures as a sensor records them, B x 3 x H x W in [0, 1]: the same shape, 8-bit values, not yet clipped by
    `clip_lights`."""
    greens = constant(_GREENS, x.device).view(1, 3, 1, 1)
    gain, banding, read, dark = (per_sample(each) for each in sensor)
    analogue = _ANALOGUE / greens
    electrons = 255 * x.clamp(min=0) * greens / gain
    rows = 1 + banding * _normal(x[..., :1], generator)
    current = (torch.poisson(dark.expand_as(x), generator=generator) - dark).clamp_(min=0)
    signal = torch.poisson(electrons, generator=generator) + current + read * _normal(x, generator)
    signal = analogue * rows * signal
    place = torch.rand(x.shape, generator=generator, device=x.device)
    signal = torch.where(place < _SALT * analogue, 255.0, signal)
    signal = torch.where(place > 1 - _PEPPER * analogue, 0.0, signal)
    return (signal.trunc() * (gain / _ANALOGUE)).clamp(0, 255).trunc() / 255


def clip_lights(x: Tensor) -> Tensor:
    """min(1.2 x, 1) / 1.2: a restored picture may be a fifth brighter than what the sensor could hold."""
    return (HEADROOM * x).clamp(0, 1) / HEADROOM


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device)


def draw_trajectories(count: int, generator: torch.Generator, side: int = 37) -> Tensor:
    """PSFs of camera shake, random walks that drift and turn: count x 1 x side x side, of sum 1 each."""
    paths = _walks(count, generator)[..., :2]
    return torch.stack([_rasterised(path, generator, side) for path in paths])[:, None]


def _rasterised(path: Tensor, generator: torch.Generator, side: int) -> Tensor:
    """The picture, side x side, of a path: steps x 2."""
    extent = _odd(min(5 - math.log(max(_chance(generator), 1e-9)) / 0.15, 27.0, float(side)))
    low, high = path.amin(0), path.amax(0)
    cell = ((path - low) / (high - low).clamp(min=1e-9) * extent).long().clamp(max=extent - 1)
    psf = torch.zeros(extent * extent).index_add_(0, cell[:, 0] * extent + cell[:, 1], torch.ones(len(cell)))
    tap = math.exp(-0.25)  # a 2 x 2 Gaussian of sigma 1: exp(-0.5 (0.5^2 + 0.5^2)) in each corner, all alike
    psf = F.conv2d(psf.view(1, 1, extent, extent), torch.full((1, 1, 2, 2), tap), padding=1)[..., :extent, :extent]
    psf = crop_or_pad(psf[0, 0], (side, side))
    if _chance(generator) < 0.25:
        psf = _stretched(psf, generator)
    if float(psf.sum()) < 0.1 * float(tap):
        line = gaussian_taps(side, 0.1 + 6 * _chance(generator)).float()
        psf = torch.outer(line, line)
    return psf / psf.sum()


def _walks(count: int, generator: torch.Generator) -> Tensor:
    """Random walks in space whose direction turns: count x steps x 3."""
    turns, kicks = torch.randn(2, _STEPS, count, 3, generator=generator)
    turn, velocity = torch.zeros(count, 3), torch.randn(count, 3, generator=generator)
    place, places = torch.zeros(count, 3), []
    for t in range(_STEPS):
        turn = turn + 2 * math.pi / _STEPS * (turns[t] / (t + 1) + turn)
        velocity = velocity + kicks[t] / (t + 1)
        place = place + (_rotations(turn) @ velocity[..., None])[..., 0]
        places.append(place)
    return torch.stack(places, 1)


def _rotations(angles: Tensor) -> Tensor:
    """Rz Ry Rx of angles n x 3: n x 3 x 3"""
    (a, b, c), (d, e, f) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    one, zero = torch.ones_like(a), torch.zeros_like(a)

    def matrices(*entries: Tensor) -> Tensor:
        return torch.stack(entries, -1).unflatten(-1, (3, 3))

    x = matrices(one, zero, zero, zero, a, -d, zero, d, a)
    y = matrices(b, zero, e, zero, one, zero, -e, zero, b)
    z = matrices(c, -f, zero, f, c, zero, zero, zero, one)
    return z @ y @ x


def _stretched(psf: Tensor, generator: torch.Generator) -> Tensor:
    """Each axis enlarged by a whole factor of 1 to 5, the middle kept."""
    side = psf.shape[0]
    factors = torch.randint(1, 6, (2,), generator=generator).tolist()
    wide = F.interpolate(psf[None, None], (side * factors[0], side * factors[1]), mode="bilinear")[0, 0]
    return crop_or_pad(wide, (side, side))


def _odd(value: float) -> int:
    return max(3, round(value) // 2 * 2 + 1)


def _chance(generator: torch.Generator) -> float:
    return float(torch.rand(1, generator=generator))
