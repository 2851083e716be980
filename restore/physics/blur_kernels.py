"""Blur kernels of real-world pictures: Gaussian-like ones of six kinds, and the ringing ones of ideal low-pass filters.

    isotropic, anisotropic      exp(-q / 2),      q = squared distance in units of the axes' stds
    generalised-...             exp(-q^p / 2),    p = 1 is the Gaussian, larger is flatter with steeper flanks
    plateau-...                 1 / (1 + q^p)
    sinc                        w J1(w r) / (2 pi r), the circular low-pass of cut-off w: overshoot and ringing

Sources: Wang et al., "Real-ESRGAN", ICCVW 2021 (https://arxiv.org/abs/2107.10833), appendix; generalised Gaussians and
plateaus: Liu et al., "Estimating generalized Gaussian blur kernels for out-of-focus image deblurring", TCSVT 2020.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from restore.physics.filters import elliptic_distance

Range = tuple[float, float]
Chance = TypeVar("Chance", float, Tensor)
SINC = "sinc"
_WEIGHTS = {
    "isotropic": 0.45, "anisotropic": 0.25, "generalised-isotropic": 0.12, "generalised-anisotropic": 0.03,
    "plateau-isotropic": 0.12, "plateau-anisotropic": 0.03,
}  # fmt: skip
KINDS = tuple(_WEIGHTS)
"""All kinds but `SINC`."""
_LARGE = 13  # px, kernels from which on lower cut-offs fit in


@dataclass(frozen=True)
class KernelRecipe:
    """Random kernels. Ranges are (lowest, highest), drawn uniformly.

    Attributes:
        sizes: sides of kernels, px; odd numbers alone are drawn.
        sinc: share of sinc kernels; their cut-off is pi/3 to pi (pi/5 to pi from 13 px on), radians a pixel.
        weights: kind -> how often among the others.
        sigma: std, px; along both axes separately of what is anisotropic.
        generalised, plateau: the power p of those kinds; where the range holds 1, half of them lie above it.
    """

    sizes: tuple[int, int] = (7, 21)
    sinc: float = 0.1
    weights: Mapping[str, float] = field(default_factory=lambda: dict(_WEIGHTS))
    sigma: Range = (0.2, 3.0)
    generalised: Range = (0.5, 4.0)
    plateau: Range = (1.0, 2.0)

    def __post_init__(self) -> None:
        for kind in self.weights:
            if kind not in _WEIGHTS:
                raise ValueError(f"there is no kernel {kind!r}; there are {', '.join(_WEIGHTS)}")
        if not sum(self.weights.values()) > 0 or min(self.weights.values()) < 0:
            raise ValueError("the weights of kernels must not be negative, and one must be above 0")
        if not all(side % 2 and 3 <= side <= 101 for side in self.sizes) or self.sizes[0] > self.sizes[1]:
            raise ValueError(f"sizes are {self.sizes}: two odd numbers of 3 to 101, the smaller one first")
        check_share("sinc", self.sinc)
        for name, least in (("sigma", 0.05), ("generalised", 0.1), ("plateau", 0.1)):
            check_range(name, getattr(self, name), least, 50.0)


class Kernel(NamedTuple):
    """What one kernel is: a kind with its size in px, stds along its axes, the angle of the first (radians, from right
    to down), power, and cut-off (radians a pixel)."""

    kind: str
    size: int
    sigma: tuple[float, float] = (1.0, 1.0)
    angle: float = 0.0
    power: float = 1.0
    cutoff: float = math.pi


def draw_kernel(recipe: KernelRecipe, chance: Iterator[float]) -> Kernel:
    """A random kernel from 8 numbers that are uniform in [0, 1): as many for every kind."""
    which, kind, side, first, second, turn, part, power = (next(chance) for _ in range(8))
    count = (recipe.sizes[1] - recipe.sizes[0]) // 2 + 1
    size = recipe.sizes[0] + 2 * min(int(side * count), count - 1)
    if which < recipe.sinc:
        return Kernel(SINC, size, cutoff=between((math.pi / (5 if size >= _LARGE else 3), math.pi), first))
    name = choice(recipe.weights, kind)
    sigma = between(recipe.sigma, first), between(recipe.sigma, second)
    shape = recipe.plateau if name.startswith("plateau") else recipe.generalised
    if shape[0] <= 1 <= shape[1]:
        shape = (shape[0], 1.0) if part < 0.5 else (1.0, shape[1])
    p = 1.0 if name in ("isotropic", "anisotropic") else between(shape, power)
    if name.endswith("anisotropic"):
        return Kernel(name, size, sigma, between((-math.pi, math.pi), turn), p)
    return Kernel(name, size, (sigma[0], sigma[0]), 0.0, p)


def kernel_values(kernel: Kernel, device: torch.device) -> Tensor:
    """The kernel that is described, of sum 1: 1 x size x size, float32."""
    if kernel.kind == SINC:
        return sinc_kernels(kernel.size, torch.tensor([kernel.cutoff], dtype=torch.float64)).float().to(device)
    numbers = torch.tensor([(*kernel.sigma, kernel.angle, kernel.power)], dtype=torch.float64)
    make = plateau_kernels if kernel.kind.startswith("plateau") else generalised_kernels
    return make(kernel.size, *numbers.unbind(1)).float().to(device)


def generalised_kernels(size: int, sigma: Tensor, across: Tensor, angle: Tensor, power: Tensor) -> Tensor:
    """exp(-q^power / 2), of sum 1: B values each -> B x size x size.

    Args:
        sigma, across: std along the first and the second axis, px.
        angle: of the first axis, from right to down, radians.
    """
    return _of_sum_1(torch.exp(-0.5 * _powered(size, sigma, across, angle, power)))


def plateau_kernels(size: int, sigma: Tensor, across: Tensor, angle: Tensor, power: Tensor) -> Tensor:
    """1 / (1 + q^power), of sum 1; arguments and shape as of `generalised_kernels`."""
    return _of_sum_1(1 / (1 + _powered(size, sigma, across, angle, power)))


def sinc_kernels(size: int, cutoff: Tensor) -> Tensor:
    """Circular low-pass filters cut off at `size` px, of sum 1: B (radians a pixel) -> B x size x size.

    Negative in places: they overshoot at edges.
    """
    place = torch.arange(size, dtype=cutoff.dtype, device=cutoff.device) - size // 2
    radius = torch.hypot(place[None, :], place[:, None])
    cutoff, away = cutoff[:, None, None], radius.clamp(min=0.5)
    values = cutoff * torch.special.bessel_j1(cutoff * away) / (2 * math.pi * away)
    return _of_sum_1(torch.where(radius == 0, cutoff.square() / (4 * math.pi), values))


def _powered(size: int, sigma: Tensor, across: Tensor, angle: Tensor, power: Tensor) -> Tensor:
    place = torch.arange(size, dtype=sigma.dtype, device=sigma.device) - size // 2
    sigma, across, angle, power = (each[:, None, None] for each in (sigma, across, angle, power))
    return elliptic_distance(place[None, None, :], place[None, :, None], sigma, across, angle).pow(power)


def _of_sum_1(kernels: Tensor) -> Tensor:
    return kernels / kernels.sum((-2, -1), keepdim=True)


def between(bounds: Range, chance: Chance) -> Chance:
    """A number of a range for one that is uniform in [0, 1), or for each of several."""
    return bounds[0] + (bounds[1] - bounds[0]) * chance


def choice(weights: Mapping[str, float], chance: float) -> str:
    """A key, as often as its weight says, for a number that is uniform in [0, 1)."""
    left = chance * sum(weights.values())
    for name, weight in weights.items():
        if left < weight:
            return name
        left -= weight
    return [name for name, weight in weights.items() if weight > 0][-1]


def check_share(name: str, value: float) -> None:
    """Raise `ValueError` unless it is 0 to 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}: a share of 0 to 1")


def check_range(name: str, value: Range, least: float, most: float) -> None:
    """Raise `ValueError` unless it is a range within `least` to `most`."""
    if not least <= value[0] <= value[1] <= most:
        raise ValueError(f"{name} is {value}: two numbers of {least:g} to {most:g}, the smaller one first")
