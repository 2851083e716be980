"""The search for the PSF of a picture: what candidates are expected to gain is judged in a few parts of it.

parts     up to 3 x 3 of 256 px, spread over the picture; candidates come from the middle (up to 384 px) and, where
          one PSF does not serve all parts, from the corners too
gains     candidates x parts: `restore.engines.blind_psf.appraisal`, dB
shares    (1 + PSFs) x parts: of the picture as it is and of the best few PSFs
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from restore.analysis.sample import View
from restore.classical.blind import refine_psf
from restore.engines.blind_psf.appraisal import Seen, expected, look_at
from restore.engines.blind_psf.candidates import SIDE, Candidate, candidates, centred, likeliest
from restore.physics.batch import crop_or_pad
from restore.physics.color import srgb_to_linear, to_grey
from restore.physics.psf import sanitised

PART, MIDDLE = 256, 384  # px
LEAST_SIDE = 64  # px, of pictures whose blur is estimated
LEAST_GAIN = 1.5
"""dB that must be expected in the mean of the parts before anything is taken out. In six-fold cross-validation on
single parts of 676 pictures 1.0 made 4.4 % of the blurred worse by 0.1 dB and gained 1.64 dB, 1.5 2.4 % and 1.48 dB."""
MOST_OTHERS = 3
_MOST_PSFS = 3
_WORTH_ANOTHER = 0.3  # dB of mean gain, for one more PSF
_BETTER_REFINED = 0.2  # dB, for a refined PSF in place of the one that it was made of
_SOFTNESS = 0.3  # dB, between what shares a part
_KEPT, _KEPT_OF_CORNER = 5, 2  # candidates that are tried in all parts
_CORNERS_FROM = 448  # px, side of pictures whose corners are estimated too
_ROUNDS = 3  # of refinement
_LINES = 0.2  # energy of the differences along a texture over that across it, below which it is of lines
_LONG, _LONG_BY = 2.0, 2.5  # px, std of a PSF along its longer axis, and how many times it exceeds the other
_ALONG = 20.0  # degrees between that axis and the lines


class Solution(NamedTuple):
    """What is taken out of a picture.

    Attributes:
        psfs: h x w each, of sum 1.
        shares: (1 + PSFs) x rows x columns, of sum 1; the first is that of the picture as it is.
        middles: rows and columns (px) of the parts' middles.
        others: further PSFs that the picture may have been blurred by, the likeliest first.
    """

    psfs: list[Tensor]
    shares: Tensor
    middles: tuple[list[float], list[float]]
    others: list[Tensor]


class Judged(NamedTuple):
    """A solution (None: the picture stays as it is), the gain expected of it in dB, what to say of it, and whether the
    picture is too small to be looked at."""

    solution: Solution | None
    gain: float
    summary: str
    too_small: bool = False


class Part(NamedTuple):
    """A piece of a picture, and the place of its middle, row and column."""

    seen: Seen
    row: float
    column: float


def parts_of(view: View) -> list[Part]:
    """Up to 3 x 3 parts, spread evenly, row by row."""
    height, width = view.size
    rows, columns = (min(PART, side) for side in (height, width))
    return [
        Part(look_at(view.read(top, left, rows, columns)), top + rows / 2, left + columns / 2)
        for top in _spread(height, rows)
        for left in _spread(width, columns)
    ]


def _spread(side: int, part: int) -> list[int]:
    count = 1 if side < 1.3 * part else 2 if side < 1.9 * part else 3
    return [round((side - part) * (i + 0.5 * (count == 1)) / max(count - 1, 1)) for i in range(count)]


def judge_blur(
    view: View,
    *,
    least: float = LEAST_GAIN,
    one: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Judged:
    """Find the blur of a picture and decide what is taken out of it.

    Args:
        view: of the picture.
        least: dB that must be expected, else nothing is taken out.
        one: a single PSF is wanted for the whole picture.
        progress: called with the finished share.
    """
    height, width = view.size
    if min(height, width) < LEAST_SIDE:
        return Judged(None, 0.0, f"not estimated: {width} x {height} px are too few", too_small=True)
    parts = parts_of(view)
    found, gains = _tried(view.middle(MIDDLE), parts[::4] if len(parts) == 9 else parts, parts, _KEPT)
    _tell(progress, 0.4)
    if not one and len(parts) >= 4 and min(height, width) >= _CORNERS_FROM and _changes(gains):
        corners = [parts[0], parts[-1]] if len(parts) == 4 else [parts[0], parts[2], parts[-3], parts[-1]]
        for i, corner in enumerate(corners):
            more, here = _tried(corner.seen.pixels, [corner], parts, _KEPT_OF_CORNER)
            found, gains = [*found, *more], torch.cat([gains, here])
            _tell(progress, 0.4 + 0.5 * (i + 1) / len(corners))
    return _decide(parts, found, gains, least, one)


def _tried(pixels: Tensor, near: Sequence[Part], parts: Sequence[Part], kept: int) -> tuple[list[Candidate], Tensor]:
    """Candidates from a piece of the picture, of the best a refined one too, and what each gains in each part.

    All are tried in the parts that are `near`, and the `kept` that gain most there in the others. None may be left: all
    may be the lines of a texture.
    """
    light = to_grey(srgb_to_linear(pixels))[0, 0]
    found = candidates(light)
    first = likeliest(found)
    seen = [part.seen for part in parts]
    if len(near) < len(parts):
        here = torch.stack([expected([part.seen for part in near], each, first).mean() for each in found])
        found = [found[i] for i in here.topk(kept).indices.tolist()]
    found = [each for each in found if not _is_texture(light, each)]
    if not found:
        return [], torch.zeros(0, len(parts))
    gains = torch.stack([expected(seen, each, first) for each in found])
    best = int(gains.mean(1).argmax())
    refined = _refined(light, found[best])
    gain = expected(seen, refined, first)
    if float(gain.mean()) > float(gains[best].mean()) + _BETTER_REFINED:
        found, gains = [*found, refined], torch.cat([gains, gain[None]])
    return found, gains


def _is_texture(light: Tensor, candidate: Candidate) -> bool:
    """Whether a candidate may be the lines of a texture (grass, hair, fabric) rather than a blur: it is long, and the
    differences of the picture lie nearly all across its own direction.

    A blur along lines is hardly seen, and estimates take the lines for it.

    Args:
        light: H x W.
    """
    along_rows, along_columns = light.diff(dim=1), light.diff(dim=0)
    right, down = along_rows[1:] + along_rows[:-1], along_columns[:, 1:] + along_columns[:, :-1]  # at one place
    across, lines = _axes(float(down.square().mean()), float(right.square().mean()), float((down * right).mean()))
    psf = candidate.psf.to(light)
    y, x = (torch.arange(side, dtype=light.dtype) - side // 2 for side in psf.shape)
    yy, xx = float((psf.sum(1) * y.square()).sum()), float((psf.sum(0) * x.square()).sum())
    spread, axis = _axes(yy, xx, float((psf * y[:, None] * x).sum()))
    long, short = (math.sqrt(max(each, 0.0)) for each in spread)
    turned = abs((axis - lines) % 180 - 90)  # the texture's lines lie across its differences
    return across[1] < _LINES * across[0] and long >= _LONG and long >= _LONG_BY * short and turned < _ALONG


def _axes(yy: float, xx: float, yx: float) -> tuple[tuple[float, float], float]:
    """Second moments along the axes, the larger first, and the direction of the first, degrees from the right."""
    half, difference = (yy + xx) / 2, math.hypot((xx - yy) / 2, yx)
    return (half + difference, half - difference), math.degrees(0.5 * math.atan2(2 * yx, xx - yy))


def _refined(light: Tensor, candidate: Candidate) -> Candidate:
    """A candidate after a few more alternations at full size, in its own window."""
    psf = candidate.psf
    reach = int(((psf > 0.02 * psf.max()).nonzero() - SIDE // 2).abs().max())
    refined = refine_psf(light, psf, min(SIDE, 2 * reach + 5), _ROUNDS).float()
    return candidate._replace(psf=centred(crop_or_pad(refined, (SIDE, SIDE))), origin=f"{candidate.origin}, refined")


def _changes(gains: Tensor) -> bool:
    """Whether one PSF does not serve all parts: candidates x parts."""
    if not len(gains):
        return False
    best = gains[gains.clamp(min=0).mean(1).argmax()]
    return bool(gains.amax() > LEAST_GAIN) and bool(best.min() < 0.5 * best.max())


def _decide(
    parts: Sequence[Part], found: Sequence[Candidate], gains: Tensor, least: float, one: bool = False
) -> Judged:
    if not found:
        return Judged(None, 0.0, "not taken out: all that looks like blur lies along the lines of a texture")
    chosen = [int(gains.mean(1).argmax())]
    most = float(gains[chosen[0]].mean())
    if most < least:
        return Judged(None, 0.0, f"no PSF is expected to gain {least:g} dB (the best {most:.1f})")
    covered = gains[chosen[0]].clamp(min=0)
    while len(chosen) < (1 if one else _MOST_PSFS):
        more = torch.maximum(gains, covered).mean(1)
        best = int(more.argmax())
        if float(more[best] - covered.mean()) < _WORTH_ANOTHER:
            break
        chosen.append(best)
        covered = torch.maximum(covered, gains[best])
    own = gains[chosen]
    as_it_is = torch.full_like(own[:1], min(least, 0.0))  # nothing stays where a picture is to be treated whatever
    shares = (torch.cat([as_it_is, own]) / _SOFTNESS).softmax(0)
    gain = float((shares[1:] * own).sum(0).mean())
    rows, columns = (sorted({getattr(part, name) for part in parts}) for name in ("row", "column"))
    psfs = [sanitised(found[i].psf).psf for i in chosen]
    others = [i for i in gains.mean(1).argsort(descending=True).tolist() if i != chosen[0]][:MOST_OTHERS]
    solution = Solution(
        psfs, shares.view(-1, len(rows), len(columns)), (rows, columns), [sanitised(found[i].psf).psf for i in others]
    )
    return Judged(solution, gain, _in_words(found, chosen, psfs, gain))


def _in_words(found: Sequence[Candidate], chosen: Sequence[int], psfs: Sequence[Tensor], gain: float) -> str:
    each = [f"{psf.shape[1]} x {psf.shape[0]} px ({found[i].origin})" for i, psf in zip(chosen, psfs, strict=True)]
    several = "" if len(each) == 1 else f"{len(each)} PSFs, each where it gains most: "
    return f"{several}{', '.join(each)}; expected to gain {gain:.1f} dB"


def _tell(progress: Callable[[float], None] | None, share: float) -> None:
    if progress is not None:
        progress(share)
