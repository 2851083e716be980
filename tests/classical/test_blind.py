"""Blind estimation of shakes: three photographs by three PSFs, and none where there is no blur."""

from __future__ import annotations

import pytest
import torch

from restore.classical.blind import (
    _RIDGE,
    MOST_AT_EDGE,
    MOST_NEGATIVE,
    SURE,
    _at_edge,
    _negative,
    _solved,
    confidence,
    estimate_psf,
)
from restore.classical.boundary import extend
from restore.classical.wiener import gcv, wiener
from restore.physics.fourier import convolve, otf

from .blurred import psnr, seen, shake


def photographs():
    data = pytest.importorskip("skimage.data")
    crops = (
        data.camera()[60:420, 100:500],
        data.astronaut()[:360, 60:460].mean(-1),
        data.coffee()[:360, 100:500].mean(-1),
    )
    return [torch.from_numpy(crop / 255.0)[None, None] for crop in crops]


def gain(truth, y, psf):
    """Of the deconvolved picture over the blurred one, at the best shift: nobody knows where the picture was, dB."""
    wide = extend(y, psf)
    x = wide.inside(wiener(wide.pixels, psf, 2 * gcv(wide.pixels, psf)))
    shifts = [(i, j) for i in range(-3, 4) for j in range(-3, 4)]
    return max(psnr(x.roll(shift, (-2, -1)), truth, 20) for shift in shifts) - psnr(y, truth, 20)


@pytest.mark.slow
def test_shakes_are_found_and_nothing_is_found_in_sharp_pictures():
    gains = []
    for x in photographs():
        for side, seed in ((13, 2), (19, 4), (21, 3)):
            truth, y = seen(x, shake(side, seed), 0.003)
            found = estimate_psf(y[0, 0], 25)
            gains.append(gain(truth, y, found.psf.double()) if found.confidence >= SURE else 0.0)
        truth, y = seen(x, torch.ones(1, 1, dtype=torch.float64), 0.003)
        assert estimate_psf(y[0, 0], 25).confidence < SURE
    assert sum(gains) / len(gains) > 3 and min(gains) > -0.5


def test_a_shake_is_found():
    truth, y = seen(photographs()[0], shake(21, 3), 0.003)
    found = estimate_psf(y[0, 0], 21)
    assert found.confidence > 0.3 and float(found.psf.sum()) == pytest.approx(1, abs=1e-5)
    assert found.at_edge < MOST_AT_EDGE and found.negative < MOST_NEGATIVE
    assert gain(truth, y, found.psf.double()) > 5


def test_confidence_knows_right_from_wrong():
    _, y = seen(photographs()[0], shake(19, 4), 0.003)
    right, wrong = confidence(y[0, 0], shake(19, 4)), confidence(y[0, 0], shake(19, 4).flip(1))
    assert right > 0.3 > wrong
    assert confidence(y[0, 0], torch.ones(1, 1)) == pytest.approx(0, abs=1e-9)


def test_what_is_at_the_edge_and_what_is_negative():
    k = torch.zeros(5, 5)
    k[2, 2], k[0, 4], k[3, 4] = 0.9, 0.06, 0.04
    assert _at_edge(k) == pytest.approx(0.1) and _at_edge(torch.ones(5, 5)) == pytest.approx(16 / 25)
    assert _negative(torch.tensor([[4.0, -1.0], [-2.0, 0.0]])) == 0.75 and _negative(torch.zeros(3, 3)) == 0


def test_the_noise_of_a_sharp_picture_is_negative_as_often_as_not():
    """Blocks with sharp edges and white noise: what is found raises the sparsity, and would cost decibels."""
    blocks = torch.rand(12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = 0.2 + 0.6 * blocks.repeat_interleave(12, 0).repeat_interleave(12, 1)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = estimate_psf((x + 6 / 255 * noise).clamp(0, 1), 15)
    assert found.negative > MOST_NEGATIVE


@pytest.mark.parametrize(("height", "width"), [(40, 33), (7, 6)])
def test_the_psf_is_where_the_energy_is_least(height, width):
    """At the solution of 5 x 5 unknowns the gradient of |k * gx - dx y|^2 + |k * gy - dy y|^2 + ridge |k|^2 is zero."""
    side, generator = 5, torch.Generator().manual_seed(0)
    gx, gy, y = torch.randn(3, height, width, dtype=torch.float64, generator=generator)
    k = _solved(gx, gy, y, side).requires_grad_()
    dx, dy = y.roll(-1, -1) - y, y.roll(-1, -2) - y
    dx[:, -1], dy[-1] = 0, 0
    transfer = otf(k, (height, width))
    misfit = (convolve(gx, transfer) - dx).square().sum() + (convolve(gy, transfer) - dy).square().sum()
    (misfit + _RIDGE * k.square().sum()).backward()
    assert float(k.grad.abs().max()) < 1e-6 * float(dx.abs().max()) * height * width
