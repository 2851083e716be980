"""Losses of two layers: closed forms, what they do not see, and edges that belong to one layer."""

from __future__ import annotations

import math

import pytest
import torch

from restore.losses.layers_apart import dominance, exclusion_loss, log_mse_loss


def test_log_mse_is_the_mean_of_logarithms():
    x = torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    y = torch.cat((torch.full((1, 3, 4, 4), 0.1), torch.full((1, 3, 4, 4), 0.01))).double()
    expected = (math.log(1 + 0.01 / 1e-4) + math.log(1 + 1e-4 / 1e-4)) / 2
    assert log_mse_loss(x, y).item() == pytest.approx(expected, rel=1e-6)
    assert log_mse_loss(x, x).item() == 0


def test_a_tenth_of_the_error_is_two_tens_whatever_the_error():
    x = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    values = [log_mse_loss(x, x + error, eps=1e-12).item() for error in (0.5, 0.05, 0.005)]
    assert values[0] - values[1] == pytest.approx(2 * math.log(10), rel=1e-6)
    assert values[1] - values[2] == pytest.approx(2 * math.log(10), rel=1e-6)


def stripes(dim: int) -> torch.Tensor:
    x = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    x.select(dim, 16).fill_(1)
    return x


def test_exclusion_is_of_shared_edges_alone():
    across, down = stripes(2), stripes(3)
    assert exclusion_loss(across, torch.ones_like(across)).item() == 0
    assert exclusion_loss(across, down).item() == 0, "one has edges along rows, the other along columns"
    both = exclusion_loss(across, across).item()
    assert 0 < both < 1
    assert exclusion_loss(across, 0.01 * across).item() == pytest.approx(
        exclusion_loss(0.1 * across, 0.1 * across).item(), rel=1e-3
    ), "what counts is the product of their strengths"
    x = across.clone().requires_grad_()
    exclusion_loss(x, across).backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad.abs().max() > 0


def test_dominance_is_where_the_reflection_has_the_stronger_edges():
    across, down = stripes(2), 0.5 * stripes(3)
    where = dominance(across, down)[0, 0]
    assert where[4, 16] == 1 and where[16, 4] == 0 and where[16, 16] == 0 and where[4, 4] == 0
    assert not dominance(across, torch.zeros_like(across)).any()
    assert torch.equal(dominance(torch.zeros_like(across), across), (dominance(torch.zeros_like(across), 2 * across)))
