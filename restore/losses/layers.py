"""The backbones' layers, one list each. Activations are never in place: what a tap holds stays as it was."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def vgg16() -> nn.Sequential:
    """VGG configuration D: Simonyan, Zisserman, ICLR 2015, https://arxiv.org/abs/1409.1556"""
    return _vgg((2, 2, 3, 3, 3))


def vgg19() -> nn.Sequential:
    """VGG configuration E."""
    return _vgg((2, 2, 4, 4, 4))


def _vgg(convolutions: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 3
    for width, count in zip((64, 128, 256, 512, 512), convolutions, strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def alexnet() -> nn.Sequential:
    """AlexNet of "One weird trick": Krizhevsky, https://arxiv.org/abs/1404.5997"""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip


def squeezenet() -> nn.Sequential:
    """SqueezeNet 1.1: Iandola et al., https://arxiv.org/abs/1602.07360"""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), pool(),
        Fire(64, 16, 64), Fire(128, 16, 64), pool(),
        Fire(128, 32, 128), Fire(256, 32, 128), pool(),
        Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
    )  # fmt: skip


class Fire(nn.Module):
    """SqueezeNet's block: few 1 x 1 filters, then as many 1 x 1 as 3 x 3 side by side; 2 `wide` channels out."""

    def __init__(self, channels: int, narrow: int, wide: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, narrow, 1)
        self.expand1x1 = nn.Conv2d(narrow, wide, 1)
        self.expand3x3 = nn.Conv2d(narrow, wide, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


def efficientnet_lite0() -> nn.Sequential:
    """EfficientNet-Lite0's stem and 16 blocks: EfficientNet (Tan, Le, ICML 2019, https://arxiv.org/abs/1905.11946)
    without squeeze-and-excitation, with ReLU6."""
    layers: list[nn.Module] = [Stem()]
    before = 32
    stages = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
              (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))  # fmt: skip
    for repeats, side, stride, expansion, width in stages:
        for number in range(repeats):
            layers.append(InvertedResidual(before, width, side, stride if number == 0 else 1, expansion))
            before = width
    return nn.Sequential(*layers)


class Stem(nn.Module):
    """EfficientNet's first convolution, 3 -> 32 channels at half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, 32, 3, 2)
        self.bn0 = FixedNorm(32)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self.bn0(self.conv_stem(x)))


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen, filter every channel by itself, narrow without activation."""

    def __init__(self, before: int, after: int, side: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = before * expansion
        if expansion != 1:
            self.expand_conv, self.bn0 = SameConv(before, inner, 1), FixedNorm(inner)
        self.depthwise_conv, self.bn1 = SameConv(inner, inner, side, stride, groups=inner), FixedNorm(inner)
        self.project_conv, self.bn2 = SameConv(inner, after, 1), FixedNorm(after)
        self.widens, self.skips = expansion != 1, stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.bn0(self.expand_conv(x))) if self.widens else x
        y = F.relu6(self.bn1(self.depthwise_conv(y)))
        y = self.bn2(self.project_conv(y))
        return x + y if self.skips else y


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: ceil(size / stride) out, the odd pixel right and below."""

    def __init__(self, before: int, after: int, side: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(before, after, side, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        pads = []
        for size in (input.shape[-1], input.shape[-2]):
            out = -(-size // self.stride[0])
            total = max((out - 1) * self.stride[0] + self.kernel_size[0] - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(input, pads))


class FixedNorm(nn.Module):
    """Batch normalisation with the statistics of its training, which never change."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=1e-3)
