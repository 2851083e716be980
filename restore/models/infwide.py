"""INFWIDE: Wiener deconvolution of features and of the denoised picture, fused by cross residuals, for low light.

Source: Zhang, Cheng, Suo, Bian, Dai, TIP 2023, https://arxiv.org/abs/2207.08201. 15,742,342 parameters:

    features  39,712      3 -> 16 maps, Wiener on each, then
    refine    6,894,467   U-Net 32/64/128 -> 3 channels
    denoise   4,254,240   residual U-Net 32/64/128/256 on picture and noise map -> the clean blurred picture,
                          Wiener on it
    merge     4,553,923   both, at half and full size, through two branches that meet in their mean
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.models.blocks import ResidualBlock
from restore.models.wiener_layer import (
    DeconvolutionNetwork,
    Deconvolved,
    FeatureWiener,
    UNet,
    block5,
    half_size,
    median3,
    resized,
    stage,
)
from restore.physics.batch import crop_or_pad


def _plain(width: int) -> ResidualBlock:
    """A residual block of 3 x 3 convolutions without biases."""
    return ResidualBlock(width, bias=False)


class DenoiseUNet(nn.Module):
    """USRNet's residual U-Net (Zhang, Van Gool, Timofte, CVPR 2020), without biases and without a global residual.

    Args:
        widths: channels of the levels, finest first.
    """

    def __init__(self, inputs: int = 6, outputs: int = 3, widths: Sequence[int] = (32, 64, 128, 256)) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.head = nn.Conv2d(inputs, widths[0], 3, padding=1, bias=False)
        self.downs = nn.ModuleList(
            nn.Sequential(_plain(n), _plain(n), nn.Conv2d(n, m, 2, stride=2, bias=False)) for n, m in pairs
        )
        self.body = nn.Sequential(_plain(widths[-1]), _plain(widths[-1]))
        self.ups = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(m, n, 2, stride=2, bias=False), _plain(n), _plain(n))
            for n, m in reversed(pairs)
        )
        self.tail = nn.Conv2d(widths[0], outputs, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """B x inputs x H x W -> B x outputs x H x W"""
        height, width = x.shape[-2:]
        step = 2 ** len(self.downs)
        steps = [self.head(F.pad(x, (0, -width % step, 0, -height % step), mode="replicate"))]
        for down in self.downs:
            steps.append(down(steps[-1]))
        x = self.body(steps[-1])
        for up in self.ups:
            x = up(x + steps.pop())
        return self.tail(x + steps.pop())[..., :height, :width]


class CrossResidual(nn.Module):
    """Two branches that meet in their mean: both n channels -> both m channels, half or twice the size.

    Args:
        up: twice the size by transposed 3 x 3 convolutions; else half by 5 x 5 ones of stride 2.
    """

    def __init__(self, inputs: int, outputs: int, up: bool) -> None:
        super().__init__()

        def branch() -> nn.Sequential:
            convs = (nn.Conv2d(inputs, inputs, 5, padding=2) for _ in range(2))
            return nn.Sequential(next(convs), nn.ReLU(), next(convs))

        def scale() -> nn.Module:
            if up:
                return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
            return nn.Conv2d(inputs, outputs, 5, stride=2, padding=2)

        self.branches = nn.ModuleList(branch() for _ in range(2))
        self.scales = nn.ModuleList(scale() for _ in range(2))

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        mean = (a + b) / 2
        a, b = (
            F.relu(scale(F.relu(branch(x) + mean)))
            for x, branch, scale in zip((a, b), self.branches, self.scales, strict=True)
        )
        return a, b


class CrossUNet(nn.Module):
    """Two levels of `CrossResidual` down and up, additive skips in each branch, input added."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.down1, self.down2 = CrossResidual(width, 2 * width, False), CrossResidual(2 * width, 4 * width, False)
        self.up2, self.up1 = CrossResidual(4 * width, 2 * width, True), CrossResidual(2 * width, width, True)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        half = self.down1(a, b)
        up = self.up2(*self.down2(*half))
        joined = [h + crop_or_pad(u, h.shape[-2:]) for h, u in zip(half, up, strict=True)]
        up = self.up1(*joined)
        return a + crop_or_pad(up[0], a.shape[-2:]), b + crop_or_pad(up[1], b.shape[-2:])


class MergeRefine(nn.Module):
    """Two pictures of the same scene to one, at half size and at full size."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.at_half = nn.ModuleList(stage(3, width) for _ in range(2))
        self.at_full = nn.ModuleList(stage(3 + width, width) for _ in range(2))
        self.unet = CrossUNet(width)
        self.refine = nn.ModuleList(nn.Sequential(*(block5(width) for _ in range(3))) for _ in range(2))
        self.tail = nn.Sequential(
            block5(2 * width),
            nn.Conv2d(2 * width, 2 * width, 5, padding=2),
            nn.Conv2d(2 * width, 3, 5, padding=2),
        )

    def forward(self, a: Tensor, b: Tensor) -> list[Tensor]:
        """B x 3 x H x W each -> [half size (rounded up), full size]."""
        size, coarse = (a.shape[-2], a.shape[-1]), half_size(a)
        small, out_half = self._pass(self.at_half, resized(a, coarse), resized(b, coarse))
        wide = [torch.cat([x, resized(y, size)], 1) for x, y in zip((a, b), small, strict=True)]
        return [out_half, self._pass(self.at_full, *wide)[1]]

    def _pass(self, heads: nn.ModuleList, a: Tensor, b: Tensor) -> tuple[list[Tensor], Tensor]:
        branches = self.unet(heads[0](a), heads[1](b))
        outs = [refine(x) for refine, x in zip(self.refine, branches, strict=True)]
        return outs, self.tail(torch.cat(outs, 1))


class INFWIDE(DeconvolutionNetwork):
    """Deconvolution in feature and picture space, fused at half and full size; it measures the noise itself.

    Args:
        exact_moments: see `FeatureWiener`; False is what the published weights were trained with.
    """

    paper = "https://arxiv.org/abs/2207.08201"
    min_size = 2

    def __init__(self, exact_moments: bool = False) -> None:
        super().__init__()
        self.wiener = FeatureWiener(exact_moments)
        self.features = stage(3, 16)
        self.refine = nn.Sequential(
            stage(16, 32), UNet(32), *(block5(32) for _ in range(3)), block5(32),
            nn.Conv2d(32, 32, 5, padding=2), nn.Conv2d(32, 3, 5, padding=2),
        )  # fmt: skip
        self.denoise = DenoiseUNet()
        self.merge = MergeRefine()

    def stages(self, x: Tensor, psf: Tensor, noise_level: Tensor) -> Deconvolved:
        """Pictures of half (rounded up) and full size, and the clean blurred one; the noise level is not used."""
        from_features = self.refine(self.wiener(self.features(x), psf))
        denoised = self.denoise(torch.cat([x, noise_map(x)], 1))
        return Deconvolved(self.merge(self.wiener(denoised, psf), from_features), denoised)


def noise_map(x: Tensor) -> Tensor:
    """std(median(x) - x) / rms(median(x)) of every channel as constant maps, medians over 3 x 3: B x C x H x W."""
    smooth = median3(x)
    noise = (smooth - x).flatten(-2).std(-1)
    signal = smooth.flatten(-2).square().sum(-1).div(x.shape[-2] * x.shape[-1] - 1).sqrt()
    return (noise / signal.clamp(min=1e-8))[..., None, None].expand_as(x)
