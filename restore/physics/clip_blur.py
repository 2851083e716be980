"""Consecutive frames as a moving camera takes them, batched: all of one path, each blurred by its own part of it.

    y_k = JPEG( round( N_k( C( mean over the exposure of S(x moved by p(t)) ) ) ) ),  k - e/2 <= t <= k + e/2

k counts the frames from the middle one, e is the share of the time between two frames that the shutter is open; p is a
random path with p(0) = 0, so that the truth of the middle frame is x itself. S, C and N are those of
`restore.physics.camera_blur`; noise is drawn for each frame by itself. In some samples what is near moves farther: the
path is multiplied by a smooth field. Beyond the border the scene goes on around its edges (with a field: mirrored), and
a margin is cut off.

A sample is a pure function of (seed, step, index).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from restore.physics.batch import per_sample
from restore.physics.blur_field import DisplacementBlur, draw_fields, field_at
from restore.physics.blur_kernels import Range, between, check_range, check_share
from restore.physics.camera_blur import lit, photographed
from restore.physics.fourier import convolve, otf
from restore.physics.random import generator_for, normal
from restore.physics.shake import draw_paths, extents, rasterised

_MOMENTS = 33  # of an exposure
_NEARER = 0.5  # what is nearest moves so much farther than the middle, what is farthest so much less
_FIELDS, _NOISE = 1, 2  # counters of generators


@dataclass(frozen=True)
class ClipBlurRecipe:
    """What is drawn. Ranges are (lowest, highest).

    Attributes:
        frames: consecutive ones, odd.
        length: extent of the path in the middle frame's exposure, px.
        power: lengths are `low + (high - low) u^power` for a uniform u.
        still: share of samples in which nothing moves.
        exposure: share of the time between two frames that the shutter is open.
        depth: share of samples in which the motion differs over the picture.
        reach: farthest from its place that anything is in any frame, px: longer paths are made smaller.
        linear: share blurred in linear light.
        lights: factor of what is at white before the blur, drawn for a quarter of those in linear light.
        noise: std, 8-bit units (0..255).
        jpeg: share that is compressed.
        quality: of the compression.
    """

    frames: int = 3
    length: Range = (0.5, 16.0)
    power: float = 1.5
    still: float = 0.1
    exposure: Range = (0.3, 1.0)
    depth: float = 0.25
    reach: int = 32
    linear: float = 0.85
    lights: Range = (1.0, 3.0)
    noise: Range = (0.0, 3.0)
    jpeg: float = 0.3
    quality: Range = (80.0, 97.0)

    def __post_init__(self) -> None:
        if self.frames < 1 or self.frames % 2 == 0:
            raise ValueError(f"frames is {self.frames}: an odd number, of which the middle one is the truth")
        if not 4 <= self.reach <= 200:
            raise ValueError(f"reach is {self.reach}: 4 to 200 px")
        if not 0 < self.power <= 10:
            raise ValueError(f"power is {self.power}: a number above 0, up to 10")
        for name in ("still", "depth", "linear", "jpeg"):
            check_share(name, getattr(self, name))
        limits = {
            "length": (0.0, 200.0), "exposure": (0.01, 1.0), "lights": (1.0, 100.0), "noise": (0.0, 255.0),
            "quality": (1.0, 100.0),
        }  # fmt: skip
        for name, (least, most) in limits.items():
            check_range(name, getattr(self, name), least, most)

    @property
    def margin(self) -> int:
        """What is cut off at every side, px: a multiple of 4."""
        return -(-self.reach // 4) * 4


class ClipBlurred(NamedTuple):
    """Without the margin.

    Attributes:
        clean: B x C x h x w, the scene at the middle of the middle frame's exposure.
        frames: B x T x C x h x w, 8-bit values.
        paths: B x T x M x 2, where the middle of the scene is at the moments of each exposure, px (right, down).
    """

    clean: Tensor
    frames: Tensor
    paths: Tensor


def blur_as_clip(x: Tensor, recipe: ClipBlurRecipe, seed: int, step: int, first: int) -> ClipBlurred:
    """Frames of clean pictures B x C x H x W in [0, 1].

    Args:
        first: number of the first sample; sample i is a function of (seed, step, first + i).
    """
    generators = [generator_for(seed, step, first + i) for i in range(len(x))]
    chances = torch.stack([torch.rand(9, generator=each) for each in generators])
    paths = draw_exposures(recipe, generators, chances)
    linear = (chances[:, 3] < recipe.linear).to(x.device)
    lights = torch.where(linear.cpu() & (chances[:, 4] < 0.25), between(recipe.lights, chances[:, 5]), 1.0)
    noise = between(recipe.noise, chances[:, 6]) / 255
    quality = torch.where(chances[:, 7] < recipe.jpeg, between(recipe.quality, chances[:, 8]), 0.0)
    apart = (chances[:, 2] < recipe.depth).nonzero()[:, 0]
    size = (x.shape[-2], x.shape[-1])
    nearness = _nearness([generator_for(seed, step, first + int(i), _FIELDS) for i in apart], size).to(x)
    light, margin = lit(x, linear, lights), recipe.margin
    inner = (..., slice(margin, size[0] - margin), slice(margin, size[1] - margin))
    frames = []
    for k in range(recipe.frames):
        psf = rasterised(paths[:, k], 2 * recipe.reach + 3).to(x.device)
        y = convolve(light, otf(psf, size))
        if len(apart):
            at = apart.to(x.device)
            y = y.index_copy(0, at, _DeepPath(paths[apart, k, ::2].to(x), nearness).forward(light.index_select(0, at)))
        drawn = [generator_for(seed, step, first + i, _NOISE, k) for i in range(len(x))]
        grain = per_sample(noise).to(x) * normal(x.shape, drawn, torch.device("cpu")).to(x)
        frames.append(photographed(y, linear, grain, quality, inner))
    return ClipBlurred(x[inner], torch.stack(frames, 1), paths)


def draw_exposures(recipe: ClipBlurRecipe, generators: list[torch.Generator], chances: Tensor) -> Tensor:
    """Paths through each frame's exposure, B x T x M x 2 px, 0 in the middle of the clip.

    Args:
        chances: B x 3 or more in [0, 1): of the length, of the exposure and (below) of standing still.
    """
    tracks = draw_paths(generators)  # B x samples x 2
    last = tracks.shape[1] - 1
    tracks = tracks - tracks[:, last // 2 : last // 2 + 1]
    low, high = recipe.length
    length = low + (high - low) * chances[:, 0].pow(recipe.power)
    share = between(recipe.exposure, chances[:, 1])
    half = recipe.frames // 2
    frame = torch.arange(-half, half + 1.0)[None, :, None]
    moment = (torch.arange(_MOMENTS) + 0.5) / _MOMENTS - 0.5
    time = frame + share[:, None, None] * moment  # B x T x M, in times between frames
    place = (time / (2 * half + share[:, None, None]) + 0.5) * last
    before = place.floor().long().clamp(0, last - 1)
    rest = (place - before)[..., None]
    sample = torch.arange(len(tracks))[:, None, None]
    paths = (1 - rest) * tracks[sample, before] + rest * tracks[sample, before + 1]
    scale = length / extents(paths[:, half]).clamp(min=1e-6)
    farthest = paths.square().sum(-1).amax((1, 2)).sqrt().clamp(min=1e-6)
    scale = torch.minimum(scale, recipe.reach / (1 + _NEARER) / farthest)
    moves = torch.stack([torch.rand(1, generator=each) for each in generators])[:, 0] >= recipe.still
    return paths * (scale * moves)[:, None, None, None]


class _DeepPath(DisplacementBlur):
    """Blur along a path B x M x 2 that is as much longer at each place as `nearness` says, B x 1 x H x W."""

    def __init__(self, path: Tensor, nearness: Tensor) -> None:
        self._path, self._nearness = path, nearness
        self.weights = [1 / path.shape[1]] * path.shape[1]

    def displacement(self, moment: int) -> Tensor:
        return -self._path[:, moment, :, None, None] * self._nearness

    def _still(self) -> Tensor:
        return (self._path == 0).all(2).all(1).view(-1, 1, 1, 1)


def _nearness(generators: list[torch.Generator], size: tuple[int, int]) -> Tensor:
    """Smooth factors of the motion, 0.5 to 1.5: B x 1 x H x W."""
    if not generators:
        return torch.ones(0, 1, *size)
    return 1 + _NEARER * field_at(draw_fields(generators), size)[:, :1].clamp(-1, 1)
