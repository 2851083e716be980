"""Blind deblurring by candidate PSFs: each is taken out of a few parts of the picture, a judge says what it gains, and
the best are taken out of the whole, each where it gains most.

    parts     up to 3 x 3 of 256 px, spread over the picture; the middle one (up to 384 px) is estimated from, and where
              the blur seems to change, the corners too
    gains     candidates x parts: what `restore.engines.deblur.judge` expects, dB, from the luma alone
    shares    candidates x parts: of the best few PSFs and of the picture as it is, bilinear between the parts' middles

All of it happens in linear light, with a prior that forgives an inexact PSF.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from restore.classical.blind import refine_psf
from restore.classical.boundary import extend
from restore.classical.hyper_laplacian import hyper_laplacian
from restore.engines.deblur.candidates import SIDE, Candidate, candidates, centred
from restore.engines.deblur.judge import error_maps
from restore.inference.engine import Place
from restore.physics.batch import crop_or_pad
from restore.physics.color import linear_to_srgb, srgb_to_linear, to_grey
from restore.physics.psf import sanitised

PART, MIDDLE = 256, 384  # px
LEAST_SIDE = 64  # px, of pictures whose blur is estimated
LEAST_GAIN = 0.25
"""dB that a PSF must be expected to gain somewhere; less is not told from nothing."""
WEIGHTS = (1000.0, 300.0, 2500.0)
"""Of the data against the prior. On 60 estimates 1000 gained most in the mean of what gains; 4000, which is right for
an exact PSF, lost 1.6 dB where 1000 gained 0.2."""
MOST_OTHERS = 3
_MOST_PSFS = 3
_SOFTNESS = 0.15  # dB, between candidates that share a part
_CORNERS_FROM = 448  # px, side of pictures whose corners are estimated too
_WORTH_ANOTHER = 0.15  # dB of mean gain, for one more PSF
_ROUNDS = 3  # of refinement


class Solution(NamedTuple):
    """What is taken out of a picture.

    Attributes:
        psfs: h x w each, of sum 1.
        weights: of the data, one for each PSF.
        shares: (1 + PSFs) x rows x columns, of sum 1; the first is that of the picture as it is.
        middles: rows and columns (px) of the parts' middles.
        others: further PSFs that the picture may have been blurred by, the likeliest first.
    """

    psfs: list[Tensor]
    weights: list[float]
    shares: Tensor
    middles: tuple[list[float], list[float]]
    others: list[Tensor]


class Judged(NamedTuple):
    """A solution (None: the picture stays as it is), the gain expected of it in dB, and what to say of it."""

    solution: Solution | None
    gain: float
    summary: str


class Part(NamedTuple):
    """A piece of a picture, 1 x C x h x w in sRGB, and the place of its middle, row and column."""

    pixels: Tensor
    row: float
    column: float


Read = Callable[[int, int, int, int], Tensor]
"""(top, left, height, width) -> 1 x C x h x w of the picture, unit values."""


def solve(x: Tensor, psf: Tensor, weight: float) -> Tensor:
    """A picture 1 x C x H x W in sRGB without the blur of a PSF: the same shape, not clipped."""
    wide = extend(srgb_to_linear(x.float()), psf.to(x.device))
    return linear_to_srgb(wide.inside(hyper_laplacian(wide.pixels, psf, weight)))


def parts_of(read: Read, height: int, width: int) -> list[Part]:
    """Up to 3 x 3 parts, spread evenly, row by row."""
    sides = [min(PART, side) for side in (height, width)]
    places = [_spread(side, part) for side, part in zip((height, width), sides, strict=True)]
    return [
        Part(read(top, left, sides[0], sides[1]), top + sides[0] / 2, left + sides[1] / 2)
        for top in places[0]
        for left in places[1]
    ]


def _spread(side: int, part: int) -> list[int]:
    count = 1 if side < 1.3 * part else 2 if side < 1.9 * part else 3
    return [round((side - part) * (i + 0.5 * (count == 1)) / max(count - 1, 1)) for i in range(count)]


def judge_blur(
    read: Read,
    parts: Sequence[Part],
    height: int,
    width: int,
    *,
    least: float = LEAST_GAIN,
    progress: Callable[[float], None] | None = None,
) -> Judged:
    """Find the blur of a picture and decide what is taken out of it.

    Args:
        read: gives pieces of the picture.
        parts: of `parts_of`.
        least: dB that must be expected, else nothing is taken out.
        progress: called with the finished share.
    """
    if min(height, width) < LEAST_SIDE:
        return Judged(None, 0.0, f"not estimated: {width} x {height} px are too few")
    side = min(MIDDLE, height, width)
    middle = read((height - side) // 2, (width - side) // 2, side, side)
    found = _with_refined(candidates(_light(middle)), _light(middle), parts)
    _tell(progress, 0.4)
    gains = torch.stack([_gains(parts, each.psf, WEIGHTS[0]) for each in found])
    if len(parts) >= 4 and min(height, width) >= _CORNERS_FROM and _changes(gains):
        corners = [parts[0], parts[-1]] if len(parts) == 4 else [parts[0], parts[2], parts[-3], parts[-1]]
        for i, corner in enumerate(corners):
            more = _with_refined(candidates(_light(corner.pixels)), _light(corner.pixels), [corner])
            here = torch.stack([_gains([corner], each.psf, WEIGHTS[0])[0] for each in more])
            for best in here.topk(2).indices.tolist():
                found.append(more[best])
                gains = torch.cat([gains, _gains(parts, more[best].psf, WEIGHTS[0])[None]])
            _tell(progress, 0.4 + 0.5 * (i + 1) / len(corners))
    return _decide(parts, found, gains, least)


def _with_refined(found: list[Candidate], light: Tensor, parts: Sequence[Part]) -> list[Candidate]:
    """Candidates and, of the two that gain most, refined ones."""
    gains = torch.stack([_gains(parts, each.psf, WEIGHTS[0]).mean() for each in found])
    for best in gains.topk(2).indices.tolist():
        psf = found[best].psf
        reach = int(((psf > 0.02 * psf.max()).nonzero() - SIDE // 2).abs().max())
        refined = refine_psf(light, psf, min(SIDE, 2 * reach + 5), _ROUNDS)
        found = [*found, Candidate(_padded(refined), f"{found[best].origin}, refined")]
    return found


def _gains(parts: Sequence[Part], psf: Tensor, weight: float) -> Tensor:
    """dB expected of a PSF in each part."""
    trimmed = sanitised(psf).psf
    return expected_gains(parts, lambda x: solve(to_grey(x), trimmed, weight))


def expected_gains(parts: Sequence[Part], restored: Callable[[Tensor], Tensor]) -> Tensor:
    """dB that the judge expects of a way to restore a piece 1 x C x h x w (in colour or in grey), for each part."""
    gains = []
    for part in parts:
        before, after = error_maps(part.pixels, restored(part.pixels).clamp(0, 1))[0]
        inner = (slice(1, -1), slice(1, -1)) if min(before.shape) > 4 else (slice(None), slice(None))
        gains.append(10 * (before[inner].sum() / after[inner].sum()).log10())
    return torch.stack(gains)


def _changes(gains: Tensor) -> bool:
    """Whether one PSF does not serve all parts: candidates x parts."""
    best = gains[gains.clamp(min=0).mean(1).argmax()]
    return bool(gains.amax() > LEAST_GAIN) and bool(best.min() < 0.5 * best.max())


def _decide(parts: Sequence[Part], found: Sequence[Candidate], gains: Tensor, least: float) -> Judged:
    chosen: list[int] = []
    covered = torch.zeros(gains.shape[1])
    for _ in range(_MOST_PSFS):
        more = torch.maximum(gains, covered).mean(1)
        best = int(more.argmax())
        if float(more[best] - covered.mean()) < (least if not chosen else _WORTH_ANOTHER):
            break
        chosen.append(best)
        covered = torch.maximum(covered, gains[best])
    if not chosen:
        summary = (
            f"none found: the best candidate would gain {float(gains.mean(1).max()):.1f} dB by the judge's estimate"
        )
        return Judged(None, 0.0, summary)
    psfs = [sanitised(found[i].psf).psf for i in chosen]
    weights, own = [], []
    for i in chosen:
        tried = torch.stack([gains[i], *(_gains(parts, found[i].psf, weight) for weight in WEIGHTS[1:])])
        best = int(tried.clamp(min=0).mean(1).argmax())
        weights.append(WEIGHTS[best])
        own.append(tried[best])
    table = torch.stack([torch.full_like(own[0], 0.5 * least), *own])
    shares = (table / _SOFTNESS).softmax(0)
    rows, columns = (sorted({getattr(part, name) for part in parts}) for name in ("row", "column"))
    gain = float((shares * torch.cat([torch.zeros_like(table[:1]), table[1:]])).sum(0).mean())
    others = [i for i in gains.mean(1).argsort(descending=True).tolist() if i != chosen[0]][:MOST_OTHERS]
    solution = Solution(
        psfs, weights, shares.view(-1, len(rows), len(columns)), (rows, columns),
        [sanitised(found[i].psf).psf for i in others],
    )  # fmt: skip
    return Judged(solution, gain, _in_words(found, chosen, psfs, gain))


def _in_words(found: Sequence[Candidate], chosen: Sequence[int], psfs: Sequence[Tensor], gain: float) -> str:
    each = [f"{psf.shape[1]} x {psf.shape[0]} px ({found[i].origin})" for i, psf in zip(chosen, psfs, strict=True)]
    several = "" if len(each) == 1 else f"{len(each)} PSFs, each where it gains most: "
    return f"{several}{', '.join(each)}; expected to gain {gain:.1f} dB"


def take_out(x: Tensor, solution: Solution, place: Place) -> Tensor:
    """A tile 1 x C x H x W of a picture in sRGB, without the blur: the same shape."""
    shares = _shares_at(solution, place, (x.shape[-2], x.shape[-1])).to(x)
    y = shares[0] * x
    for psf, weight, share in zip(solution.psfs, solution.weights, shares[1:], strict=True):
        if float(share.max()) > 1e-3:
            y = y + share * solve(x, psf, weight)
        else:
            y = y + share * x
    return y


def _shares_at(solution: Solution, place: Place, size: tuple[int, int]) -> Tensor:
    """Shares at a tile's pixels: n x H x W."""
    rows, columns = (
        _between(middles, first, length)
        for middles, first, length in zip(solution.middles, (place.top, place.left), size, strict=True)
    )
    return rows @ solution.shares.double() @ columns.mT


def _between(middles: list[float], first: int, length: int) -> Tensor:
    """Linear interpolation between parts at pixels [first, first + length), the outer ones repeated: length x parts."""
    pixel = torch.arange(first, first + length, dtype=torch.float64) + 0.5
    if len(middles) == 1:
        return torch.ones(length, 1, dtype=torch.float64)
    at = (pixel - middles[0]) / (middles[1] - middles[0])
    at = at.clamp(0, len(middles) - 1)
    return (1 - (at[:, None] - torch.arange(len(middles))).abs()).clamp(min=0)


def _padded(psf: Tensor) -> Tensor:
    return centred(crop_or_pad(psf.float(), (SIDE, SIDE)))


def _light(pixels: Tensor) -> Tensor:
    return to_grey(srgb_to_linear(pixels))[0, 0]


def _tell(progress: Callable[[float], None] | None, share: float) -> None:
    if progress is not None:
        progress(share)
