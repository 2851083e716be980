"""CompactDeblur: the project's direct deblurrer for CPUs, the U-Net of plain convolutions on three levels.

Source, parts and shapes: `restore.models.plain_unet`; here with widths (32, 64, 128) at 1/2, 1/4 and 1/8 of the
resolution and blocks (1, 2, 3, 2, 1), most of them where blur is small. 1.31 million parameters.
No condition: what blurred a picture must be seen in it.

With more frames than one: B x (T C) x H x W, the frames of a clip around the wanted one; the others are further planes
of the first layer, and the answer is added to the one in the middle. It begins with the weights for one frame, and
zeros for these planes. T = 3: 6,912 parameters more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models.blocks import added, with_planes
from restore.models.plain_unet import PlainUNet
from restore.models.spec import ModelSpec


class CompactDeblur(PlainUNet):
    """A U-Net that predicts the correction to a blurred picture; arguments as of `PlainUNet`.

    Args:
        channels: colour channels in and out.
        widths: feature channels of each level, finest first.
        blocks: residual blocks of each stage: encoders, middle, decoders.
        unshuffle: the finest level works at 1 / unshuffle of the input's resolution.
        frames: T, odd.

    Raises `ConfigError` for arguments that describe no network.
    """

    def __init__(
        self,
        channels: int = 3,
        widths: Sequence[int] = (32, 64, 128),
        blocks: Sequence[int] = (1, 2, 3, 2, 1),
        unshuffle: int = 2,
        frames: int = 1,
    ) -> None:
        if frames < 1 or frames % 2 == 0:
            raise ConfigError(f"CompactDeblur: frames is {frames}", fix="Give an odd number")
        super().__init__(channels, (frames - 1) * channels, widths, blocks, unshuffle)
        self.frames = frames

    def forward(self, x: Tensor, noise_level: Tensor | None = None) -> Tensor:
        """B x (frames channels) x H x W -> B x channels x H x W; sides as the spec says. It takes no noise level."""
        middle = x.chunk(self.frames, 1)[self.frames // 2]
        return added(middle, self.residual(x, noise_level))

    def residual(self, x: Tensor, noise_level: Tensor | None = None) -> Tensor:
        """What `forward` adds to the frame in the middle."""
        x = with_planes(x, noise_level, 0)
        if self.frames == 1:
            return self.of_planes(x)
        beside = self.frames // 2 * self.channels
        before, middle, after = x.tensor_split((beside, -beside), 1)
        return self.of_planes(torch.cat([middle, before, after], 1))

    def begin_with(self, other: nn.Module) -> bool:
        """Take the weights of a network with as many blocks or more, of which those spread evenly are kept, and with as
        many frames or one; False for one of other widths, or with fewer blocks."""
        if not isinstance(other, CompactDeblur) or other.widths != self.widths or other.unshuffle != self.unshuffle:
            return False
        if any(own > theirs for own, theirs in zip(self.blocks, other.blocks, strict=True)):
            return False
        if other.channels != self.channels or other.frames not in (1, self.frames):
            return False
        state = other.state_dict()
        head = state["head.weight"]
        more = self.head.in_channels - head.shape[1]  # planes of frames that the other does not see
        state["head.weight"] = torch.cat([head, head.new_zeros(len(head), more, *head.shape[2:])], 1)
        stages = [*(f"encoders.{i}" for i in range(len(self.encoders))), "middle"]
        stages += [f"decoders.{i}" for i in range(len(self.decoders))]
        kept = {name: value for name, value in state.items() if not name.startswith(tuple(f"{s}." for s in stages))}
        for stage, own, theirs in zip(stages, self.blocks, other.blocks, strict=True):
            for i in range(own):
                source = f"{stage}.{i * theirs // own}."
                found = {name: value for name, value in state.items() if name.startswith(source)}
                kept |= {f"{stage}.{i}.{name.removeprefix(source)}": value for name, value in found.items()}
        self.load_state_dict(kept)
        return True

    def spec(self) -> ModelSpec:
        """What this network needs and promises, from its arguments alone."""
        return replace(super().spec(), task="deblur", conditions=(), window=self.frames)
