"""What holds no picture is recognised by itself, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from restore.analysis.missing import REACH, Missing, find_missing
from restore.errors import UnsupportedError
from restore.picture import Picture

NOISE = np.random.default_rng(0).normal(400, 30, (96, 80)).astype(np.float32)


def find(array: np.ndarray, nodata: float | None = None) -> Missing:
    picture = Picture.from_array(array)
    return find_missing(Picture(replace(picture.info, nodata=nodata), picture.pixels))


def hole(value: float, side: int = 20) -> np.ndarray:
    picture = NOISE.copy()
    picture[30 : 30 + side, 10:60] = value
    return picture


@pytest.mark.parametrize("value", [-9999.0, -32767.0, -32768.0, -3.4028235e38, 1e36, np.nan])
def test_no_data_far_outside_is_recognised(value):
    missing = find(hole(value))
    assert missing.share == pytest.approx(20 * 50 / NOISE.size) and not missing.fills
    mask = missing.absent(hole(value)[..., None])
    assert mask is not None and mask[30:50, 10:60].all() and mask.sum() == 1000
    assert "hold no picture" in missing.note


def test_a_sentinel_within_the_values_is_one_of_them():
    heights = NOISE * 40 - 20_000
    heights[3, 4] = -9999
    assert find(heights) == Missing()


@pytest.mark.parametrize(("value", "missing"), [(-1e6, True), (1e20, True), (65535.0, False), (-600.0, False)])
def test_any_value_that_occurs_again_and_again_far_outside_is_no_data(value, missing):
    """A light that is clipped is not so far above the rest, and nothing real lies that far below it."""
    picture = NOISE.copy()
    specks = np.random.default_rng(1).random(picture.shape) < 0.02
    picture[specks] = value
    assert find(picture).values == ((float(np.float32(value)),) if missing else ())
    picture = NOISE.copy()
    picture[3, 4] = value
    assert find(picture) == Missing(), "once is an outlier"


def test_a_declared_value_counts_wherever_it_lies():
    assert find(hole(405.0), nodata=405.0).values == (405.0,)
    counts = np.random.default_rng(0).integers(1, 900, (64, 64)).astype(np.uint16)
    counts[:2] = 0
    assert find(counts, nodata=0.0).values == (0.0,) and find(counts).values == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_filled_areas_are_found_to_the_pixel(dtype, channels):
    rng = np.random.default_rng(0)
    picture = rng.integers(1, 200, (120, 100, channels)).astype(dtype)
    yy, xx = np.mgrid[:120, :100]
    outside = (xx - 50) ** 2 + (yy - 60) ** 2 > 45**2
    picture[outside] = 7
    missing = find(picture)
    assert missing.fills == ((7.0,) * channels,) and missing.filled > 0.3
    mask = missing.flat(picture)
    assert mask is not None and mask[outside].mean() > 0.995 and mask[~outside].mean() < 0.01


def test_noise_at_the_edge_of_a_filled_area_is_picture():
    """Of a dark scene, a fifth of whose pixels noise has taken to black."""
    picture = np.random.default_rng(0).integers(1, 9, (120, 100, 1)).astype(np.uint8)
    picture[np.random.default_rng(1).random((120, 100)) < 0.2] = 0
    picture[:40] = 0
    mask = find(picture).flat(picture)
    assert mask is not None and mask[:40].all() and mask[40:].mean() < 0.004
    picture[40:] = picture[40:].clip(1)
    picture[40, 30] = picture[42, 60] = 0
    mask = find(picture).flat(picture)
    assert mask is not None and not mask[40:].any()


def test_bands_agree_about_filled_areas():
    picture = np.random.default_rng(0).integers(1, 9, (200, 60, 1)).astype(np.uint8)
    picture[40:150, 20:41] = 0
    missing = find(picture)
    whole = missing.flat(picture)
    assert whole is not None
    for start in (0, 37, 63, 90):
        first, last = max(0, start - REACH), start + 30 + REACH
        part = missing.flat(picture[first:last])
        assert part is not None and np.array_equal(part[start - first : start - first + 30], whole[start : start + 30])


def test_small_and_rare_constant_spots_are_picture():
    picture = np.random.default_rng(0).integers(0, 255, (400, 400), dtype=np.uint8)
    picture[:7, :300] = 9  # too thin
    picture[100:116, 100:116] = 5  # 0.16 %
    assert find(picture) == Missing()


@pytest.mark.parametrize(("value", "words"), [(np.inf, "1 sample is infinite"), (-np.inf, "1 sample is infinite")])
def test_infinities_are_refused(value, words):
    picture = NOISE.copy()
    picture[5, 6] = value
    with pytest.raises(UnsupportedError, match=words):
        find(picture)
