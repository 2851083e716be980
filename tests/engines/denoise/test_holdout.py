"""Held-out pixels: which are hidden, and that their errors rank denoisers as their true errors do."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from restore.engines.denoise.holdout import SHARE, HeldOut, block_side, clearly_better, errors, hold_out
from restore.errors import ConfigError
from restore.inference.engine import Condition, Unchanged
from restore.models.spec import ModelSpec


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("length", "side"), [(0.0, 1), (0.4, 3), (1.0, 3), (1.3, 5), (2.0, 5)])
def test_blocks_are_wider_than_the_correlation(length, side):
    assert block_side(length) == side > length


@settings(deadline=None, max_examples=40)
@given(st.integers(60, 150), st.integers(60, 150), st.sampled_from([1, 3, 5]), st.integers(0, 99))
def test_the_blocks_alone_are_replaced_and_by_what_is_around_them(height, width, side, seed):
    x = torch.rand(2, height, width, generator=generator(seed))
    held_out = hold_out(x, side, generator(seed))
    changed = (held_out.pixels != x).any(0)
    mask = torch.zeros(1, 1, height, width)
    mask[0, 0, held_out.rows, held_out.columns] = 1
    blocks = F.max_pool2d(mask, side, 1, side // 2)[0, 0] > 0
    assert torch.equal(changed, blocks)
    assert int(blocks.sum()) == len(held_out.rows) * side * side  # none touches another
    assert torch.equal(held_out.truth, x[:, held_out.rows, held_out.columns])
    unseen = x.clone()
    unseen[:, blocks] = 9.0  # what was there does not matter
    assert torch.equal(hold_out(unseen, side, generator(seed)).pixels, held_out.pixels)


def test_two_percent_are_hidden():
    held_out = hold_out(torch.rand(1, 700, 700), 1, generator())
    assert len(held_out.rows) / 700**2 == pytest.approx(SHARE, rel=0.1)


def test_a_small_picture_has_no_room():
    with pytest.raises(ConfigError, match=r"6 x 6 px is too small to hold out blocks of 1 px.*7 px or more"):
        hold_out(torch.rand(1, 6, 6), 1, generator())


class Blur:
    """Mean of 3 x 3 px, `times` over."""

    def __init__(self, times):
        self.times, self.fingerprint, self.spec = times, f"blur {times}", ModelSpec("denoise", radius=times)

    def cast(self, dtype, device):
        return self

    def prepare(self, sources, options):
        return Unchanged().prepare(sources, options)

    def __call__(self, x, condition: Condition, places):
        y = x[:, 0]
        for _ in range(self.times):
            y = F.avg_pool2d(y, 3, 1, 1, count_include_pad=False)
        return {"result": y}


def test_the_hidden_error_is_the_true_one_and_the_noise():
    """Noise2Self's equality, for a picture whose truth is known."""
    clean = torch.full((1, 400, 400), 0.4)
    clean[:, :, ::40] = 0.7
    noisy = clean + 0.1 * torch.randn(1, 400, 400, generator=generator())
    held_out = hold_out(noisy, 1, generator(1))
    known = HeldOut(held_out.pixels, held_out.rows, held_out.columns, clean[:, held_out.rows, held_out.columns])
    for engine in (Blur(1), Blur(4)):
        seen, true = float(errors(engine, [held_out]).mean()), float(errors(engine, [known]).mean())
        assert seen == pytest.approx(true + 0.01, rel=0.05)
    assert clearly_better(errors(Blur(1), [held_out]), errors(Unchanged(), [held_out]))
    assert not clearly_better(errors(Blur(1), [held_out]), errors(Blur(1), [held_out]))


def test_a_difference_within_chance_is_none():
    first = torch.rand(50, generator=generator())
    assert clearly_better(first, first + 0.01)
    assert not clearly_better(first, first + 0.01 * torch.randn(50, generator=generator(1)) - 0.001)
