"""Exact re-arrangements of pixels between resolutions, and interpolation with a factor for every sample."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def pixel_unshuffle_batch(x: Tensor, factor: int) -> Tensor:
    """Split a picture into its ``factor``^2 phases, stacked on the batch axis (AP-BSN's PD without gutters).

    B x C x H x W -> (factor^2 B) x C x H/factor x W/factor; item (i * factor + j) * B + b is
    ``x[b, :, i::factor, j::factor]``. H and W must be multiples of ``factor``: the caller pads.
    """
    batch, channels, height, width = x.shape
    if factor < 1 or height % factor or width % factor:
        raise ValueError(f"pixel_unshuffle_batch: {height} x {width} is not a multiple of factor {factor}; pad first")
    x = x.reshape(batch, channels, height // factor, factor, width // factor, factor)
    return x.permute(3, 5, 0, 1, 2, 4).reshape(-1, channels, height // factor, width // factor)


def pixel_shuffle_batch(x: Tensor, factor: int) -> Tensor:
    """Exact inverse of :func:`pixel_unshuffle_batch`: (factor^2 B) x C x h x w -> B x C x h factor x w factor."""
    phases, channels, height, width = x.shape
    if factor < 1 or phases % (factor * factor):
        raise ValueError(f"pixel_shuffle_batch: a batch of {phases} does not hold whole sets of {factor}^2 phases")
    batch = phases // (factor * factor)
    x = x.reshape(factor, factor, batch, channels, height, width)
    return x.permute(2, 3, 4, 0, 5, 1).reshape(batch, channels, height * factor, width * factor)


def halve(x: Tensor) -> Tensor:
    """Means of 2 x 2 px, what does not fit left out: B x C x H x W -> B x C x H/2 x W/2"""
    height, width = x.shape[-2] // 2 * 2, x.shape[-1] // 2 * 2
    rows = x[..., 0:height:2, :width] + x[..., 1:height:2, :width]
    return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)


def enlarge_each(
    x: Tensor, factor: Tensor, shifts: tuple[Tensor, Tensor], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Enlarge the top left of every sample by a factor of its own, bilinearly.

    Args:
        x: B x C x h x w, with h and w above (size - 1 + shift) / factor.
        factor: B, > 0; pixel k of the result is taken from place (k + shift) / factor of ``x``.
        shifts: B each, >= 0, of rows and of columns.
        size: H, W of the result.
    Returns:
        B x C x H x W, and what became of the variance of white noise: the mean of the sums of squared weights, B.
    """
    places = []
    gain = torch.ones_like(factor)
    for length, shift in zip(size, shifts, strict=True):
        place = (torch.arange(length, device=x.device) + shift[:, None]) / factor[:, None]  # B x length
        share = place - place.floor()
        gain = gain * (share.square() + (1 - share).square()).mean(1)
        places.append(place)
    height, width = x.shape[-2:]
    rows = (2 * places[0] / (height - 1) - 1)[:, :, None].expand(-1, *size)
    columns = (2 * places[1] / (width - 1) - 1)[:, None, :].expand(-1, *size)
    grid = torch.stack((columns, rows), -1)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True), gain


ENLARGE_REACH = 2
"""Pixels around that a pixel of `enlarge` depends on."""


def enlarge(x: Tensor, factor: int) -> Tensor:
    """A picture plainly enlarged by a whole factor: bicubic (Keys, a = -0.5), the border repeated.

    B x C x H x W -> B x C x factor H x factor W. Every pixel depends on those within 2 px around it and not on where a
    tile begins, so tiles give what the whole gives.
    """
    place = (torch.arange(factor, device=x.device, dtype=torch.float32) + 0.5) / factor - 0.5  # of the phases
    taps = torch.arange(-ENLARGE_REACH, ENLARGE_REACH + 1, device=x.device)
    kernels = _keys((place[:, None] - taps).abs()).to(x.dtype)  # factor x 5
    batch, channels, height, width = x.shape
    planes = F.pad(x.flatten(0, 1)[:, None], (ENLARGE_REACH,) * 4, mode="replicate")
    rows = F.conv2d(planes, kernels[:, None, :, None]).transpose(1, 2).flatten(1, 2)[:, None]  # BC x 1 x fH x W + 4
    both = F.conv2d(rows, kernels[:, None, None, :]).movedim(1, -1).flatten(-2)  # BC x fH x fW
    return both.reshape(batch, channels, factor * height, factor * width)


def _keys(distance: Tensor) -> Tensor:
    """Keys' cubic convolution kernel, a = -0.5 (IEEE TASSP 1981)."""
    near = (1.5 * distance - 2.5) * distance.square() + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))


def draw_cells(batch: int, height: int, width: int, factor: int, generator: torch.Generator) -> Tensor:
    """One place of each factor x factor cell, uniform: B x H/factor x W/factor of numbers 0 … factor^2 - 1.

    H and W are rounded down to multiples of `factor`.
    """
    size = (batch, height // factor, width // factor)
    return torch.randint(factor * factor, size, generator=generator, device=generator.device)


def pick_cells(x: Tensor, cells: Tensor, factor: int) -> Tensor:
    """The pixel of each cell that `draw_cells` chose, all channels together:
    B x C x H x W -> B x C x H/factor x W/factor.

    Differentiable: 1 at the pixels that are picked, 0 elsewhere.
    """
    height, width = cells.shape[-2] * factor, cells.shape[-1] * factor
    phases = F.pixel_unshuffle(x[..., :height, :width], factor).unflatten(1, (x.shape[1], factor * factor))
    chosen = cells[:, None, None].expand(-1, x.shape[1], 1, -1, -1)
    return torch.gather(phases, 2, chosen)[:, :, 0]


_ADJACENT = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 3), (3, 1), (2, 3), (3, 2))


def draw_neighbours(batch: int, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two adjacent places of every 2 x 2 cell in random order, for `pick_cells`: B x H/2 x W/2 each, of 0 … 3."""
    which = torch.randint(8, (batch, height // 2, width // 2), generator=generator, device=generator.device)
    pairs = torch.tensor(_ADJACENT, device=generator.device)[which]
    return pairs[..., 0], pairs[..., 1]


class Taps(NamedTuple):
    """Where each sample of a resampled line comes from.

    Attributes:
        places: numbers of the samples it is made of, length x taps.
        weights: of each, of sum 1, length x taps, float64.
    """

    places: Tensor
    weights: Tensor


def resize_taps(length: int, to: int, *, antialias: bool = True) -> Taps:
    """Bicubic resampling of a line of `length` samples to `to` of them, as MATLAB's `imresize` does it.

    Keys' kernel, a = -0.5; where the line becomes shorter it is stretched by the same factor (`antialias`); beyond the
    ends the line goes on mirrored. Sample k lies at (k + 0.5) length / to - 0.5.
    """
    factor = to / length
    stretch = min(factor, 1.0) if antialias else 1.0
    width = 4 / stretch
    centre = (torch.arange(to, dtype=torch.float64) + 0.5) / factor - 0.5
    first = torch.floor(centre - width / 2)
    places = first[:, None] + torch.arange(math.ceil(width) + 2, dtype=torch.float64)
    weights = _keys(((centre[:, None] - places) * stretch).abs())
    weights = weights / weights.sum(1, keepdim=True)
    used = (weights != 0).any(0)
    mirrored = places[:, used].long() % (2 * length)
    return Taps(torch.where(mirrored < length, mirrored, 2 * length - 1 - mirrored), weights[:, used])


def resample_axis(x: Tensor, taps: Taps, axis: int) -> Tensor:
    """One axis of a picture through taps; memory: two more pictures of the result's size."""
    shape = [1] * x.ndim
    shape[axis] = -1
    total = torch.zeros((), dtype=x.dtype, device=x.device)
    for places, weights in zip(taps.places.T.to(x.device), taps.weights.T.to(x.device, x.dtype), strict=True):
        total = total + x.index_select(axis, places) * weights.reshape(shape)
    return total


def resize(x: Tensor, size: tuple[int, int], *, antialias: bool = True) -> Tensor:
    """A picture resampled bicubically to `size` (rows, columns), MATLAB's `imresize` to rounding: see `resize_taps`.

    B x C x H x W -> B x C x h x w. Values may leave the input's range at edges; nothing is clipped.
    """
    for axis, to in ((-2, size[0]), (-1, size[1])):
        if x.shape[axis] != to:
            x = resample_axis(x, resize_taps(x.shape[axis], to, antialias=antialias), axis)
    return x
