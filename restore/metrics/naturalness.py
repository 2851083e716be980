"""A score without a reference: how far the statistics of a picture are from those of good photographs.

The form is NIQE's (Mittal, Soundararajan, Bovik, "Making a completely blind image quality analyzer", IEEE SPL 2013);
the numbers are not: the model of good photographs was fitted by us (`tools/fit_naturalness.py`), luma is that of
BT.601 in full range, filters differ in detail. Compare values of this function with each other alone.

    MSCN         m = (I - mu) / (s + 1), mu and s local mean and std, I luma 0..255, 7 x 7 Gaussian of sigma 7/6
    features     of every 96 x 96 patch, at two scales (the second at half size, 48 x 48): 18 each
                 m: a generalised Gaussian (shape, std)
                 products of m with its neighbours right, below, below right, below left:
                 asymmetric generalised Gaussians (shape, mean, left scale, right scale)
    score        sqrt((a - b)^T ((A + B) / 2)^-1 (a - b)), a, A mean and covariance of the picture's patches,
                 b, B those of the sharp patches of good photographs; 0 is like them, more is worse
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import ConfigError, UnsupportedError
from restore.metrics.pixel import prepared
from restore.physics.color import to_luma
from restore.physics.filters import gaussian_taps

PATCH = 96
"""Side of the patches in pixels; half of it at the second scale."""
LEAST_SIDE = 2 * PATCH
"""Of a picture, in pixels: a covariance needs a few patches."""
MODEL = Path(__file__).with_name("naturalness.safetensors")


class Gaussian(NamedTuple):
    """Mean (36) and covariance (36 x 36) of patch features, float64."""

    mean: Tensor
    covariance: Tensor


def naturalness(x: Tensor, *, border: int = 0, rounded: bool = True) -> Tensor:
    """Distance from good photographs, lower is better, B values.

    Args:
        x: B x 1 or 3 x H x W, white = 1, sides of at least 192 px inside the border. What is left over of whole
            patches at the right and below does not count.
        border: pixels left out on each side.
        rounded: clip to [0, 1] and round to 8 bits first, as the photographs of the model were.
    Raises:
        ConfigError: the picture is too small.
        UnsupportedError: it has no structure at all.
    """
    x, _ = prepared(x, x, border=border, rounded=rounded)
    return torch.stack([distance(gaussian_of(patch_features(each)), reference_statistics()) for each in to_luma(x)])


def distance(a: Gaussian, b: Gaussian) -> Tensor:
    """Between two Gaussians: a scalar, float64."""
    apart = a.mean - b.mean
    inverse = torch.linalg.pinv((a.covariance + b.covariance) / 2, hermitian=True)
    return (apart @ inverse @ apart).clamp(min=0).sqrt()


def gaussian_of(features: Tensor) -> Gaussian:
    """Mean and covariance of N x 36 features, N > 1."""
    features = features.double()
    return Gaussian(features.mean(0), torch.cov(features.T))


@functools.cache
def reference_statistics() -> Gaussian:
    """The fitted model that comes with the package."""
    from safetensors.torch import load_file

    tensors = load_file(MODEL)
    return Gaussian(tensors["mean"].double(), tensors["covariance"].double())


def patch_features(luma: Tensor, *, sharpest: float = 0.0) -> Tensor:
    """Features of a picture's patches, N x 36, those of one flat colour left out.

    Args:
        luma: 1 x H x W, [0, 1].
        sharpest: keep patches whose mean local std is more than this share of the sharpest one's (0.75 to fit).
    Raises:
        ConfigError, UnsupportedError: see `naturalness`.
    """
    height, width = luma.shape[-2:]
    if min(height, width) < LEAST_SIDE:
        raise ConfigError(
            f"naturalness needs sides of at least {LEAST_SIDE} px, not {width} x {height}", fix="Use larger pictures"
        )
    whole = luma[None, :, : height - height % PATCH, : width - width % PATCH].float() * 255
    half = F.interpolate(whole, scale_factor=0.5, mode="bicubic", align_corners=False, antialias=True)
    fine, spread = _normalised(whole)
    coarse, _ = _normalised(half)
    patches, halves, shades = _patches(fine, PATCH), _patches(coarse, PATCH // 2), _patches(whole[0, 0], PATCH)
    valid = shades.amax((1, 2)) > shades.amin((1, 2))
    if not valid.any():
        raise UnsupportedError("naturalness cannot judge a picture of one flat colour")
    if sharpest > 0:
        sharpness = _patches(spread, PATCH).mean((1, 2))
        valid &= sharpness > sharpest * sharpness.max()
    return torch.cat([_statistics(patches[valid]), _statistics(halves[valid])], 1)


def fit_generalised(x: Tensor) -> tuple[Tensor, Tensor]:
    """Shape and std of zero-mean generalised Gaussians, by moments (Sharifi, Leon-Garcia, 1995).

    x: N x samples -> N and N. Density proportional to exp(-|x / b|^shape): 2 is Gaussian, 1 Laplacian.
    """
    power = x.double().square().mean(1)
    return _shape(x.double().abs().mean(1).square() / power.clamp(min=1e-30)), power.sqrt()


def fit_asymmetric(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Shape, mean, left and right scale of asymmetric generalised Gaussians, by moments (Lasmar et al., ICIP 2009).

    x: N x samples -> four of N. Density proportional to exp(-(-x / left)^shape) for x < 0, exp(-(x / right)^shape)
    for x >= 0.
    """
    x = x.double()
    left = _root_mean_square(x, x < 0)
    right = _root_mean_square(x, x > 0)
    ratio = left / right
    moments = x.abs().mean(1).square() / x.square().mean(1).clamp(min=1e-30)
    shape = _shape(moments * (ratio**3 + 1) * (ratio + 1) / (ratio.square() + 1).square())
    narrow = ((1 / shape).lgamma() - (3 / shape).lgamma()).div(2).exp()
    left, right = left * narrow, right * narrow
    return shape, (right - left) * ((2 / shape).lgamma() - (1 / shape).lgamma()).exp(), left, right


def _root_mean_square(x: Tensor, where: Tensor) -> Tensor:
    """Of the samples of each row where `where` holds; tiny if there are none."""
    power = (x.square() * where).sum(1) / where.sum(1).clamp(min=1)
    return power.sqrt().clamp(min=1e-6)


def _statistics(patches: Tensor) -> Tensor:
    """N x p x p normalised patches -> N x 18 features, float64."""
    statistics = [*fit_generalised(patches.flatten(1))]
    neighbours = (
        patches[:, :, :-1] * patches[:, :, 1:],
        patches[:, :-1] * patches[:, 1:],
        patches[:, :-1, :-1] * patches[:, 1:, 1:],
        patches[:, :-1, 1:] * patches[:, 1:, :-1],
    )
    for product in neighbours:
        statistics.extend(fit_asymmetric(product.flatten(1)))
    return torch.stack(statistics, 1)


def _normalised(luma: Tensor) -> tuple[Tensor, Tensor]:
    """MSCN coefficients and local std of 1 x 1 x H x W, 0..255; both H x W."""
    taps = gaussian_taps(7, 7 / 6).float()

    def blur(plane: Tensor) -> Tensor:
        plane = F.pad(plane, (3, 3, 3, 3), mode="replicate")
        return F.conv2d(F.conv2d(plane, taps.view(1, 1, 7, 1)), taps.view(1, 1, 1, 7))

    shifted = luma - luma.mean()  # keeps the digits of the variance
    mean = blur(shifted)
    spread = (blur(shifted.square()) - mean.square()).clamp(min=0).sqrt()
    return ((shifted - mean) / (spread + 1))[0, 0], spread[0, 0]


def _patches(plane: Tensor, side: int) -> Tensor:
    """H x W -> N x side x side, side by side."""
    return plane.unfold(0, side, side).unfold(1, side, side).flatten(0, 1)


def _shape(ratio: Tensor) -> Tensor:
    """The shape whose generalised Gaussian has this (E|x|)^2 / E x^2, between 0.2 and 10; linear in a fine table."""
    shapes, ratios = _table()
    place = torch.searchsorted(ratios, ratio.contiguous()).clamp(1, len(ratios) - 1)
    below, above = ratios[place - 1], ratios[place]
    share = ((ratio - below) / (above - below)).clamp(0, 1)
    return shapes[place - 1] + share * (shapes[place] - shapes[place - 1])


@functools.cache
def _table() -> tuple[Tensor, Tensor]:
    """Shapes, and Gamma(2/shape)^2 / (Gamma(1/shape) Gamma(3/shape)), which grows with them."""
    with torch.inference_mode(False):
        shapes = torch.linspace(0.2, 10, 9801, dtype=torch.float64)
        one, two, three = ((k / shapes).lgamma() for k in (1, 2, 3))
        return shapes, (2 * two - one - three).exp()
