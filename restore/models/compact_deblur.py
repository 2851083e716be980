"""CompactDeblur: the project's direct deblurrer for CPUs, the U-Net of plain convolutions on three levels.

Source, parts and shapes: `restore.models.plain_unet`; here with widths (32, 64, 128) at 1/2, 1/4 and 1/8 of the
resolution and blocks (1, 2, 6, 2, 1), most of them where blur is small. 2.19 million parameters, 57 kMAC a pixel.
No condition: what blurred a picture must be seen in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
        blocks: Sequence[int] = (1, 2, 6, 2, 1),
        unshuffle: int = 2,
    ) -> None:
        super().__init__(channels, 0, widths, blocks, unshuffle)

    def spec(self) -> ModelSpec:
        """What this network needs and promises, from its arguments alone."""
        return replace(super().spec(), task="deblur")
