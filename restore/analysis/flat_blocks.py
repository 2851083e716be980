"""What flat blocks hold: noise, texture or a pattern."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from restore.analysis.blocks import expected_variance, orders
from restore.physics.dct import dct_matrix

MIN_BLOCKS = 24
FLAT_SHARE = 0.1
SPECTRUM_SHARE = 0.03
_INDEPENDENT = (0.03, 0.1)  # least eigenvalue of the channels' correlation: texture, noise
_COLOURLESS = 0.003  # middle eigenvalue below which the picture is grey or toned
_STRUCTURED = 2.2  # times more power in coarse than in fine frequencies, that flat blocks of white noise do not have
_BANDS = ((4, 4), (5, 5), (6, 6), (7, 7), (8, 8), (9, 10), (11, 14))
_WHITE_SPREAD = (1.25, 1.6)  # of the power of these bands in flat blocks: certainly noise, not certainly
_CHANCE = 2.5
_JUDGED = 64  # blocks
_EVEN_SPREAD = (3.6, 5.5)  # of the power of flat blocks
_ROUNDING = (0.6 / 255) ** 2  # power that rounding to 8 bits alone may have
_PATTERN = 60.0  # spread over frequencies that only patterns have, such as halftone
_REACH, _LEAST_REACH = 2.5, 1.5 / 255
_RARER = 0.02  # share of samples at the rarer of black and white: dark and bright photographs have hardly any
_MOSTLY, _STRONG = (0.75, 0.9), (20 / 255, 35 / 255)  # share of samples, for noise up to the first and from the second
_QUARTILE = 0.6745  # of a standard normal


def is_plain(power: Tensor, frequencies: Tensor) -> bool:
    """Whether blocks (their powers, N x 64) are flat: alike, and without more power in coarse than in fine details."""
    fine = power[:, frequencies].mean(1)
    least, most = fine.quantile(fine.new_tensor([0.1, 0.9])).clamp(min=1e-12).tolist()
    coarse = float(power[:, orders(1, 3)].mean() / fine.median().clamp(min=1e-12))
    return coarse < _STRUCTURED and most < _EVEN_SPREAD[1] * least


def certainty(blocks: Tensor, around: Tensor, levels: Tensor) -> tuple[float, bool]:
    """(how certainly the fine frequencies of flat blocks are white noise, 0 to 1; whether they are a pattern).

    Even is what has the same power from block to block, or, as photons have, that of the levels at its intensity.
    """
    flat = around.argsort(stable=True)[: max(_JUDGED, int(FLAT_SHARE * len(around)))]
    power = torch.einsum("c,ncf->nf", dct_matrix(blocks.shape[1])[0].to(blocks), blocks[flat]).square()
    ends = power.new_tensor([0.1, 0.9])
    medians = power.median(0).values.clamp(min=1e-12)
    bands = torch.stack([medians[orders(*band)].mean() for band in _BANDS])
    fine = power[:, orders(8, 14)].mean(1)
    expected = expected_variance(blocks[flat], levels)[:, 0].clamp(min=1e-12)
    ranges = [each.quantile(ends).clamp(min=1e-12).tolist() for each in (fine, fine / expected)]
    spread = min(most / least for least, most in ranges)
    chance = 1 + _CHANCE / math.sqrt(len(power))  # what the spread of so few blocks is at most
    certainty = _falling(float(bands.max() / bands.min()) / chance, _WHITE_SPREAD) * _falling(spread, _EVEN_SPREAD)
    low, high = medians[orders(4, 14)].quantile(ends).tolist()
    return certainty if high > _ROUNDING else 0.0, high / low > _PATTERN


def spread_at_ends(crops: Sequence[Tensor]) -> float:
    """Std of the noise of a picture that is all black and white, from how far it lies from either (three quarters of
    the samples do not exceed 0.67 of it); more where there are greys, so the most that a pattern's noise can be."""
    x = torch.cat([part[part.isfinite()].flatten() for part in _a_quarter(crops)]).float()
    x = torch.minimum(x, 1 - x).clamp(min=0)
    rank = max(1, math.ceil(0.75 * len(x)))
    return float(x.kthvalue(rank).values) / _QUARTILE if len(x) else math.inf


def is_two_valued(crops: Sequence[Tensor], sigma: float) -> bool:
    """Whether a picture is black and white but for noise of this std: print, whose shades are dots or none.

    Most of its pixels lie, in all colours, within 2.5 times the noise of either, some of them at the rarer one; of
    strong noise more of them, or it may be a photograph.
    """
    reach = _REACH * max(sigma, _LEAST_REACH)
    seen = [part[:, part.isfinite().all(0)] for part in _a_quarter(crops)]
    at_ends = [torch.stack([(part < reach).all(0), (part > 1 - reach).all(0)]) for part in seen]
    black, white = torch.cat(at_ends, 1).float().mean(1).nan_to_num(0.0).tolist()
    low, high = _STRONG
    most = _MOSTLY[0] + (_MOSTLY[1] - _MOSTLY[0]) * min(max((sigma - low) / (high - low), 0.0), 1.0)
    return black + white > most and min(black, white) > _RARER


def _a_quarter(crops: Sequence[Tensor]) -> list[Tensor]:
    """Of the pixels of each crop, C x N, drawn at random, always the same (a grid would see half of a pattern)."""
    generator = torch.Generator().manual_seed(0)
    sizes = [crop.shape[1] * crop.shape[2] for crop in crops]
    drawn = [torch.randint(size, (max(1, size // 4),), generator=generator) for size in sizes]
    return [crop.flatten(1)[:, index.to(crop.device)] for crop, index in zip(crops, drawn, strict=True)]


def _falling(value: float, ends: tuple[float, float]) -> float:
    """1 up to the first, 0 from the second."""
    return min(max((ends[1] - value) / (ends[1] - ends[0]), 0.0), 1.0)


def independence(blocks: Tensor, around: Tensor) -> float:
    """How far the channels of flat blocks go their own ways, as noise does and cloth or plaster does not: 0 to 1.

    The least eigenvalue of the channels' correlation matrix: 0.12 and more for simulated cameras of all kinds, 0.03
    and less for textures that pass for coarse noise. Pictures without colour have no answer: 1.
    Noise that the camera has smoothed may share its pattern too, but only at low levels (`_SHARED`).
    """
    if blocks.shape[1] != 3:
        return 1.0
    flat = around.argsort(stable=True)[: max(MIN_BLOCKS, int(SPECTRUM_SHARE * len(around)))]
    covariance = torch.einsum("ncf,ndf->cd", *[blocks[flat][:, :, orders(2, 5)]] * 2).double().cpu()
    std = covariance.diagonal().clamp(min=1e-12).sqrt()
    least, middle, _ = torch.linalg.eigvalsh(covariance / (std[:, None] * std)).tolist()
    if middle < _COLOURLESS:
        return 1.0
    lowest, highest = _INDEPENDENT
    return min(max((least - lowest) / (highest - lowest), 0.0), 1.0)
