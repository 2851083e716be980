"""Which algorithm for what was measured of a picture (the task's method "measured"), and each as a function of circular
pictures.

The method of the task is chosen before, from the options alone: `restore.tasks.choose_method`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from restore.classical.boundary import Extended, extend
from restore.classical.hyper_laplacian import hyper_laplacian, weight_for
from restore.classical.plug_and_play import plug_and_play
from restore.classical.richardson_lucy import CLIPPED, richardson_lucy
from restore.classical.wiener import wiener
from restore.engines.blind_psf.appraisal import INEXACT
from restore.engines.deconv.network import LOW_LIGHT, DeconvolutionNetwork, headroom
from restore.engines.deconv.prior import DenoisingPrior
from restore.engines.deconv.psf import Varying
from restore.errors import ConfigError
from restore.inference.engine import Place
from restore.physics.blurred_noise import blurred_noise
from restore.physics.fourier import convolve, otf
from restore.physics.operators import VaryingBlur

METHODS = ("wiener", "rl", "rl-tv", "hyper-laplacian", "pnp", "infwide")
_SATURATED = 0.002  # share of clipped pixels from which on methods that can model clipping do so
_LEAST_NOISE = 0.3 / 255  # rounding to 8 bits
_OUTLIERS, _SKY_NOISE = 1e-3, 6.0  # share of the pixels; stds of the noise between a sky's least value and its median
_LEAST_MISFIT = 2 / 255  # what a made-up border and an inexact PSF leave unexplained, as noise to learned priors

_AGREEMENTS = 3  # passes

Solve = Callable[[Extended, Place], Tensor]
"""An extended tile, and where it lies in the picture -> its deconvolution, of the extended size."""


class Measured(NamedTuple):
    """What is measured of a picture.

    Attributes:
        sigma: std of its noise, in units of [0, 1].
        white: value at which it is clipped; 1 where none is seen.
        clipped: share of its samples at white.
        sky: least value of a flat sky that at least half of the picture is; 0 where there is none. Lights lie on it:
            an answer below it is a ring.
    """

    sigma: float
    white: float
    clipped: float
    sky: float = 0.0

    @property
    def saturated(self) -> bool:
        return self.clipped > _SATURATED


def measure_crops(crops: list[Tensor], sigma: float | None = None) -> Measured:
    """What crops C x H x W say of noise (unless it is given) and clipping: a plateau at their largest value, below
    white too (a scaled picture). NaN is not measured."""
    values = torch.cat([crop[crop.isfinite()] for crop in crops]) if crops else torch.zeros(0)
    if not len(values):
        return Measured(max(sigma or 0.0, _LEAST_NOISE), 1.0, 0.0)
    top = float(values.max())
    at, below = ((values >= top - code / 255).float().mean() for code in (0.5, 2.5))
    white = min(max(top, 0.05), 1.0) if at > 0.001 and at > 0.5 * below else 1.0
    if sigma is None:
        sigma = blurred_noise([crop / white for crop in crops]) * white
    sigma = max(sigma, _LEAST_NOISE)
    return Measured(sigma, white, float((values >= CLIPPED * white).float().mean()), _sky(crops, sigma))


def _sky(crops: list[Tensor], sigma: float) -> float:
    """`Measured.sky` of crops C x H x W: the least of the channels' lowest values, a few outliers left out, where the
    median of each lies within its noise."""
    channels = torch.cat([crop[:, crop.isfinite().all(0)] for crop in crops], 1).sort(-1).values
    count = channels.shape[1]
    lowest, middle = channels[:, int(_OUTLIERS * count)], channels[:, count // 2]
    return max(0.0, float(lowest.min())) if bool((middle - lowest < _SKY_NOISE * sigma).all()) else 0.0


def extended(x: Tensor, psf: Tensor, boundary: str, weight: float) -> Extended:
    """A picture with a border that agrees with the PSF: three times over, what its hyper-Laplacian deconvolution has
    there when it is blurred again. From "liu-jia" alone; the other borders are meant as they are.

    Args:
        weight: of the data (`weight_for`).
    """
    y = extend(x, psf, boundary)
    if boundary != "liu-jia":
        return y
    known, most = y.known(), y.pixels.amax()
    transfer = otf(psf.to(x), (y.pixels.shape[-2], y.pixels.shape[-1]))
    for _ in range(_AGREEMENTS):
        sharp = hyper_laplacian(y.pixels, psf, weight).clamp(min=0).clamp(max=most)
        y = y._replace(pixels=torch.where(known, y.pixels, convolve(sharp, transfer)))
    return y


def by_network(network: DeconvolutionNetwork, psf: Tensor, seen: Measured) -> tuple[Solve, str]:
    scale = headroom(seen.white) if seen.saturated and network.name == LOW_LIGHT else 1.0
    level = max(seen.sigma, _LEAST_MISFIT)

    def solve(y: Extended, place: Place) -> Tensor:
        return network.deconvolve(y.pixels * scale, psf, level * scale) / scale

    return solve, f"network {network.name}"


def by_wiener(psf: Tensor, weight: float) -> tuple[Solve, str]:
    return lambda y, place: wiener(y.pixels, psf, weight), f"wiener, weight {weight:.3g} by cross-validation"


def data_weight(seen: Measured, *, exact: bool = True) -> float:
    """Of the hyper-Laplacian, for a PSF that is exact or an estimate."""
    return weight_for(seen.sigma) if exact else min(weight_for(seen.sigma), INEXACT)


def by_hyper_laplacian(psf: Tensor, seen: Measured, *, exact: bool = True) -> tuple[Solve, str]:
    weight = data_weight(seen, exact=exact)
    return lambda y, place: hyper_laplacian(y.pixels, psf, weight), f"hyper-laplacian, weight {weight:.0f}"


def by_plug_and_play(psf: Tensor, seen: Measured, prior: DenoisingPrior) -> tuple[Solve, str]:
    level = max(seen.sigma, _LEAST_MISFIT)

    def solve(y: Extended, place: Place) -> Tensor:
        return plug_and_play(y.pixels, psf, level, prior.denoise, known=y.known())

    return solve, f"pnp, 8 steps with {prior.name}"


def by_richardson_lucy(method: str, psf: Tensor | Varying, seen: Measured, iterations: int | None) -> tuple[Solve, str]:
    """ "rl" or "rl-tv", with a model of clipping where pixels are clipped; light is positive above the sky."""
    tv = 0.0 if method == "rl" else min(max(0.25 * seen.sigma, 0.001), 0.02)
    model = seen.saturated
    usual = (60 if model else min(max(round(0.25 / seen.sigma), 6), 60)) if method == "rl" else 100
    count = iterations or usual

    def solve(y: Extended, place: Place) -> Tensor:
        blur = psf
        if isinstance(blur, Varying):
            origin = place.top - y.top, place.left - y.left
            blur = VaryingBlur(blur.psfs, blur.maps, y.pixels, (place.height, place.width), origin)
        height = max(seen.white - seen.sky, 1e-3)
        scaled = (y.pixels - seen.sky) / height
        return richardson_lucy(scaled, blur, count, tv=tv, saturation="model" if model else "none") * height + seen.sky

    return solve, f"{method}, {count} iterations{', with a model of clipping' if model else ''}"


def for_varying_psf(method: str) -> str:
    """The method for a PSF that changes over the picture. Raises `ConfigError` if it cannot do that."""
    if method not in ("auto", "rl", "rl-tv"):
        raise ConfigError(f"{method} takes one PSF for the whole picture", fix="Use --method rl or rl-tv")
    return "rl-tv" if method == "auto" else method
