"""How well a deconvolved picture turned out, without the truth: a network that saw thousands beside theirs.

Ringing, over-sharpening and blur that is left are seen in the blurred and the restored picture together. The network
gives, for every cell of 8 x 8 px, the logarithms of both squared errors; sums over cells give the gain.

    input       B x 3 x H x W       luma of the blurred picture, of the restored one, four times their difference
    1/2, 1/4, 1/8                   24, 32, 48 channels; one, two and two residual blocks
    output      B x 2 x H/8 x W/8   log10 of the mean squared error: of the blurred and of the restored picture
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from restore.engines.blind_psf.fitted import JUDGE_FILE, fitted
from restore.models.blocks import ResidualBlock
from restore.physics.color import to_grey

CELL = 8
_WIDTHS = (24, 32, 48)


class Judge(nn.Module):
    """Blurred and restored picture -> logarithms of both errors; see the module."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = _WIDTHS
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(12, first, 3, padding=1), ResidualBlock(first),
            nn.Conv2d(first, second, 2, stride=2), ResidualBlock(second), ResidualBlock(second),
            nn.Conv2d(second, third, 2, stride=2), ResidualBlock(third), ResidualBlock(third),
            nn.Conv2d(third, 2, 3, padding=1),
        )  # fmt: skip

    def forward(self, blurred: Tensor, restored: Tensor) -> Tensor:
        """B x 1 x H x W luma in [0, 1] each, sides multiples of 8 -> B x 2 x H/8 x W/8."""
        seen = torch.cat([blurred, restored, 4 * (restored - blurred)], 1)
        return self.layers(seen) - 3.0


@torch.inference_mode()
def error_maps(blurred: Tensor, restored: Tensor) -> Tensor:
    """Mean squared errors by cells: pictures B x C x H x W in [0, 1], sRGB -> B x 2 x H/8 x W/8 (rest cut off)."""
    height, width = (side // CELL * CELL for side in blurred.shape[-2:])
    lumas = [to_grey(x)[..., :height, :width].float() for x in (blurred, restored)]
    return 10 ** _judge()(*lumas)


@cache
def _judge() -> Judge:
    return fitted(Judge, JUDGE_FILE)
