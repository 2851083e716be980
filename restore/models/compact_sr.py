"""CompactSR: the project's super-resolution network for CPUs, plain 3 x 3 convolutions at the small picture's size.

Source: own design from published parts: residual blocks without normalisation and a sub-pixel tail (EDSR-baseline,
Lim et al., CVPRW 2017, https://arxiv.org/abs/1707.02921); all sub-pixels of a colour begin equal (ICNR, Aitken et
al., 2017, https://arxiv.org/abs/1707.02937); the bicubically enlarged picture is added to the output, as FSRCNN's and
VDSR's descendants do.

Shapes for scale s, width w, C = 3:

    input           B x C x h x w           values in [0, 1]
    head            B x width x h x w       conv 3 x 3
    body            B x width x h x w       `blocks` residual blocks, conv 3 x 3; the head is added
    tail shuffle    B x C s^2 x h x w       even conv 3 x 3, shuffled to B x C x s h x s w
    tail nearest    B x 24 x s h x s w      conv 3 x 3, leaky ReLU 0.2, repeated s x s times; conv 3 x 3 to C
    output          B x C x s h x s w       added to the picture enlarged by bicubic interpolation

Differences from EDSR: the tail is one convolution, not one for each doubling; the global skip; the convolution is even:
the taps of a feature add up to the same for each of the s^2 sub-pixels of a colour, and so do the biases. Features that
do not change from pixel to pixel then give no pattern, which perceptual and adversarial losses reward as texture.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models.blocks import ResidualBlock, added, icnr_
from restore.models.spec import ModelSpec
from restore.physics.resample import ENLARGE_REACH, enlarge

_NEAREST_WIDTH = 24
_BORDER = 8
"""px, by which a picture's border is repeated outwards before it is enlarged, not while a network learns from crops:
with zeros beyond it saturated colours drifted by up to 5 of 255 there."""


class CompactSR(nn.Module):
    """A chain of residual blocks that predicts what bicubic interpolation misses.

    Args:
        channels: colour channels in and out.
        scale: side of the output over that of the input.
        width: feature channels.
        blocks: residual blocks.
        tail: "shuffle": sub-pixel convolution; "nearest": repeated pixels, then a convolution at the large size, which
            costs more and has no sub-pixel pattern to learn away.

    Raises `ConfigError` for arguments that describe no network.
    """

    def __init__(
        self,
        channels: int = 3,
        scale: int = 4,
        width: int = 64,
        blocks: int = 8,
        tail: Literal["shuffle", "nearest"] = "shuffle",
    ) -> None:
        super().__init__()
        sizes = 1 <= channels <= 64 and 2 <= scale <= 8 and 1 <= width <= 1024 and 0 <= blocks <= 256
        if not sizes or tail not in ("shuffle", "nearest"):
            fix = "Give a scale of 2 to 8, a width of 1 to 1024, 0 to 256 blocks, tail shuffle or nearest"
            raise ConfigError("CompactSR: these arguments describe no network", fix=fix)
        self.channels, self.scale, self.tail_kind = channels, scale, tail
        self.output_layer = "tail" if tail == "shuffle" else "last"
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.tail = nn.Conv2d(width, channels * scale**2 if tail == "shuffle" else _NEAREST_WIDTH, 3, padding=1)
        self.last = nn.Conv2d(_NEAREST_WIDTH, channels, 3, padding=1) if tail == "nearest" else None
        _initialise(self, blocks)
        if tail == "shuffle":
            icnr_(self.tail, scale)

    def forward(self, x: Tensor) -> Tensor:
        """B x channels x h x w -> B x channels x scale h x scale w."""
        if self.training:
            return added(enlarge(x, self.scale), self._detail(x))
        detail = self._detail(F.pad(x, (_BORDER,) * 4, mode="replicate"))
        inside = slice(_BORDER * self.scale, -_BORDER * self.scale)
        return added(enlarge(x, self.scale), detail[..., inside, inside])

    def _detail(self, x: Tensor) -> Tensor:
        features = self.head(x)
        features = self.body(features) + features
        if self.last is None:
            weight, bias = even(self.tail, self.scale**2)
            return F.pixel_shuffle(F.conv2d(features, weight, bias, padding=1), self.scale)
        larger = F.leaky_relu(self.tail(features), 0.2)
        return self.last(F.interpolate(larger, scale_factor=self.scale, mode="nearest"))

    def begin_with(self, other: nn.Module) -> bool:
        """Take all but the tail from a `CompactSR` of the same width and blocks and another scale; False for any other
        network, of which nothing is taken."""
        if not isinstance(other, CompactSR) or (other.scale, other.tail_kind) == (self.scale, self.tail_kind):
            return False
        self.head.load_state_dict(other.head.state_dict())
        self.body.load_state_dict(other.body.state_dict())
        return True

    def spec(self) -> ModelSpec:
        """What this network needs and promises, from its arguments alone."""
        reach = 2 + 2 * len(self.body) + (1 if self.last is not None else 0)
        return ModelSpec(
            task="upscale",
            channels=self.channels,
            scale=self.scale,
            radius=max(reach, ENLARGE_REACH),
            parameters=sum(p.numel() for p in self.parameters()),
        )


def even(tail: nn.Conv2d, sub_pixels: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution C_in -> C x `sub_pixels` that answers a constant with constants."""
    weight = tail.weight.unflatten(0, (-1, sub_pixels))
    level = weight.mean((3, 4), keepdim=True)
    bias = tail.bias.unflatten(0, (-1, sub_pixels)).mean(1, keepdim=True).expand(-1, sub_pixels)  # type: ignore[union-attr]
    return (weight - level + level.mean(1, keepdim=True)).flatten(0, 1), bias.flatten()


def _initialise(net: nn.Module, blocks: int) -> None:
    """He's scale, smaller at the end of each block and of the network, so that it begins near the enlarged picture."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            if name.endswith("conv2"):
                module.weight.data *= max(1, blocks) ** -0.5
            elif name in ("tail", "last"):
                module.weight.data *= 0.1
