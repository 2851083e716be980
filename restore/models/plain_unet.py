"""PlainUNet: the project's compact denoiser, plain 3 x 3 convolutions at half resolution and below.

Source: own design from published parts: pixel-unshuffled input with a noise-level map (FFDNet, Zhang, Zuo,
Zhang, IEEE TIP 2018, https://arxiv.org/abs/1710.04026); residual blocks without normalisation, 2 x 2 strided
down and transposed up, additive skips (DRUNet, Zhang et al., TPAMI 2021, https://arxiv.org/abs/2008.13751).

Shapes, for channels C = 3, condition channels K, unshuffle u = 2, widths (48, 96), blocks (2, 3, 2):

    input            B x C x H x W                  values in [0, 1]
    with noise_level B x (C + K) x H x W            the K condition planes after the colours
    unshuffled       B x (C + K) u^2 x H/2 x W/2    12 planes for K = 0
    head, encoder 0  B x 48 x H/2 x W/2             conv 3 x 3; 2 blocks
    down             B x 96 x H/4 x W/4             conv 2 x 2, stride 2
    middle           B x 96 x H/4 x W/4             3 blocks
    up + skip        B x 48 x H/2 x W/2             transposed conv 2 x 2, stride 2; encoder 0 added
    decoder 0        B x 48 x H/2 x W/2             2 blocks
    tail             B x C u^2 x H/2 x W/2          conv 3 x 3
    output           B x C x H x W                  shuffled back and added to the input's colours

Differences from the sources: FFDNet has one level, no residual blocks and predicts the clean picture; DRUNet
works at full resolution, on four levels, without biases and without the global skip.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models.blocks import ResidualBlock, added, with_planes
from restore.models.spec import ModelSpec

_MAX_WIDTH, _MAX_BLOCKS, _MAX_LEVELS = 2048, 128, 6


class PlainUNet(nn.Module):
    """A U-Net of plain convolutions that predicts the correction to its input.

    Args:
        channels: colour channels in and out.
        condition_channels: planes of the condition `noise_level`; 0: it takes none.
        widths: feature channels of each level, finest first.
        blocks: residual blocks of each stage, in the order they run: encoders, middle, decoders;
            2 * len(widths) - 1 numbers.
        unshuffle: the finest level works at 1 / unshuffle of the input's resolution.

    Raises `ConfigError` for arguments that describe no network.
    """

    output_layer = "tail"

    def __init__(
        self,
        channels: int = 3,
        condition_channels: int = 0,
        widths: Sequence[int] = (48, 96),
        blocks: Sequence[int] = (2, 3, 2),
        unshuffle: int = 2,
    ) -> None:
        super().__init__()
        _check_arguments(channels, condition_channels, widths, blocks, unshuffle)
        self.channels, self.condition_channels = channels, condition_channels
        self.widths, self.blocks, self.unshuffle = tuple(widths), tuple(blocks), unshuffle
        phases = unshuffle * unshuffle
        steps = list(zip(self.widths, self.widths[1:], strict=False))  # (finer, coarser) neighbours
        depth = len(steps)
        self.head = nn.Conv2d((channels + condition_channels) * phases, widths[0], 3, padding=1)
        self.encoders = nn.ModuleList(_stage(fine, n) for (fine, _), n in zip(steps, blocks, strict=False))
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.middle = _stage(widths[-1], blocks[depth])
        self.ups = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps[::-1])
        self.decoders = nn.ModuleList(
            _stage(fine, n) for (fine, _), n in zip(steps[::-1], blocks[depth + 1 :], strict=True)
        )
        self.tail = nn.Conv2d(widths[0], channels * phases, 3, padding=1)

    def forward(self, x: Tensor, noise_level: Tensor | None = None) -> Tensor:
        """B x channels x H x W -> the same; sides as the spec says.

        Args:
            noise_level: std of the noise in units of [0, 1], B x K x H x W or B x K x 1 x 1 for K =
                `condition_channels` (one plane is repeated for all); None for K = 0.

        Raises `ModelError` if the noise level is missing, or not wanted.
        """
        return added(x, self.residual(x, noise_level))

    def residual(self, x: Tensor, noise_level: Tensor | None = None) -> Tensor:
        """What `forward` adds to the picture, so that a low-precision run can add it in float32."""
        return self.of_planes(with_planes(x, noise_level, self.condition_channels))

    def of_planes(self, planes: Tensor) -> Tensor:
        """What `residual` gives, from colours and conditions in one: B x (channels + condition_channels) x H x W."""
        features = self.head(F.pixel_unshuffle(planes, self.unshuffle))  # B x w0 x H/u x W/u
        skips: list[Tensor] = []
        for stage, down in zip(self.encoders, self.downs, strict=True):
            skips.append(stage(features))
            features = down(skips[-1])
        features = self.middle(features)
        for up, stage in zip(self.ups, self.decoders, strict=True):
            features = stage(up(features) + skips.pop())
        return F.pixel_shuffle(self.tail(features), self.unshuffle)

    def spec(self) -> ModelSpec:
        """What this network needs and promises, from its arguments alone."""
        multiple_of = self.unshuffle * 2 ** (len(self.widths) - 1)
        return ModelSpec(
            task="denoise",
            conditions=("noise_level",) if self.condition_channels else (),
            residual=True,
            channels=self.channels,
            multiple_of=multiple_of,
            min_size=multiple_of,
            radius=self._radius(multiple_of),
            # Measured on random weights, residual form, values in [0, 1]: float16 is off by at most
            # 0.27/255, bfloat16 by up to 1.7/255, more than the half step of 8 bits.
            dtypes=("float32", "float16"),
            parameters=sum(p.numel() for p in self.parameters()),
        )

    def _radius(self, multiple_of: int) -> int:
        """Receptive radius in input pixels at the worst phase.

        A 3 x 3 convolution at 1/s of the resolution reaches s pixels; the unshuffle and the 2 x 2 steps
        spread a pixel over its cell, at worst multiple_of - 1 pixels. Head and tail are one convolution
        each, a block is two.
        """
        levels = len(self.widths)
        scales = [self.unshuffle * 2 ** min(i, 2 * (levels - 1) - i) for i in range(2 * levels - 1)]
        in_blocks = sum(2 * count * scale for count, scale in zip(self.blocks, scales, strict=True))
        return 2 * self.unshuffle + in_blocks + multiple_of - 1


def _stage(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))


def _check_arguments(
    channels: int, condition_channels: int, widths: Sequence[int], blocks: Sequence[int], unshuffle: int
) -> None:
    def require(holds: bool, what: str, fix: str) -> None:
        if not holds:
            raise ConfigError(f"PlainUNet: {what}", fix=fix)

    require(channels >= 1, f"channels is {channels}", "Give 1 (grey), 3 (colour) or more")
    require(condition_channels >= 0, f"condition_channels is {condition_channels}", "Give 0 or more")
    require(1 <= unshuffle <= 8, f"unshuffle is {unshuffle}", "Give 1 to 8")
    require(
        1 <= len(widths) <= _MAX_LEVELS and all(1 <= width <= _MAX_WIDTH for width in widths),
        f"widths is {tuple(widths)}",
        f"Give 1 to {_MAX_LEVELS} numbers of 1 to {_MAX_WIDTH}, finest level first",
    )
    require(
        len(blocks) == 2 * len(widths) - 1 and all(0 <= count <= _MAX_BLOCKS for count in blocks),
        f"blocks is {tuple(blocks)} for {len(widths)} widths",
        f"Give {2 * len(widths) - 1} numbers of 0 to {_MAX_BLOCKS}: encoders, middle, decoders",
    )
