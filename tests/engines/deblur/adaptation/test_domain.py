"""The blur of a clip, measured on itself."""

import math

import pytest
import torch

from restore.engines.deblur.adaptation.domain import Domain, _weighted_median, measure_domain, moved
from restore.engines.deblur.adaptation.seen import Frame
from tests.engines.deblur.adaptation.seen_frames import blurred, clip, photograph


def apart(one: float, other: float) -> float:
    return math.degrees(abs((one - other + math.pi / 2) % math.pi - math.pi / 2))


def test_length_and_direction_by_sharper_neighbours():
    """The deblurrer does nothing here: near frames that are sharp tell."""
    frames = clip(12, length=10.0, angle=math.pi / 3)
    domain = measure_domain(frames, [frame.pixels for frame in frames])
    assert domain.known
    assert domain.middle == pytest.approx(10, abs=1)
    right = [apart(blur.angle, math.pi / 3) <= 8 for blur in domain.blurs]
    assert sum(right) / len(right) >= 0.8
    assert 255 * domain.noise == pytest.approx(1.0, abs=0.4)


def test_length_and_direction_by_the_deblurred_picture():
    x = photograph()
    frames = [Frame(blurred(x, 9.0, 0.5, i), i, 0) for i in range(6)]
    domain = measure_domain(frames, [x] * 6)
    assert domain.known
    assert domain.middle == pytest.approx(9, abs=1)
    assert all(apart(blur.angle, 0.5) <= 6 for blur in domain.blurs)


def test_nothing_is_known_of_sharp_pictures():
    frames = [Frame(blurred(photograph(), 0.0, 0.0, i), i, 0) for i in range(4)]
    domain = measure_domain(frames, [frame.pixels for frame in frames])
    assert not domain.known
    assert domain.fields == ()


def test_the_shutter_by_motion_and_length():
    """The scene goes 12 px right a frame, the shutter is open for two thirds of the time: lines of 8 px."""
    scene = photograph(384)
    frames = []
    for number in range(8):
        view = blurred(scene, 8.0 if number % 3 else 0.0, 0.0, number)[:, 60:316, 110 - 12 * number : 366 - 12 * number]
        frames.append(Frame(view.contiguous(), 0, number))
    domain = measure_domain(frames, [frame.pixels for frame in frames])
    assert domain.shutter == pytest.approx(8 / 12, rel=0.15)
    field = torch.stack(domain.fields).mean((0, 2, 3))
    assert abs(float(field[0])) == pytest.approx(8, rel=0.25)
    assert abs(float(field[1])) < 1


def test_moved_pictures():
    x = torch.rand(3, 20, 24)
    motion = torch.stack((torch.full((20, 24), 2.0), torch.full((20, 24), -1.0)))
    assert torch.allclose(moved(x, motion)[:, 1:, :-2], x[:, :-1, 2:], atol=1e-6)


def test_weighted_medians():
    assert _weighted_median([3.0, 1.0, 2.0], [1, 1, 5]) == 2
    assert _weighted_median([3.0, 1.0, 2.0], [5, 1, 1]) == 3


def test_an_empty_domain():
    assert (Domain().known, Domain().middle, Domain().blurs) == (False, 0.0, ())
