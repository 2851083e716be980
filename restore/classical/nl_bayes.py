"""Non-local Bayes denoising: a DCT pilot, then Wiener filters learnt from groups of similar patches.

Sources: Lebrun, Buades, Morel, "A nonlocal Bayesian image denoising algorithm", SIAM J. Imaging Sci. 2013
(second step: the Wiener filter of a group, learnt from a pilot); Yu, Sapiro, "DCT image denoising", IPOL 2011
(the pilot, here in opponent colours); Foi, "Clipped noisy images", Signal Processing 2009 (the last step).
Differences: the pilot replaces the paper's first step; the Wiener filter is solved in its dual form, of the
size of the group and not of the patch; noise depends on intensity, and may be correlated, in space and from one
colour to another, through :class:`NoiseModel`; such noise enters with its full covariance ("The Noise Clinic",
IPOL 2015).

| tensor | shape |
|---|---|
| picture | C x H x W, values in [0, 1] |
| patches | H' x W' x d, H' = H - p + 1, d = C p p |
| groups | G x n x d, one group a reference patch |

Every step is local and its grid is global: run on a tile whose origin is a multiple of ``multiple_of(params)``
and that has ``radius(params)`` pixels of surroundings, it gives what it gives on the whole picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.analysis.blocks import BLOCK
from restore.analysis.clipping import TABLE, variance_tables
from restore.analysis.noise import NoiseModel
from restore.physics.dct import dct_matrix
from restore.physics.resample import pixel_shuffle_batch, pixel_unshuffle_batch

_TILE = 4  # references a side that share one search window
_TILES_AT_ONCE = 32
_LEAST_SIGMA = 0.05 / 255  # below this nothing is done
_DCT_SIDE = 8
_DCT_THRESHOLD = 2.7  # in noise standard deviations
_PILOT_RESIDUE = 1.3  # of correlated noise a pilot keeps some; counting more variance makes up for it (tuned)
_PILOT_LOSS = 0.75  # a pilot has lost some of the signal's variance; counting less noise makes up for it (tuned)


@dataclass(frozen=True)
class Pass:
    """One non-local pass: patch side, grid stride of references, search half-width (px), patches in a group."""

    patch: int
    stride: int
    search: int
    group: int


@dataclass(frozen=True)
class Params:
    """``pilot_stride``: grid of the DCT pilot; ``passes``: non-local passes, each piloted by the last result."""

    pilot_stride: int
    passes: tuple[Pass, ...]
    correct_clipping: bool = True


PRESETS = {
    "fast": Params(3, (Pass(patch=4, stride=4, search=8, group=32),)),
    "quality": Params(3, (Pass(4, 4, 8, 32), Pass(7, 3, 12, 48), Pass(7, 3, 12, 48))),
}


def radius(params: Params) -> int:
    """Pixels of surroundings that an output pixel depends on."""
    passes = (2 * p.search + (_TILE - 1) * p.stride + p.patch for p in params.passes)
    return 2 * (_DCT_SIDE - 1) + sum(passes)


def multiple_of(params: Params) -> int:
    """Origins of tiles must be multiples of this for the same result as on the whole picture."""
    return math.lcm(params.pilot_stride, *(_TILE * p.stride for p in params.passes))


def nl_bayes(x: Tensor, noise: NoiseModel, params: Params = PRESETS["fast"]) -> Tensor:
    """Denoise pictures.

    Args:
        x: B x C x H x W in [0, 1] (clipped there, as files are).
        noise: as :func:`restore.analysis.noise.estimate_noise` gives it; its channels must be C.
        params: one of ``PRESETS`` or your own.
    Returns:
        B x C x H x W in [0, 1]; ``x`` itself where the noise is (nearly) nil.
    """
    if x.ndim != 4 or x.shape[1] != noise.channels:
        raise ValueError(f"nl_bayes needs B x {noise.channels} x H x W for this noise, got {tuple(x.shape)}")
    if noise.sigma < _LEAST_SIGMA or x.numel() == 0:
        return x.clone()
    curves = _Curves(noise, x.device)
    return torch.stack([_denoise(picture.float(), curves, params) for picture in x]).to(x.dtype)


def nl_bayes_phases(x: Tensor, noise: NoiseModel, factor: int, params: Params = PRESETS["fast"]) -> Tensor:
    """Denoise the ``factor``^2 pixel phases of pictures one by one, for noise correlated over < ``factor`` pixels.

    Args:
        x: B x C x H x W in [0, 1], any size; ``noise``: of the phases, that is, estimated on
            ``pixel_unshuffle_batch(x, factor)``. Radius and multiple are ``factor`` times those of ``params``.
    """
    height, width = x.shape[2:]
    padded = F.pad(x, (0, -width % factor, 0, -height % factor), mode="replicate")
    phases = nl_bayes(pixel_unshuffle_batch(padded, factor), noise, params)
    return pixel_shuffle_batch(phases, factor)[:, :, :height, :width]


def _denoise(noisy: Tensor, curves: _Curves, params: Params) -> Tensor:
    """C x H x W -> C x H x W"""
    estimate = _dct_pilot(noisy, curves, params.pilot_stride)
    for step in params.passes:
        estimate = _bayes_pass(noisy, estimate, curves, step)
    if params.correct_clipping:
        estimate = curves.unclip(estimate)
    return estimate.clamp(0, 1)


class _Curves:
    """Tables made from a noise model: what the clipped picture shows, per channel, over its mean intensity.

    White noise is handled in the picture's own channels, noise that is correlated, in space or from one colour to
    another, in opponent channels.
    """

    def __init__(self, noise: NoiseModel, device: torch.device) -> None:
        variance, true = variance_tables(torch.tensor(noise.levels))
        if noise.correlated:
            variance = variance * _PILOT_RESIDUE
        self.variance, self.true = variance.to(device), true.to(device)
        self.opponent = dct_matrix(noise.channels).to(device)
        self.spectrum = torch.tensor(noise.spectrum, dtype=torch.float64) if noise.structured else None

    def covariance(self, side: int) -> Tensor:
        """Covariance of unit noise in a patch of each opponent channel: C x side^2 x side^2, float64, on the CPU"""
        if self.spectrum is None:
            return torch.eye(side * side, dtype=torch.float64).expand(len(self.true), -1, -1)
        return _toeplitz(self.spectrum, side)

    def whitener(self, side: int) -> Tensor | None:
        """Inverse square root of the covariance of a whole patch, d x d; None for white noise."""
        if self.spectrum is None:
            return None
        values, vectors = torch.linalg.eigh(self.covariance(side))
        roots = vectors @ (values.rsqrt()[:, :, None] * vectors.mT)
        return torch.block_diag(*roots).float().to(self.true.device)

    def variance_at(self, mean: Tensor) -> Tensor:
        """Noise variance where the picture's mean is ``mean``: ... x C -> ... x C"""
        return self._look_up(self.variance, mean)

    def unclip(self, picture: Tensor) -> Tensor:
        """From the mean of a clipped noisy value to the value before clipping: C x H x W"""
        return self._look_up(self.true, picture.movedim(0, -1)).movedim(-1, 0)

    def _look_up(self, table: Tensor, mean: Tensor) -> Tensor:
        place = mean.clamp(0, 1) * (TABLE - 1)
        left = place.long().clamp(max=TABLE - 2)
        channel = torch.arange(table.shape[0], device=table.device) * TABLE
        flat = table.flatten()
        return torch.lerp(flat[left + channel], flat[left + channel + 1], place - left)


def _toeplitz(spectrum: Tensor, side: int) -> Tensor:
    """Stationary covariance of side x side patches from the 8 x 8 DCT spectrum: C x 64 -> C x side^2 x side^2"""
    basis = dct_matrix(BLOCK, torch.float64)
    basis = torch.kron(basis, basis)
    block = torch.einsum("fi,cf,fj->cij", basis, spectrum, basis)
    lag = _lags(BLOCK)
    total = block.new_zeros(len(spectrum), BLOCK * BLOCK).index_add_(1, lag, block.flatten(1))
    correlation = total / torch.bincount(lag, minlength=BLOCK * BLOCK)
    matrix = correlation[:, _lags(side)].unflatten(1, (side * side, side * side))
    values, vectors = torch.linalg.eigh(matrix)
    floor = 0.003 * values.mean(1, keepdim=True)  # also makes it positive: averaging lags need not
    return vectors @ (values.clamp(min=floor)[:, :, None] * vectors.mT)


def _lags(side: int) -> Tensor:
    """Index |dy| * 8 + |dx| of every pair of pixels of a patch, row-major: side^4"""
    place = torch.arange(side)
    apart = (place[:, None] - place).abs().clamp(max=BLOCK - 1)
    return (apart[:, None, :, None] * BLOCK + apart[None, :, None, :]).reshape(-1)


def _dct_pilot(noisy: Tensor, curves: _Curves, stride: int) -> Tensor:
    """Overlapping block DCTs in opponent colours, hard threshold, then empirical Wiener: C x H x W"""
    first = _dct_shrink(noisy, None, curves, stride)
    return _dct_shrink(noisy, first, curves, stride)


def _dct_shrink(noisy: Tensor, guide: Tensor | None, curves: _Curves, stride: int) -> Tensor:
    """One shrinkage of block DCTs; ``guide`` (C x H x W) gives the signal's power, None: hard threshold."""
    _, height, width = noisy.shape
    side = min(_DCT_SIDE, height, width)
    stride = min(stride, side)
    opponent = curves.opponent
    basis = dct_matrix(side).to(noisy.device)
    basis = torch.einsum("ay,bx->abyx", basis, basis).reshape(side * side, 1, side, side)
    pad = (0, -(width - side) % stride, 0, -(height - side) % stride)

    def transform(picture: Tensor) -> Tensor:  # C x side^2 x h x w
        return F.conv2d(torch.einsum("oc,chw->ohw", opponent, picture)[:, None], basis, stride=stride)

    noisy = F.pad(noisy[None], pad, mode="replicate")[0]
    guide = None if guide is None else F.pad(guide[None], pad, mode="replicate")[0]
    mean = F.avg_pool2d(noisy if guide is None else guide, side, stride).movedim(0, -1)  # h x w x C
    level = (curves.variance_at(mean) @ opponent.square().T).movedim(-1, 0)[:, None]  # C x 1 x h x w
    flat_basis = basis.view(side * side, -1).double().cpu()
    shape = torch.einsum("fi,cij,fj->cf", flat_basis, curves.covariance(side), flat_basis).float()
    variance = level * shape.to(noisy.device)[:, :, None, None]  # C x side^2 x h x w
    coefficients = transform(noisy)
    if guide is None:
        gain = (coefficients.square() > _DCT_THRESHOLD**2 * variance).float()
    else:
        power = transform(guide).square_()
        gain = power / (power + variance)
    gain[:, 0] = 1  # the block's mean
    weight = 1 / (gain.square() * variance).sum(1, keepdim=True)
    total = F.conv_transpose2d(coefficients.mul_(gain).mul_(weight), basis, stride=stride)
    total = total / F.conv_transpose2d(weight, weight.new_ones(1, 1, side, side), stride=stride)
    return torch.einsum("oc,ohw->chw", opponent, total[:, 0, :height, :width])


def _bayes_pass(noisy: Tensor, pilot: Tensor, curves: _Curves, step: Pass) -> Tensor:
    """Wiener filter of every group of similar patches, aggregated: C x H x W"""
    channels, height, width = noisy.shape
    side = min(step.patch, height, width)
    size = channels * side * side
    whitener = curves.whitener(side)
    luma = pilot.mean(0, keepdim=True) - 0.5
    if whitener is not None:
        noisy, pilot = (torch.einsum("oc,chw->ohw", curves.opponent, picture) for picture in (noisy, pilot))
    result = _Aggregate(noisy, side, min(height - side + 1, _reach(step)))
    for top, bottom, groups in _groups(luma, side, step):
        result.advance(top)
        band = slice(top, bottom + side - 1)
        noisy_patches = _patches(noisy[:, band], side).view(-1, size)
        pilot_patches = _patches(pilot[:, band], side).view(-1, size)
        for group in groups.split(_TILES_AT_ONCE * _TILE * _TILE):
            shape, index = (*group.shape, size), group.flatten()
            noisy_group = noisy_patches.index_select(0, index).view(shape)
            pilot_group = pilot_patches.index_select(0, index).view(shape)
            result.add(index, *_wiener(noisy_group, pilot_group, curves, whitener))
    result = result.finish()
    return result if whitener is None else torch.einsum("oc,ohw->chw", curves.opponent, result)


class _Aggregate:
    """Weighted mean of overlapping patches, holding only a band of patch rows at a time.

    Sums run in the same order whatever the picture is cut into, so tiles give the same bits.
    """

    def __init__(self, like: Tensor, side: int, band: int) -> None:
        channels, height, width = like.shape
        self.side, self.top, self.band, self.columns = side, 0, band, width - side + 1
        self.total = like.new_zeros(band * self.columns, channels * side * side)
        self.weight = like.new_zeros(band * self.columns)
        self.picture = like.new_zeros(channels, height, width)
        self.coverage = like.new_zeros(height, width)

    def add(self, index: Tensor, estimate: Tensor, weight: Tensor) -> None:
        """index: G n, positions in the band; estimate: G x n x d; weight: G"""
        count, size = estimate.shape[1:]
        self.total.index_add_(0, index, (estimate * weight[:, None, None]).view(-1, size))
        self.weight.index_add_(0, index, weight[:, None].expand(-1, count).flatten())

    def advance(self, top: int) -> None:
        """Move the band down so that it starts at patch row ``top``; what is above is final."""
        done = min(top - self.top, self.band)
        if done <= 0:
            return
        cut = done * self.columns
        self._fold(self.total[:cut].view(done, self.columns, -1, self.side, self.side), self.weight[:cut])
        for buffer in (self.total, self.weight):
            kept = buffer[cut:].clone()
            buffer[: len(kept)] = kept
            buffer[len(kept) :] = 0
        self.top = top

    def finish(self) -> Tensor:
        self.advance(self.top + self.band)
        return self.picture / self.coverage

    def _fold(self, total: Tensor, weight: Tensor) -> None:
        rows, columns = total.shape[:2]
        weight = weight.view(rows, columns)
        for i in reversed(range(self.side)):  # rows of patches in ascending order for every pixel
            down = slice(self.top + i, self.top + i + rows)
            for j in range(self.side):
                self.picture[:, down, j : j + columns] += total[..., i, j].permute(2, 0, 1)
                self.coverage[down, j : j + columns] += weight


def _reach(step: Pass) -> int:
    """Rows (and columns) of patch positions in one search window."""
    return (_TILE - 1) * step.stride + 1 + 2 * step.search


def _groups(luma: Tensor, side: int, step: Pass) -> Iterator[tuple[int, int, Tensor]]:
    """Similar patches of each reference, one row of reference tiles at a time.

    Yields (top, bottom, G x n): rows [top, bottom) of patch positions and indices into that band of positions.
    """
    rows, columns = luma.shape[1] - side + 1, luma.shape[2] - side + 1
    high, wide = min(rows, _reach(step)), min(columns, _reach(step))
    count = min(step.group, high * wide)
    ref_rows, ref_columns = (_starts(last, min(step.stride, side), luma.device) for last in (rows - 1, columns - 1))
    firsts = torch.arange(0, len(ref_columns), _TILE, device=luma.device)
    members = (firsts[:, None] + torch.arange(_TILE, device=luma.device)).clamp(max=len(ref_columns) - 1)
    across = ref_columns[members]  # tiles x _TILE
    lefts = (across[:, 0] - step.search).clamp(0, columns - wide)
    inside = torch.arange(high, device=luma.device)[:, None] * columns + torch.arange(wide, device=luma.device)
    windows = lefts[:, None] + inside.flatten()  # tiles x high*wide
    for first in range(0, len(ref_rows), _TILE):
        down = ref_rows[first : first + _TILE]
        top = max(0, min(int(down[0]) - step.search, rows - high))
        features = _patches(luma[:, top : top + high + side - 1], side).view(high * columns, -1)
        norms = features.square().sum(-1)
        own = ((down - top)[:, None] * wide + (across - lefts[:, None])[:, None, :]).flatten(1)  # tiles x references
        indices = []
        for window, reference in zip(windows.split(_TILES_AT_ONCE), own.split(_TILES_AT_ONCE), strict=True):
            candidates = features[window]
            chosen = features[torch.gather(window, 1, reference)]
            # |candidate|^2 - 2 <reference, candidate>: the distance up to a constant
            distance = torch.baddbmm(norms[window][:, None], chosen, candidates.mT, alpha=-2)
            # a reference is in its own group even among a hundred equals: this is what covers every pixel
            distance.scatter_(2, reference[:, :, None], -torch.inf)
            nearest = distance.topk(count, dim=-1, largest=False, sorted=False).indices
            indices.append(torch.gather(window[:, None].expand(-1, nearest.shape[1], -1), 2, nearest).flatten(0, 1))
        yield top, top + high, torch.cat(indices)


def _wiener(noisy: Tensor, pilot: Tensor, curves: _Curves, whitener: Tensor | None) -> tuple[Tensor, Tensor]:
    """Wiener filter whose signal covariance is that of the pilot's group: G x n x d -> G x n x d, weights G

    With centred pilots P and noisy Y (n x d) and noise of covariance N: Y N^-1 P^T (P N^-1 P^T + n I)^-1 P,
    which is Y (C + N)^-1 C with C = P^T P / n, by the push-through identity.
    """
    count, size = pilot.shape[1:]
    channels = len(curves.opponent)
    mean = pilot.mean(1, keepdim=True)
    shade = mean.unflatten(-1, (channels, -1)).mean(-1)  # G x 1 x C
    if whitener is None:
        variance = curves.variance_at(shade)
    else:
        variance = curves.variance_at(shade @ curves.opponent) @ curves.opponent.square().T
    std = variance.sqrt().repeat_interleave(size // channels, dim=-1)
    signal, noisy = pilot - mean, noisy - mean
    white_signal, white_noisy = signal / std, noisy / std
    if whitener is not None:
        white_signal, white_noisy = white_signal @ whitener, white_noisy @ whitener
    gram = white_signal @ white_signal.mT
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    # the second term keeps float32's Cholesky safe where the signal is a million times the noise
    diagonal.add_(_PILOT_LOSS * count + 2e-6 * diagonal.sum(-1, keepdim=True))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky_ex(gram)[0])
    estimate = torch.baddbmm(mean.expand_as(noisy), white_noisy @ white_signal.mT @ inverse, signal)
    # share of the noise's energy that is kept
    kept = count * (1 - _PILOT_LOSS * inverse.diagonal(dim1=-2, dim2=-1).sum(-1)) / size
    return estimate, 1 / ((kept + 1 / count) * variance.mean((1, 2)))


def _starts(last: int, stride: int, device: torch.device) -> Tensor:
    """0, stride, 2 stride, ..., and ``last``."""
    grid = torch.arange(0, last + 1, stride, device=device)
    return grid if int(grid[-1]) == last else torch.cat([grid, grid.new_tensor([last])])


def _patches(x: Tensor, side: int) -> Tensor:
    """C x H x W -> H' x W' x (C side side), contiguous"""
    return x.unfold(1, side, 1).unfold(2, side, 1).permute(1, 2, 0, 3, 4).flatten(2).contiguous()
