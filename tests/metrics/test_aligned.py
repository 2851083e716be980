"""PSNR after alignment: known shifts are recovered, nothing is gained where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch

from restore.errors import ConfigError
from restore.metrics.aligned import MARGIN, find_shift, psnr_aligned
from restore.metrics.pixel import psnr
from restore.metrics.table import METRICS, measure

SIDES = (120, 150)


def scene(down: float = 0.0, right: float = 0.0, seed: int = 0) -> torch.Tensor:
    """1 x 3 x H x W cut out of a larger smooth texture, at a place between pixels."""
    noise = np.random.default_rng(seed).normal(size=(3, 180, 210))
    wide = 0.5 + 0.8 * scipy.ndimage.gaussian_filter(noise, (0, 1.5, 1.5))
    moved = scipy.ndimage.fourier_shift(np.fft.fft2(wide, axes=(1, 2)), (0, down, right))
    moved = np.fft.ifft2(moved, axes=(1, 2)).real
    return torch.from_numpy(moved[:, 30 : 30 + SIDES[0], 30 : 30 + SIDES[1]])[None].float()


@pytest.mark.parametrize(("down", "right"), [(0.37, -0.81), (2.5, 3.25), (-7.4, 6.1)])
def test_a_known_shift_is_recovered(down, right):
    x, y = scene(down, right), scene()
    assert psnr(x, y, border=MARGIN) < 35
    assert psnr_aligned(x, y) > 45
    assert find_shift(x[0], y[0]) == pytest.approx((-down, -right), abs=0.02)


def test_it_is_psnr_where_nothing_moved():
    y = scene()
    x = y + 0.02 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    assert psnr_aligned(x, y).item() == pytest.approx(psnr(x, y, border=MARGIN).item(), abs=0.02)
    assert psnr_aligned(x, y, border=5).item() == pytest.approx(psnr(x, y, border=5 + MARGIN).item(), abs=0.02)
    assert psnr_aligned(y, y) == 100


def test_it_is_never_below_psnr():
    for seed in range(1, 6):
        x, y = scene(seed=seed), scene()
        assert psnr_aligned(x, y) >= psnr(x, y, border=MARGIN)
    flat = torch.full((1, 3, *SIDES), 0.5)
    assert psnr_aligned(flat, flat + 0.1).item() == pytest.approx(20, abs=1e-4)


def test_shifts_beyond_8_px_are_not_undone():
    x, y = scene(9.5, 0.0), scene()
    assert find_shift(x[0], y[0]) == (0.0, 0.0)
    assert psnr_aligned(x, y) == psnr(x, y, border=MARGIN)


def test_each_picture_has_its_own_shift_and_rounding_is_that_of_files():
    x, y = torch.cat([scene(0.5, 1.5), scene(-3.2, 0.4)]), torch.cat([scene(), scene()])
    both = psnr_aligned(x, y)
    assert both.shape == (2,) and both.min() > 45 and both[1] == psnr_aligned(x[1:], y[1:])[0]
    coded = psnr_aligned(x, y, rounded=True)
    assert coded.min() > 48 and coded.max() < 58.9
    assert measure(["psnr_aligned"], x, y)["psnr_aligned"].tolist() == both.tolist()
    assert "1/100 px, up to 8 px" in METRICS["psnr_aligned"].convention


def test_too_small_pictures_are_refused():
    x = torch.zeros(1, 3, 24, 80)
    with pytest.raises(ConfigError, match="a border of 12 px leaves nothing of 80 x 24"):
        psnr_aligned(x, x)
