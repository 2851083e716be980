"""How strong noise is, as a network receives it: a curve over intensity, and from it a map over the picture.

The level is the effective one: that of the white noise which is as strong as the noise at its strongest scale. White
noise of std s has an effective level of s; noise of std s that is correlated over some pixels is as hard to separate
from the picture as white noise of several times s, and has that level. Training knows the noise and reads the curve
off it (:func:`noise_curve`); a user's picture has it estimated (`restore.analysis.noise.NoiseModel.curve`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from restore.physics.batch import constant
from restore.physics.filters import box_mean
from restore.physics.resample import halve

KNOTS = 17  # equally spaced intensities of [0, 1] at which curves are given
MAP_RADIUS = 3  # px around a pixel that its level depends on
SCALES = (2, 4)  # px, sides of the means that show coarse noise, each twice the one before
_RIDGE = 1e-4  # against the unit range of intensities, squared


def noise_curve(noise: Tensor, clean: Tensor) -> Tensor:
    """Effective noise std over intensity, of noise that is known: a parabola for its variance, by least squares.

    noise, clean: B x C x H x W -> B x `KNOTS`, in units of [0, 1]; constant outside the intensities of the picture.
    """
    power = noise.square().mean(1).flatten(1)  # B x N
    place = _brightness(clean).flatten(1)
    centre = place.mean(1, keepdim=True)
    aside = place - centre
    squared = aside.square()
    one = torch.ones_like(centre[:, 0])
    moments = [one, aside.mean(1), squared.mean(1), (squared * aside).mean(1), squared.square().mean(1)]
    normal = torch.stack(moments, 1).unfold(1, 3, 1)  # B x 3 x 3
    right = torch.stack([power.mean(1), (power * aside).mean(1), (power * squared).mean(1)], 1)
    ridge = _RIDGE * torch.diag(constant((0.0, 1.0, 1.0), clean.device))
    fitted = torch.linalg.solve_ex(normal + ridge, right[..., None]).result  # B x 3 x 1; solve() waits for the device
    knots = torch.linspace(0, 1, KNOTS, device=clean.device).expand(len(clean), -1)
    from_centre = torch.maximum(torch.minimum(knots, place.amax(1, True)), place.amin(1, True)) - centre
    curve = fitted[:, 0] + fitted[:, 1] * from_centre + fitted[:, 2] * from_centre.square()
    mean = power.mean(1, keepdim=True)
    return (torch.maximum(curve, 0.05 * mean) * _coarseness(noise)[:, None]).sqrt()


def level_map(noisy: Tensor, curve: Tensor) -> Tensor:
    """The curve at the local brightness (mean of the channels over 7 x 7 px) of a noisy picture.

    noisy: B x C x H x W, curve: B x `KNOTS` -> B x 1 x H x W, in units of [0, 1]
    """
    place = _brightness(noisy).clamp(0, 1) * (KNOTS - 1)
    left = place.floor().clamp(max=KNOTS - 2)
    share, left = place - left, left.long().flatten(1)
    low, high = (torch.gather(curve, 1, index).view_as(place) for index in (left, left + 1))
    return torch.lerp(low, high, share)[:, None]


def _brightness(x: Tensor) -> Tensor:
    """B x C x H x W -> B x H x W, means over 7 x 7 px and the channels; at the border over what is there."""
    return box_mean(x.mean(1, keepdim=True), MAP_RADIUS)[:, 0]


def _coarseness(noise: Tensor) -> Tensor:
    """How much stronger the noise's coarse scales are than white noise's would be, as a ratio of powers >= 1: B"""
    power = noise.square().mean((1, 2, 3)).clamp(min=1e-12)
    ratios, means = [torch.ones_like(power)], noise
    for side in SCALES:
        means = halve(means)
        ratios.append(side**2 * means.square().mean((1, 2, 3)) / power)
    return torch.stack(ratios).amax(0)
