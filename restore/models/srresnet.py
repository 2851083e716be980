"""SRResNet, SRGAN's generator, in the paper's form (batch normalisation) and in the one that is used today (none).

Source: Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017,
https://arxiv.org/abs/1609.04802. Without normalisation: MSRResNet as BasicSR and MMagic train it.

Shapes for width w, values of [0, 1] in and out:

              norm "batch" (the paper)                  norm "none"
    first     w, h x w      conv 9 x 9, PReLU           conv 3 x 3, leaky ReLU 0.1
    body      w, h x w      blocks of conv, norm,       blocks of conv, ReLU, conv
                            PReLU, conv, norm
    merge     w, h x w      conv, norm; `first` added   -
    enlarge   w, 2h x 2w    conv, shuffle, PReLU        conv, shuffle, leaky ReLU
              each doubling; by 3 once for scale 3
    last      C, sh x sw    conv 9 x 9                  conv 3 x 3, leaky ReLU, conv 3 x 3
    output    C, sh x sw    (y + 1) / 2                 y + bilinearly enlarged picture

    parameters, x4          1,549,462                   1,517,571

Differences from the paper: its network gives values of [-1, 1]; they are mapped to [0, 1] inside. Scales other than 4
have one enlarging stage for each doubling, or one by 3. MSRResNet itself has no scale 8.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models.blocks import ResidualBlock, added, icnr_, small_he_
from restore.models.spec import ModelSpec

STAGES = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}
"""Scale -> the factors by which the picture is enlarged one after the other."""


class NormalisedBlock(nn.Module):
    """x + norm(conv(PReLU(norm(conv(x))))), the PReLU with one slope: B x width x h x w -> the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.activation = nn.PReLU()
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm2(self.conv2(self.activation(self.norm1(self.conv1(x)))))


class SRResNet(nn.Module):
    """Residual blocks at the small picture's size, then sub-pixel convolutions.

    In training mode the normalised form depends on the whole batch (of one process); in eval mode on its input alone.

    Args:
        channels: colour channels in and out.
        scale: side of the output over that of the input: 2, 3, 4 or 8.
        width: feature channels.
        blocks: residual blocks.
        norm: "none", which trains more steadily, or "batch", the paper's.
        icnr: all sub-pixels of the enlarging convolutions begin equal, which leaves no pattern of squares to unlearn.
        tanh: of the paper's form: its last values go through a tanh, as some programs have it; highlights saturate.

    Raises `ConfigError` for arguments that describe no network.
    """

    def __init__(
        self,
        channels: int = 3,
        scale: int = 4,
        width: int = 64,
        blocks: int = 16,
        norm: Literal["none", "batch"] = "none",
        icnr: bool = False,
        tanh: bool = False,
    ) -> None:
        super().__init__()
        sizes = 1 <= channels <= 64 and scale in STAGES and 1 <= width <= 1024 and 0 <= blocks <= 256
        if not sizes or norm not in ("none", "batch") or (tanh and norm == "none"):
            fix = "Give scale 2, 3, 4 or 8, width 1 to 1024, 0 to 256 blocks, norm none or batch; tanh only with batch"
            raise ConfigError("SRResNet: these arguments describe no network", fix=fix)
        self.channels, self.scale, self.normalised, self.tanh = channels, scale, norm == "batch", tanh
        self.output_layer = "last" if self.normalised else "last.2"
        side = 9 if self.normalised else 3
        self.first = nn.Sequential(nn.Conv2d(channels, width, side, padding=side // 2), self._activation())
        block = NormalisedBlock if self.normalised else ResidualBlock
        self.body = nn.Sequential(*(block(width) for _ in range(blocks)))
        stages: list[nn.Module] = []
        for factor in STAGES[scale]:
            convolution = nn.Conv2d(width, width * factor**2, 3, padding=1)
            stages += [convolution, nn.PixelShuffle(factor), self._activation()]
        self.enlarge = nn.Sequential(*stages)
        if self.normalised:
            self.merge = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))
            self.last: nn.Module = nn.Conv2d(width, channels, 9, padding=4)
        else:
            detail, last = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, channels, 3, padding=1)
            self.last = nn.Sequential(detail, self._activation(), last)
            small_he_(self)
        if icnr:
            for convolution, shuffle in zip(self.enlarge[::3], self.enlarge[1::3], strict=True):
                icnr_(convolution, shuffle.upscale_factor)  # type: ignore[arg-type]

    def _activation(self) -> nn.Module:
        return nn.PReLU() if self.normalised else nn.LeakyReLU(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """B x channels x h x w -> B x channels x scale h x scale w."""
        features = self.first(x)
        if self.normalised:
            y = self.last(self.enlarge(features + self.merge(self.body(features))))
            return ((y.tanh() if self.tanh else y) + 1) / 2
        y = self.last(self.enlarge(self.body(features)))
        return added(F.interpolate(x, scale_factor=float(self.scale), mode="bilinear", align_corners=False), y)

    def spec(self) -> ModelSpec:
        """What this network needs and promises, from its arguments alone."""
        before, radius = (5, 4) if self.normalised else (1, 2)
        for factor in reversed(STAGES[self.scale]):
            radius = -(-radius // factor) + 1
        return ModelSpec(
            task="upscale",
            paper="https://arxiv.org/abs/1609.04802",
            channels=self.channels,
            scale=self.scale,
            radius=before + 2 * len(self.body) + radius,
            parameters=sum(p.numel() for p in self.parameters()),
        )
