"""CompactReflection: the project's network that takes reflections out of pictures, two streams that gate each other.

Source: own design from published parts. Two streams whose halves multiply each other: mutually gated interaction, Hu
and Guo, "Single image reflection separation via component synergy", ICCV 2023 (https://arxiv.org/abs/2308.10027);
blocks: NAFNet (Chen et al., ECCV 2022, https://arxiv.org/abs/2204.04676); a local-linear answer T = S B + b: DPIT
(Huang et al., as arXiv 2512.05000 describes it); an embedding of the picture beside it: RRFormer (arXiv 2308.00265).

Shapes, for widths (32, 64, 96, 128), blocks (1, 1, 1, 2, 1, 1, 1):

    input            B x 3 x H x W                  values in [0, 1]
    embedding        B x E x H/2 x W/2              beside the unshuffled picture; 22 planes of the fixed bank
    head             B x 32 x H/2 x W/2             conv 3 x 3; streams T (first half) and R (second half)
    encoders         B x 32, 64, 96 x H/2 .. H/8    blocks; conv 2 x 2, stride 2
    middle           B x 128 x H/16 x W/16          mean over the picture added; the blocks' dilations are 1, 2, 1, ...
    decoders         B x 96, 64, 32 x H/8 .. H/2    conv 1 x 1 to 4 x width, shuffled up; encoder added; blocks
    tail             B x 13 x H x W                 conv 3 x 3, shuffled up: s, b, R, F and the logit of the confidence
    output           B x 10 x H x W                 T = B + s B + b, R, F, confidence

The block: n = norm(x); x + conv1x1(conv3x3(n) * conv3x3(n)), the halves t1 r1 of one times r2 t2 of the other.

Differences from the sources: convolutions are dense (depthwise ones are slow on CPUs), so that the streams also mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models.spec import ModelSpec, Output

Embedding = Literal["none", "bank", "learned", "efficientnet_lite0"]
_BANK = 22
_COLOURS = 3
_LEARNED = (32, 48, 64)
_TAPS = {1: 16, 3: 24, 5: 40, 9: 112}
"""EfficientNet-Lite0's layers whose outputs are taken -> their channels, at 1/2, 1/4, 1/8 and 1/16 of the size."""

_SPREAD = 6.0  # their std on photographs, 4 to 7


class CompactReflection(nn.Module):
    """What one sees through glass, taken apart: T, R, F with B = T + R + F, and where R dominates.

    Args:
        embedding: what the network sees beside the picture: none; bank, fixed filters; learned, a small encoder;
            efficientnet_lite0, the bank and the first stages of that network, frozen, added to each level.
        widths: channels of each level, finest first, multiples of 4.
        blocks: of each stage: encoders, middle, decoders; 2 * len(widths) - 1 numbers.

    Raises `ConfigError` for arguments that describe no network.
    """

    output_layer = "tail"

    def __init__(
        self,
        embedding: Embedding = "bank",
        widths: Sequence[int] = (32, 64, 96, 128),
        blocks: Sequence[int] = (1, 1, 1, 2, 1, 1, 1),
    ) -> None:
        super().__init__()
        if not widths or any(width < 4 or width % 4 for width in widths):
            raise ConfigError(f"widths is {tuple(widths)}", fix="Give multiples of 4")
        if len(blocks) != 2 * len(widths) - 1 or min(blocks) < 0:
            raise ConfigError(f"blocks is {tuple(blocks)}", fix=f"Give {2 * len(widths) - 1} numbers of 0 or more")
        self.embedding, self.widths, self.blocks = embedding, tuple(widths), tuple(blocks)
        depth = len(widths) - 1
        steps = list(pairwise(self.widths))  # (finer, coarser) neighbours
        self.embed = LearnedEmbedding() if embedding == "learned" else None
        self.stages = FrozenStages() if embedding == "efficientnet_lite0" else None
        if self.stages and len(widths) > len(_TAPS):
            raise ConfigError(f"{embedding} has {len(_TAPS)} levels, widths {len(widths)}", fix="Give fewer widths")
        planes = {"none": 0, "learned": _LEARNED[0]}.get(embedding, _BANK)
        self.head = nn.Conv2d(4 * _COLOURS + planes, widths[0], 3, padding=1)
        self.encoders = nn.ModuleList(_stage(fine, n) for (fine, _), n in zip(steps, blocks, strict=False))
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.context = nn.Conv2d(widths[-1], widths[-1], 1)
        self.middle = _stage(widths[-1], blocks[depth], dilated=True)
        self.ups = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in steps[::-1])
        self.decoders = nn.ModuleList(
            _stage(fine, n) for (fine, _), n in zip(steps[::-1], blocks[depth + 1 :], strict=True)
        )
        taps = zip(_TAPS.values(), widths, strict=False) if self.stages else ()
        self.laterals = nn.ModuleList(nn.Conv2d(before, width, 1) for before, width in taps)
        self.tail = nn.Conv2d(widths[0], 4 * 13, 3, padding=1)
        with torch.no_grad():
            self.tail.weight.mul_(0.1)
            self.tail.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """B x 3 x H x W -> B x 10 x H x W: result, reflection, residual and confidence; sides as the spec says."""
        raw = self.layers(x)
        slope, offset, reflection, residual, logit = raw.split((3, 3, 3, 3, 1), 1)
        return torch.cat((x + slope * x + offset, reflection, residual, logit.sigmoid()), 1)

    def layers(self, x: Tensor) -> Tensor:
        """B x 13 x H x W: slope s and offset b of T = B + s B + b (3 each), R, F (3 each), the confidence's logit."""
        planes = [F.pixel_unshuffle(x, 2)]
        planes += [filter_bank(F.avg_pool2d(x, 2))] if self.embedding in ("bank", "efficientnet_lite0") else []
        planes += [self.embed(x)] if self.embed is not None else []
        features = self.head(torch.cat([each.to(planes[0].dtype) for each in planes], 1))
        given = self.stages(x) if self.stages is not None else []
        seen = [lateral(each) for lateral, each in zip(self.laterals, given, strict=False)]
        skips: list[Tensor] = []
        for level, (encode, down) in enumerate(zip(self.encoders, self.downs, strict=True)):
            features = encode(features + seen[level] if seen else features)
            skips.append(features)
            features = down(features)
        features = features + seen[-1] if seen else features
        features = features + self.context(features.mean((-2, -1), keepdim=True))
        features = self.middle(features)
        for up, decode in zip(self.ups, self.decoders, strict=True):
            features = decode(F.pixel_shuffle(up(features), 2) + skips.pop())
        return F.pixel_shuffle(self.tail(features), 2).to(torch.promote_types(x.dtype, torch.bfloat16))

    def spec(self) -> ModelSpec:
        """What this network needs and promises, from its arguments alone."""
        reflection = Output("reflection", "reflection", mixes=False)
        residual = Output("residual", "residual", mixes=False, about="What clipping and dimming leave: B - T - R.")
        step = 2 ** max(len(self.widths), 4 if self.embedding == "learned" else 0)
        about = "Where the reflection's edges are stronger than the background's, 0 to 1."
        confidence = Output("confidence", "confidence", channels=1, mixes=False, about=about)
        return ModelSpec(
            task="dereflect",
            outputs=(Output(), reflection, residual, confidence),
            channels=_COLOURS,
            multiple_of=step,
            min_size=step,
            tiling="whole",
            parameters=sum(p.numel() for p in self.parameters()),
        )


class GatedBlock(nn.Module):
    """x + mix(first(n) second(n)) with n = norm(x): B x width x h x w -> the same.

    `first` gives halves t1 r1 of both streams, `second` r2 t2: each stream is gated by the other.
    """

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv2d(width, width, 1)
        with torch.no_grad():
            self.mix.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        normal = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # over the channels of each pixel
        return x + self.mix(self.first(normal) * self.second(normal))


class LearnedEmbedding(nn.Module):
    """An encoder of three levels whose features are summed at half resolution: B x 3 x H x W -> B x 32 x H/2 x W/2."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(16 * _COLOURS, _LEARNED[0], 3, padding=1)
        self.stages = nn.ModuleList(GatedBlock(width) for width in _LEARNED)
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(_LEARNED))
        self.laterals = nn.ModuleList(nn.Conv2d(width, _LEARNED[0], 1) for width in _LEARNED)

    def forward(self, x: Tensor) -> Tensor:
        features = self.head(F.pixel_unshuffle(x, 4))
        levels: list[Tensor] = []
        for number, (stage, lateral) in enumerate(zip(self.stages, self.laterals, strict=True)):
            features = stage(self.downs[number - 1](features) if number else features)
            levels.append(lateral(features))
        total = levels.pop()
        while levels:
            total = F.interpolate(total, scale_factor=2, mode="nearest") + levels.pop()
        return F.interpolate(total, scale_factor=2, mode="nearest")


class FrozenStages(nn.Module):
    """The first layers of EfficientNet-Lite0 (Tan and Le, ICML 2019), never trained, up to 1/16 of the size.

    They are drawn at random until `load` brings the published weights; files of trained networks hold them.
    """

    def __init__(self) -> None:
        super().__init__()
        from restore.losses.layers import efficientnet_lite0

        self.layers = efficientnet_lite0()[: max(_TAPS) + 1]
        self.requires_grad_(False)

    def load(self, features: nn.Module) -> None:
        """Take the weights of `restore.losses.backbones.load_features("efficientnet_lite0")`."""
        given = dict(features.layers.named_buffers())  # type: ignore[union-attr, operator]
        own = self.layers.state_dict()
        if not any(value.is_meta for value in own.values()):  # a network that is only planned holds nothing
            self.layers.load_state_dict({name: given[name] for name in own})

    @torch.no_grad()
    def forward(self, x: Tensor) -> list[Tensor]:
        """B x 3 x H x W in [0, 1] -> 16, 24, 40 and 112 channels at 1/2, 1/4, 1/8 and 1/16, std about 1."""
        x = (255 * x - 127) / 128
        taken = []
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number in _TAPS:
                taken.append(x / _SPREAD)
        return taken


@torch.no_grad()
def filter_bank(x: Tensor) -> Tensor:
    """Fixed filters of a picture B x 3 x H x W in [0, 1]: B x 22 x H x W, float32.

    RGB less its mean (3), 4 bands of a Laplacian pyramid (12), gradient magnitude of three sizes of luma (3), local std
    over 9 and 33 px (2), log chroma (2).
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        luma = x.mean(1, keepdim=True)
        planes, level = [x - x.mean((-2, -1), keepdim=True)], x
        size = (x.shape[-2], x.shape[-1])
        for number in range(4):
            smaller = F.avg_pool2d(level, 2, ceil_mode=True)
            band = level - F.interpolate(smaller, level.shape[-2:], mode="bilinear", align_corners=False)
            planes.append(4 * _resized(band, size))
            if number < 3:
                grey = level.mean(1, keepdim=True)
                across, down = F.pad(grey.diff(dim=-1), (0, 1)), F.pad(grey.diff(dim=-2), (0, 0, 0, 1))
                planes.append(4 * _resized((across.square() + down.square() + 1e-8).sqrt(), size))
            level = smaller
        for window in (9, 33):
            mean, square = (_box(each, window) for each in (luma, luma.square()))
            planes.append(4 * (square - mean.square()).clamp(min=1e-8).sqrt())
        log = (x + 0.02).log()
        planes.append(torch.cat((log[:, :1] - log[:, 1:2], log[:, 2:] - log[:, 1:2]), 1))
        return torch.cat(planes, 1)


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if x.shape[-2:] == size else F.interpolate(x, size, mode="nearest")


def _box(x: Tensor, window: int) -> Tensor:
    reach = window // 2
    x = F.avg_pool2d(x, (1, window), 1, (0, reach), count_include_pad=False)
    return F.avg_pool2d(x, (window, 1), 1, (reach, 0), count_include_pad=False)


def _stage(width: int, blocks: int, dilated: bool = False) -> nn.Sequential:
    return nn.Sequential(*(GatedBlock(width, 1 + (number % 2 if dilated else 0)) for number in range(blocks)))
