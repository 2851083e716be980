"""Networks of several heads by numbers: what is an oracle's, what a user can have, and what plain jitter would reach.

Scores are N pictures x K candidates, higher is better (PSNR, SSIM):

    best overall    mean_n max_k s_nk     an oracle's: it needs the truth
    worst overall   mean_n min_k s_nk
    per head        mean_n s_nk
    best single     the head that is best on OTHER pictures, here; chosen on the same ones it is an oracle's, too
    mean of heads   the score of the heads' mean picture

Source: Liu et al., "Multi-Outputs Is All You Need For Deblur", 2022, https://arxiv.org/abs/2208.13029, which reads the
best single head off its test set. A maximum over K grows with any K different pictures, so best overall means something
only beside the same of a network with one head: over the eight orientations of the picture (`ensemble`), and over K
copies of its result with independent noise that differ as the candidates do (`jitter`, which real alternatives beat).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from restore.metrics.table import measure
from restore.models.heads import candidates, pairwise_distance, split_heads
from restore.models.spec import spec_of
from restore.physics.random import generator_for, normal

Numbers = np.ndarray
Metric = Callable[[Tensor, Tensor], Tensor]
"""(B x C x H x W, its truth) -> B scores, higher is better."""
ORIENTATIONS = 8


@dataclass(frozen=True)
class Shown:
    """Pictures to judge a network on.

    Attributes:
        picture, truth: B x C x H x W.
        conditions: of the network, B x 1 x h x w each.
    """

    picture: Tensor
    truth: Tensor
    conditions: Mapping[str, Tensor]


@dataclass(frozen=True)
class HeadScores:
    """Of one network.

    Attributes:
        candidates: N x K.
        mean: of the heads' mean picture, N.
        distance: root mean square difference of two candidates, N, units of [0, 1].
    """

    candidates: Numbers
    mean: Numbers
    distance: Numbers


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard errors.

    Attributes:
        images: from picture to picture, of the means over the seeds; NaN for one picture.
        seeds: from seed to seed, of the means over the pictures; NaN for one seed.
    """

    mean: float
    images: float
    seeds: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.images:.3f} pictures ± {self.seeds:.3f} seeds"


def best_overall(scores: Numbers) -> Numbers:
    """The best candidate of each picture: N x K -> N."""
    return scores.max(1)


def worst_overall(scores: Numbers) -> Numbers:
    """The worst candidate of each picture: N x K -> N."""
    return scores.min(1)


def per_head(scores: Numbers) -> Numbers:
    """The mean of each candidate: N x K -> K."""
    return scores.mean(0)


def best_single(validation: Numbers, scores: Numbers) -> tuple[int, Numbers]:
    """(the candidate that is best on the mean of `validation`, its scores): M x K, N x K -> number, N.

    Raises `ValueError` if the two have other candidates.
    """
    if validation.shape[1] != scores.shape[1]:
        raise ValueError(f"scores of {validation.shape[1]} candidates cannot choose among {scores.shape[1]}")
    best = int(per_head(validation).argmax())
    return best, scores[:, best]


def estimate(values: Numbers) -> Estimate:
    """Of S seeds x N pictures, or of N pictures. A gain is estimated from the differences, picture by picture."""
    values = np.atleast_2d(np.asarray(values, np.float64))
    return Estimate(float(values.mean()), _standard_error(values.mean(0)), _standard_error(values.mean(1)))


def protocols(scores: HeadScores, validation: HeadScores) -> dict[str, Numbers]:
    """Each protocol by name, N each; the best single head is chosen on `validation`, other pictures."""
    _, single = best_single(validation.candidates, scores.candidates)
    return {
        "best overall": best_overall(scores.candidates),
        "best single": single,
        "mean of heads": scores.mean,
        "worst overall": worst_overall(scores.candidates),
    }


def score_heads(net: nn.Module, shown: Iterable[Shown], metric: Metric | None = None, pairs: bool = True) -> HeadScores:
    """All candidates of a network of any number of heads, in eval mode as it is.

    Args:
        metric: PSNR of pictures rounded to 8 bits if not given.
        pairs: the means of two heads are candidates too.
    """
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for each in shown:
        heads = split_heads(_run(net, each), spec_of(net).heads)
        answers = candidates(heads) if pairs else heads
        mean = _scores(heads.mean(1, keepdim=True), each.truth, metric)[:, 0]
        found.append((_scores(answers, each.truth, metric), mean, pairwise_distance(answers)))
    made, mean, distance = (torch.cat(column).double().cpu().numpy() for column in zip(*found, strict=True))
    return HeadScores(made, mean, distance)


def score_ensemble(net: nn.Module, shown: Iterable[Shown], metric: Metric | None = None) -> Numbers:
    """A network of one head on a picture's eight orientations, turned back: N x 8; the first is the plain one."""
    return np.concatenate([
        _scores(self_ensemble(net, each), each.truth, metric).double().cpu().numpy() for each in shown
    ])  # fmt: skip


def score_jitter(
    net: nn.Module, shown: Iterable[Shown], distance: Numbers, count: int, metric: Metric | None = None, seed: int = 0
) -> Numbers:
    """`count` copies of a network's one result with noise that makes them differ by `distance` (N): N x count."""
    scores, start = [], 0
    for each in shown:
        part = torch.from_numpy(distance[start : start + len(each.picture)])
        copies = jittered(_run(net, each), part, count, seed, start)
        scores.append(_scores(copies, each.truth, metric).double().cpu().numpy())
        start += len(each.picture)
    return np.concatenate(scores)


def self_ensemble(net: nn.Module, shown: Shown) -> Tensor:
    """B x 8 x C x H x W: what a network makes of each orientation, turned back. Conditions are turned alike."""
    answers = []
    for which in range(ORIENTATIONS):
        conditions = {name: oriented(value, which) for name, value in shown.conditions.items()}
        answer = _run(net, Shown(oriented(shown.picture, which), shown.truth, conditions))
        answers.append(oriented(answer, which, back=True))
    return torch.stack(answers, 1)


def jittered(y: Tensor, distance: Tensor, count: int, seed: int = 0, first: int = 0) -> Tensor:
    """B x C x H x W -> B x count x C x H x W: with independent normal noise of std distance / sqrt(2), so that two
    copies differ by `distance` (B, root mean square). The noise of sample i is a function of (seed, first + i)."""
    generators = [generator_for(seed, first + i, device=y.device) for i in range(len(y))]
    noise = normal((len(y), count, *y.shape[1:]), generators, y.device)
    return y[:, None] + noise * (distance.to(y) / math.sqrt(2))[:, None, None, None, None]


def oriented(x: Tensor, which: int, back: bool = False) -> Tensor:
    """One of eight orientations of ... x H x W: 0 to 3 quarter turns, mirrored from 4 on; `back` undoes it."""
    turns = which % 4
    if back:
        x = x.rot90(-turns, (-2, -1))
        return x.flip(-1) if which >= 4 else x
    return (x.flip(-1) if which >= 4 else x).rot90(turns, (-2, -1))


@torch.no_grad()
def _run(net: nn.Module, shown: Shown) -> Tensor:
    return net(shown.picture, **shown.conditions).float()


def _scores(answers: Tensor, truth: Tensor, metric: Metric | None) -> Tensor:
    """B x K x C x H x W and the truth of all K -> B x K."""
    count = answers.shape[1]
    scores = (metric or _psnr)(answers.flatten(0, 1), truth.repeat_interleave(count, 0))
    return scores.unflatten(0, (-1, count))


def _psnr(x: Tensor, y: Tensor) -> Tensor:
    (scores,) = measure(["psnr"], x, y, rounded=True).values()
    return scores


def _standard_error(values: Numbers) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
