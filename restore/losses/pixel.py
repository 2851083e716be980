"""Pixel losses: L1, L2 and Charbonnier, each the mean over all elements, computed in float32.

    l1           mean |x - y|
    l2           mean (x - y)^2
    charbonnier  mean sqrt((x - y)^2 + eps^2)    Charbonnier et al., ICIP 1994; eps = 1e-3 as in LapSRN
                                                 (Lai et al., CVPR 2017, https://arxiv.org/abs/1704.03915)

Low precision is left before anything is squared: in float16 eps^2 = 1e-6 would lose most of its digits and the
gradient of a root near 0 with it. Other packages' Charbonnier differs: BasicSR adds 1e-12 under the root, kornia
takes sqrt(d^2 + 1) - 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPS = 1e-3  # Charbonnier's, in units of [0, 1] values


def l1_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error of two tensors of one shape: a scalar."""
    return _difference(x, y).abs().mean()


def l2_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of two tensors of one shape: a scalar."""
    return _difference(x, y).square().mean()


def charbonnier_loss(x: Tensor, y: Tensor, eps: float = EPS) -> Tensor:
    """Mean of sqrt((x - y)^2 + eps^2) of two tensors of one shape: a scalar, `eps` at equality."""
    return (_difference(x, y).square() + eps * eps).sqrt().mean()


def _difference(x: Tensor, y: Tensor) -> Tensor:
    if x.shape != y.shape:
        raise ValueError(f"a loss compares tensors of one shape, not {tuple(x.shape)} and {tuple(y.shape)}")
    with torch.autocast(x.device.type, enabled=False):
        return x.float() - y.float()


class L1Loss(nn.Module):
    """`l1_loss` as a module."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return l1_loss(x, y)


class L2Loss(nn.Module):
    """`l2_loss` as a module."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return l2_loss(x, y)


class CharbonnierLoss(nn.Module):
    """`charbonnier_loss` as a module."""

    def __init__(self, eps: float = EPS) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return charbonnier_loss(x, y, self.eps)
