"""Whether what was learned without a truth is kept: by held-out tiles that were blurred anew, and by the input itself.

Everything here compares a network with the one it began as. None of it knows a truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from restore.classical.linear_blur import blurred_along
from restore.classical.optical_flow import dense_motion
from restore.degradations.degradation import Sample
from restore.engines.deblur.adaptation.domain import Fitted, around, moved
from restore.engines.deblur.adaptation.seen import Frame
from restore.physics.color import to_grey
from restore.physics.filters import filter_separably, gaussian_taps

Answer = Callable[[Tensor], Tensor]
"""B x (T) x C x H x W -> B x C x H x W, the mean of all heads."""

LEAST_GAIN = 0.1
"""dB on held-out tiles, with less of which nothing is kept."""
SHARP_LOSS = 0.05
"""dB that tiles which were not blurred may lose."""
SEEN = 45.0
"""dB, beyond which a difference of such a tile is none."""
_CONFIDENCE, _RESAMPLED = 0.9, 1000  # of the bootstrap over tiles
_REST, _SHARPNESS = 1.05, 0.98  # of the baseline's: re-blurred rest at most, slopes at least
_SHIFT = 2 / 255  # of the mean colours
_OUTSIDE, _CHECKER, _TREMBLE = 2.0, 1.5, 1.05  # times the baseline's
_FAINT = 1e-4
_FEW_OUTSIDE = 0.01  # of the samples, that no one minds
_LOW_PASS = 8.0  # px, std


class HeldOut(NamedTuple):
    """Tiles that are not learned from.

    Attributes:
        blurred: anew, in batches.
        sharp: the same tiles as they are: the input is the target.
    """

    blurred: tuple[Sample, ...]
    sharp: tuple[Sample, ...]


def tile_psnrs(answer: Answer, samples: Sequence[Sample]) -> Tensor:
    """Of every tile, dB."""
    values = []
    for sample in samples:
        error = answer(sample.inputs["picture"]).clamp(0, 1) - sample.targets["result"]
        values.append(-10 * error.square().flatten(1).mean(1).clamp(min=1e-8).log10())
    return torch.cat(values).cpu()


def least_likely_gain(gains: Tensor, seed: int) -> float:
    """Lower bound of the mean gain over tiles, by the bootstrap, dB."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(gains), (_RESAMPLED, len(gains)), generator=generator)
    return float(gains[drawn].mean(1).quantile(1 - _CONFIDENCE))


@dataclass(frozen=True)
class OnInput:
    """What a network does to the pictures at hand, beside the one it began as.

    Attributes:
        rest: median over fitted tiles of the re-blurred answer's difference to the input, over the baseline's.
        sharpness: mean slope of the answers over the baseline's.
        shift: largest mean change of the low-passed colours over the input, less the baseline's, of 1.
        outside: samples beyond [0, 1], over the baseline's.
        checker: energy of the checkerboard over the baseline's.
        tremble: mean difference of neighbouring frames along their motion, over the baseline's; sharper answers may
            differ by as much more as they are sharper, for where motion is a little off, edges differ by their slopes.
    """

    rest: float
    sharpness: float
    shift: float
    outside: float
    checker: float
    tremble: float

    @property
    def objection(self) -> str:
        """Why the baseline is better; "" if it is not."""
        reasons = {
            "re-blurred, its answers fit the input less": self.rest > _REST,
            "its answers are less sharp": self.sharpness < _SHARPNESS,
            "it shifts colours": self.shift > _SHIFT,
            "its answers leave the range of values": self.outside > _OUTSIDE,
            "its answers have a checkerboard": self.checker > _CHECKER,
            "its answers tremble from frame to frame": self.tremble > _TREMBLE,
        }
        return next((reason for reason, holds in reasons.items() if holds), "")


def compare_on_input(
    frames: Sequence[Frame], before: Sequence[Tensor], after: Sequence[Tensor], fitted: Sequence[Fitted]
) -> OnInput:
    """Compare two networks' answers to the frames.

    Args:
        before, after: C x H x W of each frame: of the network at first, and of the one that learned.
        fitted: tiles with their blurs.
    """
    rests = []
    for each in fitted:
        picture = frames[each.tile.frame].pixels
        old, new = (_rest(answers[each.tile.frame], picture, each) for answers in (before, after))
        rests.append(new / max(old, _FAINT))
    pixels = [frame.pixels for frame in frames]
    outside = [sum(float(((x < 0) | (x > 1)).float().sum()) for x in answers) for answers in (before, after)]
    samples = sum(x.numel() for x in pixels)
    sharpness = _ratio(_slope(after), _slope(before))
    return OnInput(
        rest=float(torch.tensor(rests).median()) if rests else 1.0,
        sharpness=sharpness,
        shift=max(_shift(new, x) - _shift(old, x) for new, old, x in zip(after, before, pixels, strict=True)),
        outside=outside[1] / max(outside[0], _FEW_OUTSIDE * samples),
        checker=_ratio(_checker(after), max(_checker(before), _FAINT**2)),
        tremble=_tremble(frames, after, before) / max(1.0, sharpness),
    )


def _rest(answer: Tensor, picture: Tensor, fitted: Fitted) -> float:
    sharp, seen = (around(x, fitted.tile) for x in (answer, picture))
    border = min(24, min(sharp.shape) // 4)
    difference = (blurred_along(sharp, fitted.blur) - seen)[border:-border, border:-border]
    return float(difference.square().mean().sqrt())


def _ratio(new: float, old: float) -> float:
    return new / max(old, 1e-12)


def _slope(pictures: Sequence[Tensor]) -> float:
    """Mean root of the summed squares of slopes: sharp edges count more than many faint ones."""
    squares = [x.diff(dim=-1).square().mean() + x.diff(dim=-2).square().mean() for x in pictures]
    return float(torch.stack(squares).mean().sqrt())


def _shift(answer: Tensor, picture: Tensor) -> float:
    taps = gaussian_taps(2 * round(2.5 * _LOW_PASS) + 1, _LOW_PASS).float()
    low = filter_separably((answer - picture)[:, None], taps, "replicate")
    return float(low.abs().mean())


def _checker(pictures: Sequence[Tensor]) -> float:
    """Energy of the highest frequency in both directions."""
    corners = [x[:, :-1, :-1] - x[:, :-1, 1:] - x[:, 1:, :-1] + x[:, 1:, 1:] for x in pictures]
    return float(torch.stack([x.square().mean() / 16 for x in corners]).mean())


def _tremble(frames: Sequence[Frame], after: Sequence[Tensor], before: Sequence[Tensor]) -> float:
    """Difference of neighbouring answers along the motion between the baseline's, over the baseline's."""
    totals = [0.0, 0.0]
    for i in range(1, len(frames)):
        if not frames[i].follows(frames[i - 1]):
            continue
        one, other = (255 * to_grey(before[k][None])[0, 0] for k in (i, i - 1))
        motion = torch.from_numpy(dense_motion(one.numpy(), other.numpy())).movedim(-1, 0)
        for k, answers in enumerate((before, after)):
            totals[k] += float((moved(answers[i - 1], motion) - answers[i]).abs().mean())
    return totals[1] / totals[0] if totals[0] > 0 else 1.0
