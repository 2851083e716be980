"""Black and white are those of nearly all values, whatever the type, and never of single ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore.analysis.sample import CROP, GRID, known_crops, sample_crops
from restore.analysis.value_range import find_scale
from restore.errors import UnsupportedError
from restore.picture import Picture, ValueScale


def _scale(array: np.ndarray) -> ValueScale:
    return find_scale(Picture.from_array(array))


def _dim(seed: int = 0) -> np.ndarray:
    """A scene of 110 to 900 counts with its noise: 16-bit data that fill neither end."""
    rng = np.random.default_rng(seed)
    scene = 110 + 780 * rng.random((12, 12)).repeat(12, 0).repeat(12, 1)
    return np.rint(scene + rng.normal(0, 4, scene.shape)).astype(np.uint16)


def test_8_bit_is_taken_at_its_word():
    assert _scale(np.full((4, 4), 3, np.uint8)) == ValueScale(0.0, 255.0, 255.0)


def test_a_declared_depth_is_taken_at_its_word():
    picture = Picture.from_array(_dim())
    assert find_scale(Picture(replace(picture.info, bits=10), picture.pixels)) == ValueScale(0.0, 1023.0, 1023.0)


def test_the_scale_spans_nearly_all_values_and_a_twentieth_more():
    values = np.arange(10_000, dtype=np.float32).reshape(100, 100) + 500
    scale = _scale(values)
    low, high = np.quantile(values, (0.002, 0.998))
    assert scale.black == pytest.approx(low - 0.05 * (high - low), rel=1e-5)
    assert scale.white == pytest.approx(1.1 * (high - low), rel=1e-5) and scale.clip is None


@given(st.floats(0.1, 60), st.integers(1, 9000), st.sampled_from(["uint16", "float32"]), st.integers(0, 3))
def test_an_affine_change_of_values_or_type_changes_the_scale_likewise(factor, offset, dtype, seed):
    """So that unit values, and with them every result, are the same."""
    counts = _dim(seed)
    changed = counts.astype(np.float64) * factor + offset
    if dtype == "uint16":
        changed = counts.astype(np.uint16) * np.uint16(max(1, round(factor))) + np.uint16(offset)
    changed = changed.astype(dtype)
    before, after = _scale(counts), _scale(changed)
    unit = before.to_unit(counts.astype(np.float64)), after.to_unit(changed.astype(np.float64))
    assert np.abs(unit[0] - unit[1]).max() < 1e-5


@pytest.mark.parametrize("value", [0, 4095, 16000, 65535])
@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_single_samples_do_not_move_the_scale(value, count, dtype):
    plain = _dim().astype(dtype)
    hot = plain.copy()
    hot.reshape(-1)[:: plain.size // count + 1] = value
    before, after = _scale(plain), _scale(hot)
    assert abs(after.black - before.black) < 0.01 * before.white
    assert abs(after.white - before.white) < 0.01 * before.white


def test_lights_beyond_the_picture_do_not_set_the_scale():
    """Stars in a sky, and the highlights of high dynamic range."""
    rng = np.random.default_rng(0)
    sky = rng.normal(1000, 30, (200, 200)).clip(1)
    sky[:10, :40] = 60_000  # 1 %
    scale = _scale(sky.astype(np.uint16))
    assert 700 < scale.black < 1000 and 200 < scale.white < 800 and scale.clip == 65535


def test_an_end_of_the_file_that_holds_samples_is_black_or_white():
    rng = np.random.default_rng(0)
    photo = np.clip(rng.normal(30_000, 25_000, (200, 200)), 0, 65_535).astype(np.uint16)  # clipped on both sides
    assert _scale(photo) == ValueScale(0.0, 65535.0, 65535.0)
    unit = (photo / 65535).astype(np.float32)
    assert _scale(unit) == ValueScale(0.0, 1.0, None)


def test_an_end_begins_to_count_gradually():
    rng = np.random.default_rng(0)
    values = rng.uniform(0.02, 0.97, 100_000).astype(np.float32)
    blacks = []
    for share in (0.0, 0.002, 0.003, 0.004, 0.005, 0.006, 0.01):
        values[: int(share * len(values))] = 0.0
        blacks.append(_scale(values.reshape(250, 400)).black)
    assert blacks[0] < -0.02 and blacks[-1] == 0.0
    assert max(abs(a - b) for a, b in pairwise(blacks)) < 0.025


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_one_value_and_a_few_others_have_the_scale_of_the_file(dtype):
    picture = np.full((100, 100), 7, dtype)
    assert _scale(picture) == ValueScale.nominal(Picture.from_array(picture).info)
    picture[3, :5] = 900
    assert _scale(picture) == ValueScale.nominal(Picture.from_array(picture).info)


def test_samples_without_data_do_not_count():
    counts = _dim().astype(np.float32)
    holes = counts.copy()
    holes[:60] = np.nan
    holes[60:90, :30] = -9999
    known = np.isfinite(holes) & (holes > 0)
    assert _scale(holes).white == pytest.approx(_scale(counts).white, rel=0.05)
    assert _scale(holes).black > 0 and known.mean() < 0.6


def test_infinite_values_are_refused():
    picture = np.zeros((9, 9), np.float32)
    picture[4, 4] = np.inf
    with pytest.raises(UnsupportedError, match="1 sample is infinite"):
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


def test_known_crops_are_nan_where_nothing_can_be_measured():
    picture = np.random.default_rng(0).integers(1, 255, (64, 64), dtype=np.uint8)
    picture[:16] = 0  # a bar
    (crop,) = known_crops(Picture.from_array(picture), ValueScale())
    assert crop[0, :16].isnan().all() and crop[0, 16:].isfinite().all()
