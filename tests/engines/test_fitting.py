"""Learning from noisy pictures: what is kept, when it stops, what is drawn."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from restore.engines.fitting import (
    LEARNERS,
    FitSettings,
    Known,
    LevelTold,
    crop_side,
    crops,
    learn,
)
from restore.errors import ConfigError
from restore.models.cbsn import CBSN
from restore.models.plain_unet import PlainUNet
from restore.physics.level import KNOTS


class Bias(nn.Module):
    """x + b, which learning moves."""

    def __init__(self, value=0.0):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x):
        return x + self.value


def white(net):
    torch.manual_seed(0)
    return LEARNERS["neighbor2neighbor"].objective(net, Known(torch.full((KNOTS,), 0.1), 0.0))


def small():
    return PlainUNet(3, 1, (8, 8), (0, 1, 0))


PICTURES = [torch.rand(1, 64, 80, generator=torch.Generator().manual_seed(i)) for i in range(3)]
QUICK = FitSettings(steps=40, look_every=10, patience=2, crop=48, batch=2)


def draw(step):
    return crops(PICTURES, 48, 2, step)


def fit(scores, settings=QUICK, lines=None):
    """Looks are answered from a list."""
    answers = iter(scores)
    tell = (lines if lines is not None else []).append
    return learn(white(small()), draw, lambda net: next(answers), settings, tell)


def test_the_best_look_is_kept():
    found = fit([5, 4, 3, 4, 4])
    assert (found.steps, found.error, found.of) == (20, 3, 40)


def test_it_stops_when_it_gets_no_better():
    assert fit([5, 4, 6, 7, 1]).of == 30


def test_learning_cannot_make_it_worse():
    torch.manual_seed(1)
    net = small()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    answers = iter([1, 2, 3])
    found = learn(white(net), draw, lambda _: next(answers), QUICK, lambda _: None)
    assert found.steps == 0
    kept = found.network.network.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in before.items())
    assert any(not torch.equal(net.state_dict()[name], value) for name, value in before.items())  # it did learn


def test_the_same_pictures_give_the_same_network():
    one, other = (fit([5, 4, 3, 2, 1]).network.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_budget_ends_it():
    found = fit([5] * 100, FitSettings(steps=10_000, look_every=5000, crop=48, batch=2, budget=0.5))
    assert 0 < found.of < 5000
    assert found.seconds < 5


def test_it_tells_how_it_goes():
    lines = []
    fit([0.5, 0.25, 0.125, 0.5, 0.5], lines=lines)
    assert lines[:2] == ["before learning: held-out error 0.5", "step 10 of 40: held-out error 0.25"]


def test_crops_are_a_function_of_the_step():
    assert torch.equal(draw(3).clean, draw(3).clean)
    assert not torch.equal(draw(3).clean, draw(4).clean)
    assert draw(3).clean.shape == (2, 3, 48, 48)
    assert torch.equal(draw(3).clean[:, 0], draw(3).clean[:, 2])  # one channel three times


def test_colours_stay_together():
    picture = torch.stack([torch.rand(64, 64), torch.rand(64, 64) + 1, torch.rand(64, 64) + 2])
    found = crops([picture], 48, 4, 0).clean
    assert ((found.floor() - torch.arange(3.0)[:, None, None]).abs() == 0).all()


def test_too_small_to_learn_from():
    assert crop_side(PICTURES, QUICK, 20) == 40
    with pytest.raises(ConfigError, match=r"too small to learn from.*the smallest side is 30 px"):
        crop_side([torch.rand(1, 30, 90)], QUICK, 8)


def test_the_level_is_told():
    seen = []

    class Net(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x[:, :3]

    LevelTold(Net(), torch.full((KNOTS,), 0.2))(torch.rand(2, 3, 16, 16))
    assert seen[0].shape == (2, 4, 16, 16)
    assert torch.allclose(seen[0][:, 3], torch.tensor(0.2))


@pytest.mark.parametrize(("length", "pd"), [(0.3, 2), (1.0, 2), (1.3, 3), (4.0, 5)])
def test_the_shuffle_follows_the_correlation(length, pd):
    known = Known(torch.full((KNOTS,), 0.1), length)
    assert LEARNERS["cbsn"].objective(CBSN(3, 4, 1), known).pd == pd
    assert LEARNERS["ap-bsn"].objective(CBSN(3, 4, 1, blind=True), known).pd == pd
