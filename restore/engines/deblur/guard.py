"""Tiles that a network has spoilt: colour mosaics, checkerboards, values that no picture has.

NAFNet with local pooling did that to 0.3 % of real photographs with the weights for REDS, and without it to none
(https://github.com/megvii-research/NAFNet/issues/25). Such damage is local and gross, so each figure is that of the
worst block of a tile, and its limit is far from what deblurring does.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

FAR_OFF = 0.4
"""Mean |y - x| of a block, of white. A line of 1 px blurred over 3 px moves less than half of its pixels by 0.67."""
OUTSIDE, OUTSIDE_SHARE = 0.15, 0.25
"""Samples beyond [0, 1] by this much, and the share of a block that may be, over that of the input."""
CHECKER, CHECKER_SHARE = 10 / 255, 0.5
"""Root mean square of the checkerboard (highest frequency in both directions) in y - x, and its share of all that was
changed: both are passed in a pattern of the network's own; of white noise the share is a quarter."""
BLOCK = 32
"""px, side of the blocks."""


class Damage(NamedTuple):
    """Of the worst block of a tile, by each figure.

    Attributes:
        off: mean |y - x|.
        outside: share of samples far beyond [0, 1], over that of x.
        checker: root mean square of the checkerboard in y - x, where that is most of the change; else 0.
    """

    off: float
    outside: float
    checker: float

    @property
    def spoilt(self) -> bool:
        """Whether no deblurring explains it."""
        return self.off > FAR_OFF or self.outside > OUTSIDE_SHARE or self.checker > CHECKER


def damage_of(x: Tensor, y: Tensor) -> Damage:
    """What a network did to a tile.

    Args:
        x, y: C x H x W and K C x H x W unit values, the tile and the network's answers to it.
    """
    x = x.repeat(y.shape[0] // x.shape[0], 1, 1)
    change = y - x
    outside = _worst(_beyond(y) - _beyond(x))
    corners = change[:, :-1, :-1] - change[:, :-1, 1:] - change[:, 1:, :-1] + change[:, 1:, 1:]
    checker, energy = _blocks((corners / 4).square()), _blocks(change[:, :-1, :-1].square())
    of_its_own = torch.where(checker > CHECKER_SHARE * energy, checker, 0).amax().sqrt() if checker.numel() else 0.0
    return Damage(_worst(change.abs()), outside, float(of_its_own))


def _beyond(values: Tensor) -> Tensor:
    return ((values < -OUTSIDE) | (values > 1 + OUTSIDE)).float()


def _blocks(values: Tensor) -> Tensor:
    """Means of the blocks of each channel; what is left at the sides is in the last ones."""
    if not values.numel():
        return values
    height, width = (min(BLOCK, side) for side in values.shape[-2:])
    return F.avg_pool2d(values[None], (height, width), stride=max(1, BLOCK // 2))[0]


def _worst(values: Tensor) -> float:
    return float(_blocks(values).amax())
