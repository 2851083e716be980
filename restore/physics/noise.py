"""Noise, batched on the device: single kinds as functions, and random mixtures of them for training.

All pictures are B x C x H x W (C = 1 or 3) with values in [0, 1]; parameters are tensors of shape B on the same
device; random fields come from generators of `restore.physics.random`. The functions neither clip nor round:
what files do to noise is :func:`quantise`. The scene is always kept: demosaicing, resizing and blurring act on
the noise alone (they are linear), so that the clean input is the truth to learn and to measure against.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from restore.physics.batch import per_sample
from restore.physics.camera import CAMERA_DRAWN, PRESETS, Camera, add_camera, draw_cameras
from restore.physics.filters import filter_each, gaussian_kernels
from restore.physics.jpeg import jpeg
from restore.physics.level import level_map, noise_curve
from restore.physics.random import Generators, RowSeeds, generator_for, normal, of_samples, poisson, uniform
from restore.physics.resample import enlarge_each

Range = tuple[float, float]
KINDS = ("none", "gaussian", "poisson", "speckle", "salt_pepper", "correlated", "resize", "camera", "jpeg")
"""Kinds of noise, in the order of :attr:`Degraded.kind`."""


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


@dataclass(frozen=True)
class NoiseRecipe:
    """A random mixture of noise: which kinds, how often, how strong. Ranges are (lowest, highest).

    Attributes:
        weights: kind -> how often, relative to the others (see `KINDS`).
        sigma: std of "gaussian", in 8-bit units (0..255), uniform.
        even_in_log: that sigma is log-uniform instead, its lower end above 0: as many weak levels as strong ones.
        photons: photons at white of "poisson", log-uniform.
        speckle: relative std of "speckle", uniform.
        impulses: share of samples hit by "salt_pepper", log-uniform.
        coarse_sigma: std of "correlated" and "resize", in 8-bit units, uniform.
        blur: std of the kernel of "correlated", px, uniform; 0 is white.
        roundness: of that kernel, short axis over long axis, uniform; the angle is any.
        dependence: of "correlated" on the signal, 0 to 1, uniform (see `add_correlated`).
        factor: of "resize", >= 1, uniform.
        cameras: presets of "camera", each as often as the others (see `restore.physics.camera.PRESETS`).
        iso: of "camera", log-uniform; None leaves it to the presets.
        quality, camera_quality: of JPEG, 1 to 100, uniform, whole numbers; of all kinds but "camera", and of that.
        jpeg, camera_jpeg: share of the samples that become JPEGs after their noise, of "camera" and of the others;
            of "jpeg", which has no other noise, all do.
        subsampled: share of the JPEGs with chroma at half resolution (4:2:0, not 4:4:4).
        clipped: share of the samples that are clipped and rounded to 8 bits, as files are; JPEGs always are.
        level_error, coarse_level_error: relative error of the level map (std of its logarithm), as an estimate has: of
            "camera", "correlated" and "resize", whose level is hard to find, the second one.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: {"gaussian": 1.0})
    sigma: Range = (0.0, 55.0)
    even_in_log: bool = False
    photons: Range = (5.0, 1000.0)
    speckle: Range = (0.02, 0.3)
    impulses: Range = (0.001, 0.1)
    coarse_sigma: Range = (0.0, 25.0)
    blur: Range = (0.0, 1.5)
    roundness: Range = (0.6, 1.0)
    dependence: Range = (0.0, 1.0)
    factor: Range = (1.0, 2.5)
    cameras: tuple[str, ...] = tuple(PRESETS)
    iso: Range | None = None
    quality: Range = (60.0, 98.0)
    camera_quality: Range = (85.0, 99.0)
    jpeg: float = 0.0
    camera_jpeg: float = 0.7
    subsampled: float = 0.7
    clipped: float = 1.0
    level_error: float = 0.0
    coarse_level_error: float = 0.0

    def __post_init__(self) -> None:
        for word, known, what in (
            *((kind, KINDS, "noise") for kind in self.weights),
            *((name, PRESETS, "camera") for name in self.cameras),
        ):
            if word not in known:
                raise ValueError(f"there is no {what} {word!r}; there are {', '.join(known)}")
        if not sum(self.weights.values()) > 0 or min(self.weights.values()) < 0:
            raise ValueError("the weights of the kinds of noise must not be negative, and one must be above 0")
        if self.even_in_log and not self.sigma[0] > 0:
            raise ValueError(f"sigma begins at {self.sigma[0]}: even_in_log needs a lower end above 0")
        if not self.cameras and self.weights.get("camera", 0) > 0:
            raise ValueError("noise of a camera needs at least one preset in cameras")


class Degraded(NamedTuple):
    """A batch of noisy pictures.

    Attributes:
        noisy: B x C x H x W; in [0, 1] where it was clipped.
        level_map: B x 1 x H x W, what drives a network: the effective level of the noise before clipping (which
            `restore.analysis` takes back out), in [0, 1] units, as it follows the local brightness
            (`restore.physics.level`). For JPEGs what compression added or took away is in it.
        kind: B, int64: index into `KINDS`.
    """

    noisy: Tensor
    level_map: Tensor
    kind: Tensor


def degrade(clean: Tensor, recipe: NoiseRecipe, seed: int, step: int, first_index: int = 0) -> Degraded:
    """Add random noise to a batch; sample i depends on (seed, step, first_index + i) alone.

    Kinds and parameters are drawn on the CPU (so the device is never waited for), fields on the device of ``clean``.

    Args:
        clean: B x C x H x W, values in [0, 1], C = 1 or 3, float32.
        seed, step, first_index: see above; first_index is the number of the batch's first sample within the
            step, over all ranks.
    """
    keys, device = range(first_index, first_index + len(clean)), clean.device
    chances = [generator_for(seed, step, key) for key in keys]
    plan = plan_noise(recipe, chances)
    own = chances if device.type == "cpu" else [generator_for(seed, step, key, device=device) for key in keys]
    table = plan.table_on(device)
    noisy, noise = _add(clean, plan, table, own)
    curve = noise_curve(noise, clean) * plan.read(table)["level_factor"][:, None]
    return Degraded(noisy, level_map(noisy, curve), torch.tensor(plan.kinds).to(device, non_blocking=True))


def add_noise(clean: Tensor, plan: NoisePlan, generators: Generators) -> Tensor:
    """Noise as planned; fields come from generators on the device of ``clean``, one for each sample or `RowSeeds`.

    B x C x H x W in [0, 1] -> the same shape
    """
    return _add(clean, plan, plan.table_on(clean.device), generators)[0]


def _add(clean: Tensor, plan: NoisePlan, table: Tensor, generators: Generators) -> tuple[Tensor, Tensor]:
    """Noisy pictures, and what is noise in them before they are clipped. Never waits for the device."""
    device, values = clean.device, plan.read(table)
    noisy = torch.empty_like(clean)
    for kind, places in _groups(plan.kinds):
        if len(places) == len(clean):
            noisy = _ADD[KINDS[kind]](clean, values, generators)
            break
        index = torch.tensor(places).to(device, non_blocking=True)
        part, streams = plan.read(table.index_select(0, index)), of_samples(generators, places)
        noisy.index_copy_(0, index, _ADD[KINDS[kind]](clean.index_select(0, index), part, streams))
    noise = noisy - clean
    if all(plan.clipped):
        noisy = quantise(noisy)
    elif any(plan.clipped):
        noisy = torch.where(per_sample(values["clipped"]) > 0, quantise(noisy), noisy)
    for format_, places in _groups(plan.formats):
        if format_ == NO_JPEG:
            continue
        index = torch.tensor(places).to(device, non_blocking=True)
        before = noisy.index_select(0, index)
        after = jpeg(before, values["quality"].index_select(0, index), subsampled=format_ == SUBSAMPLED)
        noise.index_add_(0, index, after - before)
        noisy.index_copy_(0, index, after)
    return noisy, noise


_COARSE = ("camera", "correlated", "resize")
NO_JPEG, FULL, SUBSAMPLED = range(3)
_DRAWN: tuple[str, ...] = (
    "kind", "sigma", "photons", "speckle", "impulses", "coarse_sigma", "blur", "dependence", "roundness", "angle",
    "factor", "shift", "quality", "jpeg", "subsampled", "clipped", *(f"camera {name}" for name in CAMERA_DRAWN),
)  # fmt: skip


class NoisePlan(NamedTuple):
    """What becomes of each sample of a batch: lists on the host, parameters (B each, units of physics) on the CPU.

    Attributes:
        kinds: indices into `KINDS`.
        formats: no JPEG, or JPEG with chroma at full or at half resolution.
        clipped: whether samples are clipped and rounded to 8 bits.
        values: parameter -> B.
    """

    kinds: list[int]
    formats: list[int]
    clipped: list[bool]
    values: dict[str, Tensor]

    def table_on(self, device: torch.device) -> Tensor:
        """All parameters on a device, in one transfer: B x len(values)."""
        return torch.stack(list(self.values.values()), 1).to(device, non_blocking=True)

    def read(self, table: Tensor) -> dict[str, Tensor]:
        """Parameter -> its column of a table, or of some rows of it."""
        return dict(zip(self.values, table.unbind(1), strict=True))


def plan_noise(recipe: NoiseRecipe, chances: Sequence[torch.Generator]) -> NoisePlan:
    """Draw kinds and parameters, one sample from each generator (on the CPU).

    Every sample draws the same numbers, whatever its kind needs.
    """
    drawn = torch.stack([torch.rand(len(_DRAWN), generator=each) for each in chances])
    chance = dict(zip(_DRAWN, drawn.unbind(1), strict=True))
    error = torch.cat([torch.randn(1, generator=each) for each in chances])

    def linear(name: str, bounds: Range) -> Tensor:
        return bounds[0] + (bounds[1] - bounds[0]) * chance[name]

    def logarithmic(name: str, bounds: Range) -> Tensor:
        return linear(name, (math.log(bounds[0]), math.log(bounds[1]))).exp()

    weights = torch.tensor([recipe.weights.get(kind, 0.0) for kind in KINDS], dtype=torch.float64)
    edges = weights.cumsum(0) / weights.sum()
    kinds = torch.searchsorted(edges, chance["kind"].double(), right=True).clamp(max=len(KINDS) - 1)
    coarse = torch.isin(kinds, torch.tensor([KINDS.index(name) for name in _COARSE]))
    share = torch.full(kinds.shape, recipe.jpeg)
    share[kinds == KINDS.index("camera")] = recipe.camera_jpeg
    share[kinds == KINDS.index("jpeg")] = 1.0
    compressed = chance["jpeg"] < share
    formats = torch.where(chance["subsampled"] < recipe.subsampled, SUBSAMPLED, FULL)
    formats = torch.where(compressed, formats, NO_JPEG)
    clipped = (chance["clipped"] < recipe.clipped) | compressed
    cameras = {name: PRESETS[name] for name in recipe.cameras} or PRESETS
    if recipe.iso:
        cameras = {name: replace(ranges, iso=recipe.iso) for name, ranges in cameras.items()}
    camera = draw_cameras(cameras, drawn[:, -len(CAMERA_DRAWN) :])
    values = {
        "sigma": (logarithmic if recipe.even_in_log else linear)("sigma", recipe.sigma) / 255,
        "photons": logarithmic("photons", recipe.photons),
        "speckle": linear("speckle", recipe.speckle),
        "impulses": logarithmic("impulses", recipe.impulses),
        "coarse_sigma": linear("coarse_sigma", recipe.coarse_sigma) / 255,
        "blur": linear("blur", recipe.blur),
        "dependence": linear("dependence", recipe.dependence),
        "roundness": linear("roundness", recipe.roundness),
        "angle": linear("angle", (0.0, math.pi)),
        "factor": linear("factor", recipe.factor),
        "shift": chance["shift"],
        "quality": torch.where(
            kinds == KINDS.index("camera"),
            linear("quality", recipe.camera_quality),
            linear("quality", recipe.quality),
        ).round(),
        "clipped": clipped.float(),
        "level_factor": (error * torch.where(coarse, recipe.coarse_level_error, recipe.level_error)).exp(),
        **{f"camera {name}": value for name, value in camera._asdict().items()},
    }
    return NoisePlan(kinds.tolist(), formats.tolist(), clipped.tolist(), values)


_Values = Mapping[str, Tensor]


def _correlated(x: Tensor, values: _Values, generators: Generators) -> Tensor:
    kernels = gaussian_kernels(values["blur"], values["roundness"], values["angle"])
    return add_correlated(x, values["coarse_sigma"], generators, kernels, values["dependence"])


def _camera(x: Tensor, values: _Values, generators: Generators) -> Tensor:
    return add_camera(x, Camera(**{name: values[f"camera {name}"] for name in Camera._fields}), generators)


_ADD: dict[str, Callable[[Tensor, _Values, Generators], Tensor]] = {
    "none": lambda x, values, generators: x,
    "gaussian": lambda x, values, generators: add_gaussian(x, values["sigma"], generators),
    "poisson": lambda x, values, generators: add_poisson(x, values["photons"], generators),
    "speckle": lambda x, values, generators: add_speckle(x, values["speckle"], generators),
    "salt_pepper": lambda x, values, generators: add_salt_pepper(x, values["impulses"], generators),
    "correlated": _correlated,
    "resize": lambda x, values, generators: add_resized(
        x, values["coarse_sigma"], generators, values["factor"], values["shift"]
    ),
    "camera": _camera,
    "jpeg": lambda x, values, generators: x,
}


def _groups(classes: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Each class that occurs, with the places where it does."""
    return [(each, [i for i, other in enumerate(classes) if other == each]) for each in sorted(set(classes))]
