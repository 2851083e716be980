"""What is wrong with a picture before it is enlarged: noise, blocks of JPEG, blur.

A network that was taught on clean pictures enlarges them all, grain and blocks most of all.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from restore.analysis.blocking import BLOCK, blocking
from restore.analysis.noise import estimate_noise
from restore.analysis.sharpness import edge_softness
from restore.io.tensors import to_unit
from restore.picture import PictureSource, ValueScale

NOISY = 5.5
"""Level in 8-bit units from which a picture counts as noisy. With white noise of 6 (measured 5.6 and more) the network
that knows noise won by 0.3 to 2.4 dB in five photographs of five; at 3 it won or lost by up to 0.8 dB."""
LEAST_PIXELS = 100_000
"""Fewer have too few flat places to measure noise in. Of 29 clean photographs made smaller by 4, those of 106,000 px
and more measured up to 3.6; four of the eighteen of 57,000 to 80,000 px measured 7 to 15, their fine texture."""
BLOCKY = 0.6
"""Excess of the block boundaries (`restore.analysis.blocking`) from which a picture counts as compressed: about JPEG
85, where neither network is better; at 60 the one that knows JPEG won by up to 1.1 dB, at 95 it lost by up to 1.3."""
SOFT = 0.8
"""Softness of the steepest edges (`restore.analysis.sharpness`) from which a picture counts as blurred."""
_BANDS, _ROWS, _COLUMNS = 8, 128, 2048  # what is looked at, px


class Damage(NamedTuple):
    """What was measured.

    Attributes:
        noise: level in 8-bit units; None where it cannot be measured, as in small pictures.
        blocking: excess of the jumps at block boundaries.
        softness: of the steepest edges; None where there are none.
    """

    noise: float | None
    blocking: float
    softness: float | None

    @property
    def names(self) -> tuple[str, ...]:
        """What is serious, in words."""
        soft = self.softness is not None and self.softness >= SOFT
        noisy = self.noise is not None and self.noise >= NOISY
        found = [("noise", noisy), ("JPEG blocks", self.blocking >= BLOCKY), ("blur", soft)]
        return tuple(name for name, serious in found if serious)

    @property
    def serious(self) -> bool:
        return bool(self.names)

    @property
    def summary(self) -> str:
        """One line for people."""
        softness = "no edges" if self.softness is None else f"edge softness {self.softness:.2f}"
        noise = "noise not measured" if self.noise is None else f"noise {self.noise:.1f}"
        figures = f"{noise}, block excess {self.blocking:.2f}, {softness}"
        return f"{' and '.join(self.names) or 'clean'} ({figures})"


def measure_damage(source: PictureSource, scale: ValueScale) -> Damage:
    """Of a picture, in up to eight bands of rows spread over it."""
    crops = _bands(source, scale)
    noise = estimate_noise(crops) if source.info.pixels >= LEAST_PIXELS else None
    level = 255 * float(noise.curve().mean()) if noise is not None and noise.reliable else None
    return Damage(level, blocking(crops), edge_softness(crops))


def _bands(source: PictureSource, scale: ValueScale) -> list[torch.Tensor]:
    """C x h x w each, beginning at multiples of the block's side in both directions; read from top to bottom."""
    info = source.info
    left = max(0, info.width - _COLUMNS) // 2 // BLOCK * BLOCK
    height = min(info.height, _ROWS)
    count = min(_BANDS, max(1, info.height // _ROWS))
    last = info.height - height
    starts = {round(last * i / max(1, count - 1)) // BLOCK * BLOCK for i in range(count)}
    rows = (source.read_rows(start, start + height)[:, left : left + _COLUMNS] for start in sorted(starts))
    return [to_unit(each, scale)[0].contiguous() for each in rows]
