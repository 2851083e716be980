"""Blind noise estimation: numbers on generated and bundled pictures, and the clipping model."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from restore.analysis.clipping import clipped_moments, unclipped_moments, variance_tables
from restore.analysis.noise import NoiseModel, estimate_noise
from restore.physics.dct import dct_matrix


@pytest.fixture(scope="module")
def astronaut() -> Tensor:
    data = pytest.importorskip("skimage.data")
    return torch.from_numpy(data.astronaut()).permute(2, 0, 1)[:, :384, :384] / 255


def noisy(clean: Tensor, sigma: float | Tensor, seed: int = 0, kernel: int = 1) -> Tensor:
    """Gaussian noise, filtered by a box of ``kernel``, of std sigma / 255; clipped and rounded to 8 bits."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(clean.shape, generator=generator)
    if kernel > 1:
        noise = torch.nn.functional.avg_pool2d(noise[None], kernel, 1, padding=kernel // 2)[0] * kernel
    return ((clean + noise * sigma / 255).clamp(0, 1) * 255).round() / 255


@pytest.mark.parametrize("sigma", [5, 10, 25, 50, 75])
def test_white_clipped_noise_is_measured_within_a_few_percent(astronaut: Tensor, sigma: int) -> None:
    model = estimate_noise([noisy(astronaut, sigma)])
    assert model.sigma * 255 == pytest.approx(sigma, rel=0.06, abs=0.3)
    assert not model.correlated
    assert model.reliable


@pytest.mark.parametrize("sigma", [10, 50])
def test_floats_that_nothing_has_clipped(astronaut: Tensor, sigma: int) -> None:
    """What overshoots was not clipped: the level is read as it is, at black and white too."""
    noise = torch.randn(astronaut.shape, generator=torch.Generator().manual_seed(3))
    levels = torch.tensor(estimate_noise([astronaut + noise * sigma / 255]).levels) * 255
    assert (levels / sigma - 1).abs().max() < 0.12


@pytest.mark.parametrize("sigma", [10, 50])
def test_one_channel(astronaut: Tensor, sigma: int) -> None:
    model = estimate_noise([noisy(astronaut.mean(0, keepdim=True), sigma)])
    assert model.channels == 1
    assert model.sigma * 255 == pytest.approx(sigma, rel=0.1)


def test_a_clean_picture_has_next_to_no_noise(astronaut: Tensor) -> None:
    """The astronaut is a scan with grain of its own; shrunk to 128 px it is all detail: neither is clean to 0."""
    assert estimate_noise([astronaut]).sigma * 255 < 2
    small = torch.nn.functional.avg_pool2d(astronaut, 3)
    assert estimate_noise([small]).sigma * 255 < 2.5


def test_curve_of_shot_noise_rises(astronaut: Tensor) -> None:
    """Variance u / 30: the curve must follow it in the range where it was seen."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.poisson(astronaut * 30, generator=generator)
    model = estimate_noise([((counts / 30).clamp(0, 1) * 255).round() / 255])
    middle = torch.tensor(model.levels)[:, 4:13]
    expected = torch.linspace(4 / 16, 12 / 16, 9).div(30).sqrt()
    assert ((middle / expected - 1).abs() < 0.12).all()


def test_channels_are_measured_apart(astronaut: Tensor) -> None:
    model = estimate_noise([noisy(astronaut, torch.tensor([5.0, 10.0, 20.0])[:, None, None])])
    levels = torch.tensor(model.levels).square().mean(1).sqrt() * 255
    assert torch.allclose(levels, torch.tensor([5.0, 10.0, 20.0]), rtol=0.1)


def test_several_crops_are_as_good_as_one_picture(astronaut: Tensor) -> None:
    picture = noisy(astronaut, 20)
    crops = [picture[:, i : i + 128, j : j + 128] for i in (0, 128, 256) for j in (0, 128, 256)]
    assert estimate_noise(crops).sigma == pytest.approx(estimate_noise([picture]).sigma, rel=0.05)


def test_correlated_noise_is_told_from_white(astronaut: Tensor) -> None:
    model = estimate_noise([noisy(astronaut, 25, kernel=3)])
    assert model.correlated
    spectrum = torch.tensor(model.spectrum).view(3, 8, 8)
    assert (spectrum[:, 2, 1] > 10 * spectrum[:, 5, 5]).all()
    assert model.sigma * 255 == pytest.approx(25, rel=0.15)
    white = model.as_white()
    assert not white.correlated
    assert set(sum(white.spectrum, ())) == {1.0}
    assert white.levels == model.levels


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 7), (8, 8), (16, 16), (23, 24)])
def test_tiny_pictures_say_that_they_are_too_small(size: tuple[int, int]) -> None:
    model = estimate_noise([torch.rand(3, *size, generator=torch.Generator().manual_seed(0))])
    assert not model.reliable
    assert model.sigma == 0
    assert "too small" in model.reason


def test_flat_and_saturated_pictures_are_noise_free() -> None:
    for value in (0.0, 0.5, 1.0):
        model = estimate_noise([torch.full((3, 128, 128), value)])
        assert model.sigma < 1e-3
        assert all(math.isfinite(v) for curve in model.levels for v in curve)
    assert model.clipped == (0.0, 1.0)


def test_no_crops_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one crop"):
        estimate_noise([])


def test_estimate_is_repeatable_and_leaves_the_seed_alone(astronaut: Tensor) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = (estimate_noise([noisy(astronaut, 15)]) for _ in range(2))
    assert first == second
    assert torch.equal(before, torch.get_rng_state())


def test_summary_is_json() -> None:
    summary = NoiseModel.white(0.1).summary()
    assert json.loads(json.dumps(summary))["sigma"] == pytest.approx(0.1)


def test_clipped_moments_agree_with_sampling() -> None:
    mean, sigma = torch.tensor([0.0, 0.1, 0.5, 0.95]), torch.tensor([0.1, 0.2, 0.3, 0.2])
    draws = torch.randn(400_000, 4, generator=torch.Generator().manual_seed(0)) * sigma + mean
    seen_mean, seen_std = clipped_moments(mean, sigma)
    torch.testing.assert_close(seen_mean, draws.clamp(0, 1).mean(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(seen_std, draws.clamp(0, 1).std(0), atol=1e-3, rtol=0)


def test_clipping_is_inverted() -> None:
    mean, sigma = torch.meshgrid(torch.linspace(0, 1, 11), torch.tensor([0.02, 0.1, 0.3]), indexing="ij")
    back_mean, back_sigma = unclipped_moments(*clipped_moments(mean, sigma))
    torch.testing.assert_close(back_mean, mean, atol=2e-3, rtol=0)
    torch.testing.assert_close(back_sigma, sigma, atol=2e-3, rtol=0)


def test_tables_give_the_mean_before_clipping() -> None:
    variance, true = variance_tables(torch.full((1, 17), 0.1))
    seen, std = clipped_moments(torch.tensor([0.05]), torch.tensor([0.1]))
    index = int(seen * 1023)
    assert float(true[0, index]) == pytest.approx(0.05, abs=2e-3)
    assert float(variance[0, index]) == pytest.approx(float(std) ** 2, rel=0.02)
    assert float(true[0, 512]) == pytest.approx(512 / 1023, abs=1e-3)


def _coarse(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """White noise through a 3 x 3 box, of unit variance."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    return sum(np.roll(noise, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 3


def _measured(picture: np.ndarray) -> NoiseModel:
    codes = np.clip(np.rint(picture), 0, 255).astype(np.float32) / 255
    return estimate_noise([torch.from_numpy(np.moveaxis(codes, -1, 0).copy())])


def test_a_weave_is_not_taken_for_coarse_noise():
    """Texture everywhere, alike in all channels but for its colour, as denim is."""
    weave, dye = _coarse((256, 256, 1)), _coarse((256, 256, 1), seed=2)
    denim = [120, 140, 170] + 20 * weave * [1.0, 0.9, 0.7] + 4 * dye * [1.0, 0.0, -1.0]
    assert _measured(denim).sigma == 0
    assert _measured(denim + 8 * np.random.default_rng(1).standard_normal((256, 256, 3))).sigma * 255 > 7


def test_coarse_noise_of_independent_channels_and_of_grey_pictures_is_still_found():
    base = np.full((256, 256, 3), 120.0)
    for picture in (base + 12 * _coarse((256, 256, 3)), base + 12 * _coarse((256, 256, 1))):
        model = _measured(picture)
        assert model.correlated and model.sigma * 255 == pytest.approx(12, rel=0.25)


def _gaussian(std: float) -> np.ndarray:
    taps = np.exp(-(np.arange(-8, 9) ** 2) / (2 * std**2))
    return taps / taps.sum()


def _true_correlation(taps: np.ndarray) -> tuple[np.ndarray, float]:
    """(autocorrelation at lags 0 to 7 of white noise filtered by the taps; where it is 1/e)."""
    values = np.pad(np.correlate(taps, taps, "full")[len(taps) - 1 :], (0, 8))[:8]
    values = values / values[0]
    return values, float(np.interp(-1 / math.e, -values, np.arange(8)))


def _filtered(taps: np.ndarray, sigma: float) -> np.ndarray:
    """A gently shaded picture with noise of std sigma, filtered along both axes."""
    noise = np.random.default_rng(0).standard_normal((256, 256, 3))
    for axis in (0, 1):
        noise = np.apply_along_axis(lambda line: np.convolve(line, taps, "same"), axis, noise)
    rows, columns = np.mgrid[:256, :256]
    return (120 + 30 * np.sin(rows / 60) + 20 * np.cos(columns / 50))[..., None] + sigma * noise / (taps @ taps)


@pytest.mark.parametrize("taps", [_gaussian(0.7), _gaussian(1.2), np.ones(3) / 3], ids=["0.7", "1.2", "box"])
@pytest.mark.parametrize("sigma", [10, 20])
def test_correlation_length_of_known_noise(taps: np.ndarray, sigma: float) -> None:
    expected, length = _true_correlation(taps)
    model = _measured(_filtered(taps, sigma))
    assert model.correlated
    assert model.correlation_length == pytest.approx(length, rel=0.12)
    np.testing.assert_allclose(model.autocorrelation()[:3], expected[:3], atol=0.09)


def test_autocorrelation_of_an_exact_spectrum_is_exact() -> None:
    """Correlation that differs between the axes: their mean, exactly, from the variances at the DCT's frequencies."""
    basis = dct_matrix(8, torch.float64)
    curves = [torch.from_numpy(_true_correlation(_gaussian(std))[0]) for std in (0.8, 1.5)]
    lags = (torch.arange(8)[:, None] - torch.arange(8)).abs()
    along = [(basis @ curve[lags] @ basis.T).diagonal() for curve in curves]
    spectrum = tuple(torch.outer(*along).flatten().tolist())
    model = NoiseModel(((0.1,) * 17,), (spectrum,), correlated=True)
    np.testing.assert_allclose(model.autocorrelation(), (curves[0] + curves[1]) / 2, atol=1e-6)


def test_white_noise_has_no_length_and_what_never_falls_has_the_longest() -> None:
    white = NoiseModel.white(0.1)
    np.testing.assert_allclose(white.autocorrelation(), [1, *[0] * 7], atol=1e-12)
    assert white.correlation_length == pytest.approx(1 - 1 / math.e)
    assert _measured(120 + 20 * np.random.default_rng(0).standard_normal((256, 256, 3))).correlation_length < 1
    constant = tuple(float(frequency == 0) * 64 + 1e-4 for frequency in range(64))
    assert NoiseModel(((0.1,) * 17,), (constant,), correlated=True).correlation_length == 7
