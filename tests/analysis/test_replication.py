"""Pixels that are repeated are seen as such, wherever a crop begins, and others are not."""

from __future__ import annotations

import pytest
import torch

from restore.analysis.replication import without_repeats


@pytest.mark.parametrize(("down", "right"), [(2, 2), (3, 2), (5, 8)])
def test_the_smaller_picture_is_found_from_any_corner(down, right):
    small = torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(0))
    large = small.repeat_interleave(down, 1).repeat_interleave(right, 2)
    (found,) = without_repeats([large]) or [None]
    assert torch.equal(found, small)
    (found,) = without_repeats([large[:, 1:, right:]]) or [None]
    assert torch.equal(found, small[:, 1:, 1:]), "a pixel that is cut is left out"


def test_others_are_none():
    noise = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
    large = noise.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert without_repeats([noise]) is None and without_repeats([large, noise]) is None
    assert without_repeats([noise.repeat_interleave(2, 1)]) is None, "along one axis"
    assert without_repeats([torch.zeros(1, 40, 40)]) is None and without_repeats([]) is None
