"""Distances of deep features as metrics: LPIPS where its true files are, and two offline backbones by their own names.

`lite0_distance` is LPIPS' form (unit-normalised features, squared difference, mean over positions) on
EfficientNet-Lite0 at its blocks 0, 2, 4 and 10, `vgg16_caffe_distance` on Oxford's VGG16 at the layers of LPIPS, each
summed without weights learned from people's judgements: compare the values of one of them with each other alone. A
network that was trained on one of them is to be judged by the other.
"""

from __future__ import annotations

from torch import Tensor

from restore.losses.lpips import LPIPS
from restore.losses.perceptual import PerceptualLoss
from restore.metrics.pixel import prepared

_LPIPS_TAPS: dict[str, float] = dict.fromkeys(("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"), 1.0)


def lite0_distance(x: Tensor, y: Tensor, *, border: int = 0, rounded: bool = False) -> Tensor:
    """Feature distance of EfficientNet-Lite0, B values of 0 (equal) to 16; not calibrated, not LPIPS.

    Arguments as for `restore.metrics.pixel.psnr`. Raises `MissingWeightsError` where its weights are not installed.
    """
    return _distances(PerceptualLoss("efficientnet_lite0", distance="unit"), x, y, border, rounded)


def vgg16_caffe_distance(x: Tensor, y: Tensor, *, border: int = 0, rounded: bool = False) -> Tensor:
    """Feature distance of Oxford's VGG16 at the layers of LPIPS, B values of 0 (equal) to 20; not LPIPS.

    Arguments as for `restore.metrics.pixel.psnr`. Raises `MissingWeightsError` where its weights are not installed.
    """
    return _distances(PerceptualLoss("vgg16_caffe", distance="unit", taps=_LPIPS_TAPS), x, y, border, rounded)


def lpips_alex(x: Tensor, y: Tensor, *, border: int = 0, rounded: bool = False) -> Tensor:
    """LPIPS v0.1 on AlexNet, B values. Raises `MissingWeightsError` without its two files."""
    return _distances(LPIPS("alex"), x, y, border, rounded)


def lpips_vgg(x: Tensor, y: Tensor, *, border: int = 0, rounded: bool = False) -> Tensor:
    """LPIPS v0.1 on VGG16, B values. Raises `MissingWeightsError` without its two files."""
    return _distances(LPIPS("vgg"), x, y, border, rounded)


def lpips_squeeze(x: Tensor, y: Tensor, *, border: int = 0, rounded: bool = False) -> Tensor:
    """LPIPS v0.1 on SqueezeNet 1.1, B values. Raises `MissingWeightsError` without its two files."""
    return _distances(LPIPS("squeeze"), x, y, border, rounded)


def _distances(loss: PerceptualLoss | LPIPS, x: Tensor, y: Tensor, border: int, rounded: bool) -> Tensor:
    x, y = prepared(x, y, border=border, rounded=rounded)
    return loss.distances(x.clamp(0, 1), y.clamp(0, 1))
