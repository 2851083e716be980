"""The effective noise level of a picture, by a small regression fitted on simulated noise.

White noise can be read off the finest details; the noise of developed photographs cannot: it is coarse, alike in all
channels, and looks like texture. What separates them is that noise is everywhere: its energy in the flattest blocks
is not much below the usual. The features are therefore low quantiles of the blocks' energies, in bands of DCT
frequencies, of luminance and of colour differences, at full and at half size; the regression is a perceptron with two
hidden layers that corrects the level of the finest details (`tools/fit_noise_level.py`).

Effective: in the sense of `restore.physics.level`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.analysis.blocks import BLOCK, block_dct, orders
from restore.analysis.noise import NoiseModel
from restore.physics.dct import dct_matrix
from restore.physics.level import level_map

BANDS = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 8), (9, 14))  # lowest and highest u + v
QUANTILES = (0.01, 0.05, 0.2, 0.5, 0.9)
FLATTEST = (0.02, 0.1)  # shares of the blocks, chosen by their neighbours
HALVINGS = 2  # scales analysed
_FLOOR = 0.1 / 255  # std below which levels are not distinguished
_INSIDE = (0.02, 0.98)  # means of blocks that clipping has not touched
_LEAST = 64  # blocks
_HALF_STEP = 0.5 / 255
_AGREED, _DISAGREED = 0.35, 0.7  # octaves between the regression and the finest details
_UNDETECTABLE = 0.6  # 8-bit units; the regression's answers begin at 0.5
WEIGHTS = Path(__file__).with_name("effective.safetensors")


def features(crops: Sequence[Tensor]) -> Tensor | None:
    """What the regression sees: logarithms (base 2) of stds in 8-bit units.

    Args:
        crops: C x H x W each, values in [0, 1].
    Returns:
        vector; its first entry is the level of the finest details. None: too small to measure anything.
    """
    rows = []
    for halvings in range(HALVINGS):
        small = [F.avg_pool2d(crop[None], 2**halvings)[0] for crop in crops] if halvings else crops
        blocks, _, around = block_dct(small)
        if len(blocks) < _LEAST:
            return None
        mean = blocks[:, :, 0].mean(1) / BLOCK
        inside = (mean > _INSIDE[0]) & (mean < _INSIDE[1])
        if int(inside.sum()) > max(_LEAST, len(blocks) // 10):
            blocks, around = blocks[inside], around[inside]
        rows.append(_of_scale(blocks, around))
    flat = torch.cat(rows)
    finest = flat[_FINEST]
    return torch.cat([finest[None], flat])


def _of_scale(blocks: Tensor, around: Tensor) -> Tensor:
    """N x C x 64 -> (2 x bands x (quantiles + flattest)), luminance first; grey pictures repeat it."""
    opponent = torch.einsum("oc,ncf->onf", dct_matrix(blocks.shape[1]).to(blocks), blocks)
    luma, colour = opponent[0].square(), opponent[1:].square().mean(0) if len(opponent) > 1 else opponent[0].square()
    flat = around.argsort(stable=True)
    chosen = [flat[: max(24, int(share * len(flat)))] for share in FLATTEST]
    powers = []
    for power in (luma, colour):
        for low, high in BANDS:
            energy = power[:, orders(low, high)].mean(1)
            powers += [
                *torch.quantile(energy[: 1 << 23], energy.new_tensor(QUANTILES)),
                *(energy[c].mean() for c in chosen),
            ]
    return torch.stack(powers).clamp(min=_FLOOR**2).sqrt().mul(255).log2()


_PER_BAND = len(QUANTILES) + len(FLATTEST)
_FINEST = (len(BANDS) - 1) * _PER_BAND + len(QUANTILES)  # luminance, highest band, flattest blocks
COUNT = 1 + HALVINGS * 2 * len(BANDS) * _PER_BAND


class LevelRegression(nn.Module):
    """Features -> logarithm (base 2) of the effective level in 8-bit units: the finest details', corrected."""

    mean: Tensor
    spread: Tensor

    def __init__(self, hidden: tuple[int, int] = (48, 24)) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(COUNT))
        self.register_buffer("spread", torch.ones(COUNT))
        self.layers = nn.Sequential(
            nn.Linear(COUNT, hidden[0]), nn.GELU(), nn.Linear(hidden[0], hidden[1]), nn.GELU(), nn.Linear(hidden[1], 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """B x `COUNT` -> B"""
        return x[:, 0] + self.layers((x - self.mean) / self.spread)[:, 0]


def soft_floor(level: Tensor) -> Tensor:
    """Logarithms of levels in 8-bit units with a soft floor at half a step, -1."""
    return torch.logaddexp2(level, torch.full_like(level, -1.0))


def effective_level(crops: Sequence[Tensor]) -> float | None:
    """The level of the picture that the crops (C x H x W each, values in [0, 1]) are from, in [0, 1] units.

    Levels below half a step of 8 bits are 0. None: the crops are too small to measure anything.
    """
    vector = features(crops)
    if vector is None:
        return None
    with torch.no_grad():
        level = float(soft_floor(_regression()(vector[None].cpu())).exp2())
    return level / 255 if level > _UNDETECTABLE else 0.0


@cache
def _regression() -> LevelRegression:
    from safetensors.torch import load_file

    net = LevelRegression()
    net.load_state_dict(load_file(WEIGHTS))
    return net.eval()


def _known_map(crop: Tensor, curve: Tensor) -> Tensor:
    """The level of every pixel of C x H x W that is known."""
    known = crop.isfinite().all(0)
    return level_map(crop.nan_to_num()[None], curve[None].to(crop))[0, 0][known]


def effective_curve(noise: NoiseModel, crops: Sequence[Tensor]) -> Tensor:
    """Effective noise std over intensity, as networks receive it: `KNOTS`, in [0, 1] units.

    The shape over intensity is the noise model's. So is the level, as long as it is white and the regression does not
    disagree by more than a quarter of an octave and some: then it is the more exact one. Where what was measured is
    noise for certain, the regression has no say; of patterns (halftone) the lower of both is taken.

    Args:
        noise: estimated from the same crops.
    """
    measured, level = noise.curve(), effective_level(crops)
    if level is None:  # too little is seen to be told from texture
        return measured * noise.confidence
    total = sum(int(crop[0].isfinite().sum()) for crop in crops)
    own = sum(float(_known_map(crop, measured).sum()) for crop in crops) / max(1, total)
    disagreement = abs(math.log2((level + _HALF_STEP) / (own + _HALF_STEP)))
    share = 1.0 if noise.correlated else min(max((disagreement - _AGREED) / (_DISAGREED - _AGREED), 0.0), 1.0)
    if noise.pattern:  # which the regression does not know
        share = share if level < own else 0.0
    share *= 1 - noise.confidence
    shape = (measured / own).clamp(0.5, 2) if own > _HALF_STEP else torch.ones_like(measured)
    return shape * (own + share * (level - own))
