"""The classical deconvolution methods: exactness, parity with scikit-image, order of merit, borders, clipped lights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.classical.boundary import BOUNDARIES, extend, liu_jia
from restore.classical.hyper_laplacian import hyper_laplacian, shrinkage_table, weight_for
from restore.classical.richardson_lucy import richardson_lucy
from restore.classical.wiener import REGULARISERS, gcv, wiener
from restore.errors import ConfigError
from restore.physics.fourier import convolve, otf
from restore.physics.operators import ZeroBlur
from restore.physics.psf import gauss

from .blurred import circular, psnr, scene, seen, shake

LAMBDAS = np.logspace(-4.5, 0.5, 26)


@pytest.fixture(scope="module")
def x():
    return scene()[..., 100:356, 130:386]


@pytest.fixture(scope="module")
def psf():
    return shake()


def best(y, psf, x, name):
    return max(psnr(wiener(y, psf, weight, name), x) for weight in LAMBDAS)


def test_without_noise_the_blur_is_undone(x, psf):
    assert otf(psf, (256, 256)).abs().min() > 1e-4
    y = circular(x, psf, 0.0)
    assert psnr(wiener(y.float(), psf, 1e-8), x) > 90
    assert psnr(wiener(y, psf, 1e-8), x) > 90


def test_a_gaussian_is_ill_posed(x):
    blur = gauss(2.0).double()
    assert 40 < psnr(wiener(circular(x, blur, 0.0), blur, 1e-12), x) < 60


def test_wiener_is_scikit_images(x, psf):
    restoration = pytest.importorskip("skimage.restoration")
    y = circular(x, psf, 0.01)
    expected = restoration.wiener(y[0, 0].numpy(), psf.numpy(), 0.05, clip=False)
    assert np.abs(wiener(y, psf, 0.05, "laplacian")[0, 0].numpy() - expected).max() < 1e-6


def test_richardson_lucy_is_scikit_images(x, psf):
    restoration = pytest.importorskip("skimage.restoration")
    y = circular(x, psf, 0.01)[..., :120, :130].clamp(0, 1)
    expected = restoration.richardson_lucy(y[0, 0].numpy(), psf.numpy(), num_iter=10, clip=False)
    mine = richardson_lucy(y, ZeroBlur(psf, y), 10, start=torch.full_like(y, 0.5), eps=1e-12, normalised=False)
    assert np.abs(mine[0, 0].numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("sigma", [0.005, 0.01, 0.02, 0.05])
def test_cross_validation_finds_the_weight(x, psf, sigma):
    y = circular(x, psf, sigma)
    assert psnr(wiener(y, psf, gcv(y, psf)), x) > best(y, psf, x, "grad") - 0.2


def test_cross_validation_of_nothing(psf):
    for flat in (torch.zeros(1, 3, 40, 50), torch.full((1, 3, 40, 50), 0.5)):
        assert np.isfinite(gcv(flat, psf.float()))


def test_methods_in_order_of_merit(x, psf):
    y = circular(x, psf, 0.01)
    found = {name: best(y, psf, x, name) for name in REGULARISERS}
    rl_tv = max(psnr(richardson_lucy(y, psf, 150, tv=tv), x) for tv in (0.001, 0.003))
    prior = max(psnr(hyper_laplacian(y, psf, weight_for(0.01) * f), x) for f in (0.5, 1, 2))
    assert found["identity"] + 1.0 < found["grad"]
    assert found["identity"] < min(found[name] for name in ("grad", "laplacian", "power"))
    assert max(found.values()) < max(rl_tv, prior)
    assert prior > psnr(y, x) + 6


def test_total_variation_is_stable_where_plain_richardson_lucy_is_not(x, psf):
    y = circular(x, psf, 0.03).clamp(0, 1)
    plain = [psnr(richardson_lucy(y, psf, n), x) for n in (8, 100)]
    tv = [psnr(richardson_lucy(y, psf, n, tv=0.01), x) for n in (8, 100)]
    assert plain[1] < plain[0] - 2 and tv[1] > tv[0] - 0.1


def test_borders():
    psf = shake(37)
    truth, y = seen(scene(), psf, 0.01)
    reference = psnr(wiener(circular(scene(), psf, 0.01), psf, 0.02), scene())
    results = {}
    for name in BOUNDARIES:
        extended = extend(y, psf, name)
        results[name] = psnr(extended.inside(wiener(extended.pixels, psf, 0.02)), truth)
        assert extended.inside(extended.pixels).shape == y.shape
        assert torch.equal(extended.inside(extended.pixels), y) or name == "edgetaper"
    assert results["liu-jia"] > results["none"] + 7 and results["liu-jia"] > reference - 1.5
    assert results["edgetaper"] > results["liu-jia"] - 0.6
    assert results["reflect"] > results["none"]


def test_the_harmonic_border_closes_without_a_seam(psf):
    y = seen(scene(), psf, 0.0)[1]
    wide = liu_jia(y, 28, 33)
    assert torch.equal(wide[..., : y.shape[-2], : y.shape[-1]], y)
    around = wide.roll((40, 40), (-2, -1))
    inside = max(float(y.diff(dim=d).abs().max()) for d in (-2, -1))
    assert max(float(around[..., :90, :90].diff(dim=d).abs().max()) for d in (-2, -1)) < inside
    assert wide.min() >= y.min() - 1e-9 and wide.max() <= y.max() + 1e-9  # the maximum principle


def test_the_harmonic_border_solves_laplace():
    y = torch.rand(1, 1, 20, 26, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wide = liu_jia(y, 9, 7)
    below = wide[0, 0, 20:, 1:25]
    around = torch.cat([y[0, 0, -1:, 1:25], below, y[0, 0, :1, 1:25]])
    mean = (around[:-2] + around[2:] + wide[0, 0, 20:, 0:24] + wide[0, 0, 20:, 2:26]) / 4
    assert torch.allclose(below, mean, atol=1e-12)


def test_clipped_lights(psf):
    rng = np.random.default_rng(1)
    night = scene()[..., 100:356, 130:386] * 0.3
    for _ in range(40):
        i, j = rng.integers(4, 250, 2)
        night[..., i : i + 3, j : j + 3] = rng.uniform(3, 12)
    y = circular(night, psf, 0.003).clamp(0, 1)
    assert 0.005 < (y >= 1).double().mean() < 0.2
    truth = night.clamp(0, 1)
    plain, mask, model = (psnr(richardson_lucy(y, psf, 60, saturation=s), truth) for s in ("none", "mask", "model"))
    assert model > plain + 2 and mask > plain + 1


def test_the_shrinkage_is_the_minimum():
    for alpha in (0.5, 2 / 3, 1.0):
        table = shrinkage_table(alpha, 16.0, torch.zeros((), dtype=torch.float64))
        w = torch.linspace(0, 1, 20001, dtype=torch.float64)
        for v in (0.05, 0.2, 0.5, 1.0):
            cost = w.pow(alpha) + 8 * (w - v).square()
            exact = float(w[cost.argmin()])
            place = v * (len(table) - 1)
            assert v * float(table[round(place)]) == pytest.approx(exact, abs=2e-3)


def test_a_batch_with_a_kernel_each_equals_single_runs(x):
    psfs = torch.stack([shake(seed=1), shake(seed=2)])[:, None].double()  # float32 FFTs round a batch otherwise
    ys = torch.cat([circular(x, p[0], 0.01) for p in psfs])
    for method in (lambda y, p: wiener(y, p, 0.02), lambda y, p: hyper_laplacian(y, p, 1000.0),
                   lambda y, p: richardson_lucy(y, p, 5, tv=0.002)):  # fmt: skip
        both = method(ys, psfs)
        for i in range(2):
            assert torch.allclose(both[i : i + 1], method(ys[i : i + 1], psfs[i : i + 1]), rtol=0, atol=1e-11)


def test_what_is_not_known():
    y, psf = torch.zeros(1, 1, 8, 8), torch.ones(1, 1)
    with pytest.raises(ConfigError, match="Use liu-jia, edgetaper"):
        extend(y, psf, "mirror")
    with pytest.raises(ConfigError, match="Use identity, grad"):
        wiener(y, psf, 0.1, "tikhonov")


def test_convolution_with_the_estimate_explains_the_picture(x, psf):
    y = circular(x, psf, 0.01)
    residual = convolve(hyper_laplacian(y, psf, weight_for(0.01)), otf(psf, (256, 256))) - y
    assert float(residual.std()) == pytest.approx(0.01, rel=0.15)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_what_of_an_extended_picture_is_known(boundary):
    x = torch.rand(1, 3, 40, 50)
    wide = extend(x, torch.ones(7, 9), boundary)
    known = wide.known()
    assert known.shape == (1, 1, *wide.pixels.shape[-2:]) and int(known.sum()) == 40 * 50
    assert wide.inside(known).all()
