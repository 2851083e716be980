"""Whether a picture is sharp already and is left alone: what is measured of it, and what is decided from that.

Two figures count together: how soft the steepest edges are (`restore.analysis.sharpness`), and how much the network,
which has learned from sharp pictures too, changes it. Either alone is less: a photograph that is sharp in one place and
blurred elsewhere has steep edges, and noise and fine texture make a network change more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.analysis.sample import sample_crops
from restore.analysis.sharpness import edge_softness
from restore.picture import PictureSource, ValueScale

SHARP = 0.88
"""Most that softness and half of the change may add up to. Of 28 photographs of 440 px with noise of 1/255 and JPEG
92, full size and halved, 93 % lie below when sharp, 43 % blurred by a disc of radius 1 px, 29 % shaken by 3 px, 11 % by
5 px; middles: softness 0.58, 0.71, 0.75 and 0.79, change 0.22, 0.37, 0.39 and 0.42."""
STEEP = 0.6
"""Softness of edges up to which no PSF is looked for: one blur for the whole picture would have softened every edge,
and a background out of focus is meant. Of 14 photographs of 512 px with noise of 1/255 and JPEG 92, 1 is as steep
shaken by 5 px, none by 12 px, and 8 are when sharp; so are about 45 of 60 sharp pictures (screens, night, grain)."""
FAINT = 0.5 / 255
"""Least local gradient that a change is compared with: in flat pictures only rounding would be measured."""
_CROP, _GRID = 192, 2  # the network is tried on up to four crops, px


@dataclass(frozen=True)
class Sharpness:
    """What was measured.

    Attributes:
        softness: of the steepest edges, 0 to 1; None where no edge is steep enough.
        change: mean magnitude of what the network adds, over the mean local gradient.
    """

    softness: float | None
    change: float

    @property
    def is_sharp(self) -> bool:
        """Whether the picture is left as it is. One without edges is not known to be sharp."""
        return self.score is not None and self.score <= SHARP

    @property
    def score(self) -> float | None:
        """Softness and half of the change."""
        return None if self.softness is None else self.softness + 0.5 * self.change

    @property
    def summary(self) -> str:
        """Both figures and what they add up to, for people."""
        edges = "no edges" if self.softness is None else f"edge softness {self.softness:.2f}"
        score = "" if self.score is None else f": {self.score:.2f} (sharp to {SHARP})"
        return f"{edges}, the network would change {self.change:.1%} of the local gradient{score}"


def measure_sharpness(
    source: PictureSource, scale: ValueScale, network: Callable[[Tensor], Tensor], multiple_of: int = 1
) -> Sharpness:
    """Of a picture, from crops spread over it.

    Args:
        network: 1 x C x h x w unit values -> the same, deblurred; sides are multiples of `multiple_of`.
    """
    softness = edge_softness(sample_crops(source, scale))
    side = -(-_CROP // multiple_of) * multiple_of
    crops = sample_crops(source, scale, crop=side, grid=_GRID)
    return Sharpness(softness, relative_change(crops, network, multiple_of))


def relative_change(crops: Sequence[Tensor], network: Callable[[Tensor], Tensor], multiple_of: int = 1) -> float:
    """Mean |network(x) - x| over the mean of |dx/drow| and |dx/dcolumn|, which is at least `FAINT`.

    Args:
        crops: C x h x w each, unit values; what lacks to a multiple is filled by the last row and column.
    """
    changed, gradients = [], []
    for crop in crops:
        x = crop[None]
        height, width = x.shape[-2:]
        y = network(F.pad(x, (0, -width % multiple_of, 0, -height % multiple_of), mode="replicate"))
        changed.append((y[..., :height, :width].to(x.device) - x).abs().flatten())
        gradients += [x.diff(dim=-1).abs().flatten(), x.diff(dim=-2).abs().flatten()]
    steps = torch.cat(gradients)
    gradient = float(steps.mean()) if len(steps) else 0.0
    return float(torch.cat(changed).mean()) / max(gradient, FAINT)
