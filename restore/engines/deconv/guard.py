"""Whether to believe the answer of a method of deconvolution, by what is measured of it on parts of the picture.

misfit     rms of picture minus re-blurred answer over the pixels that are not clipped, as a multiple of the noise. An
           answer is light: what is negative of it counts as 0, so that rings around lights that were clipped do not
           pass. A right answer leaves the noise, 1; a wrong PSF or model leaves more.
withheld   the same of an answer to the picture plus white noise of its own level, against the picture minus that noise,
           divided by sqrt(2): the two are independent, so that half of what each pixel says is held out and predicted.
amplified  how much of what was changed is noise: the change of the answer by that noise, over its change of the
           picture, both as energies. Above a half the noise that came in is more than the blur that went.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.classical.boundary import extend
from restore.classical.richardson_lucy import CLIPPED
from restore.engines.deconv.methods import Measured, Solve
from restore.inference.engine import Place
from restore.physics.fourier import convolve, otf
from restore.physics.random import generator_for

WELL = 1.15
"""Misfit of an answer that leaves nothing to explain but noise."""
BETTER = 0.19
"""By how much less misfit makes a method better that comes later in the order of preference."""
MOST_MISFIT = 1.7
"""Misfit of most blocks above which an answer is not believed."""
MOST_AMPLIFIED = 0.5
_LEAST_UNIT = 1.5 / 255  # of the misfit of blocks: where there is hardly any noise, right answers miss by a code
_BLOCK = 8  # px
_FEWEST = 64  # unclipped pixels that say something
_LEAST_KNOWN = 0.4  # of a part


class Candidate(NamedTuple):
    """A method, how it solves an extended tile, and its summary in words."""

    method: str
    solve: Solve
    summary: str


class Misfit(NamedTuple):
    """Of all pixels, and that which three quarters of the blocks of 8 x 8 px do not exceed: lights that are clipped, or
    beyond a method's iterations, are few, what a wrong PSF leaves lies at every edge."""

    whole: float
    blocks: float


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
        self._apart = [_apart(each, psf) for each in known or [None] * len(parts)]
        self._answers: dict[str, list[Tensor]] = {}
        self._misfits: dict[str, Misfit] = {}

    def answers(self, candidate: Candidate) -> list[Tensor]:
        """Of each part, made once."""
        if candidate.method not in self._answers:
            self._answers[candidate.method] = [self._answer(candidate, part) for part in self._parts]
        return self._answers[candidate.method]

    def misfit(self, candidate: Candidate) -> Misfit:
        if candidate.method not in self._misfits:
            energy, count, blocks = 0.0, 0, [torch.ones(1)]
            for index, (part, answer) in enumerate(zip(self._parts, self.answers(candidate), strict=True)):
                left, kept = self._left(part, answer), self._counted(index).float()
                energy += float((left.square() * kept).double().sum())
                count += int(kept.sum())
                if min(left.shape[-2:]) >= _BLOCK:
                    energies, shares = (F.avg_pool2d(each, _BLOCK) for each in (left.square() * kept, kept))
                    blocks.append(
                        (energies / shares.clamp(min=1e-6)).sqrt()[shares > 0.5] / max(self._seen.sigma, _LEAST_UNIT)
                    )
            whole = math.sqrt(energy / count) / self._seen.sigma if count >= _FEWEST else 1.0
            self._misfits[candidate.method] = Misfit(whole, float(torch.cat(blocks).quantile(0.75)))
        return self._misfits[candidate.method]

    def held_out(self, candidate: Candidate) -> tuple[float, float, float]:
        """(withheld, that of the picture itself as an answer, amplified)."""
        answers = self.answers(candidate)
        withheld = of_input = change = amplified = 0.0
        count = 0
        for index, (part, answer) in enumerate(zip(self._parts, answers, strict=True)):
            noise = self._seen.sigma * torch.randn(part.shape, generator=generator_for(0, index))
            again, kept = self._answer(candidate, part + noise), self._counted(index)
            withheld += float(self._left(part - noise, again)[kept].double().square().sum())
            of_input += float(self._left(part - noise, part + noise)[kept].double().square().sum())
            amplified += float(self._inner(again - answer).double().square().sum())
            change += float(self._inner(answer - part).double().square().sum())
            count += int(kept.sum())
        least = max(count, 1) * 2 * self._seen.sigma**2
        return math.sqrt(withheld / least), math.sqrt(of_input / least), amplified / max(change, 1e-12)

    def _answer(self, candidate: Candidate, part: Tensor) -> Tensor:
        wide = extend(part, self._psf, self._boundary)
        return wide.inside(candidate.solve(wide, Place(0, 0, part.shape[-2], part.shape[-1])))

    def _left(self, part: Tensor, answer: Tensor) -> Tensor:
        """What the answer leaves of a part, without the border that depends on what lies beyond."""
        transfer = otf(self._psf.to(answer), (part.shape[-2], part.shape[-1]))
        return self._inner(part - convolve(answer.clamp(min=0), transfer))

    def _counted(self, index: int) -> Tensor:
        """Where no channel of a pixel or its neighbours is at white, nor anything unknown is near: bool, as `_left`."""
        part, apart = self._parts[index], self._apart[index]
        bright = (part.amax(1, keepdim=True) >= CLIPPED * self._seen.white).to(part.dtype)
        counted = F.max_pool2d(bright, 3, 1, 1) == 0
        return self._inner((counted if apart is None else counted & apart).expand_as(part))

    def _inner(self, x: Tensor) -> Tensor:
        rows, columns = (
            min(kernel // 2 + 1, (side - 1) // 2) for kernel, side in zip(self._psf.shape, x.shape[-2:], strict=True)
        )
        return x[..., rows : x.shape[-2] - rows, columns : x.shape[-1] - columns]


def _apart(known: Tensor | None, psf: Tensor) -> Tensor | None:
    """Where no pixel is unknown within the reach of a PSF; None: everywhere, or nearly nowhere."""
    if known is None or float(known.float().mean()) < _LEAST_KNOWN:
        return None
    sides = [side // 2 * 2 + 1 for side in psf.shape]
    near = F.max_pool2d((~known).float(), sides, 1, [side // 2 for side in sides])
    return near == 0


def choose(candidates: Sequence[Candidate], guard: Guard) -> Verdict:
    """The first candidate whose answer leaves nothing but noise, or the one that leaves clearly less than those before
    it; None where no answer is to be believed."""
    left, why = list(candidates), ""
    while left:
        best = _least_misfit(left, guard)
        if flaw := flaw_of(best, guard):
            left.remove(best)
            why += f"; not {best.method}: {flaw}"
            continue
        return Verdict(best, f": leaves {guard.misfit(best).whole:.2f} times the noise unexplained{why}")
    return Verdict(None, f"none: no answer is to be believed{why}")


def flaw_of(candidate: Candidate, guard: Guard) -> str:
    """Why the answer of a candidate is not to be believed, in words; "" where it is."""
    misfit = guard.misfit(candidate).blocks
    if misfit > MOST_MISFIT:
        return f"re-blurred it misses the picture by {misfit:.1f} times the noise, is the PSF right?"
    withheld, of_input, amplified = guard.held_out(candidate)
    if amplified > MOST_AMPLIFIED:
        return f"{amplified:.0%} of what it changes is noise"
    if withheld > of_input:
        return f"it predicts held-out noise worse than the picture does ({withheld:.2f} against {of_input:.2f})"
    return ""


def _least_misfit(candidates: Sequence[Candidate], guard: Guard) -> Candidate:
    best, least = candidates[0], guard.misfit(candidates[0]).whole
    lowest = least
    for number, candidate in enumerate(candidates[1:], 1):
        if least <= WELL and number > 1:
            break
        misfit = guard.misfit(candidate).whole
        if misfit < lowest - BETTER and least > WELL:
            best, least = candidate, misfit
        lowest = min(lowest, misfit)
    return best
