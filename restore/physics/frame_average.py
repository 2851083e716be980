"""Blur of a camera as the average of sharp frames of a fast clip, with the noise of a single frame put back, batched.

    y = N( C( mean_t S(x_t) ) )

S to linear light (for most samples; gamma-encoded values for the others), lights above white raised by a random factor;
C clipping and back to sRGB. An average of frames has less noise than each of them, which would teach a network that
what is blurred is clean: N adds white noise of variance s^2 - r^2, s^2 that of the middle frame's noise, r^2 what is
left of it in the average.

Sources: Nah et al., "Deep multi-scale convolutional neural network for dynamic scene deblurring", CVPR 2017 (averages);
Rim et al., "Realistic blur synthesis for learning image deblurring", ECCV 2022 (light, saturation, noise).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from restore.physics.batch import per_sample
from restore.physics.blur_kernels import Range, check_range, check_share
from restore.physics.blurred_noise import blurred_noises
from restore.physics.color import linear_to_srgb, srgb_to_linear
from restore.physics.random import generator_for, normal

_BRIGHT = 0.97  # sRGB value from which a light may have been brighter than white
_CLIPPED = (0.01, 0.99)


@dataclass(frozen=True)
class FrameAverageRecipe:
    """What is drawn. Ranges are (lowest, highest).

    Attributes:
        linear: share averaged in linear light.
        lights: factor of what is at white before the average, in linear light; (1, 1): none.
        noise: whether the noise of a single frame is put back.
    """

    linear: float = 0.75
    lights: Range = (1.0, 3.0)
    noise: bool = True

    def __post_init__(self) -> None:
        check_share("linear", self.linear)
        check_range("lights", self.lights, 1.0, 100.0)


class FrameAveraged(NamedTuple):
    """Pictures B x C x H x W.

    Attributes:
        blurred: the average, clipped to [0, 1].
        middle: the frame in the middle, as it was.
        added: B, std of the noise that was put back, units of [0, 1].
        linear: B, whether the average was in linear light.
    """

    blurred: Tensor
    middle: Tensor
    added: Tensor
    linear: Tensor


def average_frames(frames: Tensor, recipe: FrameAverageRecipe, seed: int, step: int, first: int) -> FrameAveraged:
    """Averages of frames B x T x C x H x W in [0, 1], T odd, sides of at least 3 px.

    Args:
        first: number of the first sample; sample i is a function of (seed, step, first + i).
    Raises:
        ValueError: an even number of frames, which have no middle.
    """
    if frames.ndim != 5 or frames.shape[1] % 2 == 0:
        raise ValueError(f"frames are {tuple(frames.shape)}: B x T x C x H x W with an odd T")
    chances = torch.stack([torch.rand(2, generator=generator_for(seed, step, first + i)) for i in range(len(frames))])
    linear = (chances[:, 0] < recipe.linear).to(frames.device)
    least, most = recipe.lights
    lights = (least + (most - least) * chances[:, 1]).to(frames)
    middle = frames[:, frames.shape[1] // 2]
    total = torch.zeros_like(middle)
    for frame in frames.unbind(1):
        light = srgb_to_linear(frame)
        light = torch.where(frame > _BRIGHT, light * per_sample(lights), light)
        total = total + torch.where(per_sample(linear), light, frame)
    mean = (total / frames.shape[1]).clamp(0, 1)
    y = torch.where(per_sample(linear), linear_to_srgb(mean), mean)
    added = torch.zeros_like(lights)
    if recipe.noise and frames.shape[1] > 1:
        added = (frame_noises(frames).square() - blurred_noises(y).square()).clamp(min=0).sqrt()
        generators = [generator_for(seed, step, first + i, 1) for i in range(len(frames))]
        field = normal(y.shape, generators, torch.device("cpu")).to(y)
        y = (y + per_sample(added) * field).clamp(0, 1)
    return FrameAveraged(y, middle, added, linear)


def frame_noises(frames: Tensor) -> Tensor:
    """Std of the white noise of frames B x T x C x H x W (T of at least 2), in units of their values: B.

    Texture passes for noise in a frame, and motion in the difference of two: the least of the middle frame's own
    finest differences (`blurred_noises`), and those of what changes from it to the frames beside, is taken.
    """
    place = frames.shape[1] // 2
    middle = frames[:, place]
    measured = [blurred_noises(middle)]
    for other in (place - 1, place + 1):
        if 0 <= other < frames.shape[1]:
            clipped = [(x <= _CLIPPED[0]) | (x >= _CLIPPED[1]) for x in (middle, frames[:, other])]
            change = 0.5 + (middle - frames[:, other]) / math.sqrt(2)  # around grey: what is near 0 counts as clipped
            measured.append(blurred_noises(change.masked_fill(clipped[0] | clipped[1], torch.nan)))
    return torch.stack(measured).amin(0)
