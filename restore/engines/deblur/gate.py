"""Whether a picture is sharp already and is left alone: what is measured of it, and what is decided from that.

Two things must agree. The steepest edges are as steep as those of a sharp photograph (`restore.analysis.sharpness`);
and the network, which has learned from sharp pictures too, hardly changes it. A photograph that is sharp in one place
and blurred elsewhere passes the first, and a network that changes nothing anywhere the second, alone.
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

SHARP_EDGES = 0.66
"""Softness of the steepest edges up to which a picture may be sharp. Middles (1200 px) of 14 photographs measured 0.46
to 0.65, made smaller by two 0.43 to 0.63, those blurred by a disc of radius 1 or 2 px 0.56 to 0.73 and 0.69 to 0.82, by
diagonal lines of 3, 5 and 9 px 0.49 to 0.75, 0.47 to 0.81 and 0.45 to 0.85: above it blur is certain, below it is not
excluded."""
SMALL_CHANGE = 0.1
"""Change by the network, of the mean local gradient, up to which it found nothing to sharpen."""
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
        return self.softness is not None and self.softness <= SHARP_EDGES and self.change <= SMALL_CHANGE

    @property
    def summary(self) -> str:
        """Both figures and their limits, for people."""
        edges = "no edges" if self.softness is None else f"edge softness {self.softness:.2f} (sharp to {SHARP_EDGES})"
        change = f"the network would change {self.change:.1%} of the local gradient (sharp to {SMALL_CHANGE:.0%})"
        return f"{edges}, {change}"


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
