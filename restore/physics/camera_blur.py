"""Clean pictures as a moving or unfocused camera takes them, batched on the device.

    y = JPEG( round( N( C( K ( S(x) ) ) ) ) )

S to linear light (for most samples; gamma-encoded values for the others, as programs do it), lights above white raised
by a random factor; K a PSF, two that change places over the picture along a smooth ramp, or motion along a smooth field
of vectors; C clipping and back to sRGB; N white noise. The scene goes on beyond the border: it is blurred around its
edges (a field: mirrored), and a margin is cut off.

A sample is a pure function of (seed, step, index).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from restore.physics.batch import per_sample
from restore.physics.blur_field import FieldBlur, draw_fields, field_at
from restore.physics.blur_kernels import Range, between, check_range, check_share, choice
from restore.physics.color import linear_to_srgb, srgb_to_linear
from restore.physics.fourier import convolve, otf
from restore.physics.jpeg import jpeg
from restore.physics.random import generator_for
from restore.physics.shake import discs, draw_paths, gaussians, lines, rasterised

KINDS = ("shake", "line", "disc", "gaussian", "none", "field")
_FIELDS = 1  # counter of the generators that draw fields: no other draw depends on them
_BRIGHT = 0.97  # sRGB value from which a light may have been brighter than white


@dataclass(frozen=True)
class CameraBlurRecipe:
    """What is drawn. Ranges are (lowest, highest).

    Attributes:
        weights: kind -> how often; "field" is motion along vectors that change freely over the picture.
        length: extent of shakes and lines, and of the largest vector of a field, px.
        radius: of discs, px; the std of Gaussians is half of it.
        power: sizes are `low + (high - low) u^power` for a uniform u: above 1 small ones are likelier.
        varying: share of shakes and lines that change over the picture.
        linear: share blurred in linear light.
        lights: factor of what is at white before the blur, drawn for a quarter of those in linear light.
        noise: std, 8-bit units (0..255).
        jpeg: share that is compressed.
        quality: of the compression.
    """

    weights: Mapping[str, float] = field(
        default_factory=lambda: {"shake": 0.6, "line": 0.12, "disc": 0.08, "gaussian": 0.05, "none": 0.15}
    )
    length: Range = (1.0, 25.0)
    radius: Range = (0.5, 5.0)
    power: float = 1.0
    varying: float = 0.5
    linear: float = 0.85
    lights: Range = (1.0, 3.0)
    noise: Range = (0.0, 3.0)
    jpeg: float = 0.3
    quality: Range = (80.0, 97.0)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights) - set(KINDS))
        if unknown:
            raise ValueError(f"there is no blur {unknown[0]!r}; there are {', '.join(KINDS)}")
        if not sum(self.weights.values()) > 0 or min(self.weights.values()) < 0:
            raise ValueError("the weights of blurs must not be negative, and one must be above 0")
        for name in ("varying", "linear", "jpeg"):
            check_share(name, getattr(self, name))
        limits = {
            "length": (0.0, 200.0), "radius": (0.0, 100.0), "lights": (1.0, 100.0),
            "noise": (0.0, 255.0), "quality": (1.0, 100.0),
        }  # fmt: skip
        for name, (least, most) in limits.items():
            check_range(name, getattr(self, name), least, most)
        if not 0 < self.power <= 10:
            raise ValueError(f"power is {self.power}: a number above 0, up to 10")

    @property
    def side(self) -> int:
        """Side of all PSFs, px: what holds the largest blur, odd."""
        most = max(self.length[1], 2 * self.radius[1] + 1)
        return 2 * round(0.62 * most + 2) + 1  # a centroid may lie off the middle of a path

    @property
    def margin(self) -> int:
        """What is cut off at every side, px: half a PSF, rounded up so that multiples of 8 stay such."""
        return -(-(self.side // 2) // 4) * 4


class CameraBlurred(NamedTuple):
    """Pictures B x C x h x w without the margin.

    Attributes:
        clean: as they were.
        blurred: as a camera gives them, 8-bit values.
        psf: B x 1 x side x side of sum 1; of blur that changes over the picture the first one, or that in the middle of
            a field.
        varying: B, whether it does.
        linear: B, whether it was in linear light.
    """

    clean: Tensor
    blurred: Tensor
    psf: Tensor
    varying: Tensor
    linear: Tensor


def blur_as_camera(x: Tensor, recipe: CameraBlurRecipe, seed: int, step: int, first: int) -> CameraBlurred:
    """Blurred versions of clean pictures B x C x H x W in [0, 1], cut by a margin of half a PSF at every side.

    Args:
        first: number of the first sample; sample i is a function of (seed, step, first + i).
    """
    generators = [generator_for(seed, step, first + i) for i in range(len(x))]
    plan = _planned(recipe, generators)
    moving = [i for i, kind in enumerate(plan.kinds) if kind == "field"]
    if moving:
        plan = _with_fields(plan, moving, [generator_for(seed, step, first + i, _FIELDS) for i in moving])
    psf, other = plan.psf.to(x.device), plan.other.to(x.device)
    size = (x.shape[-2], x.shape[-1])
    linear, varying = (per_sample(flags).to(x.device) for flags in (plan.linear, plan.varying))
    light = lit(x, linear.flatten(), plan.lights)
    y = convolve(light, otf(psf, size))
    if bool(plan.varying.any()):
        share = _ramps(plan.ramp.to(x), size)
        y = torch.where(varying, (1 - share) * y + share * convolve(light, otf(other, size)), y)
    if moving:
        at = torch.tensor(moving).to(x.device)
        longest = 1.03 * recipe.length[1]  # so much longer may a vector be than the one that was scaled
        along = FieldBlur(field_at(plan.field.to(x), size), longest=longest)
        y = y.index_copy(0, at, along.forward(light.index_select(0, at)))
    noise = torch.stack([_normal(x[0], each) for each in generators])
    margin = recipe.margin
    inner = (..., slice(margin, size[0] - margin), slice(margin, size[1] - margin))
    y = photographed(y, linear.flatten(), per_sample(plan.noise).to(x) * noise, plan.quality, inner)
    return CameraBlurred(x[inner], y, psf, varying.flatten(), linear.flatten())


def lit(x: Tensor, linear: Tensor, lights: Tensor) -> Tensor:
    """The light that makes pictures B x C x H x W in [0, 1].

    Args:
        linear: B, those that are in linear light; others stay as they are.
        lights: B, factor of what is at white.
    """
    light = torch.where(per_sample(linear), srgb_to_linear(x), x)
    return torch.where(x > _BRIGHT, light * per_sample(lights).to(x), light)


def photographed(y: Tensor, linear: Tensor, noise: Tensor, quality: Tensor, inner: tuple[Any, ...]) -> Tensor:
    """8-bit pictures of light B x C x H x W (`lit`), of which `inner` is kept.

    Args:
        noise: of the same shape, added after the way back to sRGB.
        quality: B, of JPEG; 0: not compressed.
    """
    y = y.clamp(0, 1)
    y = torch.where(per_sample(linear), linear_to_srgb(y), y)
    y = ((y + noise).clamp(0, 1) * 255).round() / 255
    return _compressed(y[inner], quality)


class _Plan(NamedTuple):
    """One value for each sample: kinds, PSFs B x 1 x side x side, numbers and flags B, ramps B x 3; and the fields of
    those that have one, n x 2 x 4 x 4 (`field_at`), px."""

    kinds: list[str]
    psf: Tensor
    other: Tensor
    length: Tensor
    varying: Tensor
    linear: Tensor
    lights: Tensor
    noise: Tensor
    quality: Tensor  # 0: not compressed
    ramp: Tensor  # direction (radians), place of its middle and its width, of the side
    field: Tensor


def _planned(recipe: CameraBlurRecipe, generators: list[torch.Generator]) -> _Plan:
    chances = torch.stack([torch.rand(16, generator=each) for each in generators]).double()
    kinds = [choice(recipe.weights, float(row[0])) for row in chances]
    size = chances[:, 1].pow(recipe.power)
    low, high = recipe.length
    length = (low + (high - low) * size).float()
    radius = (recipe.radius[0] + (recipe.radius[1] - recipe.radius[0]) * size).float()
    shakes, others = (draw_paths(generators) for _ in range(2))
    psf = _psfs(kinds, shakes, length, radius, chances[:, 2].float(), recipe.side)
    stretched = length * (0.6 + 0.8 * chances[:, 3].float())
    turned = chances[:, 2].float() + 0.15 * (chances[:, 4].float() - 0.5)  # lines keep their direction, nearly
    second = torch.where((chances[:, 5] < 0.5)[:, None, None], shakes, others)
    other = _psfs(kinds, second, stretched.clamp(max=high), radius, turned, recipe.side)
    moves = torch.tensor([kind in ("shake", "line") for kind in kinds])
    linear = chances[:, 6] < recipe.linear
    lit = linear & (chances[:, 7] < 0.25)
    lights = torch.where(lit, between(recipe.lights, chances[:, 8]), 1.0)
    noise = between(recipe.noise, chances[:, 9]) / 255
    quality = torch.where(chances[:, 10] < recipe.jpeg, between(recipe.quality, chances[:, 11]), 0.0)
    ramp = torch.stack((chances[:, 13] * 6.2832, 0.3 + 0.4 * chances[:, 14], 0.2 + 0.8 * chances[:, 15]), 1)
    varying = moves & (chances[:, 12] < recipe.varying)
    none = torch.zeros(0, 2, 1, 1)
    return _Plan(kinds, psf, other, length, varying, linear, lights, noise, quality, ramp, none)


def _with_fields(plan: _Plan, moving: list[int], generators: list[torch.Generator]) -> _Plan:
    """The plan with fields of the samples `moving`, and as their PSFs the lines in the middle of the picture."""
    field = plan.length[moving][:, None, None, None] * draw_fields(generators)
    right, down = field_at(field, (1, 1))[..., 0, 0].unbind(1)
    psf, varying = plan.psf.clone(), plan.varying.clone()
    psf[moving] = rasterised(lines(torch.hypot(right, down), torch.atan2(down, right)), psf.shape[-1])
    varying[moving] = True
    return plan._replace(psf=psf, varying=varying, field=field)


def _psfs(kinds: list[str], paths: Tensor, length: Tensor, radius: Tensor, turn: Tensor, side: int) -> Tensor:
    """Of the kinds: paths of extent 1 scaled to the lengths, lines at angles of `turn` half circles, discs, …"""
    straight = lines(length, turn * 3.14159265)
    makers = {
        "shake": lambda: rasterised(paths * length[:, None, None], side),
        "line": lambda: rasterised(straight, side),
        "disc": lambda: discs(radius, side),
        "gaussian": lambda: gaussians(0.5 * radius, side),
        "none": lambda: discs(torch.zeros_like(radius), side),
        "field": lambda: discs(torch.zeros_like(radius), side),  # has its own later
    }
    made = {kind: makers[kind]() for kind in set(kinds)}
    return torch.stack([made[kind][i] for i, kind in enumerate(kinds)])


def _ramps(ramp: Tensor, size: tuple[int, int]) -> Tensor:
    """Shares of the second PSF, 0 to 1 along a direction: B x 3 -> B x 1 x H x W."""
    angle, middle, width = (each[:, None, None] for each in ramp.unbind(1))
    rows, columns = (torch.linspace(-0.5, 0.5, side, dtype=ramp.dtype, device=ramp.device) for side in size)
    along = columns[None, None, :] * angle.cos() + rows[None, :, None] * angle.sin() + 0.5
    return ((along - middle) / width + 0.5).clamp(0, 1)[:, None]


def _compressed(y: Tensor, quality: Tensor) -> Tensor:
    chosen = (quality > 0).nonzero()[:, 0].to(y.device)
    if not len(chosen) or y.shape[1] not in (1, 3):
        return y
    return y.index_copy(0, chosen, jpeg(y[chosen], quality[chosen.cpu()].to(y)))


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator).to(like)
