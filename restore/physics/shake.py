"""Blur of hand-held and unfocused cameras as PSFs, batched: shakes along random paths, straight lines, discs.

A shake is the picture of a point of light while the camera moves: here a path whose velocity is a drift and low-pass
noise, run through at a varying speed. Its extent is the largest width over 16 directions. Positions cannot be told
from a blurred picture, so that every path has its centroid in the middle of the PSF.

Sources of the model: Levin et al., "Understanding and evaluating blind deconvolution", CVPR 2009 (recorded shakes);
Boracchi, Foi, "Modeling the performance of image restoration from motion blur", TIP 2012 (random paths).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_STEPS = 24  # of a path's velocity
_FINE = 12  # samples between two of them
_DIRECTIONS = 16


def draw_paths(generators: Sequence[torch.Generator]) -> Tensor:
    """Random paths of extent 1 around their centroid: B x T x 2 (right, down), equal times between samples.

    Sample i comes from its own generator, on the CPU.
    """
    draws = [torch.rand(4, generator=each).tolist() for each in generators]
    noise = torch.stack([torch.randn(3, _STEPS, generator=each) for each in generators])  # B x (x, y, speed) x steps
    memory = torch.tensor([0.3 + 0.65 * first for first, *_ in draws])[:, None]  # of the velocity
    drift = torch.tensor([1.2 * second**2 for _, second, _, _ in draws])
    angle = torch.tensor([2 * math.pi * third for _, _, third, _ in draws])
    smooth = [noise[..., 0]]
    for step in range(1, _STEPS):
        smooth.append(memory * smooth[-1] + (1 - memory.square()).sqrt() * noise[..., step])
    walk = torch.stack(smooth, -1)
    velocity = walk[:, :2] + (drift * torch.stack((angle.cos(), angle.sin())))[..., None].movedim(0, 1)
    unsteady = torch.tensor([0.6 * fourth for *_, fourth in draws])[:, None, None]
    speed = (unsteady * walk[:, 2:]).exp()
    places = torch.cat([torch.zeros(len(draws), 2, 1), (velocity * speed).cumsum(-1)], -1)
    fine = torch.nn.functional.interpolate(places, _STEPS * _FINE + 1, mode="linear", align_corners=True)
    return centred_paths(fine.movedim(1, 2))


def centred_paths(paths: Tensor) -> Tensor:
    """Paths B x T x 2 moved to their centroid and scaled to an extent of 1; a path that does not move stays a point."""
    paths = paths - paths.mean(1, keepdim=True)
    return paths / extents(paths).clamp(min=1e-9)[:, None, None]


def extents(paths: Tensor) -> Tensor:
    """The largest width over 16 directions: B x T x 2 -> B."""
    angles = torch.arange(_DIRECTIONS, dtype=paths.dtype, device=paths.device) * (math.pi / _DIRECTIONS)
    along = paths @ torch.stack((angles.cos(), angles.sin()))  # B x T x directions
    return (along.amax(1) - along.amin(1)).amax(1)


def rasterised(paths: Tensor, side: int) -> Tensor:
    """PSFs of paths B x T x 2 in px from the middle (right, down): B x 1 x side x side, of sum 1, bilinear.

    What leaves the PSF is put at its border. Differentiable with respect to the paths.
    """
    middle = side // 2
    place = (paths + middle).clamp(0, side - 1 - 1e-4)
    corner = place.detach().floor()
    share = place - corner
    column, row = corner.long().unbind(-1)
    right, below = share.unbind(-1)
    psf = paths.new_zeros(len(paths), side * side)
    for rows, row_share in ((row, 1 - below), (row + 1, below)):
        for columns, column_share in ((column, 1 - right), (column + 1, right)):
            psf = psf.scatter_add(1, rows * side + columns, row_share * column_share)
    return (psf / paths.shape[1]).view(-1, 1, side, side)


def lines(lengths: Tensor, angles: Tensor) -> Tensor:
    """Straight paths: B lengths (px) and angles (radians, from right to down) -> B x T x 2."""
    place = torch.linspace(-0.5, 0.5, _STEPS * _FINE + 1, dtype=lengths.dtype, device=lengths.device)
    direction = torch.stack((angles.cos(), angles.sin()), -1)
    return place[None, :, None] * (lengths[:, None] * direction)[:, None]


def discs(radii: Tensor, side: int) -> Tensor:
    """PSFs of a lens out of focus, edges softened over a pixel: B radii (px) -> B x 1 x side x side, of sum 1.

    Radius 0 is no blur.
    """
    place = torch.arange(side, dtype=radii.dtype, device=radii.device) - side // 2
    away = torch.hypot(place[None, :], place[:, None])
    inside = (radii[:, None, None] + 0.5 - away).clamp(0, 1)
    return (inside / inside.sum((-2, -1), keepdim=True))[:, None]


def gaussians(sigmas: Tensor, side: int) -> Tensor:
    """Round Gaussian PSFs: B stds (px) -> B x 1 x side x side, of sum 1; below about 0.3 px no blur."""
    place = torch.arange(side, dtype=sigmas.dtype, device=sigmas.device) - side // 2
    profile = torch.exp(-0.5 * (place / sigmas[:, None].clamp(min=1e-3)).square())
    profile = profile / profile.sum(1, keepdim=True)
    return (profile[:, :, None] * profile[:, None, :])[:, None]
