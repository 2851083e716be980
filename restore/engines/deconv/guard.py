"""Which answer of deconvolution to take, and whether to believe it, by what is measured of it on parts of the picture.

predicted  a picture y with noise n of its own level is split into y + n / 2 and y - 2 n, whose noises are independent
           (Oliveira, Lei, Tibshirani, "Unbiased risk estimation ...", 2021). What a method makes of the first is
           re-blurred and compared with the second; the difference is sharpened by a regularised inverse of the blur, so
           that an error counts as it is seen in the answer, as far as the picture says anything of it. As energy, in
           units of that of the second's noise: 1 is the least.
misfit     rms of picture minus re-blurred answer over the pixels that are not clipped, as a multiple of the noise. An
           answer is light: what is negative of it counts as 0, so that rings around lights that were clipped do not
           pass. A right answer leaves the noise, 1; a wrong PSF or model leaves more.
amplified  how much of what was changed is noise: the change of the answer by n, over its change of the picture, both as
           energies. Above a half the noise that came in is more than the blur that went.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.classical.boundary import Extended
from restore.classical.richardson_lucy import CLIPPED
from restore.engines.deconv.methods import Measured, Solve, data_weight, extended
from restore.inference.engine import Place
from restore.physics.fourier import convolve, multiplicity, otf
from restore.physics.random import generator_for


class Misfit(NamedTuple):
    """Of all pixels, and that which three quarters of the blocks of 8 x 8 px do not exceed: lights that are clipped, or
    beyond a method's iterations, are few, what a wrong PSF leaves lies at every edge."""

    whole: float
    blocks: float


WELL = 1.02
"""Predicted error of an answer than which none is much better."""
MOST_MISFIT = Misfit(2.0, 1.7)
"""Above which an answer is not believed."""
MOST_AMPLIFIED = 0.5
_LEAST_UNIT = 1.5 / 255  # of the misfit: where there is hardly any noise, right answers miss by a code
_KEPT = 0.5  # times the noise that is added to what is shown; its inverse is taken from what is withheld
_LEAST_KNOWN = 0.4  # of a part
_DAMPING = 0.03  # of the inverse of the blur: frequencies that it leaves a sixth of count half
_RAMP = 16  # px
_BLOCK = 8  # px
_FEWEST = 64  # unclipped pixels that say something


class Candidate(NamedTuple):
    """A method.

    Attributes:
        method: its name.
        solve: how it solves an extended tile.
        summary: in words.
        lead: by how much less its predicted error must be than that of the methods before it, and by what share of what
            is more than 1 in theirs: where the model is wrong, the closest fit need not be the best answer.
    """

    method: str
    solve: Solve
    summary: str
    lead: tuple[float, float] = (0.0, 0.0)


class Verdict(NamedTuple):
    """Which of the candidates, None for the picture as it is, and why, in words."""

    chosen: Candidate | None
    why: str


class Guard:
    """What is measured of answers.

    Args:
        parts: 1 x C x h x w each, in the values that are deconvolved.
        psf: h x w.
        seen: noise and clipping of the picture.
        boundary: as of the whole.
        known: where each part holds a picture, 1 x 1 x h x w; None: everywhere. What the blur brings together with what
            is not known counts for nothing, unless that is most of a part (a black sky, and stars).
    """

    def __init__(
        self,
        parts: Sequence[Tensor],
        psf: Tensor,
        seen: Measured,
        boundary: str,
        known: Sequence[Tensor | None] | None = None,
    ) -> None:
        self._parts, self._psf, self._seen, self._boundary = parts, psf, seen, boundary
        where = known or [None] * len(parts)
        self._counted = [_counted(part, each, psf, seen) for part, each in zip(parts, where, strict=True)]
        self._answers: dict[str, list[Tensor]] = {}
        self._shown: dict[str, list[Tensor]] = {}
        self._misfits: dict[str, Misfit] = {}
        self._predicted: dict[str, float] = {}
        self._noises = [seen.sigma * torch.randn(x.shape, generator=generator_for(0, i)) for i, x in enumerate(parts)]

    def answers(self, candidate: Candidate) -> list[Tensor]:
        """Of each part, made once."""
        if candidate.method not in self._answers:
            self._answers[candidate.method] = [self._answer(candidate, wide) for wide in self._wide]
        return self._answers[candidate.method]

    def misfit(self, candidate: Candidate) -> Misfit:
        if candidate.method not in self._misfits:
            energy, count, blocks = 0.0, 0, [torch.ones(1)]
            unit = max(self._seen.sigma, _LEAST_UNIT)
            for part, counted, answer in zip(self._parts, self._counted, self.answers(candidate), strict=True):
                left, kept = self._inner(self._left(part, answer)), self._inner(counted)
                energy += float((left.square() * kept).double().sum())
                count += int(kept.sum())
                if min(left.shape[-2:]) >= _BLOCK:
                    energies, shares = (F.avg_pool2d(each, _BLOCK) for each in (left.square() * kept, kept))
                    blocks.append((energies / shares.clamp(min=1e-6)).sqrt()[shares > 0.5] / unit)
            whole = math.sqrt(energy / count) / unit if count >= _FEWEST else 1.0
            self._misfits[candidate.method] = Misfit(whole, float(torch.cat(blocks).quantile(0.75)))
        return self._misfits[candidate.method]

    def predicted(self, candidate: Candidate | None) -> float:
        """Of an answer, or (None) of the picture as it is."""
        name = candidate.method if candidate else ""
        if name not in self._predicted:
            shown = self._answers_to_shown(candidate) if candidate else self._shown_parts
            energy = least = 0.0
            for part, counted, noise, answer in zip(self._parts, self._counted, self._noises, shown, strict=True):
                weight = self._weight(counted)
                left = self._left(part - noise / _KEPT, answer) * weight
                sharper = self._sharper(part)
                energy += float(convolve(left, sharper).double().square().sum())
                gain = sharper.abs().square() * multiplicity((part.shape[-2], part.shape[-1]), part)
                least += float(gain.double().sum() / part[0, 0].numel() * weight.double().square().sum())
            self._predicted[name] = energy / max(least * (1 + _KEPT**-2) * self._seen.sigma**2, 1e-12) if least else 1.0
        return self._predicted[name]

    def amplified(self, candidate: Candidate) -> float:
        change = amplified = 0.0
        shown = self._answers_to_shown(candidate)
        for part, answer, other in zip(self._parts, self.answers(candidate), shown, strict=True):
            amplified += float(self._inner(other - answer).double().square().sum()) / _KEPT**2
            change += float(self._inner(answer - part).double().square().sum())
        return amplified / max(change, 1e-12)

    @cached_property
    def _shown_parts(self) -> list[Tensor]:
        return [part + _KEPT * noise for part, noise in zip(self._parts, self._noises, strict=True)]

    @cached_property
    def _wide(self) -> list[Extended]:
        return [self._extended(part) for part in self._parts]

    @cached_property
    def _wide_shown(self) -> list[Extended]:
        return [self._extended(part) for part in self._shown_parts]

    def _extended(self, part: Tensor) -> Extended:
        return extended(part, self._psf, self._boundary, data_weight(self._seen))

    def _answers_to_shown(self, candidate: Candidate) -> list[Tensor]:
        if candidate.method not in self._shown:
            self._shown[candidate.method] = [self._answer(candidate, wide) for wide in self._wide_shown]
        return self._shown[candidate.method]

    def _answer(self, candidate: Candidate, wide: Extended) -> Tensor:
        return wide.inside(candidate.solve(wide, Place(0, 0, wide.height, wide.width)))

    def _transfer(self, part: Tensor) -> Tensor:
        return otf(self._psf.to(part), (part.shape[-2], part.shape[-1]))

    def _sharper(self, part: Tensor) -> Tensor:
        """The transfer function of the regularised inverse of the blur."""
        transfer = self._transfer(part)
        return transfer.conj() / (transfer.abs().square() + _DAMPING)

    def _left(self, part: Tensor, answer: Tensor) -> Tensor:
        """What the answer leaves of a part; wrong at the border, which depends on what lies beyond."""
        return part - convolve(answer.clamp(min=0), self._transfer(part))

    def _weight(self, counted: Tensor) -> Tensor:
        """Of what is left: none at the border and where pixels do not count, rising from the border."""
        ramps = []
        for length, cut in zip(counted.shape[-2:], self._cuts(counted), strict=True):
            away = torch.arange(length)
            ramps.append(((torch.minimum(away, away.flip(0)) - cut + 1) / _RAMP).clamp(0, 1).to(counted))
        return counted * ramps[0][:, None] * ramps[1]

    def _cuts(self, x: Tensor) -> list[int]:
        """Rows and columns on each side that depend on what lies beyond."""
        return [
            min(kernel // 2 + 1, (side - 1) // 2) for kernel, side in zip(self._psf.shape, x.shape[-2:], strict=True)
        ]

    def _inner(self, x: Tensor) -> Tensor:
        rows, columns = self._cuts(x)
        return x[..., rows : x.shape[-2] - rows, columns : x.shape[-1] - columns]


def _counted(part: Tensor, known: Tensor | None, psf: Tensor, seen: Measured) -> Tensor:
    """1 where no channel of a pixel or its neighbours is at white, nor anything unknown is near, else 0; as `part`."""
    bright = (part.amax(1, keepdim=True) >= CLIPPED * seen.white).to(part.dtype)
    counted, apart = 1 - F.max_pool2d(bright, 3, 1, 1), _apart(known, psf)
    return (counted if apart is None else counted * apart).expand_as(part)


def _apart(known: Tensor | None, psf: Tensor) -> Tensor | None:
    """Where no pixel is unknown within the reach of a PSF; None: everywhere, or nearly nowhere."""
    if known is None or float(known.float().mean()) < _LEAST_KNOWN:
        return None
    sides = [side // 2 * 2 + 1 for side in psf.shape]
    near = F.max_pool2d((~known).float(), sides, 1, [side // 2 for side in sides])
    return near == 0


def choose(candidates: Sequence[Candidate], guard: Guard) -> Verdict:
    """The candidate of the least predicted error, or the one after it whose answer is to be believed; None where none
    is."""
    left, why = list(candidates), ""
    while left:
        best = _best_predicted(left, guard)
        if flaw := flaw_of(best, guard):
            left.remove(best)
            why += f"; not {best.method}: {flaw}"
            continue
        return Verdict(best, f": {_missed(guard.predicted(best))}{why}")
    return Verdict(None, f"none: no answer is to be believed{why}")


def flaw_of(candidate: Candidate, guard: Guard) -> str:
    """Why the answer of a candidate is not to be believed, in words; "" where it is."""
    misfits = zip(guard.misfit(candidate), MOST_MISFIT, strict=True)
    if over := [misfit for misfit, most in misfits if misfit > most]:
        return f"re-blurred it misses the picture by {max(over):.1f} times the noise, is the PSF right?"
    amplified, predicted, of_input = (
        guard.amplified(candidate), guard.predicted(candidate), guard.predicted(None)
    )  # fmt: skip
    if amplified > MOST_AMPLIFIED:
        return f"{amplified:.0%} of what it changes is noise"
    if predicted > of_input:
        return f"{_missed(predicted)}, the picture itself by {math.sqrt(of_input):.2f} times"
    return ""


def _missed(predicted: float) -> str:
    return f"misses held-out data by {math.sqrt(predicted):.2f} times their noise"


def _best_predicted(candidates: Sequence[Candidate], guard: Guard) -> Candidate:
    """Of those in the order of preference."""
    best = candidates[0]
    for candidate in candidates[1:]:
        least = guard.predicted(best)
        if least <= WELL:
            break
        lead, share = candidate.lead
        if guard.predicted(candidate) < least - lead - share * (least - 1):
            best = candidate
    return best
