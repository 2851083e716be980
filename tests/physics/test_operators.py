"""Blur as an operator: adjoint, and equal to what it is made of."""

from __future__ import annotations

import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F

from restore.physics.fourier import convolve, otf
from restore.physics.operators import CircularBlur, VaryingBlur, ZeroBlur, grid_maps


def psf(height, width, seed=0):
    k = torch.rand(height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return k / k.sum()


def picture(height, width, seed=1):
    return torch.rand(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def operators(like):
    psfs = torch.stack([psf(5, 7, seed) for seed in range(6)])
    return {
        "circular": CircularBlur(psf(5, 4), like),
        "zero": ZeroBlur(psf(4, 7), like),
        "varying": VaryingBlur(psfs, grid_maps(2, 3), like, (20, 19)),
    }


@pytest.mark.parametrize("name", ["circular", "zero", "varying"])
def test_the_adjoint(name):
    x, y = picture(23, 30), picture(23, 30, 2)
    blur = operators(x)[name]
    left, right = (blur.forward(x) * y).sum(), (x * blur.adjoint(y)).sum()
    assert abs(float(left - right)) < 1e-10 * float(x.norm() * y.norm())


def test_nothing_beyond_the_border_is_scipys_convolution():
    x, k = picture(21, 18), psf(6, 5)
    expected = scipy.ndimage.convolve(x[1, 2].numpy(), k.numpy(), mode="constant")
    assert abs(ZeroBlur(k, x).forward(x)[1, 2].numpy() - expected).max() < 1e-12


def test_a_psf_that_does_not_vary():
    x, k = picture(20, 24), psf(5, 5)
    same = VaryingBlur(k.expand(4, 5, 5), grid_maps(2, 2), x, (20, 24))
    assert torch.allclose(same.forward(x), convolve(x, otf(k, (20, 24))), atol=1e-12)


def test_a_grid_of_psfs_is_bilinear_between_its_crossings():
    x = picture(21, 31)
    single, wide = torch.zeros(3, 3, dtype=torch.float64), torch.full((3, 3), 1 / 9, dtype=torch.float64)
    single[1, 1] = 1
    blur = VaryingBlur(torch.stack([single, wide]), grid_maps(1, 2), x, (21, 31))
    blurred = blur.forward(x)
    share = torch.linspace(1, 0, 31, dtype=torch.float64)
    expected = x * share + convolve(x * (1 - share), otf(wide, (21, 31)))
    assert torch.allclose(blurred, expected, atol=1e-12)


def test_maps_go_on_beyond_the_picture():
    like, k = torch.zeros(1, 1, 12, 16, dtype=torch.float64), torch.stack([psf(3, 3), psf(3, 3, 5)])
    inner = F.pad(torch.rand(1, 1, 8, 9, dtype=torch.float64), (2, 5, 1, 3))
    blur = VaryingBlur(k, torch.rand(2, 4, 4), like, (8, 9))
    assert abs(float(blur.forward(inner).sum() - inner.sum())) < 1e-9  # light is kept everywhere


def test_a_part_of_the_picture_has_its_part_of_the_maps():
    """Of a tile at `origin`: the blur of the whole, where the tile's own closing on itself does not reach."""
    whole, maps = picture(40, 52), torch.rand(3, 4, 5, dtype=torch.float64)
    psfs = torch.stack([psf(3, 5, seed) for seed in range(3)])
    blurred = VaryingBlur(psfs, maps, whole, (40, 52)).forward(whole)
    part = whole[..., 7:31, 11:49]
    of_part = VaryingBlur(psfs, maps, part, (40, 52), (7, 11)).forward(part)
    inside = (..., slice(2, -2), slice(3, -3))
    assert torch.allclose(of_part[inside], blurred[..., 7:31, 11:49][inside], atol=1e-12)
    elsewhere = VaryingBlur(psfs, maps, part, (40, 52)).forward(part)
    assert (elsewhere - of_part)[inside].abs().max() > 0.01


def test_the_adjoint_of_a_part():
    x, y = picture(20, 24), picture(20, 24, 2)
    psfs = torch.stack([psf(5, 5, seed) for seed in range(4)])
    blur = VaryingBlur(psfs, grid_maps(2, 2), x, (40, 50), (-3, 31))  # it begins above the picture and ends beside it
    left, right = (blur.forward(x) * y).sum(), (x * blur.adjoint(y)).sum()
    assert abs(float(left - right)) < 1e-10 * float(x.norm() * y.norm())
