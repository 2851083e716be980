"""Deconvolution beside what is no picture: NaN, letterbox; and a black sky, which is one."""

from __future__ import annotations

import numpy as np
import pytest

from restore.analysis.colours import ColourView
from restore.analysis.filled import are_cut_off
from restore.analysis.value_range import find_scale
from restore.api import load
from restore.picture import Picture
from tests.classical.blurred import scene, seen
from tests.physics.test_psf import described

GAUSS = "gauss:1.8"


@pytest.fixture(scope="module")
def pair():
    """(truth, blurred), H x W, 8-bit units."""
    truth, blurred = (255 * x[0, 0].numpy().astype(np.float64)
                      for x in seen(scene()[..., 60:316, 130:386], described(GAUSS), 0.008))  # fmt: skip
    return truth, blurred


def gain(truth, before, after, part):
    """dB."""
    errors = (np.mean(np.square(x[part].clip(0, 255) - truth[part])) for x in (before, after))
    return 10 * np.log10(next(errors) / next(errors))


def test_missing_data_and_bars_stay_and_cost_nothing_beside_them(pair):
    truth, blurred = pair
    deconv = load("deconv", psf=GAUSS, device="cpu")
    inside, there = np.s_[100:], np.s_[108:]
    whole = deconv.restore(blurred.astype(np.float32))
    missing = blurred.astype(np.float32)
    missing[:100] = np.nan
    bars = np.rint(blurred.clip(0, 255)).astype(np.uint8)
    bars[:100] = 0
    best = gain(truth, blurred, whole.picture.numpy().astype(float), there)
    assert best > 1
    for picture in (missing, bars):
        result = deconv.restore(picture)
        after = result.picture.numpy()
        assert np.array_equal(after[:100], picture[:100], equal_nan=True)
        assert gain(truth, blurred, after.astype(float), there) > best - 0.4
        assert np.abs(after[inside].astype(float)).max() < 300, "it rings beside them"
        assert result.decisions["method"].split(":")[0] == whole.decisions["method"].split(":")[0]
        level = float(result.decisions["noise"].split()[1])
        assert level == pytest.approx(float(whole.decisions["noise"].split()[1]), rel=0.2)


def test_bars_are_cut_off_and_the_sky_is_not(pair):
    def cut_off(picture):
        view = ColourView(Picture.from_array(np.rint(picture).clip(0, 255).astype(np.uint8)))
        return are_cut_off(view, find_scale(view))

    _, blurred = pair
    bars = blurred.copy()
    bars[:60] = 16
    assert cut_off(bars) and not cut_off(blurred)
    yy, xx = np.mgrid[:200, :200]
    stars = sum(200 * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / 6.5) for y in (40, 160) for x in (50, 150))
    assert not cut_off(stars)
    single = np.zeros((100, 100))
    single[20::20, 20::20] = 250
    assert not cut_off(single)


def test_a_dark_field_that_is_part_of_the_picture_counts_for_its_range():
    """A lit square on a black field (94 % of it zeros): the range begins at the field, for counts as for floats."""
    counts = np.zeros((160, 160), np.uint16)
    counts[60:100, 60:100] = np.random.default_rng(0).poisson(400, (40, 40))
    for picture in (counts, (counts / 1000).astype(np.float32)):
        result = load("deconv", method="rl", psf="gauss:1.5", device="cpu").restore(picture).picture.numpy()
        assert result[:40].max() == 0 and result.sum() == pytest.approx(picture.sum(), rel=0.01)
