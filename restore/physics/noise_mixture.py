"""Random mixtures of noise (`restore.physics.noise`): what kind and how much a sample gets, and adding it in a batch.

Parameters are drawn on the CPU, one sample from each generator, so that a sample depends on its own seed alone; noise
is added on the device of the pictures.
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
from restore.physics.filters import gaussian_kernels
from restore.physics.jpeg import jpeg
from restore.physics.level import level_map, noise_curve
from restore.physics.noise import (
    add_correlated,
    add_developed,
    add_gaussian,
    add_grain,
    add_poisson,
    add_resized,
    add_salt_pepper,
    add_speckle,
    quantise,
)
from restore.physics.noise_reduction import reduced_noise, rolling_off
from restore.physics.random import Generators, generator_for, of_samples

Range = tuple[float, float]
KINDS = ("none", "gaussian", "poisson", "speckle", "salt_pepper", "correlated", "resize", "camera", "jpeg", "developed",
         "grain")  # fmt: skip
"""Kinds of noise, in the order of :attr:`Degraded.kind`."""


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
        developed: level of "developed" (`add_developed`) and "grain" (`add_grain`), in 8-bit units, log-uniform; the
            first one's dependence on the signal is `dependence`.
        luma_blur, chroma_blur: std of the kernels of "developed", px, uniform; the first one of "grain", too.
        chroma: of "developed": level of chroma as a factor of that of luma, uniform.
        steepness: of the luma kernel of "developed" (`rolling_off`), uniform; 2 is a Gaussian.
        reduction: of "developed", as a camera does (`reduced_noise`): its threshold as a factor of the level, uniform;
            0 is none.
        cameras: presets of "camera", each as often as the others (see `restore.physics.camera.PRESETS`).
        iso: of "camera", log-uniform; None leaves it to the presets.
        quality, camera_quality: of JPEG, 1 to 100, uniform, whole numbers; the second one of "camera" and "developed".
        jpeg, camera_jpeg: share of the samples that become JPEGs after their noise, the second one of "camera" and
            those that are as coarse as it, "developed" and "grain"; of "jpeg", which has no other noise, all do.
        subsampled: share of the JPEGs with chroma at half resolution (4:2:0, not 4:4:4).
        clipped: share of the samples that are clipped and rounded to 8 bits, as files are; JPEGs always are.
        level_error, coarse_level_error: relative error of the level map (std of its logarithm), as an estimate has: of
            "camera", "developed", "grain", "correlated" and "resize", whose level is hard to find, the second one.
        coarse_told: the level map as a factor of the true level, of the same kinds, log-uniform: a network that is
            often told too much learns to look for itself.
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
    developed: Range = (3.0, 30.0)
    luma_blur: Range = (0.4, 0.95)
    chroma_blur: Range = (1.6, 3.2)
    chroma: Range = (0.6, 2.2)
    steepness: Range = (2.0, 2.0)
    reduction: Range = (0.0, 0.0)
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
    coarse_told: Range = (1.0, 1.0)

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


_COARSE = ("camera", "developed", "grain", "correlated", "resize")
_REACH = 6  # px, radius of the kernels of "developed"
_OF_CAMERAS = ("camera", "developed", "grain")
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

    Every sample draws the same numbers, whatever its kind needs; "developed" uses some of those for "camera".
    """
    drawn = torch.stack([torch.rand(len(_DRAWN), generator=each) for each in chances])
    chance = dict(zip(_DRAWN, drawn.unbind(1), strict=True))
    error = torch.cat([torch.randn(1, generator=each) for each in chances])

    def between(bounds: Range, share: Tensor) -> Tensor:
        return bounds[0] + (bounds[1] - bounds[0]) * share

    def evenly_in_log(bounds: Range, share: Tensor) -> Tensor:
        return between((math.log(bounds[0]), math.log(bounds[1])), share).exp()

    def linear(name: str, bounds: Range) -> Tensor:
        return between(bounds, chance[name])

    def logarithmic(name: str, bounds: Range) -> Tensor:
        return evenly_in_log(bounds, chance[name])

    weights = torch.tensor([recipe.weights.get(kind, 0.0) for kind in KINDS], dtype=torch.float64)
    edges = weights.cumsum(0) / weights.sum()
    kinds = torch.searchsorted(edges, chance["kind"].double(), right=True).clamp(max=len(KINDS) - 1)
    coarse = torch.isin(kinds, torch.tensor([KINDS.index(name) for name in _COARSE]))
    share = torch.full(kinds.shape, recipe.jpeg)
    of_cameras = torch.isin(kinds, torch.tensor([KINDS.index(name) for name in _OF_CAMERAS]))
    share[of_cameras] = recipe.camera_jpeg
    share[kinds == KINDS.index("jpeg")] = 1.0
    compressed = chance["jpeg"] < share
    formats = torch.where(chance["subsampled"] < recipe.subsampled, SUBSAMPLED, FULL)
    formats = torch.where(compressed, formats, NO_JPEG)
    clipped = (chance["clipped"] < recipe.clipped) | compressed
    cameras = {name: PRESETS[name] for name in recipe.cameras} or PRESETS
    if recipe.iso:
        cameras = {name: replace(ranges, iso=recipe.iso) for name, ranges in cameras.items()}
    camera = draw_cameras(cameras, drawn[:, -len(CAMERA_DRAWN) :])
    own = {name: chance[f"camera {name}"] for name in ("iso", "luma_blur", "chroma_blur", "chroma")}
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
        "developed": evenly_in_log(recipe.developed, own["iso"]) / 255,
        "luma_blur": between(recipe.luma_blur, own["luma_blur"]),
        "chroma_blur": between(recipe.chroma_blur, own["chroma_blur"]),
        "chroma": between(recipe.chroma, own["chroma"]),
        "steepness": linear("blur", recipe.steepness),
        **({"reduction": linear("factor", recipe.reduction)} if recipe.reduction[1] > 0 else {}),
        "quality": torch.where(
            of_cameras, linear("quality", recipe.camera_quality), linear("quality", recipe.quality)
        ).round(),
        "clipped": clipped.float(),
        "level_factor": torch.where(
            coarse,
            (error * recipe.coarse_level_error).exp() * evenly_in_log(recipe.coarse_told, torch.special.ndtr(error)),
            (error * recipe.level_error).exp(),
        ),
        **{f"camera {name}": value for name, value in camera._asdict().items()},
    }
    return NoisePlan(kinds.tolist(), formats.tolist(), clipped.tolist(), values)


_Values = Mapping[str, Tensor]


def _correlated(x: Tensor, values: _Values, generators: Generators) -> Tensor:
    kernels = gaussian_kernels(values["blur"], values["roundness"], values["angle"])
    return add_correlated(x, values["coarse_sigma"], generators, kernels, values["dependence"])


def _camera(x: Tensor, values: _Values, generators: Generators) -> Tensor:
    return add_camera(x, Camera(**{name: values[f"camera {name}"] for name in Camera._fields}), generators)


def _grain(x: Tensor, values: _Values, generators: Generators) -> Tensor:
    round_, flat = torch.ones_like(values["luma_blur"]), torch.zeros_like(values["luma_blur"])
    return add_grain(x, values["developed"], generators, gaussian_kernels(values["luma_blur"], round_, flat, _REACH))


def _developed(x: Tensor, values: _Values, generators: Generators) -> Tensor:
    round_, flat = torch.ones_like(values["chroma"]), torch.zeros_like(values["chroma"])
    chroma = gaussian_kernels(values["chroma_blur"], round_, flat, _REACH)
    luma = rolling_off(values["luma_blur"], values["steepness"], _REACH)
    y = add_developed(x, values["developed"], generators, luma, chroma, values["chroma"], values["dependence"])
    if "reduction" not in values:
        return y
    return x + reduced_noise(x, y - x, values["reduction"] * values["developed"])


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
    "developed": _developed,
    "grain": _grain,
}


def _groups(classes: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Each class that occurs, with the places where it does."""
    return [(each, [i for i, other in enumerate(classes) if other == each]) for each in sorted(set(classes))]
