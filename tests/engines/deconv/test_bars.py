"""Bars that were put on top of a blurred picture are no part of it; bars that were blurred with it are."""

from __future__ import annotations

import numpy as np
import pytest

from restore.engines.deconv.bars import Box, Inside, beside_bars
from restore.physics.psf import gauss, motion
from restore.picture import Picture, ValueScale
from tests.classical.blurred import circular, scene
from tests.engines.deconv.test_engine import deconvolution, prepared
from tests.inference.engines import restore

PSF, SIGMA = gauss(2.0), 2.55 / 255
TRUTH = scene()[..., 60:316, 60:316].float().expand(-1, 3, -1, -1)


def codes(x):
    return (x[0].movedim(0, -1).clamp(0, 1) * 255).round().byte().numpy()


def barred(x, rows=32, columns=0, value=0.0):
    x = x.clone()
    x[..., :rows, :] = x[..., x.shape[-2] - rows :, :] = value
    x[..., :columns] = x[..., x.shape[-1] - columns :] = value
    return x


def found(pixels, psf=PSF, sigma=SIGMA):
    return beside_bars(Picture.from_array(pixels), ValueScale(), psf, sigma)


@pytest.fixture(scope="module")
def blurred():
    return circular(TRUTH, PSF, SIGMA)


@pytest.mark.parametrize(("rows", "columns"), [(32, 0), (0, 20), (32, 20), (1, 0)])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_bars_on_top_are_found_where_they_are(blurred, rows, columns, value):
    pixels = codes(barred(blurred, rows, columns, value))
    assert found(pixels) == Box(rows, 256 - rows, columns, 256 - columns)


@pytest.mark.parametrize("psf", [PSF, motion(15, 90), motion(15, 20)])
def test_bars_that_were_blurred_are_part_of_the_picture(psf):
    pixels = codes(circular(barred(TRUTH), psf, 0.0))
    assert (pixels[:8] == pixels[0, 0]).all(), "there are bars"
    assert found(pixels, psf, 0.3 / 255) is None
    assert found(codes(barred(TRUTH, 0)), psf) is None and found(np.zeros((64, 64, 3), np.uint8), psf) is None


def test_the_box_is_read_as_a_picture(blurred):
    pixels = codes(blurred)
    inside = Inside(Picture.from_array(pixels), Box(10, 90, 5, 250))
    assert (inside.info.height, inside.info.width) == (80, 245)
    np.testing.assert_array_equal(inside.read_rows(3, 7), pixels[13:17, 5:250])


@pytest.mark.parametrize("tile", [2000, 96])
def test_the_picture_beside_bars_is_restored_as_without_them_and_bars_stay(blurred, tile):
    pixels = codes(barred(blurred, 32, 20))
    engine = deconvolution("hyper-laplacian", PSF.numpy())
    result, report = restore(engine, Picture.from_array(pixels), tile=tile)
    alone, other = restore(engine, Picture.from_array(np.ascontiguousarray(pixels[32:-32, 20:-20])), tile=2000)
    assert report.decisions["bars"] == "left as they are, around 216 x 192 px" and "bars" not in other.decisions
    assert report.decisions["noise"] == other.decisions["noise"]
    difference = np.abs(result[32:-32, 20:-20].astype(int) - alone)
    assert difference.max() == 0 if tile == 2000 else difference.mean() < 1.5
    result[32:-32, 20:-20] = pixels[32:-32, 20:-20]
    np.testing.assert_array_equal(result, pixels)


def test_auto_gains_beside_bars(blurred):
    truth, pixels = codes(barred(TRUTH)), codes(barred(blurred))
    result, _ = restore(deconvolution("auto", PSF.numpy()), Picture.from_array(pixels))
    before, after = (np.square(each.astype(float) - truth).mean() for each in (pixels, result))
    assert after < 0.7 * before
    assert "bars" in prepared(deconvolution("rl", PSF.numpy()), pixels).decisions
