"""A short training at test time: which network is kept, when it stops, what it reports. Knows nothing of a task."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from restore.engines.fitting import FitSettings, fit

QUICK = FitSettings(steps=40, validate_every=10, patience=2, learning_rate=0.01)


class Bias(nn.Module):
    """x + b, which learning moves."""

    def __init__(self, value=0.0):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.still = nn.Parameter(torch.tensor(value))

    def forward(self, x):
        return x + self.value + self.still


def fitted(errors, settings=QUICK, net=None, **calls):
    """Held-out errors are read off a list."""
    net, answers = net or Bias(), iter(errors)
    return fit(net, [net.value], lambda step: (net.value - 1).square(), lambda _: next(answers), settings, **calls)


def test_the_best_validated_network_is_kept():
    actual = fitted([5, 4, 3, 4, 4])
    assert (actual.steps, actual.error, actual.total_steps) == (20, 3, 40)
    assert not actual.network.training


def test_it_stops_when_it_gets_no_better():
    assert fitted([5, 4, 6, 7, 1]).total_steps == 30
    assert fitted([5], FitSettings(steps=40, patience=0)).total_steps == 0


def test_learning_cannot_make_it_worse():
    net = Bias()
    actual = fitted([1, 2, 3], net=net)
    assert actual.steps == 0 and float(actual.network.value.detach()) == 0.0
    assert float(net.value.detach()) > 0.1  # it did learn


def test_what_is_kept_is_the_moving_average_of_what_learns():
    net = Bias()
    actual = fitted([5, 4, 3, 2, 1], net=net)
    assert 0 < float(actual.network.value.detach()) < 0.9 * float(net.value.detach())
    assert float(net.still.detach()) == float(actual.network.still.detach()) == 0.0


def test_the_rate_rises_then_falls_to_nothing():
    """Adam's first steps are as long as its rate."""
    settings, places = FitSettings(steps=100, validate_every=1000, patience=9, learning_rate=0.01), []
    net = Bias()
    fit(net, [net.value], lambda step: places.append(float(net.value.detach())) or -net.value, lambda _: 1.0, settings)
    lengths = [after - before for before, after in pairwise(places)]
    assert len(places) == 100
    assert lengths[0] == pytest.approx(0.01 * 0.2, rel=0.01) and max(lengths) == pytest.approx(0.01 * 0.95, rel=0.03)
    assert lengths[-1] < 0.01 * 0.03


def test_the_loss_is_a_function_of_the_step():
    steps = []
    net = Bias()
    fit(net, [net.value], lambda step: steps.append(step) or (net.value - 1).square(), lambda _: 1.0, QUICK)
    assert steps == list(range(20))  # two validations without a better result


def test_a_loss_that_is_not_finite_ends_it_and_what_was_good_is_kept():
    net = Bias()
    actual = fit(
        net, [net.value], lambda step: net.value * (float("nan") if step == 25 else -1),
        lambda each: -each.value.item(), QUICK,
    )  # fmt: skip
    assert (actual.total_steps, actual.steps) == (25, 20) and torch.isfinite(actual.network.value)


def test_a_budget_ends_it():
    actual = fitted([5] * 100, FitSettings(steps=10_000_000, validate_every=5_000_000, budget=0.3))
    assert 0 < actual.total_steps < 5_000_000
    assert 0.3 <= actual.seconds < 5


def test_it_reports_how_it_goes():
    lines, shares = [], []
    fitted([0.5, 0.25, 0.125, 0.5, 0.5], report=lines.append, progress=shares.append)
    assert lines[:2] == ["before learning: held-out error 0.5", "step 10 of 40: held-out error 0.25"]
    assert shares == pytest.approx([step / 40 for step in range(40)])
