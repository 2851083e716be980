"""Parts that several networks share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ModelError


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), nothing after the sum: B x width x h x w -> the same.

    Args:
        width: channels in and out.
        side: of both convolutions, odd.
        bias: whether the convolutions have biases.
    """

    def __init__(self, width: int, side: int = 3, bias: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, side, padding=side // 2, bias=bias)
        self.conv2 = nn.Conv2d(width, width, side, padding=side // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


def added(base: Tensor, pictures: Tensor) -> Tensor:
    """A picture plus each of H pictures along the channels: B x C x H x W, B x (H C) x H x W -> the latter.

    The last sum of networks that may have several heads (`restore.models.multi_output`).
    """
    heads = pictures.shape[1] // base.shape[1]
    return pictures + (base if heads < 2 else base.repeat(1, heads, 1, 1))


@torch.no_grad()
def icnr_(convolution: nn.Conv2d, scale: int) -> None:
    """Make the s^2 sub-pixels that a convolution gives for each channel equal, as the first of them is.

    Aitken et al., "Checkerboard artifact free sub-pixel convolution", 2017, https://arxiv.org/abs/1707.02937
    """
    weight = convolution.weight
    weight.copy_(weight[:: scale**2].repeat_interleave(scale**2, 0))
    if convolution.bias is not None:
        convolution.bias.copy_(convolution.bias[:: scale**2].repeat_interleave(scale**2, 0))


@torch.no_grad()
def small_he_(net: nn.Module) -> None:
    """A tenth of He's scale in every convolution, biases 0, as ESRGAN begins."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            module.weight *= 0.1
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def with_planes(x: Tensor, condition: Tensor | None, planes: int) -> Tensor:
    """A picture with a condition as planes after its colours, in the picture's type and memory format.

    Args:
        x: B x C x H x W.
        condition: B (or 1) x K (or 1) x H x W, or the same with 1 x 1 pixels, which are repeated; None for K = 0.
        planes: K.
    Returns:
        B x (C + K) x H x W.
    Raises:
        ModelError: a condition is missing, or given to a network that takes none.
    """
    if (condition is None) != (planes == 0):
        what = f"the network takes {planes} condition planes, " + ("none is" if condition is None else "some are")
        raise ModelError(f"{what} given", fix="Give it the conditions that its spec names, and no others")
    if condition is None:
        return x
    joined = torch.cat([x, condition.to(x.dtype).expand(len(x), planes, *x.shape[-2:])], 1)
    last = x.is_contiguous(memory_format=torch.channels_last)
    return joined.contiguous(memory_format=torch.channels_last) if last else joined
