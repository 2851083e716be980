"""A straight motion is found by its length and direction, from the sharp picture and from a half deblurred one."""

import math

import pytest
import torch

from restore.classical.linear_blur import LEAST_SIDE, LinearBlur, blurred_along, fit_linear_blur
from restore.physics.random import generator_for
from tests.classical.blurred import scene

SIDE = 192


def tile() -> torch.Tensor:
    return scene()[0, 0, 20 : 20 + SIDE, 30 : 30 + SIDE].contiguous()


def seen(length: float, angle: float) -> torch.Tensor:
    noise = torch.randn(SIDE, SIDE, generator=generator_for(1)) * 2 / 255
    return blurred_along(tile(), LinearBlur(length, angle, 1)) + noise


def apart(one: float, other: float) -> float:
    """Degrees between two lines."""
    return math.degrees(abs((one - other + math.pi / 2) % math.pi - math.pi / 2))


@pytest.mark.parametrize(("length", "angle"), [(5.0, 0.4), (9.0, 1.2), (15.0, 2.5), (25.0, 0.8), (40.0, 1.9)])
def test_length_and_direction(length, angle):
    found = fit_linear_blur(tile(), seen(length, angle))
    assert found is not None
    assert abs(found.length - length) <= 1
    assert apart(found.angle, angle) <= 6
    assert 0 <= found.angle < math.pi
    assert found.confidence > 0.5


@pytest.mark.parametrize(("length", "angle"), [(9.0, 1.2), (15.0, 2.5), (25.0, 0.8)])
def test_what_is_taken_for_sharp_may_hold_half_of_the_blur(length, angle):
    half = blurred_along(tile(), LinearBlur(length / 2, angle, 1))
    found = fit_linear_blur(half, seen(length, angle))
    assert found is not None
    assert 0.8 * length <= found.length <= length + 1
    assert apart(found.angle, angle) <= 6


def test_none_where_nothing_is_blurred():
    assert fit_linear_blur(tile(), seen(1.0, 0.3)) is None


def test_none_where_there_is_no_texture():
    flat = torch.full((SIDE, SIDE), 0.5)
    assert fit_linear_blur(flat, flat + 1e-3 * torch.randn(SIDE, SIDE, generator=generator_for(2))) is None


def test_none_where_another_picture_is_seen():
    assert fit_linear_blur(tile().flip(0), seen(9.0, 1.2)) is None


@pytest.mark.parametrize("shapes", [((SIDE, SIDE), (SIDE, SIDE - 1)), ((LEAST_SIDE - 1, SIDE),) * 2])
def test_sizes_are_checked(shapes):
    with pytest.raises(ValueError, match="96 px or more, alike"):
        fit_linear_blur(*(torch.zeros(shape) for shape in shapes))
