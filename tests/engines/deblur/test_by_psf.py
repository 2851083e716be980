"""Taking PSFs out of a picture, each where it gains."""

from __future__ import annotations

import math

import torch

from restore.engines.blind_psf.appraisal import solve
from restore.engines.blind_psf.search import Solution
from restore.engines.deblur.by_psf import take_out
from restore.inference.engine import Place
from restore.physics.psf import motion


def test_shares_are_those_of_the_parts_at_their_middles():
    shares = torch.rand(2, 2, 3).softmax(0)
    solution = Solution([motion(5, 0)], shares, ([50.5, 150.5], [50.5, 100.5, 150.5]), [])
    x = torch.rand(1, 1, 200, 200)
    whole = Place(0, 0, 200, 200)
    y = take_out(x, solution, whole)
    restored = solve(x, motion(5, 0))
    for row, at_row in enumerate((50, 150)):
        for column, at_column in enumerate((50, 100, 150)):
            share = float(shares[1, row, column])
            expected = (1 - share) * x[0, 0, at_row, at_column] + share * restored[0, 0, at_row, at_column]
            assert math.isclose(float(y[0, 0, at_row, at_column]), float(expected), abs_tol=1e-5)
    part = take_out(x[..., 40:, 20:], solution, Place(40, 20, 200, 200))  # the shares go by the place in the picture
    plain = Solution([motion(5, 0)], torch.tensor([[[1.0]], [[0.0]]]), ([100.0], [100.0]), [])
    assert torch.equal(take_out(x, plain, whole), x)
    assert part.shape == (1, 1, 160, 180)
