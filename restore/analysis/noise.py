"""Blind estimation of the noise of a picture: level as a curve over intensity, spatial correlation, clipping.

Method: small blocks are taken to the DCT domain; in every intensity bin the blocks with the least
low-frequency energy (flat ones) are kept, and the noise variance is read from their other frequencies
(Ponomarenko et al. 2007; Colom, Buades, Morel, "Nonparametric noise estimation", JOSA A 2014). The measured
(mean, std) pairs are taken through the inverse of the clipping model (Foi, "Clipped noisy images",
Signal Processing 2009), then smoothed, so the curve is that of the noise before clipping to [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from restore.analysis.blocks import BLOCK, block_dct, expected_variance, orders
from restore.analysis.clipping import unclipped_moments
from restore.analysis.flat_blocks import (
    FLAT_SHARE,
    MIN_BLOCKS,
    SPECTRUM_SHARE,
    certainty,
    independence,
    is_plain,
    is_two_valued,
    spread_at_ends,
)
from restore.physics.dct import dct_matrix
from restore.physics.level import KNOTS, SCALES

_SHARED = (6 / 255, 10 / 255)  # up to the first, noise may be alike in all channels; from the second it is texture
_TWO_VALUED = 0.8  # share of clipped samples, of which print consists and noise is not known
_SPREAD, _TAIL = 1.7, 1.15  # calibrated on training pictures: noise is mostly below, clean texture above
_CHI2_MEDIAN = 0.4549  # median of the square of a standard normal
_FALLEN = 1 / math.e  # autocorrelation at the correlation length
_ALIKE = 2.0  # variance of the noise of luminance over that of the other opponent colours; 1: each colour by itself
_KNOWN = 0.5  # confidence in the noise, from which its colours are believed
_LEAST_SHARE = 0.01  # of the noise's variance, that every opponent colour is taken to have
_CORRELATED = 10.0  # calibrated: white noise of std >= 5/255 stays below 4, a 3 x 3 box gives 15 to 20


@dataclass(frozen=True)
class NoiseModel:
    """Noise of a picture with values in [0, 1]: y = clip(u + n), n Gaussian, its std a function of u.

    Attributes:
        levels: per channel, std of n (in units of the [0, 1] range) at ``KNOTS`` equally spaced u of [0, 1].
        spectrum: per opponent channel (rows of ``dct_matrix(C)``), variance of unit noise at the 8 x 8 orthonormal
            DCT frequencies, row-major; mean 1 over all. All ones: white, and each colour by itself.
        correlated: False means that the spectrum is white for all purposes; its rows then differ where the noise is
            alike in the colours.
        clipped: share of samples at or below 0, and at or above 1.
        confidence: 0 to 1, that what was measured is noise: flat blocks have the same power at all fine frequencies and
            from block to block.
        pattern: the fine frequencies are those of a pattern (halftone, weave), and no noise.
        two_valued: the picture is black and white but for the noise.
        reliable: False when too little was seen to measure anything; the levels are then zero.
        reason: one sentence for display.
    """

    levels: tuple[tuple[float, ...], ...]
    spectrum: tuple[tuple[float, ...], ...]
    correlated: bool = False
    clipped: tuple[float, float] = (0.0, 0.0)
    confidence: float = 0.0
    pattern: bool = False
    two_valued: bool = False
    reliable: bool = True
    reason: str = ""

    @staticmethod
    def white(sigma: float, channels: int = 3) -> NoiseModel:
        """White Gaussian noise of known std ``sigma`` (in [0, 1] units), the same in all channels."""
        return NoiseModel(((float(sigma),) * KNOTS,) * channels, _white(channels), confidence=1.0, reason="given")

    def as_white(self) -> NoiseModel:
        """The same levels, spatial correlation ignored."""
        return replace(self, spectrum=_white(self.channels), correlated=False) if self.correlated else self

    @property
    def structured(self) -> bool:
        """Whether a sample of the noise tells of others: of its neighbours, or of the other colours at its place."""
        return self.spectrum != _white(self.channels)

    @property
    def chroma(self) -> float:
        """Most variance of the noise of another opponent colour over that of luminance: 1 where each colour has its
        own, 0 where it is alike in all."""
        luma, *others = (sum(row) for row in self.spectrum)
        return max(others, default=0.0) / luma

    @property
    def channels(self) -> int:
        return len(self.levels)

    @property
    def sigma(self) -> float:
        """Effective overall level: root mean square of the curves over intensity and channels."""
        values = [v * v for curve in self.levels for v in curve]
        return math.sqrt(sum(values) / max(1, len(values)))

    @property
    def coarseness(self) -> float:
        """Std at the noise's strongest scale over that of equally strong white noise, >= 1: `restore.physics.level`."""
        spectrum = torch.tensor(self.spectrum, dtype=torch.float64).mean(0)
        ratios = [float((weight * spectrum).sum() / weight.sum()) for weight in map(_block_mean_response, SCALES)]
        return math.sqrt(max(1.0, *ratios))

    def autocorrelation(self) -> tuple[float, ...]:
        """Spatial autocorrelation of the noise at lags 0 to 7 px, mean over the two axes and the channels; 1 at 0.

        Exact for stationary noise, whose covariances at the lags of a block and variances at its 8 x 8 DCT frequencies
        determine each other.
        """
        spectrum = torch.tensor(self.spectrum, dtype=torch.float64).mean(0).view(BLOCK, BLOCK)
        response = _lag_response()
        covariance = torch.linalg.solve(response, torch.linalg.solve(response, spectrum).T)  # lags along x, along y
        along = (covariance[0] + covariance[:, 0]) / 2
        return tuple((along / along[0]).tolist())

    @property
    def correlation_length(self) -> float:
        """Lag in px, interpolated linearly, at which the autocorrelation has first fallen to 1/e.

        White noise has 1 - 1/e = 0.63; 7, the longest lag that is seen, means 7 or more.
        """
        values = self.autocorrelation()
        for lag, (before, after) in enumerate(pairwise(values)):
            if after <= _FALLEN:
                return lag + (before - _FALLEN) / (before - after)
        return float(BLOCK - 1)

    def curve(self) -> Tensor:
        """Effective noise std over intensity, all channels in one, as networks receive it: `KNOTS`."""
        return torch.tensor(self.levels).square().mean(0).sqrt() * self.coarseness

    def summary(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON."""
        return {"sigma": self.sigma, **asdict(self)}


def _white(channels: int) -> tuple[tuple[float, ...], ...]:
    return ((1.0,) * (BLOCK * BLOCK),) * channels


def estimate_noise(crops: Sequence[Tensor]) -> NoiseModel:
    """Estimate the noise of a picture from crops of it.

    Args:
        crops: tensors C x H x W with values in [0, 1], all with the same C, of any sizes; NaN where there is nothing to
            measure.
    Returns:
        the model; with ``reliable`` False and zero levels when the crops are too small to measure anything.
    """
    if not crops:
        raise ValueError("estimate_noise needs at least one crop, got none")
    channels = crops[0].shape[0]
    whole = any(bool((crop < 0).any() or (crop > 1).any()) for crop in crops)  # floats that nothing has clipped
    clipped = (0.0, 0.0) if whole else _clip_shares(crops)
    blocks, own, around = block_dct(crops)
    if blocks.shape[0] < MIN_BLOCKS:
        nothing = ((0.0,) * KNOTS,) * channels
        why = "too small to measure its noise, taken as none"
        return NoiseModel(nothing, _white(channels), clipped=clipped, reliable=False, reason=why)
    levels = _levels(blocks, own, orders(8, 14), FLAT_SHARE, whole)
    spectrum = _spectrum(blocks, own, around, levels)
    correlated = _is_correlated(spectrum)
    if correlated:
        levels = _levels(blocks, around, orders(2, 5), FLAT_SHARE / 2, whole, white=False)
        spectrum = _spectrum(blocks, own, around, levels)
        scale = spectrum.mean()
        levels, spectrum = levels * scale.sqrt(), spectrum / scale
        excess = (levels.square().mean().sqrt() - _SHARED[0]) / (_SHARED[1] - _SHARED[0])
        levels *= 1 - excess.clamp(0, 1) * (1 - independence(blocks, around))
    kind = "spatially correlated" if correlated else "white"
    confidence, pattern = certainty(blocks, around, levels)
    if sum(clipped) > _TWO_VALUED:
        confidence, pattern = 0.0, True
    if not whole:
        levels = levels.clamp(max=spread_at_ends(crops))
    return NoiseModel(
        levels=_rows(levels),
        spectrum=_rows(spectrum if correlated else _colours(spectrum, confidence > _KNOWN or _is_colourless(crops))),
        correlated=correlated,
        clipped=clipped,
        confidence=0.0 if correlated else confidence,
        pattern=pattern and not correlated,
        two_valued=not whole and is_two_valued(crops, float(levels.square().mean().sqrt())),
        reason=f"{kind}, measured on {blocks.shape[0]} blocks",
    )


def _rows(table: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(v) for v in row) for row in table.cpu())


def _clip_shares(crops: Sequence[Tensor]) -> tuple[float, float]:
    total = max(1, sum(int(c.isfinite().sum()) for c in crops))
    low = sum(int((c <= 0).sum()) for c in crops)
    high = sum(int((c >= 1).sum()) for c in crops)
    return low / total, high / total


def _is_colourless(crops: Sequence[Tensor]) -> bool:
    return all(bool((crop[1:] == crop[:1])[:, crop[0].isfinite()].all()) for crop in crops)


def _lag_response() -> Tensor:
    """Variance at each of 8 DCT frequencies that a unit covariance at each lag, either way, brings: 8 x 8"""
    basis = dct_matrix(BLOCK, torch.float64)
    columns = [(basis[:, lag:] * basis[:, : BLOCK - lag]).sum(1) * (2 if lag else 1) for lag in range(BLOCK)]
    return torch.stack(columns, 1)


def _block_mean_response(side: int) -> Tensor:
    """Power response of a side x side mean at the 8 x 8 DCT's frequencies: 64"""
    omega = torch.arange(BLOCK, dtype=torch.float64) * math.pi / BLOCK
    response = torch.stack([torch.cos(omega * (k + 0.5 - side / 2)) for k in range(side)]).mean(0).square()
    return torch.outer(response, response).flatten()


def _levels(
    blocks: Tensor, flatness: Tensor, frequencies: Tensor, share: float, whole: bool, white: bool = True
) -> Tensor:
    """Noise std curves before clipping, read from some frequencies of the flattest blocks: C x KNOTS

    whole: nothing was clipped. white: the noise is, so that flat blocks can be told from structure.
    """
    curves = []
    for channel in range(blocks.shape[1]):
        coefficients = blocks[:, channel]
        means = coefficients[:, 0] / BLOCK
        bins = max(1, min(16, int(len(means) * share / 40)))
        centres, stds = [], []
        plain = []
        for part in means.argsort(stable=True).tensor_split(bins):
            keep = max(min(len(part), MIN_BLOCKS), int(share * len(part)))
            flat = part[flatness[part].argsort(stable=True)[:keep]]
            blockwise = coefficients[flat].square()
            power = blockwise.mean(0)
            stds.append(power[frequencies].median().sqrt())
            centres.append(means[flat].mean())
            plain.append(is_plain(blockwise, frequencies))
        seen = torch.stack(centres), torch.stack(stds)
        if white and any(plain):  # bins without flat blocks give no level, if others do
            seen = seen[0][plain], seen[1][plain]
        curves.append(_smooth_curve(*(seen if whole else unclipped_moments(*seen))))
    return torch.stack(curves).to(blocks.device)


def _spectrum(blocks: Tensor, own: Tensor, around: Tensor, levels: Tensor) -> Tensor:
    """Variance at each frequency of each opponent channel, in units of the levels', over flat blocks: C x 64"""
    channels = blocks.shape[1]
    opponent = dct_matrix(channels).to(blocks.device)
    variance = expected_variance(blocks, levels)
    flat = (around / variance.sum(1)).argsort(stable=True)
    flat = flat[: max(MIN_BLOCKS, int(SPECTRUM_SHARE * len(flat)))]
    power = torch.einsum("oc,ncf->nof", opponent, blocks[flat]).square() / variance[flat][:, :, None]
    spectrum = (power.median(0).values / _CHI2_MEDIAN).clamp(min=1e-4)
    tail = (power[:, 0].mean(0) / spectrum[0])[orders(2, 5)].median()
    # shading hides the noise of the lowest frequencies: they follow the slope of the next
    second, third = (spectrum[:, orders(k, k)].mean(1, keepdim=True) for k in (2, 3))
    slope = (second / third).clamp(1, 2)
    spectrum[:, orders(1, 1)], spectrum[:, :1] = second * slope, second * slope.square()
    local = own / (variance * spectrum[:, orders(1, 3)].sum(1)).sum(1)
    return spectrum * _noise_share(local, tail)


def _colours(spectrum: Tensor, known: bool) -> Tensor:
    """The spectrum of white noise, whose rows differ only where the noise is clearly alike in the colours: C x 64

    How little noise the other opponent colours have says how much luminance has, whose own may be texture.

    known: what was measured is noise, and no pattern.
    """
    others = spectrum[1:, orders(8, 14)].mean(1, keepdim=True).clamp(min=_LEAST_SHARE)
    shares = torch.cat([len(spectrum) - others.sum(0, keepdim=True), others])
    clearly = known and len(others) and float(shares[0]) > _ALIKE * float(others.max())
    return (shares if clearly else torch.ones_like(shares)).expand_as(spectrum)


def _noise_share(local: Tensor, tail: Tensor) -> Tensor:
    """How far the low frequencies of flat blocks may be taken for noise, 0 to 1.

    Noise is everywhere and Gaussian; texture varies from place to place and has heavy tails. ``local``: energy
    around each block over the noise's expected one; ``tail``: mean over median estimate of the power, 1 for noise.
    """
    seen = local[local > 0.01]  # without blocks that clipping or JPEG made perfectly flat
    if len(seen) < MIN_BLOCKS:
        return local.new_zeros(())
    quiet, usual = torch.quantile(seen, seen.new_tensor([0.01, 0.1]))
    return (_SPREAD * quiet / usual).clamp(max=1) * (_TAIL / tail).clamp(max=1)


def _is_correlated(spectrum: Tensor) -> bool:
    """Whether the low frequencies of luminance carry so much more than the high ones that it is no texture."""
    low, high = spectrum[0, orders(3, 3)].mean(), spectrum[:, orders(8, 14)].mean()
    return bool(low > _CORRELATED * high)


def _smooth_curve(mean: Tensor, sigma: Tensor) -> Tensor:
    """Robust smoothing spline of the variance through (mean, sigma) points, at KNOTS places of [0, 1]."""
    position = mean.double().cpu().clamp(0, 1) * (KNOTS - 1)
    variance = sigma.double().cpu().square()
    scale = variance.median().clamp(min=1e-10)
    left = position.floor().clamp(max=KNOTS - 2)
    design = torch.zeros(len(position), KNOTS, dtype=torch.float64)
    rows = torch.arange(len(position))
    design[rows, left.long()] = 1 - (position - left)
    design[rows, left.long() + 1] = position - left
    bend = torch.zeros(KNOTS - 2, KNOTS, dtype=torch.float64)
    for k in range(KNOTS - 2):
        bend[k, k : k + 3] = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
    penalty = 30.0 * bend.T @ bend
    target = variance / scale
    weight = torch.ones_like(target)
    curve = target.new_zeros(KNOTS)
    for _ in range(8):
        system = design.T @ (weight[:, None] * design) + penalty + 1e-6 * torch.eye(KNOTS, dtype=torch.float64)
        curve = torch.linalg.solve(system, design.T @ (weight * target) + 1e-6 * target.median())
        excess = (target - design @ curve) / curve.abs().mean().clamp(min=1e-6)
        weight = 1 / (1 + (excess / torch.where(excess > 0, 0.15, 0.4)).square())
    low, high = 0.25 * target.min(), target.max()
    return (curve.clamp(low, high) * scale).sqrt().float()
