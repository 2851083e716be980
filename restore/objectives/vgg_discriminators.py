"""SRGAN's and ESRGAN's discriminators: one logit a picture, from a chain of normalised convolutions and dense layers.

Sources: Ledig et al., CVPR 2017, https://arxiv.org/abs/1609.04802; Wang et al., ECCVW 2018,
https://arxiv.org/abs/1809.00219 (its program's VGG-style network).

Shapes for width w = 64; every convolution but the first is followed by batch normalisation, all by leaky ReLU 0.2:

    SRGAN's                                       ESRGAN's, 128 x 128 px
    conv 3 x 3, stride 1, 2   w,  H/2 x W/2       conv 3 x 3, then 4 x 4 of stride 2   w,  64 x 64
    the same                  2w, H/4 x W/4       the same                             2w, 32 x 32
    the same                  4w, H/8 x W/8       the same                             4w, 16 x 16
    the same                  8w, H/16 x W/16     the same                             8w, 8 x 8
    averaged to               8w, 6 x 6           the same                             8w, 4 x 4
    dense                     16w                 dense                                100
    dense                     1 logit             dense                                1 logit

    23,565,505 parameters                         14,499,401 parameters

Differences from SRGAN's: the average, which does nothing at the paper's 96 x 96 px and lets it take any size; logits in
place of a sigmoid.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError

_DEEPEST = 6  # px a side before SRGAN's dense layers
_SIDE = 128  # of ESRGAN's pictures
_HIDDEN = 100


class SRGANDiscriminator(nn.Module):
    """B x channels x H x W, values of [0, 1] -> logits B x 1.

    Args:
        width: features of the first convolution; doubled with every halving of the size, up to 8 times.
    """

    def __init__(self, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        _check(channels, width)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.2)]
        fine = width
        for number in range(1, 8):
            coarse = width << (number // 2)
            layers += _normalised(nn.Conv2d(fine, coarse, 3, stride=1 + number % 2, padding=1))
            fine = coarse
        self.layers = nn.Sequential(*layers)
        self.dense = nn.Sequential(
            nn.Linear(fine * _DEEPEST**2, 2 * fine), nn.LeakyReLU(0.2), nn.Linear(2 * fine, 1)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        features = F.adaptive_avg_pool2d(self.layers(2 * x - 1), _DEEPEST)
        return self.dense(features.flatten(1))


class VGGDiscriminator(nn.Module):
    """B x channels x 128 x 128, values of [0, 1] -> logits B x 1. Another size raises `ConfigError`.

    Args:
        width: features of the first convolution; doubled with every halving of the size, up to 8 times.
    """

    def __init__(self, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        _check(channels, width)
        layers: list[nn.Module] = []
        fine = channels
        for level in range(5):
            coarse = width << min(level, 3)
            first = nn.Conv2d(fine, coarse, 3, padding=1, bias=level == 0)
            layers += [first, nn.LeakyReLU(0.2)] if level == 0 else _normalised(first)
            layers += _normalised(nn.Conv2d(coarse, coarse, 4, stride=2, padding=1, bias=False))
            fine = coarse
        self.layers = nn.Sequential(*layers)
        self.dense = nn.Sequential(nn.Linear(fine * 4**2, _HIDDEN), nn.LeakyReLU(0.2), nn.Linear(_HIDDEN, 1))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if (height, width) != (_SIDE, _SIDE):
            what = f"vgg_discriminator takes pictures of {_SIDE} x {_SIDE} px, not of {height} x {width}"
            fix = f"Set data.crop={_SIDE}, or choose srgan_discriminator, which takes any size"
            raise ConfigError(what, fix=fix)
        return self.dense(self.layers(x).flatten(1))


def _normalised(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.LeakyReLU(0.2)]


def _check(channels: int, width: int) -> None:
    if channels < 1 or not 1 <= width <= 512:
        raise ConfigError("these arguments describe no discriminator", fix="Give 1 channel or more and width 1 to 512")
