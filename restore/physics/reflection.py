"""Two scenes as one camera sees them through glass, batched on the device: T behind the glass, R reflected in it.

    ceil    B = T + [R_s - s]+                 s = 1.3 mean(M - 1 where M = T + R_s exceeds 1), of all channels together
    zhang   b = a t + V [r_s - s]+             linear light x^2.2; s of each channel, times 1.08 to 1.18; V a vignette
    ibcln   b = a t + V [r_s - s]+             the same with less dimming, and without pairs in which nothing is seen
    dsr     B = T' + R' - T' R' (70 %), or as ceil of T', R', with T' = a T, R' = c R_s
    alpha   B = W T + (1 - W) R_s              W smooth over the picture, 0.5 to 1
    none    B = T

    s: blurred by a Gaussian. Before that R may be seen twice (ghost, in light: (r + k r(x - d)) / (1 + k), the two
    faces of a pane) and made bright as lamps are (R^p g). All is clipped to [0, 1].

Sources: ceil: Fan et al., ICCV 2017 (https://arxiv.org/abs/1708.03474); zhang: Zhang, Ng, Chen, CVPR 2018
(https://arxiv.org/abs/1806.05376) as ERRNet draws it; ibcln: Li et al., CVPR 2020 (https://arxiv.org/abs/1911.06634);
dsr: Hu, Guo, ICCV 2023 (https://arxiv.org/abs/2308.10027); alpha: Wen et al., CVPR 2019.

Lengths are fractions of the short side of the whole picture, as those papers' pixels are of their 224; a share of the
reflections is sharp at any size. Unlike theirs, borders are mirrored (zeros would darken R there).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.physics.batch import per_sample
from restore.physics.blur_kernels import Range, check_range, check_share, choice
from restore.physics.random import generator_for

KINDS = ("ceil", "zhang", "ibcln", "dsr", "alpha", "none")
GAMMA = 2.2  # of the recipes' linear light
EXCESS = 1.3  # how much of what exceeds white is taken off, of ceil and dsr
_SIDE = 224  # px of short side that the papers' lengths are meant for
_VIGNETTE = 560 / _SIDE  # short sides that the vignette is wide
STRENGTH = ("alpha", "scale", "gain", "screen", "vignette_x", "vignette_y")
_ATTEMPTS, _SMALL = 4, 32  # draws of what decides strength, and sides of the copies they are tried on, px
_GRID = 4  # values along a side from which W is interpolated
_SIGMA: Mapping[str, Range] = {"ceil": (2.0, 5.0), "zhang": (1.0, 5.0), "ibcln": (1.0, 5.0), "dsr": (2.0, 5.0),
                               "alpha": (1.0, 5.0), "none": (2.0, 5.0)}  # fmt: skip
_REACH = {5: 0.1, 7: 0.2, 9: 0.3, 11: 0.4}  # dsr: sides of kernels, px, and how often


@dataclass(frozen=True)
class ReflectionRecipe:
    """What is drawn. Ranges are (lowest, highest).

    Attributes:
        weights: kind of mixture -> how often, of `KINDS`.
        field: short side of the whole picture over that of what is given, a crop of it.
        sharp: share with a std of 0.3 to 2 px, whatever the picture's size.
        ghost: share in which the reflected scene is seen twice.
        bright: share of reflected scenes with lights: R^1.5..3 times 1 to 2.
        least: mean |B - T| from which a mixture is kept; others are drawn again, a few times.
        noisy: share with white noise of up to `noise` (std, 8-bit units).
        jpeg: share that is compressed, with a quality of `quality`.
    """

    weights: Mapping[str, float] = field(
        default_factory=lambda: {"ceil": 0.27, "zhang": 0.33, "dsr": 0.27, "ibcln": 0.04, "alpha": 0.04, "none": 0.05}
    )
    field: Range = (1.0, 2.0)
    sharp: float = 0.3
    ghost: float = 0.2
    bright: float = 0.15
    least: float = 0.03
    noisy: float = 0.3
    noise: Range = (0.5, 3.0)
    jpeg: float = 0.3
    quality: Range = (75.0, 98.0)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights) - set(KINDS))
        if unknown:
            raise ValueError(f"there is no mixture {unknown[0]!r}; there are {', '.join(KINDS)}")
        if not sum(self.weights.values()) > 0 or min(self.weights.values()) < 0:
            raise ValueError("the weights of mixtures must not be negative, and one must be above 0")
        for name in ("sharp", "ghost", "bright", "least", "noisy", "jpeg"):
            check_share(name, getattr(self, name))
        for name, (low, high) in {"field": (1.0, 64.0), "noise": (0.0, 255.0), "quality": (1.0, 100.0)}.items():
            check_range(name, getattr(self, name), low, high)


@dataclass(frozen=True)
class ReflectionPlan:
    """What becomes of each sample; all that is random but its noise.

    What the host decides by (kinds, and which scenes are seen twice) stays on the host; the values of `STRENGTH` and
    the transmission may lie on the device.

    Attributes:
        kinds: of `KINDS`.
        values: name -> B, float64. Lengths are fractions of the short side of what is given: sigma and reach of the
            blur, ghost_x and ghost_y; ghost (weight k of the second image, 0: none); power and gain of bright scenes;
            alpha (a), scale (c), attenuation (of s), screen (0 or 1); vignette_x, vignette_y (place of the window, 0 to
            1) and vignette (its side over the vignette's); noise (std, 8-bit units) and quality (0: no JPEG).
        transmission: B x 1 x 4 x 4, values from which W is interpolated.
    """

    kinds: tuple[str, ...]
    values: Mapping[str, Tensor]
    transmission: Tensor

    def records(self) -> list[dict[str, Any]]:
        """A dictionary of plain numbers for each sample, for a file."""
        return [
            {"kind": kind, **{name: float(value[i]) for name, value in self.values.items()},
             "transmission": self.transmission[i, 0].tolist()}
            for i, kind in enumerate(self.kinds)
        ]  # fmt: skip

    @staticmethod
    def of(records: Sequence[Mapping[str, Any]]) -> ReflectionPlan:
        """The plan that `records` were made of, exactly."""
        names = [name for name in records[0] if name not in ("kind", "transmission")]
        values = {name: torch.tensor([each[name] for each in records], dtype=torch.float64) for name in names}
        grid = torch.tensor([each["transmission"] for each in records], dtype=torch.float64)
        return ReflectionPlan(tuple(each["kind"] for each in records), values, grid[:, None])


class Mixture(NamedTuple):
    """Pictures B x C x H x W, display values in [0, 1].

    Attributes:
        mixture: what the camera sees.
        background: T, as it is without the glass.
        reflection: what the glass adds, shown alone: [R_s - s]+, V [r_s - s]+ in display values, R', (1 - W) R_s or 0.
    """

    mixture: Tensor
    background: Tensor
    reflection: Tensor


def plan_reflections(recipe: ReflectionRecipe, generators: Sequence[torch.Generator], side: int) -> ReflectionPlan:
    """One draw from each generator (of the CPU) for pictures with a short side of `side` px."""
    count = 22
    chances = torch.stack([torch.rand(count + _GRID**2, generator=g, dtype=torch.float64) for g in generators])
    u = chances.unbind(1)
    kinds = tuple(choice(recipe.weights, float(chance)) for chance in u[0])
    bounds = torch.tensor([_SIGMA[kind] for kind in kinds], dtype=torch.float64)
    scale = _within(recipe.field, u[1]) / _SIDE  # of a length in the papers' px, over the short side given
    sharp = u[2] < recipe.sharp
    sigma = torch.where(
        sharp, _within((0.3, 2.0), u[3]) / side, (bounds[:, 0] + u[3] * bounds.diff(dim=1)[:, 0]) * scale
    )
    dsr = torch.tensor([float(choice({str(k): p for k, p in _REACH.items()}, float(each))) for each in u[4]])
    kernel = torch.tensor([{"dsr": float(dsr[i]), "ceil": 11.0}.get(kind, 0.0) for i, kind in enumerate(kinds)])
    reach = torch.where((kernel > 0) & ~sharp, kernel.double() / 2 * scale, 2 * sigma + 0.5 / side)
    dim = torch.tensor([kind in ("zhang", "ibcln", "dsr") for kind in kinds])
    gentle = torch.tensor([kind == "ibcln" for kind in kinds])
    alpha = torch.where(dim, _within((0.8, 1.0), u[5]), 1.0)
    twice = u[6] < recipe.ghost
    distance, angle = _within((1.0, 12.0), u[7]) * scale * _SIDE / 256, u[8] * 6.283185307179586
    lit = u[9] < recipe.bright
    values = {
        "sigma": sigma,
        "reach": reach,
        "ghost": torch.where(twice, _within((0.5, 0.95), u[10]), 0.0),
        "ghost_x": distance * angle.cos(),
        "ghost_y": distance * angle.sin(),
        "power": torch.where(lit, _within((1.5, 3.0), u[11]), 1.0),
        "gain": torch.where(lit, _within((1.0, 2.0), u[12]), 1.0),
        "alpha": torch.where(gentle, 0.5 + 0.5 * alpha, alpha),
        "scale": _within((0.4, 1.0), u[13]),
        "attenuation": _within((1.08, 1.18), u[14]),
        "screen": (u[15] < 0.7).double(),
        "vignette_x": u[16],
        "vignette_y": u[17],
        "vignette": 1 / (_VIGNETTE * _SIDE * scale),
        "noise": torch.where(u[18] < recipe.noisy, _within(recipe.noise, u[19]), 0.0),
        "quality": torch.where(u[20] < recipe.jpeg, _within(recipe.quality, u[21]).round(), 0.0),
    }
    grid = 0.5 + 0.5 * chances[:, count:].view(-1, 1, _GRID, _GRID)
    return ReflectionPlan(kinds, values, grid)


def mixed(background: Tensor, scene: Tensor, plan: ReflectionPlan) -> Mixture:
    """Two scenes mixed as planned; B x C x H x W each, display values in [0, 1], C = 1 or 3."""
    seen = _blurred_scenes(background, scene, plan)
    mixture, reflection = torch.empty_like(background), torch.empty_like(background)
    for kind in sorted(set(plan.kinds)):
        places = [i for i, each in enumerate(plan.kinds) if each == kind]
        at = torch.tensor(places, device=background.device)
        values = {name: per_sample(value[places]).to(background) for name, value in plan.values.items()}
        grid = plan.transmission[places].to(background)
        mixture[at], reflection[at] = _MIXERS[kind](background[at], seen[at], values, grid)
    return Mixture(mixture, background, reflection)


def draw_mixtures(
    background: Tensor, scene: Tensor, recipe: ReflectionRecipe, seed: int, step: int, first: int
) -> tuple[Mixture, ReflectionPlan]:
    """Mixtures of two scenes in which a reflection is seen, and what they were made with.

    What decides how strong a reflection is (`STRENGTH`) is drawn four times: the first is taken that differs from its
    background by `recipe.least`, as small copies of both show, or the strongest. The device never waits for the host.

    Args:
        first: number of the first sample; sample i is a function of (seed, step, first + i).
    """
    count, side = len(background), min(background.shape[-2:])
    plans = [
        plan_reflections(recipe, [generator_for(seed, step, first + i, attempt) for i in range(count)], side)
        for attempt in range(_ATTEMPTS)
    ]
    drawn = {name: torch.stack([plan.values[name] for plan in plans]).to(background) for name in STRENGTH}  # A x B
    grids = torch.stack([plan.transmission for plan in plans]).to(background)
    small = [F.avg_pool2d(x, max(1, side // _SMALL)).repeat(_ATTEMPTS, 1, 1, 1) for x in (background, scene)]
    fixed = {name: value.repeat(_ATTEMPTS) for name, value in plans[0].values.items()}
    tried = ReflectionPlan(
        plans[0].kinds * _ATTEMPTS,
        fixed | {name: value.flatten() for name, value in drawn.items()},
        grids.flatten(0, 1),
    )
    contrast = (mixed(small[0], small[1], tried).mixture - small[0]).abs().mean((1, 2, 3)).view(_ATTEMPTS, count)
    enough = (contrast >= recipe.least).to(contrast)
    taken = torch.where(enough.amax(0) > 0, enough.argmax(0), contrast.argmax(0))[None]  # of equal ones the first
    values = {**plans[0].values, **{name: value.gather(0, taken)[0] for name, value in drawn.items()}}
    grid = grids.gather(0, taken[..., None, None, None].expand(1, *grids.shape[1:]))[0]
    plan = ReflectionPlan(plans[0].kinds, values, grid)
    return mixed(background, scene, plan), plan


def _blurred_scenes(background: Tensor, scene: Tensor, plan: ReflectionPlan) -> Tensor:
    """What is reflected: bright, seen twice, blurred. Light for recipes that mix light, display values for others."""
    side = min(background.shape[-2:])
    value = {name: per_sample(each).to(background) for name, each in plan.values.items()}
    light = torch.tensor([kind in ("zhang", "ibcln") for kind in plan.kinds])
    scene = torch.where(per_sample(plan.values["power"] != 1).to(scene.device), scene.pow(value["power"]), scene)
    scene = scene * value["gain"]
    exponent = per_sample(1 + (GAMMA - 1) * light.double()).to(scene)
    seen = scene.clamp(min=0).pow(exponent)
    twice = (plan.values["ghost"] > 0).nonzero()[:, 0].to(scene.device)
    if len(twice):
        linear = scene[twice].clamp(min=0).pow(GAMMA)
        shift = torch.stack((plan.values["ghost_x"], plan.values["ghost_y"]), 1).to(scene)[twice] * side
        weight = value["ghost"][twice]
        double = (linear + weight * _shifted(linear, shift)) / (1 + weight)
        seen = seen.index_copy(0, twice, double.pow(exponent[twice] / GAMMA))
    return gaussian_each(seen, plan.values["sigma"].to(scene) * side, plan.values["reach"] * side)


def gaussian_each(x: Tensor, sigma: Tensor, reach: Tensor) -> Tensor:
    """Every sample blurred by a Gaussian of its own, borders mirrored: B x C x H x W -> the same shape.

    Args:
        sigma: B, std, px; below 0.05 nothing is blurred.
        reach: B, half a side of the window in which the Gaussian is not 0, px; on the host.
    """
    from kornia.filters import filter2d_separable

    most = min(int(reach.max()), min(x.shape[-2:]) - 1)
    place = torch.arange(-most, most + 1, dtype=x.dtype, device=x.device)
    taps = torch.exp(-0.5 * (place / sigma.clamp(min=0.05)[:, None]).square())
    taps = taps * (place.abs() <= reach.to(x).clamp(min=0)[:, None])
    taps = taps / taps.sum(1, keepdim=True)
    return filter2d_separable(x, taps, taps, border_type="reflect")


def vignette(size: tuple[int, int], share: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Parts of Zhang's vignette exp(-(u^2 + v^2) / 4), u and v from -3 to 3: B x 1 x H x W.

    Args:
        size: (H, W).
        share: B, short side of the part over that of the whole; 1 at most.
        x, y: B, where the part lies, 0 to 1.
    """
    planes = []
    for length, place in ((size[0], y), (size[1], x)):
        part = (share * length / min(size)).clamp(max=1)[:, None]
        along = torch.linspace(0, 1, length, dtype=share.dtype, device=share.device)
        planes.append(6 * (place[:, None] * (1 - part) + part * along) - 3)
    down, across = planes
    return torch.exp(-(down[:, None, :, None].square() + across[:, None, None, :].square()) / 4)


def _shifted(x: Tensor, shift: Tensor) -> Tensor:
    """Moved to the right and down by B x 2 px, borders mirrored, bilinear."""
    height, width = x.shape[-2:]
    rows = torch.arange(height, dtype=x.dtype, device=x.device)
    columns = torch.arange(width, dtype=x.dtype, device=x.device)
    across = (columns - shift[:, :1]) * (2 / max(1, width - 1)) - 1
    down = (rows - shift[:, 1:]) * (2 / max(1, height - 1)) - 1
    grid = torch.stack((across[:, None, :].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)), -1)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=True)


def excess(mixture: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Mean of M - 1 where M exceeds 1, over some dimensions, which stay with length 1; 0 where nothing does."""
    over = (mixture - 1).clamp(min=0)
    return over.sum(dims, keepdim=True) / (over > 0).sum(dims, keepdim=True).clamp(min=1)


def _ceil(t: Tensor, r: Tensor, values: Mapping[str, Tensor], grid: Tensor) -> tuple[Tensor, Tensor]:
    r = (r - EXCESS * excess(t + r, (1, 2, 3))).clamp(0, 1)
    return (t + r).clamp(0, 1), r


def _dsr(t: Tensor, r: Tensor, values: Mapping[str, Tensor], grid: Tensor) -> tuple[Tensor, Tensor]:
    t, r = values["alpha"] * t, (values["scale"] * r).clamp(0, 1)
    added, rest = _ceil(t, r, values, grid)
    screen = values["screen"] > 0
    return torch.where(screen, t + r - t * r, added).clamp(0, 1), torch.where(screen, r, rest)


def _zhang(t: Tensor, r: Tensor, values: Mapping[str, Tensor], grid: Tensor) -> tuple[Tensor, Tensor]:
    light = t.clamp(min=0).pow(GAMMA)
    r = (r - values["attenuation"] * excess(light + r, (2, 3))).clamp(0, 1)
    where = (values[name].flatten() for name in ("vignette", "vignette_x", "vignette_y"))
    r = vignette((t.shape[-2], t.shape[-1]), *where) * r
    return (values["alpha"] * light + r).clamp(0, 1).pow(1 / GAMMA), r.pow(1 / GAMMA)


def _alpha(t: Tensor, r: Tensor, values: Mapping[str, Tensor], grid: Tensor) -> tuple[Tensor, Tensor]:
    share = F.interpolate(grid, t.shape[-2:], mode="bilinear", align_corners=True)
    r = (1 - share) * r.clamp(0, 1)
    return (share * t + r).clamp(0, 1), r


def _none(t: Tensor, r: Tensor, values: Mapping[str, Tensor], grid: Tensor) -> tuple[Tensor, Tensor]:
    return t, torch.zeros_like(t)


_MIXERS = {"ceil": _ceil, "zhang": _zhang, "ibcln": _zhang, "dsr": _dsr, "alpha": _alpha, "none": _none}


def _within(bounds: Range, chances: Tensor) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * chances
