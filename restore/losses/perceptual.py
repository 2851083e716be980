"""Losses on the features of a frozen network: perceptual (what is where) and style (what is there at all).

    distance of one tap's features f, C x H x W, of output and target
    l1     mean |f_x - f_y|
    l2     mean (f_x - f_y)^2            Johnson, Alahi, Fei-Fei, ECCV 2016, https://arxiv.org/abs/1603.08155
    unit   mean over positions of |u_x - u_y|^2, u = f / sqrt(|f|^2 + 1e-8) over channels: between 0 and 4 whatever
           the network, so that one weight suits all backbones; LPIPS' form (Zhang et al., CVPR 2018) without its
           learned weights. Never call it LPIPS.

    preset        backbone     taps, weights                                           distance
    srgan         vgg19        relu5_4 1/12.75^2                                       l2    Ledig et al., CVPR 2017,
    srgan22       vgg19        relu2_2 1/12.75^2                                       l2    its VGG54 and VGG22
    srgan_caffe   vgg16_caffe  relu5_3 1/12.75^2                                       l2    the same on VGG16
    srgan22_caffe vgg16_caffe  relu2_2 1/12.75^2                                       l2
    esrgan        vgg19        conv5_4 1                                               l1    Wang et al., ECCVW 2018
    real_esrgan   vgg19        conv1_2 0.1, conv2_2 0.1, conv3_4, conv4_4, conv5_4 1   l1    Wang et al., ICCVW 2021
    johnson       vgg16        relu1_2, relu2_2, relu3_3, relu4_3 1                    l2

convN_M are the values before the activation, which ESRGAN found to keep more detail. SRGAN's VGG54 is the last layer
before the fifth pooling: relu5_4 of VGG19, relu5_3 of VGG16, which has no relu5_4. Its features are divided by 12.75,
which fits weights for inputs of 0 to 255 (`vgg16_caffe`); torchvision's are for values about 58 times smaller. The mean
is over channels, too; the paper's equation divides by the positions alone, which is 128 (VGG22) or 512 times as much.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError, nearest
from restore.losses.backbones import DEFAULT, Features, backbone_called, load_features
from restore.losses.pixel import at_least_float32

Chosen = TypeVar("Chosen")
SRGAN_SCALE = 1 / 12.75  # of SRGAN's features; its square, 0.0061515, of their squared distance
UNIT_EPS = 1e-8  # under the root, so that features of 0 have a gradient; changes others by less than 1e-6


@dataclass(frozen=True)
class Preset:
    """A published choice of backbone, taps with their weights, and distance."""

    backbone: str
    taps: Mapping[str, float]
    distance: str


PRESETS = {
    "srgan": Preset("vgg19", {"relu5_4": SRGAN_SCALE**2}, "l2"),
    "srgan22": Preset("vgg19", {"relu2_2": SRGAN_SCALE**2}, "l2"),
    "srgan_caffe": Preset("vgg16_caffe", {"relu5_3": SRGAN_SCALE**2}, "l2"),
    "srgan22_caffe": Preset("vgg16_caffe", {"relu2_2": SRGAN_SCALE**2}, "l2"),
    "esrgan": Preset("vgg19", {"conv5_4": 1.0}, "l1"),
    "real_esrgan": Preset(
        "vgg19", {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}, "l1"
    ),
    "johnson": Preset("vgg16", {"relu1_2": 1.0, "relu2_2": 1.0, "relu3_3": 1.0, "relu4_3": 1.0}, "l2"),
}


class _FeatureLoss(nn.Module, ABC):
    """Weighted distances at some taps of a backbone.

    Args:
        backbone: of `restore.losses.backbones.BACKBONES`.
        taps: name -> weight; by default the backbone's own choice.
        weights, seed, allow_download: where the backbone's weights come from, as for `load_features`.
    Raises:
        ConfigError: no such backbone or tap. MissingWeightsError: no weights on this machine.
    """

    needed_by = ""

    def __init__(
        self,
        backbone: str = DEFAULT,
        taps: Mapping[str, float] | None = None,
        *,
        weights: str = "",
        seed: int = 0,
        allow_download: bool | None = None,
    ) -> None:
        super().__init__()
        known = backbone_called(backbone)
        self.taps = dict(taps or known.default)
        unknown = [tap for tap in self.taps if tap not in known.taps]
        if unknown:
            fix = f"{nearest(unknown[0], known.taps)}Known: {', '.join(known.taps)}"
            raise ConfigError(f"{backbone} has no tap {unknown[0]!r}", fix=fix)
        needed_by = f"the loss {self.needed_by!r}"
        self.features: Features = load_features(
            backbone, weights=weights, seed=seed, allow_download=allow_download, needed_by=needed_by
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """A scalar, mean over the batch; x, y: B x 3 (or 1) x H x W, RGB in [0, 1]. Gradients flow into x and y."""
        return self.distances(x, y).mean()

    def distances(self, x: Tensor, y: Tensor) -> Tensor:
        """One value a picture: B. Raises `ValueError` if the shapes differ, `TooSmallError` for tiny pictures."""
        if x.shape != y.shape:
            raise ValueError(f"a loss compares tensors of one shape, not {tuple(x.shape)} and {tuple(y.shape)}")
        with torch.autocast(x.device.type, enabled=False):
            of_x, of_y = self.features(x, list(self.taps)), self.features(y, list(self.taps))
            parts = [weight * self._distance(of_x[tap], of_y[tap]) for tap, weight in self.taps.items()]
            return torch.stack(parts).sum(0)

    @abstractmethod
    def _distance(self, x: Tensor, y: Tensor) -> Tensor:
        """B values, of features B x C x H x W."""


class PerceptualLoss(_FeatureLoss):
    """Weighted sum over taps of the distance between a frozen backbone's features of output and target.

    Args:
        distance: "unit", "l1" or "l2".
        preset: of `PRESETS`; decides backbone, taps and distance.
        box, stride: both pictures are averaged over box x box px first, at every `stride`-th place. What repeats every
            `box` px in both directions, as the pattern of a sub-pixel convolution by `box` does, is then not seen: a
            backbone takes it for texture and rewards it.
    Raises:
        ConfigError: a preset or distance that is not known, or a box that is smaller than its stride.
    """

    needed_by = "perceptual"

    def __init__(
        self,
        backbone: str = DEFAULT,
        taps: Mapping[str, float] | None = None,
        *,
        distance: str = "unit",
        preset: str = "",
        box: int = 1,
        stride: int = 1,
        weights: str = "",
        seed: int = 0,
        allow_download: bool | None = None,
    ) -> None:
        if preset:
            chosen = _one_of("preset", preset, PRESETS)
            backbone, taps, distance = chosen.backbone, chosen.taps, chosen.distance
        if not 1 <= stride <= box:
            raise ConfigError(f"box is {box} and stride {stride}", fix="Give box 1 or more and a stride of 1 to box")
        self._between = _one_of("distance", distance, _DISTANCES)
        super().__init__(backbone, taps, weights=weights, seed=seed, allow_download=allow_download)
        self.box, self.stride = box, stride

    def distances(self, x: Tensor, y: Tensor) -> Tensor:
        if self.box > 1:
            with torch.autocast(x.device.type, enabled=False):
                x, y = (F.avg_pool2d(at_least_float32(z), self.box, self.stride) for z in (x, y))
        return super().distances(x, y)

    def _distance(self, x: Tensor, y: Tensor) -> Tensor:
        return self._between(x, y)


class StyleLoss(_FeatureLoss):
    """mean |G_x - G_y| of Gram matrices G = F F^T / (C H W), F the features as C x HW.

    Gatys, Ecker, Bethge, CVPR 2016, with the normalisation of BasicSR; Gatys divides the squared difference by
    4 C^2 (HW)^2 instead, piq by nothing. Output and target may differ in where things are.
    """

    needed_by = "style"

    def _distance(self, x: Tensor, y: Tensor) -> Tensor:
        return (gram(x) - gram(y)).abs().mean((1, 2))


def gram(features: Tensor) -> Tensor:
    """Gram matrices over C H W: B x C x H x W -> B x C x C."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def unit(features: Tensor) -> Tensor:
    """Features scaled to length 1 over the channels at each position, B x C x H x W."""
    return features * (features.square().sum(1, keepdim=True) + UNIT_EPS).rsqrt()


_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": lambda x, y: (x - y).abs().mean((1, 2, 3)),
    "l2": lambda x, y: (x - y).square().mean((1, 2, 3)),
    "unit": lambda x, y: (unit(x) - unit(y)).square().sum(1).mean((1, 2)),
}


def _one_of(what: str, name: str, known: Mapping[str, Chosen]) -> Chosen:
    if name not in known:
        raise ConfigError(f"no {what} is called {name!r}", fix=f"{nearest(name, known)}Known: {', '.join(known)}")
    return known[name]
