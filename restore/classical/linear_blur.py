"""How long and in which direction a picture was blurred, where it is known how it looks without (nearly).

    (length, angle) = argmin || K(length, angle) * sharp - blurred ||

over a grid, then finer around the best. K is the PSF of a straight, even motion. The sharp picture may hold up to half
of the blur still: what is taken for it may be a network's answer to the blurred one.

Source: analysis by synthesis over linear PSFs, as in Gong et al., "From motion blur to motion flow", CVPR 2017, whose
network estimates the same two numbers.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from restore.physics.fourier import convolve, otf
from restore.physics.shake import lines, rasterised

LEAST_SIDE = 96
"""px, of pictures that are fitted."""
_LENGTHS = (1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0, 18.0, 21.0, 25.0, 30.0, 36.0, 43.0, 51.0, 61.0)
_ANGLES = 18
_BORDER = 24  # px that are not compared: blur brings in what lies beyond
_LEAST_GAIN = 0.15  # by which the rest must fall for a blur to be believed
_LEAST_TEXTURE = 2e-3  # std of what is compared, of 1


class LinearBlur(NamedTuple):
    """A straight motion.

    Attributes:
        length: px.
        angle: radians, from right to down, 0 to pi: a line has no sign.
        confidence: share of the difference between sharp and blurred picture that it explains, 0..1.
    """

    length: float
    angle: float
    confidence: float


def fit_linear_blur(sharp: Tensor, blurred: Tensor) -> LinearBlur | None:
    """The motion that blurred a picture, or None: there is none to be seen, or no texture to see it in.

    Args:
        sharp, blurred: H x W each, in the light in which the blur happened, sides of `LEAST_SIDE` px or more.
    Raises:
        ValueError: they differ in size, or are smaller.
    """
    if sharp.shape != blurred.shape or sharp.ndim != 2 or min(sharp.shape) < LEAST_SIDE:
        raise ValueError(f"pictures of {tuple(sharp.shape)} and {tuple(blurred.shape)}: {LEAST_SIDE} px or more, alike")
    size = sharp.shape[0], sharp.shape[1]
    most = min(size) / 3
    lengths = tuple(length for length in _LENGTHS if length <= most)
    sharp, blurred = sharp.float(), blurred.float()
    still = _rest(sharp, blurred, lengths[-1])
    if float(_inside(blurred, lengths[-1]).std()) < _LEAST_TEXTURE or still == 0:
        return None
    best = _likeliest(sharp, blurred, lengths[1:])
    step = next(after - before for before, after in pairwise(lengths) if after >= best[0])
    spectrum = torch.fft.rfft2(sharp)
    rest = still
    for _ in range(3):
        around = [(best[0] + i * step / 2, best[1] + j * math.pi / _ANGLES / 2) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        around = [each for each in around if each[0] >= 1]
        moved = torch.fft.irfft2(spectrum * _transfers(tuple(around), size), s=size)
        rests = [_rest(each, blurred, lengths[-1]) for each in moved]
        rest = min(rests)
        best = around[rests.index(rest)]
        step /= 2
    if rest > (1 - _LEAST_GAIN) * still or best[0] <= 1.5:
        return None
    return LinearBlur(best[0], best[1] % math.pi, 1 - rest / still)


def _likeliest(sharp: Tensor, blurred: Tensor, lengths: tuple[float, ...]) -> tuple[float, float]:
    """The (length, angle) of the grid with the least rest, by the spectra of what lies in the middle."""
    height, width = sharp.shape
    taper = torch.hann_window(height)[:, None] * torch.hann_window(width)
    x, y = (torch.fft.rfft2(taper * (each - each.mean())) for each in (sharp, blurred))
    places, transfers = _bank(lengths, (height, width))
    rests = [float((transfer * x - y).abs().square().sum()) for transfer in transfers]
    return places[min(range(len(rests)), key=rests.__getitem__)]


def _rest(x: Tensor, y: Tensor, longest: float) -> float:
    """Root mean square difference where no blur up to `longest` px brings in what lies beyond the border."""
    return float(_inside(x - y, longest).square().mean().sqrt())


def _inside(x: Tensor, longest: float) -> Tensor:
    border = min(max(_BORDER, math.ceil(longest / 2) + 1), min(x.shape) // 3)
    return x[border:-border, border:-border]


@lru_cache(maxsize=2)
def _bank(lengths: tuple[float, ...], size: tuple[int, int]) -> tuple[list[tuple[float, float]], Tensor]:
    places = [(length, math.pi * i / _ANGLES) for length in lengths for i in range(_ANGLES)]
    return places, _transfers(tuple(places), size)


def _transfers(places: tuple[tuple[float, float], ...], size: tuple[int, int]) -> Tensor:
    """n x H x (W // 2 + 1), complex."""
    lengths, angles = (torch.tensor(each, dtype=torch.float32) for each in zip(*places, strict=True))
    side = 2 * (math.ceil(float(lengths.max()) / 2) + 1) + 1
    return otf(rasterised(lines(lengths, angles), side)[:, 0], size)


def blurred_along(x: Tensor, blur: LinearBlur) -> Tensor:
    """H x W, circular."""
    return convolve(x, _transfers(((blur.length, blur.angle),), (x.shape[0], x.shape[1]))[0])
