"""The damage of pictures from the wild: blur, resize, noise and JPEG, twice, and the ringing of a sharp low-pass.

Source: Wang, Xie, Dong, Shan, "Real-ESRGAN: training real-world blind super-resolution with pure synthetic data",
ICCVW 2021, https://arxiv.org/abs/2107.10833. A pass blurs, resizes (area, bilinear or bicubic, without antialiasing
but by area), adds noise and compresses; sizes of the second pass are relative to that of the result. At the end the
picture comes to its size, and through a last sinc, either before or after the last JPEG. Differences: pictures are
damaged as they are given, without a wider border; JPEG is libjpeg's, with whole qualities.

Pictures are B x C x H x W with values in [0, 1], C = 1 or 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.physics.blur_kernels import (
    SINC,
    Kernel,
    KernelRecipe,
    between,
    check_range,
    check_share,
    choice,
    draw_kernel,
    kernel_values,
)
from restore.physics.color import to_luma
from restore.physics.fourier import convolve_reflected
from restore.physics.jpeg import jpeg
from restore.physics.noise import quantise
from restore.physics.random import generator_for, poisson
from restore.physics.resample import resize

Range = tuple[float, float]
MODES = ("area", "bilinear", "bicubic")
_CHANCES = 64  # numbers drawn for a sample, more than any needs


@dataclass(frozen=True)
class PassRecipe(KernelRecipe):
    """One pass. Ranges are (lowest, highest), drawn uniformly; shares are 0 to 1. Defaults: the first pass.

    Attributes:
        blur: share of samples that are blurred.
        resize: share of those that are enlarged, reduced and left.
        scale: least and largest factor of resizing, on either side of 1.
        gaussian: share with Gaussian noise; the others have Poisson noise.
        noise: std of Gaussian noise, in 8-bit units (0..255).
        poisson: factor of Poisson noise.
        grey: share of the noise that is the same in all channels.
        quality: of JPEG, 1 to 100.
    """

    blur: float = 1.0
    resize: tuple[float, float, float] = (0.2, 0.7, 0.1)
    scale: Range = (0.15, 1.5)
    gaussian: float = 0.5
    noise: Range = (1.0, 30.0)
    poisson: Range = (0.05, 3.0)
    grey: float = 0.4
    quality: Range = (30.0, 95.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("blur", "gaussian", "grey"):
            check_share(name, getattr(self, name))
        if min(self.resize) < 0 or not sum(self.resize) > 0:
            raise ValueError(f"resize is {self.resize}: shares of enlarged, reduced and left, not all 0")
        check_range("scale", self.scale, 0.01, 8.0)
        if not self.scale[0] <= 1 <= self.scale[1]:
            raise ValueError(f"scale is {self.scale}: it begins at 1 or below and ends at 1 or above")
        for name, least, most in (("noise", 0.0, 255.0), ("poisson", 0.0, 100.0), ("quality", 1.0, 100.0)):
            check_range(name, getattr(self, name), least, most)


SECOND = PassRecipe(
    blur=0.8, sigma=(0.2, 1.5), resize=(0.3, 0.4, 0.3), scale=(0.3, 1.2), noise=(1.0, 25.0), poisson=(0.05, 2.5)
)


@dataclass(frozen=True)
class RealWorldRecipe:
    """All of it; the defaults are those of the paper's program.

    Attributes:
        first, second: the passes.
        sinc: share of samples with a last sinc.
        sinc_size: its side, px, odd.
        cutoff: of it, radians a pixel.
        compressed_last: share whose last JPEG comes after the last resize and sinc, rather than before.
        share_clean: share of samples that are only made smaller (antialiased bicubic), so that clean pictures are
            learnt as well.
        clean_jpeg: share of those that are compressed.
        clean_quality: quality of that.
    """

    first: PassRecipe = field(default_factory=PassRecipe)
    second: PassRecipe = SECOND
    sinc: float = 0.8
    sinc_size: int = 21
    cutoff: Range = (math.pi / 3, math.pi)
    compressed_last: float = 0.5
    share_clean: float = 0.0
    clean_jpeg: float = 0.5
    clean_quality: Range = (75.0, 98.0)

    def __post_init__(self) -> None:
        for name in ("sinc", "compressed_last", "share_clean", "clean_jpeg"):
            check_share(name, getattr(self, name))
        if not (self.sinc_size % 2 and 3 <= self.sinc_size <= 101):
            raise ValueError(f"sinc_size is {self.sinc_size}: an odd number of 3 to 101")
        check_range("cutoff", self.cutoff, 0.1, math.pi)
        check_range("clean_quality", self.clean_quality, 1.0, 100.0)


class PassPlan(NamedTuple):
    """What one pass does to a sample.

    Attributes:
        kernel: None: not blurred.
        scale: new side over the old one (over the result's, in the second pass), and by which of `MODES`.
        gaussian: kind of noise; `noise` is its std in 8-bit units, else the factor of Poisson noise.
        grey: the noise is the same in all channels.
        quality: of JPEG.
    """

    kernel: Kernel | None
    scale: float
    mode: str
    gaussian: bool
    noise: float
    grey: bool
    quality: int


class RealWorldPlan(NamedTuple):
    """What becomes of one sample.

    Attributes:
        first, second: the passes; None: only made smaller.
        sinc: the last low-pass, if any.
        mode: of the last resize, one of `MODES`.
        compressed_last: whether the last JPEG comes at the very end.
        quality: of the JPEG of a sample that is only made smaller; 0: none.
    """

    first: PassPlan | None
    second: PassPlan | None
    sinc: Kernel | None
    mode: str
    compressed_last: bool
    quality: int


def plan_real_world(recipe: RealWorldRecipe, generator: torch.Generator) -> RealWorldPlan:
    """Draw what becomes of one sample, from a generator on the CPU, as many numbers for each."""
    chance = iter(torch.rand(_CHANCES, dtype=torch.float64, generator=generator).tolist())
    clean, compressed, quality = next(chance) < recipe.share_clean, next(chance), next(chance)
    first, second = _plan_pass(recipe.first, chance), _plan_pass(recipe.second, chance)
    has_sinc, cutoff, mode, order = (next(chance) for _ in range(4))
    if clean:
        mild = round(between(recipe.clean_quality, quality)) if compressed < recipe.clean_jpeg else 0
        return RealWorldPlan(None, None, None, "", False, mild)
    sinc = Kernel(SINC, recipe.sinc_size, cutoff=between(recipe.cutoff, cutoff)) if has_sinc < recipe.sinc else None
    return RealWorldPlan(first, second, sinc, _mode(mode), order < recipe.compressed_last, 0)


def _plan_pass(recipe: PassRecipe, chance: Iterator[float]) -> PassPlan:
    kernel = draw_kernel(recipe, chance)
    blurred, way, factor, mode, kind, level, grey, quality = (next(chance) for _ in range(8))
    low, high = recipe.scale
    ranges = {"enlarged": (1.0, high), "reduced": (low, 1.0), "left": (1.0, 1.0)}
    scale = between(ranges[choice(dict(zip(ranges, recipe.resize, strict=True)), way)], factor)
    gaussian = kind < recipe.gaussian
    noise = between(recipe.noise if gaussian else recipe.poisson, level)
    compressed = round(between(recipe.quality, quality))
    shown = kernel if blurred < recipe.blur else None
    return PassPlan(shown, scale, _mode(mode), gaussian, noise, grey < recipe.grey, compressed)


def _mode(chance: float) -> str:
    return choice(dict.fromkeys(MODES, 1.0), chance)


def damage(x: Tensor, plan: RealWorldPlan, factor: int, generator: torch.Generator) -> Tensor:
    """A picture as planned: 1 x C x H x W -> 1 x C x H/factor x W/factor, values rounded to 8 bits.

    Noise comes from a generator on the device of `x`; H and W must be multiples of `factor`.
    """
    height, width = x.shape[-2] // factor, x.shape[-1] // factor
    if plan.first is None or plan.second is None:
        small = quantise(resize(x, (height, width)))
        return _compressed(small, plan.quality) if plan.quality else small
    x = _through(x, plan.first, (x.shape[-2], x.shape[-1]), generator)
    x = _compressed(x, plan.first.quality)
    x = _through(x, plan.second, (height, width), generator)
    if not plan.compressed_last:
        x = _compressed(x, plan.second.quality)
    x = _resized(x, (height, width), plan.mode)
    x = _blurred(x, plan.sinc)
    return _compressed(x, plan.second.quality) if plan.compressed_last else quantise(x)


def degrade_real_world(clean: Tensor, recipe: RealWorldRecipe, factor: int, seed: int, step: int, first: int) -> Tensor:
    """A batch damaged at random: B x C x H x W -> B x C x H/factor x W/factor, values rounded to 8 bits.

    Sample i is a function of (seed, step, first + i) alone. Plans are drawn on the CPU, fields on the device.
    """
    made = []
    for i, picture in enumerate(clean.split(1)):
        generator = generator_for(seed, step, first + i)
        plan = plan_real_world(recipe, generator)
        if clean.device.type != "cpu":
            generator = generator_for(seed, step, first + i, device=clean.device)
        made.append(damage(picture, plan, factor, generator))
    return torch.cat(made)


def _through(x: Tensor, plan: PassPlan, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """A pass up to its JPEG, resized relative to `size`; in [0, 1]."""
    x = _blurred(x, plan.kernel)
    x = _resized(x, (max(1, int(size[0] * plan.scale)), max(1, int(size[1] * plan.scale))), plan.mode)
    shown = to_luma(x) if plan.grey else x
    if plan.gaussian:
        noise = torch.randn(shown.shape, generator=generator, device=x.device).mul_(plan.noise / 255)
    else:
        noise = poisson_noise(shown, generator).mul_(plan.noise)
    return (x + noise).clamp_(0, 1)


def poisson_noise(x: Tensor, generator: torch.Generator) -> Tensor:
    """Poisson noise of one 8-bit picture, 1 x C x H x W, of mean 0: the same shape.

    As many photons at white as the picture has different 8-bit values, rounded up to a power of 2 (the convention of
    scikit-image's `random_noise`).
    """
    codes = (x.clamp(0, 1) * 255).round_()
    seen = torch.zeros(256, device=x.device).index_fill_(0, codes.flatten().long(), 1.0)
    photons = seen.sum().log2().ceil().exp2()
    rates = codes.mul_(photons / 255)
    return (poisson(rates, generator) - rates).div_(photons)


def _resized(x: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size=size, mode=mode, align_corners=None if mode == "area" else False)


def _blurred(x: Tensor, kernel: Kernel | None) -> Tensor:
    return x if kernel is None else convolve_reflected(x, kernel_values(kernel, x.device))


def _compressed(x: Tensor, quality: int) -> Tensor:
    return jpeg(x, torch.full((len(x),), float(quality), device=x.device))
