"""The best of several answers learns: who gets the gradient, what is reported, and that two truths are both found."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from restore import objectives
from restore.data.batches import Batch
from restore.degradations.ambiguous_shift import AmbiguousShift
from restore.degradations.degradation import CLEAN, Sample
from restore.errors import ConfigError
from restore.losses import frequency, per_sample, pixel
from restore.losses.table import PER_SAMPLE_LOSSES, build_losses
from restore.metrics.pixel import psnr
from restore.models import build
from restore.models.heads import split_heads
from restore.models.spec import ModelSpec, Output
from restore.objectives.multi_output import MultiOutputLearning
from restore.objectives.supervised import Supervised
from restore.training.config import check_buildable, settings_from
from restore.training.loop import train
from tests.training.tiny import draw, network, settings

CPU = torch.device("cpu")


class Levels(nn.Module):
    """Each head adds a level of its own to the picture: H x 1 numbers."""

    def __init__(self, *levels: float) -> None:
        super().__init__()
        self.levels = nn.Parameter(torch.tensor(levels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x + level for level in self.levels], 1)

    def spec(self) -> ModelSpec:
        n = len(self.levels)
        return ModelSpec("deblur", channels=3, heads=n, outputs=(Output(channels=3 * n),), parameters=n)


class Given:
    """Clean pictures at the levels that a test wants, from black ones."""

    roles, conditions = CLEAN, ()

    def __init__(self, *levels: float) -> None:
        self.levels = levels

    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        black = pictures["clean"] * 0
        return Sample({"picture": black}, {"result": black + torch.tensor(self.levels)[:, None, None, None]})


def learning(levels: tuple[float, ...], truths: tuple[float, ...], **how) -> tuple[dict[str, Tensor], Tensor]:
    """(what the objective gives, gradient at the heads' levels), losses l2 by default."""
    net = Levels(*levels)
    losses = how.pop("losses", {"l2": (1.0, per_sample.l2)})
    objective = MultiOutputLearning(net, losses, Given(*truths), **how)
    given = objective(Batch({"clean": torch.zeros(len(truths), 3, 8, 8)}, 0, 0, 0), "restore", 0)
    given["loss"].backward()
    assert net.levels.grad is not None
    return given, net.levels.grad


def test_the_winner_alone_has_a_gradient():
    given, gradient = learning((0.0, 0.3, 0.8), (0.25,), pairs=False)
    assert given["loss"].item() == pytest.approx(0.05**2)
    assert gradient[1].item() == pytest.approx(2 * 0.05) and gradient[[0, 2]].tolist() == [0, 0]
    assert [given[f"wins_{h}"].item() for h in range(3)] == [0, 1, 0]


def test_both_heads_of_a_pair_have_one():
    given, gradient = learning((0.0, 0.5, 0.9), (0.26,))  # (0 + 0.5) / 2
    assert given["loss"].item() == pytest.approx(0.01**2, rel=1e-3)
    assert gradient.tolist() == pytest.approx([-0.01, -0.01, 0], rel=1e-3) and gradient[2] == 0
    assert [given[f"wins_{h}"].item() for h in range(3)] == [0.5, 0.5, 0]
    _, gradient = learning((0.0, 0.5, 0.9), (0.52,))
    assert gradient[[0, 2]].tolist() == [0, 0] and gradient[1].item() == pytest.approx(-0.04, rel=1e-3)


def test_each_picture_has_its_own_winner():
    given, gradient = learning((0.1, 0.7), (0.0, 1.0), pairs=False)
    assert given["loss"].item() == pytest.approx((0.1**2 + 0.3**2) / 2)  # the best of the batch: (0.1^2 + 0.9^2) / 2
    assert gradient.tolist() == pytest.approx([0.1, -0.3])
    assert given["wins_0"] == given["wins_1"] == 0.5


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("choice", ["winner", "relaxed", "softmin"])
def test_the_order_of_heads_does_not_count(choice, pairs):
    truths = (0.1, 0.45, 0.8)
    levels = torch.tensor([0.0, 0.3, 0.75, 0.9])
    given, gradient = learning(tuple(levels.tolist()), truths, choice=choice, pairs=pairs)
    for order in ([3, 1, 0, 2], [1, 0, 3, 2], [2, 3, 1, 0]):
        other, turned = learning(tuple(levels[order].tolist()), truths, choice=choice, pairs=pairs)
        torch.testing.assert_close(other["loss"], given["loss"])
        torch.testing.assert_close(turned, gradient[order])
        assert [other[f"wins_{h}"] for h in range(4)] == [given[f"wins_{h}"] for h in order]
        torch.testing.assert_close(other["distance"], given["distance"])


@pytest.mark.parametrize("name", PER_SAMPLE_LOSSES)
def test_finite_where_the_answer_is_the_truth(name):
    losses = build_losses({name: 1.0}, PER_SAMPLE_LOSSES)
    given, gradient = learning((0.5, 0.7), (0.5, 0.7), losses=losses)
    least = {"psnr": -80.0, "charbonnier": 1e-3}.get(name, 0.0)
    assert given["loss"].item() == pytest.approx(least, abs=1e-6) and gradient.isfinite().all()


@pytest.mark.parametrize("name", PER_SAMPLE_LOSSES)
def test_no_more_than_the_loss_of_any_head_and_that_of_one_head_alone(name):
    levels, truths = (0.0, 0.3, 0.75), (0.1, 0.45, 0.8)
    losses = build_losses({name: 1.0}, PER_SAMPLE_LOSSES)
    best = learning(levels, truths, losses=losses)[0]["loss"]
    without_pairs = learning(levels, truths, losses=losses, pairs=False)[0]["loss"]
    alone = [learning((level,), truths, losses=losses)[0]["loss"] for level in levels]
    assert best <= without_pairs < min(alone)
    for choice in ("winner", "relaxed", "softmin"):  # one candidate: the loss itself
        one = learning((0.3,), truths, losses=losses, choice=choice)[0]["loss"]
        x = torch.full((3, 3, 8, 8), 0.3)
        truth = torch.zeros(3, 3, 8, 8) + torch.tensor(truths)[:, None, None, None]
        torch.testing.assert_close(one, losses[name][1](x, truth).mean())


def test_relaxed_and_softmin_are_their_formulas():
    levels, errors = (0.0, 0.3), torch.tensor([0.1, 0.2]).square()  # truth 0.1
    given, gradient = learning(levels, (0.1,), pairs=False, choice="relaxed")
    torch.testing.assert_close(given["loss"], 0.95 * errors[0] + 0.05 * errors[1])
    assert gradient.tolist() == pytest.approx([0.95 * -0.2, 0.05 * 0.4])
    given, _ = learning(levels, (0.1,), pairs=False, choice="softmin", temperature=0.02)
    torch.testing.assert_close(given["loss"], -0.02 * (-errors / 0.02).exp().mean().log())
    ends = [learning(levels, (0.1,), pairs=False, choice="softmin", temperature=t)[0]["loss"] for t in (1e-5, 1e3)]
    torch.testing.assert_close(torch.stack(ends), torch.stack([errors.min(), errors.mean()]), atol=5e-5, rtol=0)


def test_distance_and_each_loss_of_the_winners():
    losses = build_losses({"l2": 1.0, "l1": 0.5}, PER_SAMPLE_LOSSES)
    given, _ = learning((0.0, 0.3), (0.1, 0.2), losses=losses, pairs=False)
    assert given["distance"].item() == pytest.approx(0.3)
    assert given["l2"].item() == pytest.approx(0.01) and given["l1"].item() == pytest.approx(0.1)
    assert given["loss"].item() == pytest.approx(0.01 + 0.05)


def test_losses_of_a_picture_are_the_batch_losses():
    x, y = torch.rand(3, 2, 3, 9, 10), torch.rand(3, 2, 3, 9, 10)
    known = {"l1": pixel.l1_loss, "l2": pixel.l2_loss, "charbonnier": pixel.charbonnier_loss, "fft": frequency.fft_loss}
    for name, of_batch in known.items():
        each = getattr(per_sample, name)(x, y)
        assert each.shape == (3, 2)
        torch.testing.assert_close(each.mean(), of_batch(x, y))
        torch.testing.assert_close(each[1, 1], of_batch(x[1, 1], y[1, 1]))
    torch.testing.assert_close(per_sample.psnr(x, y)[:, 0].double(), -psnr(x[:, 0], y[:, 0]), atol=1e-3, rtol=0)


def test_a_network_of_one_head_learns_as_ever_and_the_mean_is_shown():
    batch = draw(0, 0, 4).to(CPU)
    single = MultiOutputLearning(network(), {"charbonnier": (1.0, per_sample.charbonnier)})
    usual = Supervised(network())
    torch.testing.assert_close(single(batch, "restore", 0)["loss"], usual(batch, "restore", 0)["loss"])
    torch.testing.assert_close(single.preview(batch, single.network)["output"],
                               usual.preview(batch, usual.network)["output"])  # fmt: skip
    net = Levels(0.1, 0.5)
    shown = MultiOutputLearning(net, degradation=Given(0.0, 0.0)).preview(
        Batch({"clean": torch.zeros(2, 3, 8, 8)}, 0, 0, 0), net
    )
    torch.testing.assert_close(shown["output"], torch.full((2, 3, 8, 8), 0.3))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"epsilon": 0.1}, "the choice 'winner' does not use epsilon. Leave it out, or choose relaxed"),
        ({"choice": "relaxed", "temperature": 1}, "the choice 'relaxed' does not use temperature"),
        ({"choice": "softmin", "temperature": 0}, "choice is 'softmin'.* temperature 0"),
        ({"choice": "relaxed", "epsilon": 2}, "epsilon 2"),
        ({"choice": "best"}, "argument choice cannot be 'best'"),
        ({"pair": True}, r"no argument 'pair'. Did you mean 'pairs'\?"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ConfigError, match=words):
        objectives.build("multi_output", Levels(0.0, 0.1), arguments=arguments)


def test_losses_by_name_are_those_of_a_picture():
    made = objectives.build("multi_output", Levels(0.0, 0.1), losses={"psnr": 1.0, "fft": {"weight": 0.1}})
    assert {name: weight for name, (weight, _) in made.losses.items()} == {"psnr": 1.0, "fft": 0.1}
    with pytest.raises(ConfigError, match=r"no loss is called 'ms_ssim'\. Known: psnr, l1, l2, charbonnier, fft"):
        objectives.build("multi_output", Levels(0.0, 0.1), losses={"ms_ssim": 1.0})
    with pytest.raises(ConfigError, match="the loss l1 is not one of each picture by itself"):
        learning((0.0, 0.3), (0.1,), losses={"l1": (1.0, pixel.l1_loss)})


def test_other_objectives_refuse_several_heads():
    for name in ("supervised", "noise2void"):
        with pytest.raises(
            ConfigError, match=r"Levels has 2 heads, this objective trains one. Use objective.name: multi"
        ):
            objectives.build(name, Levels(0.0, 0.1))


def test_a_config_is_checked_before_it_runs():
    model = {"name": "multi_output", "arguments": {"network": "plain_unet", "arguments": {"condition_channels": 1}}}
    tree = {"name": "x", "model": model, "objective": {"name": "multi_output", "losses": {"psnr": 1}}}
    check_buildable(settings_from(tree))
    tree["objective"]["losses"] = {"ssim": 1}
    with pytest.raises(ConfigError, match="no loss is called 'ssim'"):
        check_buildable(settings_from(tree))


def test_it_trains_in_the_loop(tmp_path):
    net = build("multi_output", network="plain_unet", heads=2, arguments={"widths": (4,), "blocks": (0,)})
    seen: list[dict] = []
    train(MultiOutputLearning(net), draw, settings(steps=10), tmp_path, notify=seen.append)
    assert {"loss", "wins_0", "wins_1", "distance"} <= set(seen[-1])
    assert seen[-1]["wins_0"] + seen[-1]["wins_1"] == pytest.approx(1)


# ---- the ambiguity test: two shifts of the same picture, drawn at random


def textures(step: int, count: int = 8, side: int = 24) -> Tensor:
    """Noise of every pixel by itself, in which a shift is seen: B x 3 x side x side in [0.2, 0.8]."""
    return 0.2 + 0.6 * torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(step))


def taught(heads: int, loss: str, begin: nn.Module | None = None, **how) -> tuple[nn.Module, Tensor]:
    """(a network of some heads, the share of the last 100 steps' pictures that each head has won)."""
    steps = 300
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        arguments = {"widths": (16,), "blocks": (0,), "unshuffle": 1}
        net = build("multi_output", network="plain_unet", heads=heads, arguments=arguments)
    if begin is not None:
        assert net.begin_with(begin)  # type: ignore[operator]
    objective = MultiOutputLearning(net, build_losses({loss: 1.0}, PER_SAMPLE_LOSSES), AmbiguousShift(1), **how)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    wins = torch.zeros(steps, heads)
    for step in range(steps):
        given = objective(Batch({"clean": textures(step)}, 0, step, 0), "restore", step)
        optimizer.zero_grad()
        given["loss"].backward()
        optimizer.step()
        schedule.step()
        wins[step] = torch.stack([given[f"wins_{h}"] for h in range(heads)])
    return net.eval(), wins[-100:].mean(0)


@torch.no_grad()
def psnr_of_both_truths(net: nn.Module, heads: int) -> Tensor:
    """Of every head: heads x 2, dB, on pictures of which nothing was learned."""
    clean = textures(10**6, 32)
    inside = (..., slice(4, -4), slice(4, -4))
    truths = torch.stack([clean.roll(1, -1), clean.roll(-1, -1)], 1)
    mean = truths.mean(1, keepdim=True)
    y = split_heads(net(clean), heads) if heads else mean
    return -10 * (y[:, :, None] - truths[:, None])[inside].square().mean((0, 3, 4, 5)).log10()


def test_two_truths_are_both_found():
    """With one head l2 learns the mean of both (psnr, a mean of logarithms, learns one of them)."""
    single, _ = taught(1, "l2")
    one = psnr_of_both_truths(single, 1)
    blurred = psnr_of_both_truths(single, 0)  # of the mean of both, which is the best single answer
    assert (one - blurred).abs().max() < 0.5 and blurred.max() < 19
    for how in ({"loss": "psnr", "begin": single.network}, {"loss": "l2", "choice": "relaxed"}):
        double, wins = taught(2, **how, pairs=False)
        both = psnr_of_both_truths(double, 2)
        assert (both.max(0).values - one[0] > 5).all(), (how["loss"], both, one)
        assert sorted(both.argmax(0).tolist()) == [0, 1]  # each head has a truth of its own
        assert (wins > 0.4).all(), (how["loss"], wins)
