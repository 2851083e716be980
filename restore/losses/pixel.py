"""Pixel losses, each a mean over all elements, computed in float32 (float64 for float64 input).

    l1           mean |x - y|
    l2           mean (x - y)^2
    charbonnier  mean sqrt((x - y)^2 + eps^2)    Charbonnier et al., ICIP 1994; eps = 1e-3 as in LapSRN
                                                 (Lai et al., CVPR 2017, https://arxiv.org/abs/1704.03915)
    gradient     total variation of x - y        the L1 norm of what the edges differ by
    tv           total variation of x alone      Rudin, Osher, Fatemi, Physica D 1992 (anisotropic form); a prior, not a
                                                 comparison: mean |right - left| + mean |below - above|
    phase        mean |local means of each s x s phase of x - y| of their own mean   the same in every s-th pixel:
                                                 the regular pattern of a sub-pixel convolution, which texture is not
    smoothness   2 (mean (right - left)^2 + mean (below - above)^2) of x alone, as INFWIDE takes it for its TV

Low precision is left before anything is squared: in float16 eps^2 = 1e-6 would lose most of its digits and the
gradient of a root near 0 with it. Other packages' Charbonnier differs: BasicSR adds 1e-12 under the root, kornia
takes sqrt(d^2 + 1) - 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-3  # Charbonnier's, in units of [0, 1] values


def l1_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error of two tensors of one shape: a scalar."""
    return difference(x, y).abs().mean()


def l2_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of two tensors of one shape: a scalar."""
    return difference(x, y).square().mean()


def charbonnier_loss(x: Tensor, y: Tensor, eps: float = EPS) -> Tensor:
    """Mean of sqrt((x - y)^2 + eps^2) of two tensors of one shape: a scalar, `eps` at equality."""
    return (difference(x, y).square() + eps * eps).sqrt().mean()


def gradient_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute forward difference of x - y, along rows plus along columns, ... x H x W: a scalar."""
    return _total_variation(difference(x, y))


def tv_loss(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Mean absolute forward difference of x, along rows plus along columns, ... x H x W: a scalar; y plays no part."""
    with torch.autocast(x.device.type, enabled=False):
        return _total_variation(at_least_float32(x))


def smoothness_loss(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Twice the mean squared forward difference of x, along rows plus along columns: a scalar; y plays no part."""
    with torch.autocast(x.device.type, enabled=False):
        x = at_least_float32(x)
        return 2 * (x.diff(dim=-1).square().mean() + x.diff(dim=-2).square().mean())


def phase_loss(x: Tensor, y: Tensor, scale: int = 4, window: int = 8) -> Tensor:
    """How much of x - y is a pattern that repeats every `scale` pixels: a scalar, 0 for what has no period.

    Each of the scale^2 phases is averaged over `window` x `window` of its pixels (every half window), less the mean of
    all phases there; the mean of the absolute values.

    Args:
        x, y: B x C x H x W; rows and columns beyond a multiple of `scale` are left out.
    Raises:
        ValueError: sides of less than scale x window px.
    """
    height, width = (side // scale * scale for side in x.shape[-2:])
    if min(height, width) < scale * window:
        raise ValueError(f"the phase loss looks at {scale * window} px at once, not at {min(height, width)}")
    with torch.autocast(x.device.type, enabled=False):
        phases = F.pixel_unshuffle(difference(x, y)[..., :height, :width], scale)
        means = F.avg_pool2d(phases, window, max(1, window // 2)).unflatten(1, (x.shape[1], scale**2))
        return (means - means.mean(2, keepdim=True)).abs().mean()


def at_least_float32(x: Tensor) -> Tensor:
    """x in float32, or as it is in float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def difference(x: Tensor, y: Tensor) -> Tensor:
    """x - y, taken in float32 or float64, whatever the autocast. Raises `ValueError` if their shapes differ."""
    if x.shape != y.shape:
        raise ValueError(f"a loss compares tensors of one shape, not {tuple(x.shape)} and {tuple(y.shape)}")
    with torch.autocast(x.device.type, enabled=False):
        return at_least_float32(x) - at_least_float32(y)


def _total_variation(x: Tensor) -> Tensor:
    return x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean()
