"""What clipping to [0, 1] does to noise, and how it is taken back out (Foi, "Clipped noisy images", 2009)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from restore.physics.level import KNOTS

TABLE = 1024  # entries of the tables over intensity


def clipped_moments(mean: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and std of clip(mean + sigma * n, 0, 1), n standard normal, elementwise (Foi 2009)."""
    sigma = sigma.clamp(min=1e-6)
    low, high = -mean / sigma, (1 - mean) / sigma
    cdf_low, cdf_high = torch.special.ndtr(low), torch.special.ndtr(high)
    pdf_low, pdf_high = _normal_pdf(low), _normal_pdf(high)
    inside = cdf_high - cdf_low
    first = mean * inside + sigma * (pdf_low - pdf_high) + (1 - cdf_high)
    # second moment around `mean`, which keeps the subtraction well conditioned
    second = sigma.square() * (inside + low * pdf_low - high * pdf_high)
    second = second + mean.square() * cdf_low + (1 - mean).square() * (1 - cdf_high)
    return first, (second - (first - mean).square()).clamp(min=0).sqrt()


def unclipped_moments(mean: Tensor, sigma: Tensor, steps: int = 60) -> tuple[Tensor, Tensor]:
    """Inverse of :func:`clipped_moments` by damped fixed-point iteration, elementwise."""
    true_mean, true_sigma = mean.clone(), sigma.clone()
    for _ in range(steps):
        seen_mean, seen_sigma = clipped_moments(true_mean, true_sigma)
        ratio = (sigma / seen_sigma.clamp(min=1e-6)).clamp(0.5, 2.0)
        true_sigma = (true_sigma * ratio.sqrt()).clamp(max=2.0)
        true_mean = (true_mean + mean - seen_mean).clamp(-1.0, 2.0)
    return true_mean, true_sigma


def variance_tables(levels: Tensor) -> tuple[Tensor, Tensor]:
    """What a clipped picture shows, over its mean intensity: noise variance, and the mean before clipping.

    levels: C x KNOTS -> two tables C x TABLE over [0, 1]
    """
    levels = levels.double().cpu()
    true = torch.linspace(-1, 2, 4 * TABLE, dtype=torch.float64)
    place = (true.clamp(0, 1) * (KNOTS - 1)).clamp(max=KNOTS - 1 - 1e-9)
    left = place.long()
    sigma = torch.lerp(levels[:, left], levels[:, left + 1], place - left).clamp(min=1e-6)
    mean, std = clipped_moments(true.expand_as(sigma), sigma)
    mean = torch.cummax(mean, dim=1).values
    grid = torch.linspace(0, 1, TABLE, dtype=torch.float64)
    variance = _resample(grid, mean, std.square()).clamp(min=1e-7)  # a tenth of an 8-bit step
    return variance.float(), _resample(grid, mean, true.expand_as(mean)).clamp(0, 1).float()


def _resample(grid: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Piecewise linear y(x), x increasing, at ``grid``: C x K, C x K -> C x len(grid)"""
    rows = []
    for xs, ys in zip(x, y, strict=True):
        right = torch.searchsorted(xs.contiguous(), grid).clamp(1, len(xs) - 1)
        x0, x1 = xs[right - 1], xs[right]
        share = ((grid - x0) / (x1 - x0).clamp(min=1e-12)).clamp(0, 1)
        rows.append(torch.lerp(ys[right - 1], ys[right], share))
    return torch.stack(rows)


def _normal_pdf(x: Tensor) -> Tensor:
    return torch.exp(-0.5 * x.square()) / math.sqrt(2 * math.pi)
