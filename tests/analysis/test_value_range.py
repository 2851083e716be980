"""White is found where the file does not say it, and never where it does."""

import numpy as np
import pytest

from restore.analysis.sample import CROP, GRID, sample_crops
from restore.analysis.value_range import find_scale
from restore.errors import UnsupportedError
from restore.picture import Picture, ValueScale


def _scale(array: np.ndarray) -> ValueScale:
    return find_scale(Picture.from_array(array))


@pytest.mark.parametrize(
    ("highest", "white"),
    [(1, 255), (255, 255), (256, 1023), (1023, 1023), (4095, 4095), (4096, 16383), (16384, 65535), (65535, 65535)],
)
def test_sensor_data_in_a_16_bit_file(highest, white):
    picture = np.zeros((8, 8), np.uint16)
    picture[3, 4] = highest
    scale = _scale(picture)
    assert (scale.black, scale.white, scale.clip) == (0.0, white, white)
    assert bool(scale.note) == (white < 65535)


def test_8_bit_is_taken_at_its_word():
    assert _scale(np.full((4, 4), 3, np.uint8)) == ValueScale(0.0, 255.0, 255.0)


def test_a_declared_depth_is_taken_at_its_word():
    picture = Picture.from_array(np.full((4, 4), 3, np.uint16))
    from dataclasses import replace

    declared = Picture(replace(picture.info, bits=10), picture.pixels)
    assert find_scale(declared).white == 1023


@pytest.mark.parametrize(("top", "white"), [(1.0, 1.0), (0.5, 1.0), (900.0, 1024.0), (1024.0, 1024.0), (0.01, 2**-6)])
def test_floats_are_scaled_by_powers_of_two(top, white):
    picture = np.linspace(0, top, 1000, dtype=np.float32).reshape(20, 50)
    scale = _scale(picture)
    assert (scale.white, scale.clip) == (white, None)
    np.testing.assert_array_equal(scale.from_unit(scale.to_unit(picture)), picture)


def test_a_few_highlights_above_one_are_high_dynamic_range_and_not_counts():
    picture = np.full((100, 100), 0.5, np.float32)
    picture[0, :50] = 7.0
    assert _scale(picture).white == 1.0
    picture[:2] = 7.0
    assert _scale(picture).white == 8.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    picture = np.zeros((9, 9), np.float32)
    picture[4, 4] = value
    with pytest.raises(UnsupportedError, match="1 sample is NaN or infinite"):
        _scale(picture)


def test_small_pictures_are_sampled_whole_and_large_ones_by_a_grid():
    small = Picture.from_array(np.zeros((30, 50, 3), np.uint8))
    assert [tuple(c.shape) for c in sample_crops(small, ValueScale())] == [(3, 30, 50)]
    large = Picture.from_array(np.zeros((3000, 2000), np.uint8))
    crops = sample_crops(large, ValueScale())
    assert len(crops) == GRID**2 and all(tuple(c.shape) == (1, CROP, CROP) for c in crops)


def test_crops_carry_unit_values_from_where_they_are():
    rows = np.arange(3000, dtype=np.uint16)[:, None] * np.ones(1500, np.uint16)
    crops = sample_crops(Picture.from_array(rows), ValueScale(0, 4095.0, 4095.0))
    assert crops[0][0, 0, 0] == 0
    assert crops[-1][0, -1, -1].item() == pytest.approx(2999 / 4095)


@pytest.mark.parametrize("size", [(1, 5_000_000), (5_000_000, 1), (20, 200_000)])
def test_extreme_shapes_are_sampled_within_bounds(size):
    crops = sample_crops(Picture.from_array(np.zeros(size, np.uint8)), ValueScale())
    assert 0 < sum(c.numel() for c in crops) <= (CROP * GRID) ** 2


def test_overshoot_of_unit_data_leaves_its_range_alone():
    picture = np.linspace(-0.3, 1.2, 600, dtype=np.float32).reshape(20, 30)
    scale = _scale(picture)
    assert (scale.black, scale.white, scale.clip) == (0.0, 1.0, None) and "overshoot" in scale.note


@pytest.mark.parametrize(("lowest", "highest"), [(-1.5, 1.0), (-0.3, 2.5), (0.9, 1.9)])
def test_what_is_no_overshoot_is_fitted_in(lowest, highest):
    picture = np.linspace(lowest, highest, 600, dtype=np.float32).reshape(20, 30)
    scale = _scale(picture)
    assert scale.black == min(np.float32(lowest), 0) and scale.white in (2.0, 4.0)
    unit = scale.to_unit(picture)
    assert unit.min() >= 0 and unit.max() <= 1
    np.testing.assert_allclose(scale.from_unit(unit), picture, atol=1e-7)
