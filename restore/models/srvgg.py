"""SRVGG, Real-ESRGAN's compact generator: a chain of convolutions at the small picture's size, for video and anime.

Source: SRVGGNetCompact of Wang et al., "Real-ESRGAN", ICCVW 2021, https://arxiv.org/abs/2107.10833 (the network came
with version 0.2.3 of its program).

Shapes for scale s, width w:

    input     B x C x h x w       values in [0, 1]
    body      B x w x h x w       conv 3 x 3, activation, 1 + `convs` times
    last      B x C s^2 x h x w   conv 3 x 3, shuffled to B x C x s h x s w
    output    B x C x s h x s w   added to the picture with every pixel repeated s x s times

    convs   parameters, x4, PReLU
    16      621,424
    32      1,213,296
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models.blocks import added
from restore.models.spec import ModelSpec

_ACTIVATIONS = ("prelu", "relu", "leaky_relu")


class SRVGG(nn.Module):
    """Convolutions with activations in a row; the last one's channels become sub-pixels.

    Args:
        channels: colour channels in and out.
        scale: side of the output over that of the input, 1 to 8.
        width: feature channels.
        convs: convolutions between the first and the last.
        activation: "prelu" with a slope for each channel, "relu" or "leaky_relu" (0.1).

    Raises `ConfigError` for arguments that describe no network.
    """

    def __init__(
        self,
        channels: int = 3,
        scale: int = 4,
        width: int = 64,
        convs: int = 16,
        activation: Literal["prelu", "relu", "leaky_relu"] = "prelu",
    ) -> None:
        super().__init__()
        sizes = 1 <= channels <= 64 and 1 <= scale <= 8 and 1 <= width <= 1024 and 0 <= convs <= 256
        if not sizes or activation not in _ACTIVATIONS:
            fix = f"Give scale 1 to 8, width 1 to 1024, 0 to 256 convs, activation {', '.join(_ACTIVATIONS)}"
            raise ConfigError("SRVGG: these arguments describe no network", fix=fix)
        self.channels, self.scale, self.convs = channels, scale, convs
        layers: list[nn.Module] = []
        for fine in (channels, *[width] * convs):
            layers += [nn.Conv2d(fine, width, 3, padding=1), _activation(activation, width)]
        self.output_layer = f"body.{len(layers)}"
        self.body = nn.Sequential(*layers, nn.Conv2d(width, channels * scale**2, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """B x channels x h x w -> B x channels x scale h x scale w."""
        repeated = F.interpolate(x, scale_factor=float(self.scale), mode="nearest")
        return added(repeated, F.pixel_shuffle(self.body(x), self.scale))

    def spec(self) -> ModelSpec:
        """What this network needs and promises, from its arguments alone."""
        return ModelSpec(
            task="upscale",
            paper="https://arxiv.org/abs/2107.10833",
            channels=self.channels,
            scale=self.scale,
            radius=self.convs + 2,
            parameters=sum(p.numel() for p in self.parameters()),
        )


def _activation(name: str, width: int) -> nn.Module:
    if name == "prelu":
        return nn.PReLU(width)
    return nn.ReLU() if name == "relu" else nn.LeakyReLU(0.1)
