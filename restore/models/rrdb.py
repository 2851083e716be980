"""RRDB, the generator of ESRGAN and Real-ESRGAN: dense blocks within residual blocks, without normalisation.

Source: Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCVW 2018,
https://arxiv.org/abs/1809.00219; scales 1 and 2 as in Real-ESRGAN, ICCVW 2021, https://arxiv.org/abs/2107.10833.

Shapes for width w, growth g, unshuffle u, d = log2(scale u) doublings:

    input       B x C x h x w           values in [0, 1]
    unshuffled  B x C u^2 x h/u x w/u
    conv_first  B x w x h/u x w/u       3 x 3, as all others
    body        the same                `blocks` RRDB
    conv_body   the same                its input is added: conv_first's output
    ups         doubled d times         nearest, conv, leaky ReLU 0.2 each
    conv_hr     B x w x sh x sw         leaky ReLU 0.2
    conv_last   B x C x sh x sw

    dense block   5 convs, each on the joined outputs of all before (g, g, g, g, w channels); x + 0.2 of the last
    RRDB          x + 0.2 of three dense blocks in a row

    blocks   scale   parameters
    23       4       16,697,987
    23       2       16,703,171
    6        4       4,467,779

Differences from the source: a scale of 8, with one doubling more.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models.blocks import small_he_
from restore.models.spec import ModelSpec

_SHARE = 0.2  # of what a block adds
_EXACT = 64  # px of radius up to which tiles are exact; beyond they would be mostly context
_OVERLAP = 96


class DenseBlock(nn.Module):
    """x + 0.2 of five densely joined convolutions: B x width x h x w -> the same."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        outputs = (growth,) * 4 + (width,)
        self.convs = nn.ModuleList(nn.Conv2d(width + n * growth, out, 3, padding=1) for n, out in enumerate(outputs))

    def forward(self, x: Tensor) -> Tensor:
        *inner, last = self.convs
        joined = x
        for conv in inner:
            joined = torch.cat([joined, F.leaky_relu(conv(joined), 0.2)], 1)
        return x + _SHARE * last(joined)


class RRDB(nn.Module):
    """x + 0.2 of three dense blocks in a row: B x width x h x w -> the same."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(*(DenseBlock(width, growth) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        return x + _SHARE * self.dense(x)


class RRDBNet(nn.Module):
    """The network of ESRGAN.

    Its radius (349 px for 23 blocks) is too large for exact tiles: they overlap by 96 px and are blended. Small ones
    (up to 4 blocks without an unshuffle) are tiled exactly.

    Args:
        channels: colour channels in and out.
        scale: side of the output over that of the input: 1, 2, 4 or 8.
        width: feature channels.
        blocks: RRDBs.
        growth: channels that each convolution of a dense block adds.
        unshuffle: factor by which the picture is unshuffled first, 1, 2 or 4; 0: what the published networks take,
            4 / scale, and 1 for scale 8.

    Raises `ConfigError` for arguments that describe no network.
    """

    output_layer = "conv_last"

    def __init__(
        self,
        channels: int = 3,
        scale: int = 4,
        width: int = 64,
        blocks: int = 23,
        growth: int = 32,
        unshuffle: int = 0,
    ) -> None:
        super().__init__()
        factors = scale in (1, 2, 4, 8) and unshuffle in (0, 1, 2, 4)
        sizes = 1 <= channels <= 64 and 1 <= width <= 1024 and 1 <= growth <= 1024 and 0 <= blocks <= 64
        if not factors or not sizes:
            fix = "Give scale 1, 2, 4 or 8, unshuffle 0, 1, 2 or 4, width and growth 1 to 1024, 0 to 64 blocks"
            raise ConfigError("RRDBNet: these arguments describe no network", fix=fix)
        self.channels, self.scale, self.unshuffle = channels, scale, unshuffle or max(1, 4 // scale)
        doublings = (scale * self.unshuffle).bit_length() - 1
        self.conv_first = nn.Conv2d(channels * self.unshuffle**2, width, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(width, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(width, width, 3, padding=1)
        self.ups = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(doublings))
        self.conv_hr = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, channels, 3, padding=1)
        small_he_(self.body)

    def forward(self, x: Tensor) -> Tensor:
        """B x channels x h x w -> B x channels x scale h x scale w; h and w are multiples of the unshuffle."""
        first = self.conv_first(F.pixel_unshuffle(x, self.unshuffle) if self.unshuffle > 1 else x)
        features = first + self.conv_body(self.body(first))
        for conv in self.ups:
            features = F.leaky_relu(conv(F.interpolate(features, scale_factor=2.0, mode="nearest")), 0.2)
        return self.conv_last(F.leaky_relu(self.conv_hr(features), 0.2))

    def spec(self) -> ModelSpec:
        """What this network needs and promises, from its arguments alone."""
        radius = self._radius()
        exact = radius <= _EXACT
        return ModelSpec(
            task="upscale",
            paper="https://arxiv.org/abs/1809.00219",
            channels=self.channels,
            scale=self.scale,
            multiple_of=self.unshuffle,
            radius=radius,
            tiling="exact" if exact else "local",
            overlap=0 if exact else _OVERLAP,
            parameters=sum(p.numel() for p in self.parameters()),
        )

    def _radius(self) -> int:
        """In pixels of the input, the worst over the output's places in a cell of unshuffled pixels."""
        reaches = []
        for place in range(self.scale * self.unshuffle):
            first, last = place - 2, place + 2  # conv_last, conv_hr
            for _ in self.ups:
                first, last = (first - 1) // 2, (last + 1) // 2
            cells = 2 + 15 * len(self.body)  # conv_first, conv_body; 5 a dense block
            own = place // self.scale
            reaches += [own - self.unshuffle * (first - cells), self.unshuffle * (last + cells + 1) - 1 - own]
        return max(reaches)
