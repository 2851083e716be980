"""What is learned from noisy pictures alone: objectives, and the crops they are shown."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from restore.engines.denoise.learners import LEARNERS, NoiseStats, WithNoiseLevel, crop_side, crops
from restore.engines.denoise.options import LEARNERS as NAMES
from restore.engines.fitting import FitSettings, fit
from restore.errors import ConfigError
from restore.models.cbsn import CBSN
from restore.models.plain_unet import PlainUNet
from restore.models.spec import ModelSpec
from restore.physics.level import KNOTS, MAP_RADIUS

PICTURES = [torch.rand(1, 64, 80, generator=torch.Generator().manual_seed(i)) for i in range(3)]


def draw(step, seed=0):
    return crops(PICTURES, 48, 2, step, seed)


def learned(seed=0):
    """Of a small network that asks for the level, by Neighbor2Neighbor."""
    torch.manual_seed(0)
    net = PlainUNet(3, 1, (8, 8), (0, 1, 0))
    objective = LEARNERS["neighbor2neighbor"].objective(net, NoiseStats(torch.full((KNOTS,), 0.1), 0.0)).train()
    (phase,) = objective.phases

    def loss(step):
        return objective(draw(step, seed), phase.name, step + 1)["loss"]

    answers = iter([5, 4, 3, 2])
    settings = FitSettings(steps=12, validate_every=4, learning_rate=1e-3)
    return fit(objective.averaged, phase.parameters, loss, lambda _: next(answers), settings).network.state_dict()


def test_the_options_name_all_learners():
    assert tuple(LEARNERS) == NAMES


def test_the_same_pictures_and_seed_give_the_same_network():
    one, again, other = learned(), learned(), learned(1)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_crops_are_a_function_of_the_step_and_the_seed():
    assert torch.equal(draw(3).clean, draw(3).clean)
    assert not torch.equal(draw(3).clean, draw(4).clean)
    assert not torch.equal(draw(3).clean, draw(3, 1).clean)
    assert draw(3).clean.shape == (2, 3, 48, 48)
    assert torch.equal(draw(3).clean[:, 0], draw(3).clean[:, 2])  # one channel three times


def test_colours_stay_together():
    picture = torch.stack([torch.rand(64, 64), torch.rand(64, 64) + 1, torch.rand(64, 64) + 2])
    actual = crops([picture], 48, 4, 0).clean
    assert ((actual.floor() - torch.arange(3.0)[:, None, None]).abs() == 0).all()


def test_too_small_to_learn_from():
    assert crop_side(PICTURES, 48, 20) == 40
    with pytest.raises(ConfigError, match=r"too small to learn from.*the smallest side is 30 px"):
        crop_side([torch.rand(1, 30, 90)], 48, 8)


def test_the_network_is_given_the_level():
    seen = []

    class Net(nn.Module):
        def forward(self, x, noise_level):
            seen.append((x, noise_level))
            return x

        def spec(self):
            return ModelSpec("denoise", conditions=("noise_level",), channels=3, radius=5)

    net = WithNoiseLevel(Net(), torch.full((KNOTS,), 0.2))
    assert net.spec() == ModelSpec("denoise", channels=3, radius=5 + MAP_RADIUS)  # it asks for nothing more
    net(torch.rand(2, 3, 16, 16))
    ((x, level),) = seen
    assert x.shape == (2, 3, 16, 16) and level.shape == (2, 1, 16, 16)
    assert torch.allclose(level, torch.tensor(0.2))


@pytest.mark.parametrize(("length", "pd"), [(0.3, 2), (1.0, 2), (1.3, 3), (4.0, 5)])
def test_the_shuffle_follows_the_correlation(length, pd):
    noise = NoiseStats(torch.full((KNOTS,), 0.1), length)
    assert LEARNERS["cbsn"].objective(CBSN(3, 4, 1), noise).pd == pd
    assert LEARNERS["ap-bsn"].objective(CBSN(3, 4, 1, blind=True), noise).pd == pd
