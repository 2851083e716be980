"""Noise, batched on the device: its kinds as functions; random mixtures of them are in `noise_mixture`.

All pictures are B x C x H x W (C = 1 or 3) with values in [0, 1]; parameters are tensors of shape B on the same
device; random fields come from generators of `restore.physics.random`. The functions neither clip nor round:
what files do to noise is :func:`quantise`. The scene is always kept: demosaicing, resizing and blurring act on
the noise alone (they are linear), so that the clean input is the truth to learn and to measure against.
"""

from __future__ import annotations

import torch
from torch import Tensor

from restore.physics.batch import per_sample
from restore.physics.dct import dct_matrix
from restore.physics.filters import filter_each
from restore.physics.random import Generators, RowSeeds, normal, poisson, uniform
from restore.physics.resample import enlarge_each


def add_gaussian(x: Tensor, sigma: Tensor, generators: Generators) -> Tensor:
    """White Gaussian noise of std ``sigma`` (B, in [0, 1] units)."""
    return x + per_sample(sigma) * normal(x.shape, generators, x.device)


def add_poisson(x: Tensor, photons: Tensor, generators: Generators) -> Tensor:
    """Shot noise: counts of mean ``photons * x``, divided by ``photons`` (B, > 0); variance x / photons."""
    photons = per_sample(photons)
    return poisson(x.clamp(min=0) * photons, generators) / photons


def add_speckle(x: Tensor, sigma: Tensor, generators: Generators) -> Tensor:
    """Multiplicative noise x (1 + n), n Gaussian of std ``sigma`` (B); variance (sigma x)^2."""
    return x + x * per_sample(sigma) * normal(x.shape, generators, x.device)


def add_salt_pepper(x: Tensor, share: Tensor, generators: Generators) -> Tensor:
    """Impulses: every sample becomes 0 or 1 with probability ``share / 2`` each (B, 0 to 1)."""
    place, share = uniform(x.shape, generators, x.device), per_sample(share)
    return x.masked_fill(place > 1 - share / 2, 1.0).masked_fill_(place < share / 2, 0.0)


def add_correlated(
    x: Tensor, sigma: Tensor, generators: Generators, kernels: Tensor, dependence: Tensor | None = None
) -> Tensor:
    """Gaussian noise of std ``sigma`` (B, in [0, 1] units), correlated by the kernels, optionally signal dependent.

    Args:
        kernels: B x k x k, k odd, of any sum: the noise is rescaled to its level.
        dependence: B, 0 (none) to 1: the variance is sigma^2 (1 + dependence (2 x - 1)), as of a sensor's
            Poisson-Gaussian noise; its mean over all intensities is sigma^2.
    """
    margin = kernels.shape[-1] // 2
    batch, channels, height, width = x.shape
    white = normal((batch, channels, height + 2 * margin, width + 2 * margin), generators, x.device)
    noise = filter_each(white, kernels / kernels.square().sum((1, 2), keepdim=True).sqrt())
    level = per_sample(sigma)
    if dependence is not None:
        level = level * (1 + per_sample(dependence) * (2 * x - 1)).clamp(min=0).sqrt()
    return x + level * noise


def add_developed(
    x: Tensor, level: Tensor, generators: Generators, luma: Tensor, chroma: Tensor, share: Tensor, dependence: Tensor
) -> Tensor:
    """Noise as developed photographs have it: that of chroma coarser than that of luma, since cameras smooth it more.

    Independent Gaussian noise of luma and of two colour differences (the rows of `dct_matrix(C)`), each with its own
    kernel of sum 1, so that `level` is that of the white noise which is as strong at coarse scales.

    Args:
        x: B x C x H x W.
        level: B, std of luma noise before its kernel, in [0, 1] units.
        luma, chroma: kernels, B x k x k, k odd, of sum 1.
        share: B, std of chroma noise before its kernel, as a factor of that of luma.
        dependence: B, on the signal, -1 (strongest in the dark) to 1: as in `add_correlated`.
    """
    batch, channels, height, width = x.shape
    margin = luma.shape[-1] // 2
    white = normal((batch, channels, height + 2 * margin, width + 2 * margin), generators, x.device)
    planes = [filter_each(white[:, :1], luma)]
    if channels > 1:
        planes.append(per_sample(share) * filter_each(white[:, 1:], chroma))
    noise = torch.einsum("oc,nohw->nchw", dct_matrix(channels).to(x), torch.cat(planes, 1))
    return x + per_sample(level) * (1 + per_sample(dependence) * (2 * x - 1)).clamp(min=0).sqrt() * noise


def add_grain(x: Tensor, level: Tensor, generators: Generators, kernels: Tensor) -> Tensor:
    """Grain of film: alike in all colours, strongest in the middle tones, none in black and white.

    Args:
        x: B x C x H x W.
        level: B, std before its kernel in the middle tones, in [0, 1] units.
        kernels: B x k x k, k odd, of sum 1.
    """
    margin = kernels.shape[-1] // 2
    batch, _, height, width = x.shape
    noise = filter_each(normal((batch, 1, height + 2 * margin, width + 2 * margin), generators, x.device), kernels)
    tone = x.mean(1, keepdim=True).clamp(0, 1)
    return x + per_sample(level) * 2 * (tone * (1 - tone)).sqrt() * noise


def add_resized(x: Tensor, sigma: Tensor, generators: Generators, factor: Tensor, shift: Tensor) -> Tensor:
    """White noise of a picture that was made ``factor`` times larger, bilinearly; rescaled to std ``sigma``.

    Args:
        sigma: B, root mean square over the picture (it beats with the grid), in [0, 1] units.
        factor: B, >= 1; 1 is white.
        shift: B, 0 to 1: where the first pixel falls between two of the smaller picture.
    """
    batch, channels, height, width = x.shape
    if isinstance(generators, RowSeeds):
        noise, gain = _enlarged_rows(x, generators, float(factor), float(shift))
    else:
        white = normal((batch, channels, height + 2, width + 2), generators, x.device)
        noise, gain = enlarge_each(white, factor, (shift, shift), (height, width))
    return x + per_sample(sigma / gain.sqrt()) * noise


def _enlarged_rows(x: Tensor, seeds: RowSeeds, factor: float, shift: float) -> tuple[Tensor, Tensor]:
    """As `enlarge_each` of white noise, for a band of one picture: every row is a function of its number alone."""
    sides = seeds.height or seeds.first + x.shape[-2], x.shape[-1]
    down, across = ((torch.arange(side, dtype=torch.float64) + shift) / factor for side in sides)
    gain = torch.ones(1)
    for share in (down.frac(), across.frac()):
        gain = gain * (share.square() + (1 - share).square()).mean().float()
    down = down[seeds.first : seeds.first + x.shape[-2]]
    first = int(down[0])
    size = int(down[-1]) - first + 2, int(across[-1]) + 2
    white = normal((*x.shape[:2], *size), RowSeeds(seeds.seed, first), x.device)
    wide = _between(white.mT, across).mT
    return _between(wide, down - first), gain.to(x.device)


def _between(x: Tensor, places: Tensor) -> Tensor:
    """Rows at fractional places, by linear interpolation: ... x h x W -> ... x len(places) x W."""
    above = places.long().to(x.device)
    share = places.frac().float().to(x.device)[:, None]
    return torch.lerp(x[..., above, :], x[..., above + 1, :], share)


def quantise(x: Tensor, bits: int = 8) -> Tensor:
    """Clip to [0, 1] and round to the 2^bits - 1 steps of an integer file."""
    top = float(2**bits - 1)
    return (x.clamp(0, 1) * top).round_().div_(top)
