"""The border that is made up for circular deconvolution agrees with the PSF."""

from __future__ import annotations

import pytest
import torch

from restore.classical.boundary import extend
from restore.classical.hyper_laplacian import hyper_laplacian
from restore.engines.deconv.methods import extended
from restore.physics.psf import motion
from restore.picture import Picture
from tests.classical.blurred import psnr, scene, seen
from tests.engines.deconv.test_engine import codes_of, deconvolution, quality
from tests.inference.engines import restore

PSF, WEIGHT = motion(21, 20), 1500.0


@pytest.fixture(scope="module")
def pair():
    return tuple(x.float() for x in seen(scene()[..., 60:360, 60:360], PSF, 2.55 / 255))


def test_it_rings_less_and_what_is_known_stays(pair):
    truth, y = pair
    plain, agreeing = extend(y, PSF), extended(y, PSF, "liu-jia", WEIGHT)
    assert torch.equal(agreeing.inside(agreeing.pixels), y) and agreeing.pixels.shape == plain.pixels.shape
    before, after = (psnr(wide.inside(hyper_laplacian(wide.pixels, PSF, WEIGHT)), truth) for wide in (plain, agreeing))
    assert after > before + 0.3


@pytest.mark.parametrize("boundary", ["edgetaper", "reflect", "none"])
def test_other_borders_are_as_they_were(boundary):
    y = torch.rand(1, 3, 60, 50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(extended(y, PSF, boundary, WEIGHT).pixels, extend(y, PSF, boundary).pixels)


def test_the_engine_uses_it(monkeypatch):
    truth, blurred = codes_of(scene()[..., 60:320, 60:320], PSF)
    engine, picture = deconvolution("infwide", PSF.numpy()), Picture.from_array(blurred)
    agreeing = quality(restore(engine, picture)[0], truth)
    monkeypatch.setattr("restore.engines.deconv.methods._AGREEMENTS", 0)
    assert agreeing > quality(restore(engine, picture)[0], truth) + 0.2
