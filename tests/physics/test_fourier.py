"""Transfer functions: the convention against scipy, adjointness, exact sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.physics.fourier import (
    convolve,
    convolve_reflected,
    correlate,
    difference_power,
    fast_size,
    frequency,
    multiplicity,
    otf,
)

ndimage = pytest.importorskip("scipy.ndimage")


@pytest.mark.parametrize("side", [3, 4, 5, 6, 37, (3, 6)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_convolution_is_scipys(side, dtype, tolerance):
    rng = np.random.default_rng(0)
    x, psf = rng.random((45, 62)), rng.random((side, side) if isinstance(side, int) else side)
    psf /= psf.sum()
    expected = ndimage.convolve(x, psf, mode="wrap")
    transfer = otf(torch.tensor(psf, dtype=dtype), (45, 62))
    assert np.abs(convolve(torch.tensor(x, dtype=dtype), transfer).numpy() - expected).max() < tolerance


@pytest.mark.parametrize(
    ("size", "side"), [((45, 62), (5, 9)), ((31, 47), (21, 21)), ((1100, 12), (7, 5)), ((10, 12), (21, 3))]
)
def test_reflected_convolution_is_scipys(size, side):
    """The last picture is smaller than its PSF, and its border is repeated."""
    rng = np.random.default_rng(1)
    x, psf = rng.random((2, *size)), rng.random(side)
    down, across = side[0] // 2, side[1] // 2
    wide = np.pad(x, ((0, 0), (down, down), (across, across)), "edge" if size[0] == 10 else "reflect")
    expected = [ndimage.convolve(each, psf)[down:-down, across:-across] for each in wide]
    made = convolve_reflected(torch.tensor(x), torch.tensor(psf))
    assert np.abs(made.numpy() - np.stack(expected)).max() < 1e-11


@pytest.mark.parametrize("size", [(24, 30), (25, 31)])
def test_correlation_is_the_adjoint(size):
    generator = torch.Generator().manual_seed(0)
    x, z = (torch.rand(2, 3, *size, generator=generator, dtype=torch.float64) for _ in range(2))
    transfer = otf(torch.rand(5, 4, generator=generator, dtype=torch.float64), size)
    assert torch.allclose((convolve(x, transfer) * z).sum(), (x * correlate(z, transfer)).sum(), rtol=1e-12)


@pytest.mark.parametrize("size", [(24, 30), (25, 31)])
def test_difference_power_and_parseval(size):
    x = torch.rand(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    energy = torch.fft.rfft2(x).abs().square()
    count = multiplicity(size, x)
    total = float((energy * count).sum()) / x.numel()
    assert total == pytest.approx(float(x.square().sum()))
    differences = (x.roll(-1, 0) - x).square().sum() + (x.roll(-1, 1) - x).square().sum()
    assert float((energy * count * difference_power(size, x)).sum()) / x.numel() == pytest.approx(float(differences))
    assert float(frequency(size, x)[0, 1]) == pytest.approx(2 * np.pi / size[1])


def test_a_psf_larger_than_the_picture_is_refused():
    with pytest.raises(ValueError, match="9 x 3 px is larger than the picture of 8 x 8"):
        otf(torch.ones(9, 3), (8, 8))


def test_fast_sizes():
    assert [fast_size(n) for n in (0, 1, 7, 97, 321, 1025)] == [1, 1, 8, 100, 324, 1080]
