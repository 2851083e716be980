"""UNetDiscriminator: distinguishes restored pictures from clean ones at every pixel, by details and by the whole.

Source: Wang et al., "Real-ESRGAN", ICCVW 2021, https://arxiv.org/abs/2107.10833, after Schönfeld et al., CVPR 2020,
https://arxiv.org/abs/2002.12655; spectral normalisation of Miyato et al., ICLR 2018.

Shapes for width w; leaky ReLU 0.2 after every convolution but the last, spectral norm in all but the first and the
last, which alone have biases:

    input      B x C x H x W               values in [0, 1]; sides are multiples of 8
    first      B x w x H x W               3 x 3
    down       B x w 2^i x H/2^i x W/2^i   4 x 4, stride 2; i = 1, 2, 3
    up         back to B x w x H x W       bilinear by 2, 3 x 3; the features of this size on the way down are added
    detail     B x w x H x W               3 x 3, twice
    logits     B x 1 x H x W               3 x 3

    4,376,897 parameters for w = 64
"""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from restore.errors import ConfigError

_LEVELS = 3


class UNetDiscriminator(nn.Module):
    """B x channels x H x W -> logits B x 1 x H x W. Raises `ConfigError` for sides that are no multiples of 8.

    Args:
        width: features at full size; doubled at each of the three halvings.
    """

    def __init__(self, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        if channels < 1 or not 1 <= width <= 512:
            fix = "Give 1 channel or more and width 1 to 512"
            raise ConfigError("these arguments describe no discriminator", fix=fix)
        widths = [width << level for level in range(_LEVELS + 1)]
        pairs = list(itertools.pairwise(widths))
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.downs = nn.ModuleList(_limited(nn.Conv2d(n, m, 4, stride=2, padding=1, bias=False)) for n, m in pairs)
        self.ups = nn.ModuleList(_limited(nn.Conv2d(m, n, 3, padding=1, bias=False)) for n, m in reversed(pairs))
        self.detail = nn.ModuleList(_limited(nn.Conv2d(width, width, 3, padding=1, bias=False)) for _ in range(2))
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        step = 1 << _LEVELS
        if height % step or width % step:
            what = f"unet_discriminator takes pictures whose sides are multiples of {step}, not {height} x {width} px"
            raise ConfigError(what, fix=f"Set data.crop to a multiple of {step}")
        passed = [F.leaky_relu(self.first(x), 0.2)]
        for down in self.downs:
            passed.append(F.leaky_relu(down(passed[-1]), 0.2))
        y = passed.pop()
        for up, fine in zip(self.ups, reversed(passed), strict=True):
            y = F.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
            y = F.leaky_relu(up(y), 0.2) + fine
        for convolution in self.detail:
            y = F.leaky_relu(convolution(y), 0.2)
        return self.last(y)


def _limited(convolution: nn.Conv2d) -> nn.Module:
    """With its largest singular value held at 1."""
    return spectral_norm(convolution)
