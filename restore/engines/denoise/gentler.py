"""How much of the measured level a network is told, by what it would take away from a part of the picture.

More than the noise is the picture: dither, weave. So is what is finer than the noise: the noise of developed
photographs has hardly any fine details, fur and grass do. So is what repeats: screens of print, stripes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from restore.analysis.blocks import block_dct, orders
from restore.analysis.periodic import periodic_share
from restore.engines.denoise.noise_level import Level
from restore.physics.dct import dct_matrix
from restore.physics.level import level_map

_CLEAR = 5.0  # of 255: stronger white noise is no less than its level
_FACTORS = (1.0, 0.5, 0.25)  # of the measured level
_EXCESS, _EXCESS_COARSE = 1.08, 1.0  # times the level, that what is taken away may be, of white and of coarse noise
_EXCEEDED = "more than the noise would be taken away at"
_CERTAIN = 0.4  # more, where what was measured is noise for certain
_REPEATS, _SURE = 0.1, 0.5  # share of what is taken away, and confidence from which on it is noise all the same
_SEEN = 2 / 255  # std of what is taken away: less has traces of JPEG's blocks
_FINE, _COARSE = (10, 14), (1, 3)  # orders u + v of an 8 x 8 DCT
_FINENESS = 0.42  # of what is taken away: std at fine over that at coarse orders, that noise of photographs seldom has
_FINER = 3.0  # times that of the noise itself
_UNEVEN = 0.25  # of the most that is taken from a part: noise leaves no part with less
_CLIPPED = 0.2  # share of a part's samples
_LITTLE = 0.54  # of the noise's std: of noise that is there more is taken away


def gentler(
    level: Level, x: Tensor, removed: Callable[[Tensor], Tensor], *, white: bool = False, printed: bool = False
) -> tuple[float, str]:
    """(factor of the level, 0 to 1; why, in words).

    Args:
        level: as measured.
        x: 1 x C x H x W, a part of the picture in [0, 1] units.
        removed: what the network takes away from it, told a curve of levels.
        white: the network is the one for white noise.
        printed: the picture is dots and letters, which repeat, and so do traces of them.
    """
    most = _EXCESS if white or level.value <= _CLEAR else _EXCESS_COARSE
    most += _CERTAIN * level.noise.confidence
    noise = torch.maximum(level.curve, level.noise.curve()) if _is_plain(level) else level.curve
    for factor in _FACTORS:
        y = removed(level.curve * factor)
        taken = float(y.square().mean().sqrt())
        if not printed and level.noise.confidence < _SURE and taken > _SEEN and periodic_share(y[0]) > _REPEATS:
            return 0.0, "what would be taken away is a pattern that repeats"
        told = factor * float(level_map(x, noise.to(x.device)[None]).square().mean().sqrt())
        little = taken * level.noise.coarseness < _LITTLE * told
        if factor == 1 and little and level.noise.correlated and _is_finer(y, level):
            return 0.0, "what would be taken away is finer than the noise"
        if taken <= most * told:
            return factor, "" if factor == 1 else f"{_EXCEEDED} more than {factor:g} of its level"
    return 0.0, f"{_EXCEEDED} any level"


def is_everywhere(taken: Sequence[Tensor], parts: Sequence[Tensor], level: Level) -> bool:
    """Whether as much of the level, within a factor of four, is taken away in all parts of a picture, as noise is.

    Args:
        taken, parts: 1 x C x H x W each; parts that are clipped in a fifth of their samples say nothing.
    """
    shares = []
    for y, x in zip(taken, parts, strict=True):
        if float(((x <= 0) | (x >= 1)).float().mean()) < _CLIPPED:
            told = level_map(x, level.curve.to(x.device)[None]).square().mean()
            shares.append(float((y.square().mean() / told.clamp(min=1e-12)).sqrt()))
    return not shares or min(shares) >= _UNEVEN * max(shares)


def _is_plain(level: Level) -> bool:
    """Whether the noise of the finest details is at least what there is, though the regression believes in less."""
    return not (level.noise.correlated or level.noise.pattern)


def _is_finer(y: Tensor, level: Level) -> bool:
    """Whether 1 x C x H x W has much finer details than the noise of flat blocks."""
    blocks = block_dct([y[0]])[0]
    if not len(blocks):
        return False
    luma = torch.einsum("c,ncf->nf", dct_matrix(blocks.shape[1])[0].to(blocks), blocks)
    fineness = _ratio(luma.square().mean(0).cpu())
    return fineness > max(_FINENESS, _FINER * _ratio(torch.tensor(level.noise.spectrum[0])))


def _ratio(power: Tensor) -> float:
    fine, coarse = (float(power[orders(*band)].mean()) for band in (_FINE, _COARSE))
    return (fine / max(coarse, 1e-12)) ** 0.5
