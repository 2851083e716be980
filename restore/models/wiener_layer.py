"""Wiener deconvolution of feature maps, and the 5 x 5 blocks around it, that DWDN and INFWIDE share.

Source: Dong, Roth, Schiele, "Deep Wiener Deconvolution", NeurIPS 2020, https://arxiv.org/abs/2103.09962. Written from
the papers' equations; the published code has no licence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.models.blocks import ResidualBlock
from restore.models.spec import ModelSpec
from restore.physics.batch import crop_or_pad
from restore.physics.fourier import otf

_NOISE_TO_SIGNAL = 8 / 30


class Deconvolved(NamedTuple):
    """What a deconvolving network gives while it learns.

    Attributes:
        pictures: coarse to fine, the last of the input's size.
        blurred: the clean blurred picture, from networks that make one.
    """

    pictures: list[Tensor]
    blurred: Tensor | None = None


class DeconvolutionNetwork(nn.Module, ABC):
    """A network that takes out a known blur, and whose intermediate results are trained too.

    Attributes:
        paper, min_size: of its `ModelSpec`.
    """

    paper: ClassVar[str] = ""
    min_size: ClassVar[int] = 1

    @abstractmethod
    def stages(self, x: Tensor, psf: Tensor, noise_level: Tensor) -> Deconvolved:
        """All that it gives; arguments as of `forward`."""

    def forward(self, x: Tensor, psf: Tensor, noise_level: Tensor) -> Tensor:
        """The restored picture, B x 3 x H x W float32.

        Args:
            x: B x 3 x H x W, values in [0, 1].
            psf: B x 1 x h x w.
            noise_level: std of the noise in units of [0, 1], B x 1 x 1 x 1; of a map B x 1 x H x W the mean counts.
        """
        return self.stages(x, psf, noise_level).pictures[-1].float()

    def spec(self) -> ModelSpec:
        return ModelSpec(
            task="deconv",
            paper=self.paper,
            conditions=("psf", "noise_level"),
            channels=3,
            min_size=self.min_size,
            tiling="local",  # in the Fourier domain every pixel depends on all
            parameters=sum(p.numel() for p in self.parameters()),
        )


class ConvReLU(nn.Conv2d):
    """5 x 5 convolution and ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, 5, stride=stride, padding=2)

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(super().forward(input))


class UpReLU(nn.ConvTranspose2d):
    """Twice the size by a transposed 3 x 3 convolution, and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, stride=2, padding=1, output_padding=1)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return F.relu(super().forward(input, output_size))


def block5(width: int) -> ResidualBlock:
    """A residual block of 5 x 5 convolutions."""
    return ResidualBlock(width, 5)


def stage(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution with ReLU, then three residual blocks."""
    return nn.Sequential(ConvReLU(inputs, outputs, stride), *(block5(outputs) for _ in range(3)))


class UNet(nn.Module):
    """Two levels down and up again, additive skips: B x n x H x W -> the same."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.encoder1 = stage(width, 2 * width, stride=2)
        self.encoder2 = stage(2 * width, 4 * width, stride=2)
        self.decoder2 = nn.Sequential(*(block5(4 * width) for _ in range(3)), UpReLU(4 * width, 2 * width))
        self.decoder1 = nn.Sequential(*(block5(2 * width) for _ in range(3)), UpReLU(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        half = self.encoder1(x)
        up = crop_or_pad(self.decoder2(self.encoder2(half)), half.shape[-2:])
        return x + crop_or_pad(self.decoder1(half + up), x.shape[-2:])


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def half_size(x: Tensor) -> tuple[int, int]:
    """Half the height and width, rounded up."""
    return (x.shape[-2] + 1) // 2, (x.shape[-1] + 1) // 2


def median3(x: Tensor) -> Tensor:
    """3 x 3 median with mirrored borders: B x C x H x W"""
    windows = F.pad(x, (1, 1, 1, 1), mode="reflect").unfold(-2, 3, 1).unfold(-2, 3, 1)
    return windows.flatten(-2).median(-1).values


class FeatureWiener(nn.Module):
    """conj(K) F / (|K|^2 + NSR), every feature map with the noise-to-signal ratio that it shows itself. No parameters.

    NSR = 8/30 var(median(f) - f) / std(f), over the maps padded by the PSF's height. The published code divides by
    height^2 - 1 and height^2 instead of the number of pixels, which matters to its weights on pictures that are not
    square.

    Args:
        exact_moments: divide by the number of pixels instead.
    """

    def __init__(self, exact_moments: bool = False) -> None:
        super().__init__()
        self.exact_moments = exact_moments

    def forward(self, x: Tensor, psf: Tensor) -> Tensor:
        """B x C x H x W, PSF B x 1 x k x k -> B x C x H x W, in float32 or float64."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(torch.promote_types(x.dtype, torch.float32))
            psf = psf.to(x)
            psf = psf / psf.sum((-2, -1), keepdim=True)
            margin = psf.shape[-2]
            wide = F.pad(x, (margin,) * 4, mode="replicate")
            size = (wide.shape[-2], wide.shape[-1])
            transfer = otf(psf, size)
            power = transfer.real.square() + transfer.imag.square()
            ratio = self._ratio(wide)[..., None, None]
            restored = torch.fft.irfft2(torch.fft.rfft2(wide) * transfer.conj() / (power + ratio), s=size)
            return restored[..., margin:-margin, margin:-margin]

    def _ratio(self, x: Tensor) -> Tensor:
        """Noise-to-signal ratio of every map: B x C"""
        count = x.shape[-2] * x.shape[-1] if self.exact_moments else x.shape[-2] ** 2
        noise = self._variance(median3(x) - x, count)
        return _NOISE_TO_SIGNAL * noise / self._variance(x, count).clamp(min=1e-12).sqrt()

    @staticmethod
    def _variance(x: Tensor, count: int) -> Tensor:
        mean = x.sum((-2, -1), keepdim=True) / count
        return (x - mean).square().sum((-2, -1)) / (count - 1)
