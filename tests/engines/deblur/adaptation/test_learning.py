"""A network learns from what it sees, keeps what helps, and nothing else."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.engines.deblur.adaptation import domain, learning
from restore.engines.deblur.adaptation.learning import SETTINGS, Safeguards, _between, _divided, adapt
from restore.engines.deblur.adaptation.mining import Tile
from restore.engines.deblur.adaptation.seen import Frame
from restore.models.spec import ModelSpec
from tests.engines.deblur.adaptation.seen_frames import clip, photograph

QUICK = replace(SETTINGS, steps=30, validate_every=10, learning_rate=5e-2, average=0.8, clip=None)


class Amount(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.zeros(()))


class Sharpen(nn.Module):
    """Makes slopes steeper where a further blur would leave them; by how much is learned, and begins as nothing."""

    def __init__(self, window: int = 1) -> None:
        super().__init__()
        self.window = window
        self.tail = Amount()

    def forward(self, x: Tensor) -> Tensor:
        middle = x.chunk(self.window, 1)[self.window // 2]
        fine = middle - F.avg_pool2d(middle, 9, 1, 4, count_include_pad=False)
        slope, after = (each.diff(dim=-1).abs().mean((1, 2, 3)) for each in (middle, F.avg_pool2d(middle, (1, 9), 1)))
        soft = (slope - after) / slope.clamp(min=1e-6) < 0.5
        return middle + soft.view(-1, 1, 1, 1) * self.tail.amount * fine

    def spec(self) -> ModelSpec:
        return ModelSpec("deblur", window=self.window, channels=3, radius=7, parameters=1)


def run(frames, net=None, **how):
    net = net or Sharpen()
    return adapt(net, net.spec(), frames, **{"settings": QUICK, **how})


@pytest.fixture(scope="module", autouse=True)
def few_fits():
    """Of fourteen tiles: enough for one kind of blur."""
    before, domain._FITTED = domain._FITTED, 14
    yield
    domain._FITTED = before


@pytest.fixture(scope="module")
def frames():
    return clip(12, length=9.0, side=208)


@pytest.fixture(scope="module")
def adapted(frames):
    return run(frames)


def test_it_learns_and_says_why(adapted):
    report = adapted.report
    assert report["decision"] == "adapted"
    assert report["gain"] >= 0.1
    assert report["least_likely_gain"] > 0
    assert report["sharp_after"] >= report["sharp"] - 0.05
    assert report["held_out_after"] == pytest.approx(report["held_out"] + report["gain"], abs=0.002)
    assert report["learned_tiles"] + report["held_out_tiles"] <= report["sharp_tiles"]
    assert float(adapted.network.tail.amount.abs().max()) > 0


def test_the_frames_get_better(frames, adapted):
    """There is a truth here, which nothing above has seen."""
    scene = photograph(208)
    gains = []
    for frame in frames:
        truth = scene.roll((frame.number, 2 * frame.number), (-2, -1))
        if frame.number % 3:
            with torch.no_grad():
                answer = adapted.network(frame.pixels[None])[0].clamp(0, 1)
            before, after = (float((x - truth).square().mean()) for x in (frame.pixels, answer))
            gains.append(before / after)
    assert sum(gains) / len(gains) > 1.01


def test_the_network_that_it_began_with_is_left_as_it_was(frames):
    net = Sharpen()
    before = copy.deepcopy(net.state_dict())
    run(frames, net, settings=replace(QUICK, steps=4, validate_every=2))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.tail.amount.requires_grad


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(frames):
    few = replace(QUICK, steps=8, validate_every=4)
    one, two, other = (
        run(frames, settings=few, seed=seed, safeguards=Safeguards(False, False, False)) for seed in (0, 0, 1)
    )
    assert torch.equal(one.network.tail.amount, two.network.tail.amount)
    assert {**one.report, "seconds": 0} == {**two.report, "seconds": 0}
    assert not torch.equal(one.network.tail.amount, other.network.tail.amount)


@pytest.mark.slow
def test_windows_learn_too(frames):
    few = replace(QUICK, steps=8, validate_every=4)
    done = run(frames, Sharpen(window=3), settings=few, safeguards=Safeguards(False, False, False))
    assert float(done.network.tail.amount.abs().max()) > 0


def test_blurred_clips_are_not_learned_from():
    frames = [Frame(frame.pixels, 0, i) for i, frame in enumerate(clip(12)) if frame.number % 3]
    done = run(frames)
    assert done.network is None
    assert done.report["why"] == "no part of the input is sharp enough to learn from"


@pytest.mark.slow
def test_a_learning_rate_that_is_far_too_high_is_rejected(frames):
    done = run(frames, settings=replace(QUICK, learning_rate=1e4 * QUICK.learning_rate))
    assert done.network is None
    assert done.report["decision"] == "keep"


@pytest.mark.slow
def test_labels_of_noise_are_rejected(frames, monkeypatch):
    real = learning._Learner.crops

    def noise(self, tiles):
        crops = real(self, tiles)
        return [torch.rand(crop.shape, generator=torch.Generator().manual_seed(i)) for i, crop in enumerate(crops)]

    held_out = learning._Learner.held_out

    def true_held_out(self, tiles, domain, seed):
        monkeypatch.setattr(learning._Learner, "crops", real)
        made = held_out(self, tiles, domain, seed)
        monkeypatch.setattr(learning._Learner, "crops", noise)
        return made

    monkeypatch.setattr(learning._Learner, "held_out", true_held_out)
    assert run(frames).network is None


def test_stopping_early_goes_on_with_the_best(frames):
    asked = iter([False] * 9)
    done = run(frames, stopped=lambda: next(asked, True))
    assert done.interrupted
    assert done.report["total_steps"] == 9


def test_weights_between_two_networks():
    first, last = Sharpen(), Sharpen()
    nn.init.ones_(last.tail.amount)
    assert torch.equal(_between(first, last, 0.25).tail.amount, torch.full_like(last.tail.amount, 0.25))


def test_what_is_held_out_is_apart_in_time_and_place():
    pixels = torch.zeros(3, 256, 256)
    frames = [Frame(pixels, 0, i) for i in range(24)]
    tiles = [Tile(i, 0, 0, 96, 0.6, 1.0) for i in range(24)]
    learned, held = _divided(frames, tiles)
    assert len(held) == 5
    assert min(tile.frame for tile in held) - max(tile.frame for tile in learned) >= 5
    one = [Frame(pixels, 0, 0)]
    tiles = [Tile(0, top, left, 96, 0.6, 1.0) for top in (0, 48, 96, 144) for left in (0, 48, 96, 144)]
    learned, held = _divided(one, tiles)
    assert all(abs(a.top - b.top) >= 96 or abs(a.left - b.left) >= 96 for a in learned for b in held)
