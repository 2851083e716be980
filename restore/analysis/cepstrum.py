"""Straight motion and defocus, read off the cepstrum of a blurred picture.

The spectrum of a line has zeros at even distances across it, that of a disc rings of zeros; in the cepstrum (the
inverse transform of the log power spectrum) they become a negative peak at the line's length and direction (Cannon,
IEEE TASSP 1976), or a negative ring at 1.92 radii.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.physics.filters import filter_each, gaussian_kernels

_PATCH = 256
_SMOOTH = 0.7  # px
_LINE = (5.0, 60.0)  # px, distances searched
_RING = (5.0, 40.0)
_RADIUS_OF_RING = 0.52


class Line(NamedTuple):
    """Length in px, angle in degrees counter-clockwise from the right (0 to 180), and how far the peak stands out, in
    standard deviations of what is around it."""

    length: float
    angle: float
    confidence: float


class Disc(NamedTuple):
    """Radius in px, and how far the ring stands out, as for `Line`."""

    radius: float
    confidence: float


def cepstrum(picture: Tensor) -> Tensor:
    """Mean cepstrum of overlapping patches of a picture H x W: n x n, its origin in the middle."""
    side = min(_PATCH, *picture.shape)
    window = torch.hann_window(side, dtype=picture.dtype, device=picture.device)
    patches = picture.unfold(0, side, max(1, side // 2)).unfold(1, side, max(1, side // 2)).flatten(0, 1)
    patches = (patches - patches.mean((1, 2), keepdim=True)) * window[:, None] * window
    power = torch.fft.rfft2(patches).abs().square().add(1e-8).log().mean(0)
    ceps = torch.fft.fftshift(torch.fft.irfft2(power, s=(side, side)))[None, None]
    kernel = gaussian_kernels(*(ceps.new_tensor([value]) for value in (_SMOOTH, 1.0, 0.0)))
    return filter_each(F.pad(ceps, (3,) * 4, mode="replicate"), kernel)[0, 0]


def find_line(picture: Tensor) -> Line:
    """The straight motion that a blurred picture H x W shows best; its samples span one pixel less than its length."""
    ceps = cepstrum(picture.double())
    distance = _distance(ceps)
    ring = (distance >= _LINE[0]) & (distance <= min(_LINE[1], ceps.shape[0] / 2 - 2))
    place = torch.where(ring, ceps, torch.inf).argmin()
    row, column = divmod(int(place), ceps.shape[1])
    down = row - ceps.shape[0] // 2 + _vertex(ceps[row - 1 : row + 2, column])
    right = column - ceps.shape[1] // 2 + _vertex(ceps[row, column - 1 : column + 2])
    values = ceps[ring]
    confidence = float((values.mean() - ceps[row, column]) / values.std().clamp(min=1e-12))
    return Line(math.hypot(down, right) + 1, math.degrees(math.atan2(-down, right)) % 180, confidence)


def find_disc(picture: Tensor) -> Disc:
    """The defocus that a blurred picture H x W shows best."""
    ceps = cepstrum(picture.double())
    distance = _distance(ceps)
    last = int(min(_RING[1], ceps.shape[0] / 2 - 2))
    near = distance.round().long().flatten()
    count = torch.bincount(near)[: last + 2]
    profile = torch.bincount(near, ceps.flatten())[: last + 2] / count
    low = max(int(_RING[0]), 2)
    radius = low + int(profile[low : last + 1].argmin())
    sigma = ceps[(distance >= low) & (distance <= last)].std() / count[radius].sqrt()
    around = profile[low : last + 1].median()
    place = radius + _vertex(profile[radius - 1 : radius + 2])
    return Disc(_RADIUS_OF_RING * place, float((around - profile[radius]) / sigma.clamp(min=1e-12)))


def _distance(x: Tensor) -> Tensor:
    rows, columns = (torch.arange(side, dtype=x.dtype, device=x.device) - side // 2 for side in x.shape)
    return torch.hypot(rows[:, None], columns)


def _vertex(three: Tensor) -> float:
    """Where a parabola through three values, the middle one lowest, has its lowest place: -0.5 to 0.5."""
    left, middle, right = three.tolist()
    bend = left - 2 * middle + right
    return 0.5 * (left - right) / bend if bend > 0 else 0.0
