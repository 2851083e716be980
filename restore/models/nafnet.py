"""NAFNet: a U-Net of blocks without non-linear activations, with local pooling at test time.

Source: Chen et al., "Simple Baselines for Image Restoration", ECCV 2022, https://arxiv.org/abs/2204.04676. Names of
tensors are those of the published weights, https://github.com/megvii-research/NAFNet. Local pooling (TLC): Chu et al.,
"Improving Image Restoration by Revisiting Global Information Aggregation", ECCV 2022, https://arxiv.org/abs/2112.04491.
Several restored pictures at once: `restore.models.multi_output`.

Shapes for C channels, width w, 4 levels, H and W padded with zeros at the bottom and right to multiples of 16:

    input          B x C x H x W              values in [0, 1]
    intro          B x w x H x W              conv 3 x 3
    encoder i      B x 2^i w x H/2^i x ...    blocks; then conv 2 x 2, stride 2, to twice the channels
    middle         B x 16 w x H/16 x W/16     blocks
    decoder i      B x 2^i w x H/2^i x ...    conv 1 x 1 to 4 times the channels, shuffle 2; encoder i added; blocks
    ending         B x C x H x W              conv 3 x 3
    output         B x C x H x W              the input added, cut to its size

    block, c channels: norm, conv 1 x 1 to 2 c, depthwise conv 3 x 3, gate; times (mean of each channel, conv 1 x 1);
                       conv 1 x 1; times beta, added. Norm, conv 1 x 1 to 2 c, gate, conv 1 x 1; times gamma, added.
                       A gate is the product of both halves of the channels. 7 c^2 + 33 c parameters.

    published for              width   encoders      middle   decoders     parameters
    GoPro                      32      1, 1, 1, 28   1        1, 1, 1, 1    17,111,907
    GoPro, REDS                64      1, 1, 1, 28   1        1, 1, 1, 1    67,888,835
    SIDD (noise)               32      2, 2, 4, 8    12       2, 2, 2, 2    29,159,715
    SIDD (noise)               64      2, 2, 4, 8    12       2, 2, 2, 2   115,982,915

Differences from the sources: the local means are sums of powers of two of neighbours in float32, not differences of
prefix sums, which lose digits; they are widened to the map's size after the 1 x 1 convolution, not before, which is the
same and cheaper. No dropout.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models.blocks import added
from restore.models.spec import ModelSpec

LOCAL_SIDE = 384
"""px at full resolution: 1.5 times the 256 px of the crops that the published weights were trained on."""
_MAX_WIDTH, _MAX_BLOCKS, _MAX_LEVELS = 1024, 128, 6
_OVERLAP = 128
_EPS = 1e-6


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel, B x c x h x w -> the same, in float32 whatever the type of x.

    In float16 the sum of 512 squares passes 65504 where values reach 12; at the bottleneck they reach 175.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        wide = _at_least_float32(x).permute(0, 2, 3, 1)  # B x h x w x c
        weight, bias = self.weight.to(wide.dtype), self.bias.to(wide.dtype)
        return F.layer_norm(wide, (x.shape[1],), weight, bias, _EPS).to(x.dtype).permute(0, 3, 1, 2)


class LocalMean(nn.Module):
    """Mean of each channel: B x c x h x w -> B x c x 1 x 1, or the means of all windows within the map (TLC).

    Windows are square, and as long as the map along an axis in which they do not fit. The mean is global in training,
    where windows cover the whole map, and with side 0. There are neither parameters nor buffers.

    Args:
        side: of the windows in pixels of the map.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        wide = _at_least_float32(x)
        if self.training or self.side == 0 or self.side >= max(x.shape[-2:]):
            return wide.mean((2, 3), keepdim=True).to(x.dtype)
        return window_means(wide, self.side).to(x.dtype)


class NAFBlock(nn.Module):
    """B x c x h x w -> the same; at first the identity.

    Args:
        channels: c.
        side: of the windows of local pooling, px of this level; 0: it is always global.
    """

    def __init__(self, channels: int, side: int = 0) -> None:
        super().__init__()
        twice = 2 * channels
        self.norm1, self.norm2 = ChannelNorm(channels), ChannelNorm(channels)
        self.conv1 = nn.Conv2d(channels, twice, 1)
        self.conv2 = nn.Conv2d(twice, twice, 3, padding=1, groups=twice)
        self.sca = nn.Sequential(LocalMean(side), nn.Conv2d(channels, channels, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.conv4 = nn.Conv2d(channels, twice, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = _gate(self.conv2(self.conv1(self.norm1(x))))
        x = x + self.beta * self.conv3(y * widened(self.sca(y), y.shape[2], y.shape[3]))
        return x + self.gamma * self.conv5(_gate(self.conv4(self.norm2(x))))


class NAFNet(nn.Module):
    """Predicts a correction to its input.

    Args:
        channels: colour channels in and out.
        width: feature channels of the finest level, doubled at each coarser one.
        encoder_blocks: blocks of each level, finest first; their number is that of the levels.
        middle_blocks: blocks at the coarsest resolution.
        decoder_blocks: blocks of each level, coarsest first.
        local_side: windows of local pooling in eval mode, px at full resolution, halved at each level: 1.5 times the
            crops in training. 0: pooling is always global, as published for noise (SIDD).

    Raises `ConfigError` for arguments that describe no network.
    """

    output_layer = "ending"

    def __init__(
        self,
        channels: int = 3,
        width: int = 32,
        encoder_blocks: Sequence[int] = (1, 1, 1, 28),
        middle_blocks: int = 1,
        decoder_blocks: Sequence[int] = (1, 1, 1, 1),
        local_side: int = LOCAL_SIDE,
    ) -> None:
        super().__init__()
        _check_arguments(channels, width, encoder_blocks, middle_blocks, decoder_blocks, local_side)
        self.channels, self.width, self.local_side = channels, width, local_side
        self.levels = len(encoder_blocks)

        def stage(level: int, count: int) -> nn.Sequential:
            side = max(1, local_side >> level) if local_side else 0
            return nn.Sequential(*(NAFBlock(width << level, side) for _ in range(count)))

        widths = [width << level for level in range(self.levels)]
        self.intro = nn.Conv2d(channels, width, 3, padding=1)
        self.encoders = nn.ModuleList(stage(level, count) for level, count in enumerate(encoder_blocks))
        self.downs = nn.ModuleList(nn.Conv2d(fine, 2 * fine, 2, stride=2) for fine in widths)
        self.middle_blks = stage(self.levels, middle_blocks)
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * fine, 4 * fine, 1, bias=False), nn.PixelShuffle(2)) for fine in widths[::-1]
        )
        self.decoders = nn.ModuleList(
            stage(self.levels - 1 - number, count) for number, count in enumerate(decoder_blocks)
        )
        self.ending = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """B x channels x H x W of any size -> the same."""
        return added(x, self.residual(x))

    def residual(self, x: Tensor) -> Tensor:
        """What `forward` adds to the picture: B x channels x H x W -> the same."""
        height, width = x.shape[-2:]
        step = 1 << self.levels
        features = self.intro(F.pad(x, (0, -width % step, 0, -height % step)))
        skips: list[Tensor] = []
        for stage, down in zip(self.encoders, self.downs, strict=True):
            skips.append(stage(features))
            features = down(skips[-1])
        features = self.middle_blks(features)
        for up, stage in zip(self.ups, self.decoders, strict=True):
            features = stage(up(features) + skips.pop())
        return self.ending(features)[..., :height, :width]

    def spec(self) -> ModelSpec:
        """What this network needs and promises, from its arguments alone.

        It runs on any size itself, with zeros beyond the picture. The spec asks for multiples of its grid, so that
        tiles lie on the grid of the whole picture, and that reflection fills what is missing. Its means see more than
        its convolutions reach, so tiles are blended; those of up to `local_side` px have the statistics of training.
        """
        step = 1 << self.levels
        return ModelSpec(
            task="deblur",
            paper="https://arxiv.org/abs/2204.04676",
            residual=True,
            channels=self.channels,
            multiple_of=step,
            min_size=step,
            radius=self._radius(),
            tiling="local",
            overlap=_OVERLAP,
            # Measured on random weights with beta and gamma of std 0.3, values in [0, 1]: float16 is off by at most
            # 0.31/255 (0.06/255 rms), bfloat16 by 2.4/255 (0.47/255 rms), more than the half step of 8 bits.
            dtypes=("float32", "float16"),
            parameters=sum(p.numel() for p in self.parameters()),
        )

    def _radius(self) -> int:
        """In input pixels at the worst phase, of the convolutions alone: a 3 x 3 at 1/s of the resolution reaches s
        pixels, and the 2 x 2 steps spread a pixel over its cell."""
        stages = [(level, len(stage)) for level, stage in enumerate(self.encoders)]  # type: ignore[arg-type]
        stages += [(self.levels - 1 - n, len(stage)) for n, stage in enumerate(self.decoders)]  # type: ignore[arg-type]
        stages += [(self.levels, len(self.middle_blks))]
        return 2 + sum(count << level for level, count in stages) + (1 << self.levels) - 1


def with_global_pooling(net: nn.Module) -> nn.Module | None:
    """A network like this one that pools over whole maps, with the same weights, not copies of them; None where none of
    its pooling is local."""
    if not any(isinstance(module, LocalMean) and module.side for module in net.modules()):
        return None
    plain = deepcopy(net, {id(weight): weight for weight in (*net.parameters(), *net.buffers())})
    for module in plain.modules():
        if isinstance(module, LocalMean):
            module.side = 0
    return plain


def window_means(x: Tensor, side: int) -> Tensor:
    """Means of all square windows within a map: B x c x h x w -> B x c x (h - side + 1) x (w - side + 1).

    Along an axis shorter than `side` the window is the whole axis. Sums of neighbours are added in pairs, so that
    errors grow with log2(side), whatever the size of the map, and nothing is subtracted.
    """
    for axis in (2, 3):
        length = min(side, x.shape[axis])
        x = x.mean(axis, keepdim=True) if length == x.shape[axis] else _window_sums(x, axis, length) / length
    return x


def _window_sums(x: Tensor, axis: int, length: int) -> Tensor:
    """Sums of `length` neighbours along an axis, from sums of 1, 2, 4, ... by the binary digits of `length`."""
    places = x.shape[axis] - length + 1
    parts, covered, size, sums = [], 0, 1, x  # sums: of `size` neighbours
    while True:
        if length & size:
            parts.append(sums.narrow(axis, covered, places))
            covered += size
        if covered == length:
            return functools.reduce(torch.add, parts)
        ahead = sums.shape[axis] - size
        sums, size = sums.narrow(axis, 0, ahead) + sums.narrow(axis, size, ahead), 2 * size


def widened(means: Tensor, height: int, width: int) -> Tensor:
    """Means of windows laid at the windows' centres, the outermost repeated outwards: B x c x height x width.

    Of the rows and columns that are missing the first half, rounded down, goes before. What is 1 x 1 stays so.
    """
    rows, columns = height - means.shape[2], width - means.shape[3]
    if means.shape[-2:] == (1, 1):
        return means
    return F.pad(means, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2), mode="replicate")


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _gate(x: Tensor) -> Tensor:
    """B x 2 c x h x w -> B x c x h x w."""
    first, second = x.chunk(2, 1)
    return first * second


def _check_arguments(
    channels: int,
    width: int,
    encoder_blocks: Sequence[int],
    middle_blocks: int,
    decoder_blocks: Sequence[int],
    local_side: int,
) -> None:
    def require(holds: bool, what: str, fix: str) -> None:
        if not holds:
            raise ConfigError(f"NAFNet: {what}", fix=fix)

    require(1 <= channels <= 64, f"channels is {channels}", "Give 1 (grey), 3 (colour), or up to 64")
    require(1 <= width <= _MAX_WIDTH, f"width is {width}", f"Give 1 to {_MAX_WIDTH}")
    require(
        1 <= len(encoder_blocks) <= _MAX_LEVELS and all(0 <= count <= _MAX_BLOCKS for count in encoder_blocks),
        f"encoder_blocks is {tuple(encoder_blocks)}",
        f"Give 1 to {_MAX_LEVELS} numbers of 0 to {_MAX_BLOCKS}, finest level first",
    )
    require(
        len(decoder_blocks) == len(encoder_blocks) and all(0 <= count <= _MAX_BLOCKS for count in decoder_blocks),
        f"decoder_blocks is {tuple(decoder_blocks)} for {len(encoder_blocks)} levels",
        f"Give {len(encoder_blocks)} numbers of 0 to {_MAX_BLOCKS}, coarsest level first",
    )
    require(0 <= middle_blocks <= _MAX_BLOCKS, f"middle_blocks is {middle_blocks}", f"Give 0 to {_MAX_BLOCKS}")
    least = 1 << len(encoder_blocks)
    require(
        local_side == 0 or least <= local_side <= 1 << 16,
        f"local_side is {local_side}",
        f"Give {least} to {1 << 16} px, or 0 for global pooling",
    )
