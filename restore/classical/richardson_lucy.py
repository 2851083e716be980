"""Richardson-Lucy deconvolution with total variation, saturated pixels, and acceleration.

    x <- x K^T(y / (K x))                                 Richardson 1972, Lucy 1974
    x <- the same / (1 - tv div(grad x / |grad x|))       Dey et al., Microscopy Research and Technique 2006
    masked: x <- x K^T(w y / (K x)) / K^T w               pixels of weight w = 0 are not explained
    saturating: x <- x K^T(y R'(Kx) / R(Kx) + 1 - R'(Kx)) R a smooth min(u, 1): Whyte, Sivic, Zisserman, IJCV 2014

K is circular convolution (extend real pictures first, `restore.classical.boundary`), or any operator with an adjoint.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.physics.operators import Blur, CircularBlur

Saturation = Literal["none", "mask", "model"]
CLIPPED = 0.98  # from here on a pixel is taken as saturated
_EPS, _SMOOTH, _FLOOR = 1e-6, 1e-3, 0.1
_SHARPNESS = 50.0  # of the saturating model's knee


def richardson_lucy(
    y: Tensor,
    psf: Tensor | Blur,
    iterations: int,
    *,
    tv: float = 0.0,
    saturation: Saturation = "none",
    start: Tensor | None = None,
    eps: float = _EPS,
    normalised: bool = True,
) -> Tensor:
    """Deconvolve pictures B x C x H x W >= 0.

    Args:
        psf: ... x h x w for circular pictures, or an operator.
        tv: weight of the total variation; 0.002 to 0.01 for noise of 1 to 3 %. Without it, stop early: 25
            iterations for noise of 1 %, 8 for 3 %.
        saturation: what is done about pixels at white.
        start: first estimate; the picture itself by default.
        eps: added to the denominators.
        normalised: divide by K^T w, as is right; scikit-image does not (its K loses light at the border).
    """
    blur = CircularBlur(psf, y) if isinstance(psf, Tensor) else psf
    y = y.clamp(min=0)
    weight = _unsaturated(y) if saturation == "mask" else None
    share = _share(blur, torch.ones_like(y[:, :1]) if weight is None else weight) if normalised else None
    observed = y if weight is None else weight * y
    x = (y if start is None else start).clamp(min=eps)
    for _ in range(iterations):
        blurred = blur.forward(x).clamp_(min=0)
        step = blur.adjoint(_explained(y, blurred, eps) if saturation == "model" else observed / blurred.add_(eps))
        if share is not None:
            step = step.div_(share)
        x = x.mul_(step.clamp_(min=0))
        if tv:
            x = x.div_((1 - tv * _curvature(x)).clamp_(min=_FLOOR))
    return x


def _share(blur: Blur, weight: Tensor) -> Tensor | None:
    """K^T w, B x 1 x H x W; None where it is 1 everywhere."""
    share = blur.adjoint(weight).clamp(min=0.02)
    return None if float((share - 1).abs().max()) < 1e-5 else share


def _unsaturated(y: Tensor) -> Tensor:
    """1 where a pixel and its neighbours are below white in all channels, else 0: B x 1 x H x W"""
    bright = (y.amax(1, keepdim=True) >= CLIPPED).to(y.dtype)
    return 1 - F.max_pool2d(bright, 3, 1, 1)


def _explained(y: Tensor, u: Tensor, eps: float) -> Tensor:
    """y R'(u) / R(u) + 1 - R'(u), R(u) = u - log(1 + e^(a (u - 1))) / a."""
    a = _SHARPNESS
    slope = torch.sigmoid(-a * (u - 1))
    value = u - F.softplus(a * (u - 1)) / a
    return y * slope / (value + eps) + 1 - slope


def _curvature(x: Tensor) -> Tensor:
    """div(grad x / |grad x|), forward differences in the gradient and backward ones in the divergence."""
    down, right = x.roll(-1, -2) - x, x.roll(-1, -1) - x
    length = (down.square() + right.square() + _SMOOTH**2).rsqrt_()
    down, right = down * length, right * length
    return down - down.roll(1, -2) + right - right.roll(1, -1)
