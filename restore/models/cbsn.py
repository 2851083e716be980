"""C-BSN: one network that is a blind-spot network or not, by masking the centre taps of two shared kernels.

Source: Jang, Lee, et al., "Self-supervised Image Denoising with Downsampled Invariance Loss and Conditional Blind-Spot
Network", ICCV 2023, https://arxiv.org/abs/2304.09507. Written from the description; the published code has no licence.

    input     B x C x H x W       each channel of mean 0 and std 1 over the picture
    head      B x w x H x W       conv 1 x 1, ReLU
    branch A  B x w x H x W       conditional conv 3 x 3, ReLU; twice conv 1 x 1, ReLU;
                                  9 blocks of dilation 2; conv 1 x 1, ReLU
    branch B  B x w x H x W       the same with 5 x 5 and dilation 3
    merge     B x w x H x W       concatenated, conv 1 x 1, ReLU
    tail      B x C x H x W       conv 1 x 1 to w/2, ReLU, conv 1 x 1 to w/2, ReLU, conv 1 x 1

A block is u + relu(conv1x1(relu(dilated conv3x3(u)))). Blind: an offset a + 2b (A) or a + 3b (B) is zero only for
a = 0, which the mask leaves out; kernel = 2 dilation - 1 must hold. 3,656,131 parameters for w = 128.

Differences: the tail has w/2 channels for every width (the source has 64 for all); the blocks' second convolutions
begin a number of blocks smaller, or the first outputs are thirty times too large.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models.spec import ModelSpec
from restore.physics.resample import pixel_shuffle_batch, pixel_unshuffle_batch


class ConditionalConv(nn.Conv2d):
    """A convolution of odd side whose centre tap is left out on demand; the weight itself is never changed."""

    mask: Tensor

    def __init__(self, width: int, side: int) -> None:
        super().__init__(width, width, side, padding=side // 2)
        mask = torch.ones(side, side)
        mask[side // 2, side // 2] = 0
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, input: Tensor, blind: bool = False) -> Tensor:
        weight = self.weight * self.mask if blind else self.weight
        return F.conv2d(input, weight, self.bias, padding=self.padding)


class DilatedBlock(nn.Module):
    """u + relu(conv1x1(relu(conv3x3(u)))), of any dilation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3)
        self.conv2 = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, dilation: int) -> Tensor:
        y = F.conv2d(x, self.conv1.weight, self.conv1.bias, padding=dilation, dilation=dilation)
        return x + F.relu(self.conv2(F.relu(y)))


class Branch(nn.Module):
    """A conditional convolution of side 2 dilation - 1, then dilated blocks: B x w x H x W -> the same."""

    def __init__(self, width: int, dilation: int, blocks: int) -> None:
        super().__init__()
        self.entry = ConditionalConv(width, 2 * dilation - 1)
        self.mix = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU())
        self.blocks = nn.ModuleList(DilatedBlock(width) for _ in range(blocks))
        self.exit = nn.Conv2d(width, width, 1)
        self.dilation = dilation

    def forward(self, x: Tensor, blind: bool) -> Tensor:
        x = self.mix(F.relu(self.entry(x, blind)))
        if x.shape[-2] % self.dilation or x.shape[-1] % self.dilation:
            return F.relu(self.exit(self._blocks(x, self.dilation)))
        # On the phases of the picture a dilated convolution is a plain one, many times as fast in bfloat16.
        phases = self._blocks(_last(pixel_unshuffle_batch(x, self.dilation)), 1)
        return F.relu(self.exit(_last(pixel_shuffle_batch(phases, self.dilation))))

    def _blocks(self, x: Tensor, dilation: int) -> Tensor:
        for block in self.blocks:
            x = block(x, dilation)
        return x


class CBSN(nn.Module):
    """A network with a blind pass and one without, of the same weights.

    Args:
        channels: colours in and out.
        width: features; even.
        blocks: dilated blocks of each branch; the receptive radius is 2 + 3 blocks.
        blind: it is a blind-spot network unless set otherwise (AP-BSN's, which has no other pass).

    Raises `ConfigError` for arguments that describe no network.
    """

    def __init__(self, channels: int = 3, width: int = 128, blocks: int = 9, blind: bool = False) -> None:
        super().__init__()
        if channels < 1 or width < 2 or width % 2 or not 1 <= blocks <= 64:
            what = f"CBSN: {channels} channels, width {width}, {blocks} blocks"
            raise ConfigError(what, fix="Give 1 channel or more, an even width, 1 to 64 blocks")
        self.channels, self.width, self.depth, self.blind = channels, width, blocks, blind
        self.head = nn.Conv2d(channels, width, 1)
        self.a, self.b = Branch(width, 2, blocks), Branch(width, 3, blocks)
        self.merge = nn.Conv2d(2 * width, width, 1)
        half = width // 2
        self.tail = nn.Sequential(
            nn.Conv2d(width, half, 1), nn.ReLU(), nn.Conv2d(half, half, 1), nn.ReLU(), nn.Conv2d(half, channels, 1)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                module.bias = nn.Parameter(torch.zeros(module.out_channels))
        for module in self.modules():
            if isinstance(module, DilatedBlock):
                module.conv2.weight.data /= blocks

    def forward(self, x: Tensor, blind: bool | None = None) -> Tensor:
        """B x channels x H x W -> the same; blind: no output pixel sees its own input pixel."""
        blind = self.blind if blind is None else blind
        x = F.relu(self.head(x))
        x = F.relu(self.merge(torch.cat([self.a(x, blind), self.b(x, blind)], 1)))
        return self.tail(x)

    def spec(self) -> ModelSpec:
        return ModelSpec(
            task="denoise",
            paper="https://arxiv.org/abs/2304.09507",
            standardised=True,
            blind=self.blind,
            channels=self.channels,
            radius=2 + 3 * self.depth,
            parameters=sum(p.numel() for p in self.parameters()),
        )


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
