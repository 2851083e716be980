"""CompactDeblur: the project's direct deblurrer for CPUs, the U-Net of plain convolutions on three levels.

Source, parts and shapes: `restore.models.plain_unet`; here with widths (32, 64, 128) at 1/2, 1/4 and 1/8 of the
resolution and blocks (1, 2, 3, 2, 1), most of them where blur is small. 1.31 million parameters.
No condition: what blurred a picture must be seen in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from restore.models.plain_unet import PlainUNet
from restore.models.spec import ModelSpec


class CompactDeblur(PlainUNet):
    """A U-Net that predicts the correction to a blurred picture; arguments as of `PlainUNet`.

    Args:
        channels: colour channels in and out.
        widths: feature channels of each level, finest first.
        blocks: residual blocks of each stage: encoders, middle, decoders.
        unshuffle: the finest level works at 1 / unshuffle of the input's resolution.
    """

    def __init__(
        self,
        channels: int = 3,
        widths: Sequence[int] = (32, 64, 128),
        blocks: Sequence[int] = (1, 2, 3, 2, 1),
        unshuffle: int = 2,
    ) -> None:
        super().__init__(channels, 0, widths, blocks, unshuffle)

    def begin_with(self, other: nn.Module) -> bool:
        """Take the weights of a network with as many blocks or more, of which those spread evenly are kept; False for
        one of other widths, or with fewer blocks."""
        if not isinstance(other, CompactDeblur) or other.widths != self.widths or other.unshuffle != self.unshuffle:
            return False
        if any(own > theirs for own, theirs in zip(self.blocks, other.blocks, strict=True)):
            return False
        state = other.state_dict()
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
        return replace(super().spec(), task="deblur")
