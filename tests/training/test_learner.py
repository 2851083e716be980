"""The moving average against its closed form, with the statistics of normalisations."""

from __future__ import annotations

import math

import pytest
import torch

from restore.training.learner import Learner
from restore.training.runtime import Runtime
from tests.training.tiny import Pairs, network, settings


def filled(net: torch.nn.Module, value: float, batches: int) -> None:
    """Every weight and every running statistic of a value; the number of batches seen, which is an integer."""
    for name, each in net.state_dict().items():
        each.fill_(batches if name.endswith("num_batches_tracked") else value)


@pytest.mark.parametrize(("begun", "steps"), [(1, 30), (10**6, 7), (10**6, 300)])
def test_the_average_of_a_still_network_has_a_closed_form(begun, steps):
    """theta (1 - P) + theta0 P after steps with a network that stays at theta, P the product of the decays: 0.999^k
    once its warm-up is over. Running means and variances are averaged alike, counts are copied: none stays behind."""
    chosen = settings(ema=0.999)
    objective = Pairs(network(norm=True))
    learner = Learner(objective, chosen, Runtime(chosen))
    filled(objective.network, 2.0, batches=5)
    learner.update_average()  # the first is a copy
    learner.average.n_averaged.fill_(begun)
    filled(objective.network, -1.0, batches=9)
    for _ in range(steps):
        learner.update_average()
    left = math.prod(min(0.999, (1 + n) / (10 + n)) for n in range(begun, begun + steps))
    if begun == 10**6:
        assert left == pytest.approx(0.999**steps)
    averages = learner.average.module.state_dict()
    assert {"1.running_mean", "1.running_var"} < averages.keys()
    for name, value in averages.items():
        if name.endswith("num_batches_tracked"):
            assert value == 9
        else:
            torch.testing.assert_close(value, torch.full_like(value, -1 + 3 * left), rtol=1e-5, atol=1e-5)
