"""daala's SSIM against its definition written as loops, and against the usual SSIM where both are the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from restore.metrics.daala import daala_taps, ssim_daala
from restore.metrics.pixel import psnr, psnr_y, studio_luma
from restore.metrics.structure import ssim_y_valid11
from restore.physics.filters import gaussian_taps
from tests.metrics.golden import golden_pair


def test_the_window_at_256_px_is_the_usual_one():
    taps = daala_taps(1.5 * 256 / 256, 256)
    assert len(taps) == 11 and taps.sum() == 1024
    assert (taps / 1024 - gaussian_taps(11, 1.5)).abs().max() < 1 / 1024


@pytest.mark.parametrize(
    ("height", "longest", "count"), [(512, 512, 21), (1024, 1024, 37), (1024, 10, 19), (20, 20, 1)]
)
def test_the_window_grows_with_the_height_up_to_the_picture(height, longest, count):
    sigma = 1.5 * height / 256
    taps = daala_taps(sigma, longest)
    assert len(taps) == count and taps.sum() == 1024 and torch.equal(taps, taps.flip(0))
    if count > 1 and longest == height:  # the first weight left out would round to 0 or 1
        end = len(taps) // 2 + 1
        assert 1024 / (math.sqrt(2 * math.pi) * sigma) * math.exp(-0.5 * (end / sigma) ** 2) <= 0.5 < taps[0] + 0.5


def by_loops(x: np.ndarray, y: np.ndarray, taps: np.ndarray) -> float:
    """Of codes H x W: every pixel with what is inside of its window."""
    (height, width), reach = x.shape, len(taps) // 2
    total = weight = 0.0
    for row in range(height):
        rows = np.arange(max(row - reach, 0), min(row + reach + 1, height))
        for column in range(width):
            columns = np.arange(max(column - reach, 0), min(column + reach + 1, width))
            w = np.outer(taps[rows - row + reach], taps[columns - column + reach])
            a, b = x[np.ix_(rows, columns)], y[np.ix_(rows, columns)]
            inside = w.sum()
            ma, mb = (w * a).sum() / inside, (w * b).sum() / inside
            va, vb = (w * (a - ma) ** 2).sum() / inside, (w * (b - mb) ** 2).sum() / inside
            cov = (w * (a - ma) * (b - mb)).sum() / inside
            value = (2 * ma * mb + 2.55**2) * (2 * cov + 7.65**2)
            total += inside * value / ((ma**2 + mb**2 + 2.55**2) * (va + vb + 7.65**2))
            weight += inside
    return total / weight


def test_it_is_what_the_tool_computes():
    x, y = golden_pair(210, 25)
    codes = [(studio_luma((each * 255).round() / 255) * 255).round()[0, 0].numpy() for each in (x, y)]
    expected = by_loops(codes[0], codes[1], daala_taps(1.5 * 210 / 256, 25).numpy())
    assert ssim_daala(x, y, rounded=True).item() == pytest.approx(expected, abs=1e-9)


def test_it_agrees_with_the_usual_one_at_256_px_and_is_higher_above():
    x, y = golden_pair(256, 256)
    usual = ssim_y_valid11(x, y).item()
    assert ssim_daala(x, y).item() == pytest.approx(usual, abs=2e-3)  # pixels at the border count too
    generator = torch.Generator().manual_seed(0)
    x = golden_pair(768, 768)[0]
    y = (x + 0.05 * torch.randn(x.shape, generator=generator, dtype=x.dtype)).clamp(0, 1)
    assert ssim_daala(x, y).item() > ssim_y_valid11(x, y).item() + 0.005


def test_equal_pictures_border_and_range():
    x, y = golden_pair(96, 80)
    assert ssim_daala(x, x).item() == pytest.approx(1, abs=1e-12)
    inside = (..., slice(8, -8), slice(8, -8))
    assert ssim_daala(x, y, border=8) == ssim_daala(x[inside], y[inside])
    assert ssim_daala(3 * x, y) == ssim_daala((3 * x).clamp(0, 1), y)
    both = ssim_daala(torch.cat([x, x]), torch.cat([y, x]))
    assert both.tolist() == [ssim_daala(x, y).item(), ssim_daala(x, x).item()]


def test_psnr_of_luma_is_higher_by_its_shorter_range_for_grey_errors():
    """20 log10(255 / 219) dB; what the protocol of the paper adds to RGB."""
    x = golden_pair(64, 64)[0]
    error = 0.02 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    gain = psnr_y(x + error, x) - psnr(x + error, x)
    assert gain.item() == pytest.approx(20 * math.log10(255 / 219), abs=1e-9) == pytest.approx(1.3219, abs=1e-4)
    white = torch.ones(1, 3, 1, 1, dtype=torch.float64)
    assert [255 * studio_luma(each).item() for each in (white, 0 * white)] == pytest.approx([235, 16], abs=1e-10)


def test_the_border_leaves_what_it_says():
    """(H - 8)(W - 8) pixels: an error on one of them has that share of the MSE."""
    x = torch.zeros(1, 3, 20, 30, dtype=torch.float64)
    y = x.clone()
    y[..., 10, 10] = 1
    assert psnr(x, y, border=4).item() == pytest.approx(10 * math.log10((20 - 8) * (30 - 8)), abs=1e-9)
