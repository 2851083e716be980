"""Frames of a photograph: sharp ones, and ones blurred along a line, as of a camera that stops now and then."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from restore.engines.deblur.adaptation.seen import Frame
from restore.physics.camera_blur import lit, photographed
from restore.physics.fourier import convolve, otf
from restore.physics.random import generator_for
from restore.physics.shake import lines, rasterised

NOISE = 1 / 255


def photograph(side: int = 256) -> Tensor:
    """3 x side x side."""
    from skimage.data import astronaut

    return torch.from_numpy(astronaut()[:side, 100 : 100 + side].copy()).permute(2, 0, 1) / 255


def blurred(x: Tensor, length: float, angle: float, seed: int = 0, noise: float = NOISE) -> Tensor:
    """C x H x W in linear light, circular."""
    yes = torch.tensor([True])
    light = lit(x[None], yes, torch.ones(1))
    psf = rasterised(lines(torch.tensor([length]), torch.tensor([angle])), 65)
    y = convolve(light, otf(psf, (x.shape[-2], x.shape[-1])))
    grain = noise * torch.randn(y.shape, generator=generator_for(seed))
    return photographed(y, yes, grain, torch.zeros(1), (...,))[0]


def clip(count: int = 12, length: float = 10.0, angle: float = math.pi / 3, side: int = 256) -> list[Frame]:
    """Every third frame is sharp; the others are blurred; the scene moves by 2 px a frame."""
    scene, frames = photograph(side), []
    for number in range(count):
        moved = scene.roll((number, 2 * number), (-2, -1))
        frames.append(Frame(blurred(moved, length if number % 3 else 0.0, angle, number), 0, number))
    return frames
