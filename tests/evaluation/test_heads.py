"""The protocols' relations on any scores, and the controls beside them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from restore.evaluation import heads
from restore.evaluation.heads import Estimate, HeadScores, Shown
from restore.metrics.pixel import psnr
from restore.models import build
from restore.models.heads import candidates, pairwise_distance, split_heads
from restore.models.spec import ModelSpec


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 4, 10])
def test_relations_that_hold_for_any_scores(count, seed):
    scores, other = np.random.default_rng(seed).normal(30, 3, (2, 20, count))
    each, best, worst = heads.per_head(scores), heads.best_overall(scores).mean(), heads.worst_overall(scores).mean()
    number, single = heads.best_single(scores, scores)
    assert worst <= each.min() and each.max() <= best
    assert single.mean() <= best and single.mean() >= each.mean()
    assert single.mean() == pytest.approx(each.max()) and number == each.argmax()
    chosen, elsewhere = heads.best_single(other, scores)  # on other pictures it cannot do better
    assert elsewhere.mean() <= single.mean() and chosen == other.mean(0).argmax()
    if count == 1:
        assert worst == best == single.mean()


def test_protocols_choose_on_the_validation_pictures():
    scores = np.array([[30.0, 20.0], [20.0, 21.0]])
    validation = np.array([[1.0, 2.0], [2.0, 2.5], [3.0, 2.9]])  # head 1
    nothing = np.zeros(2)
    table = heads.protocols(HeadScores(scores, nothing + 25, nothing), HeadScores(validation, nothing, nothing))
    assert {name: values.tolist() for name, values in table.items()} == {
        "best overall": [30, 21],
        "best single": [20, 21],
        "mean of heads": [25, 25],
        "worst overall": [20, 20],
    }
    with pytest.raises(ValueError, match="scores of 3 candidates cannot choose among 2"):
        heads.best_single(np.zeros((2, 3)), scores)


def test_standard_errors_over_pictures_and_seeds():
    values = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])
    found = heads.estimate(values)
    assert found.mean == 3 and found.images == pytest.approx(1 / math.sqrt(3)) and found.seeds == pytest.approx(1)
    one = heads.estimate(values[0])
    assert one.mean == 2 and math.isnan(one.seeds) and str(Estimate(1, 2, 3)) == "1.000 ± 2.000 pictures ± 3.000 seeds"


class Sideways(nn.Module):
    """Not the same for every orientation: it looks one pixel to the left, and adds the condition."""

    def forward(self, x: Tensor, psf: Tensor) -> Tensor:
        return x.roll(1, -1) + psf.sum() * 0 + psf[..., :1, :1]

    def spec(self) -> ModelSpec:
        return ModelSpec("deblur", channels=3, radius=1, conditions=("psf",))


def shown(count: int, conditions: dict[str, Tensor], seed: int = 0) -> list[Shown]:
    generator = torch.Generator().manual_seed(seed)
    made = []
    for size in (count - 1, 1):
        truth = torch.rand(size, 3, 16, 12, generator=generator)
        picture = truth + 0.05 * torch.randn(truth.shape, generator=generator)
        made.append(Shown(picture, truth, conditions))
    return made


@pytest.mark.parametrize("which", range(heads.ORIENTATIONS))
def test_orientations_are_undone(which):
    x = torch.rand(2, 3, 5, 7)
    assert torch.equal(heads.oriented(heads.oriented(x, which), which, back=True), x)
    assert not any(
        torch.equal(heads.oriented(x, which), heads.oriented(x, other)) for other in range(8)
        if other != which and heads.oriented(x, which).shape == heads.oriented(x, other).shape
    )  # fmt: skip


def test_self_ensemble_turns_pictures_and_conditions():
    psf = torch.arange(9.0).view(1, 1, 3, 3) / 100
    (first, _) = shown(3, {"psf": psf})
    answers = heads.self_ensemble(Sideways(), first)
    assert answers.shape == (2, 8, 3, 16, 12)
    assert torch.equal(answers[:, 0], Sideways()(first.picture, psf))
    corners = {
        (round(float(a), 2), shift) for a in (0, 0.02, 0.06, 0.08) for shift in ((0, 1), (0, -1), (1, 0), (-1, 0))
    }
    seen = set()
    for answer in answers.unbind(1):  # every direction twice, with each time another corner of the PSF
        for level, shift in corners:
            if torch.allclose(answer, first.picture.roll(shift, (-2, -1)) + level, atol=1e-6):
                seen.add((level, shift))
    assert len(seen) == 8


def test_jitter_differs_as_it_should():
    y, distance = torch.rand(2, 3, 64, 64), torch.tensor([0.1, 0.3])
    copies = heads.jittered(y, distance, 6, seed=1)
    torch.testing.assert_close(pairwise_distance(copies), distance, rtol=0.02, atol=0)
    torch.testing.assert_close(copies.mean(1), y, atol=0.6, rtol=0)
    assert torch.equal(heads.jittered(y[1:], distance[1:], 6, seed=1, first=1)[0], copies[1])


def test_scores_of_a_network_and_its_controls():
    torch.manual_seed(0)
    net = build("multi_output", network="plain_unet", heads=3, arguments={"widths": (4,), "blocks": (0,)}).eval()
    given = shown(4, {})
    scores = heads.score_heads(net, given)
    assert scores.candidates.shape == (4, 6) and scores.mean.shape == scores.distance.shape == (4,)
    with torch.no_grad():
        y = candidates(split_heads(net(given[1].picture), 3))
    assert scores.candidates[3, 4] == pytest.approx(psnr(y[:, 4], given[1].truth, rounded=True).item())
    assert scores.mean[3] == pytest.approx(psnr(y.mean(1), given[1].truth, rounded=True).item(), abs=0.01)
    assert scores.distance[3] == pytest.approx(pairwise_distance(y).item())
    assert heads.score_heads(net, given, pairs=False).candidates == pytest.approx(scores.candidates[:, [0, 2, 5]])

    single = build("plain_unet", widths=(4,), blocks=(0,)).eval()
    plain = heads.score_heads(single, given)
    assert plain.candidates.shape == (4, 1) and plain.distance.tolist() == [0] * 4
    assert plain.candidates[:, 0] == pytest.approx(plain.mean)
    ensemble = heads.score_ensemble(single, given)
    assert ensemble.shape == (4, 8) and ensemble[:, 0] == pytest.approx(plain.mean)
    jitter = heads.score_jitter(single, given, scores.distance, 6)
    assert jitter.shape == (4, 6)
    assert heads.score_jitter(single, given, scores.distance * 0, 2) == pytest.approx(plain.candidates.repeat(2, 1))
