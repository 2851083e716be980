"""Means and kernels against PyTorch's own."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from restore.physics.filters import box_mean, filter_each, gaussian_kernels, gaussian_taps, sharpened
from restore.physics.random import generator_for
from restore.physics.resample import enlarge_each, halve


@pytest.mark.parametrize("size", [(31, 40), (7, 3), (1, 1)])
@pytest.mark.parametrize("radius", [0, 1, 3])
def test_box_mean_counts_what_is_there(size: tuple[int, int], radius: int) -> None:
    x = torch.rand(2, 3, *size, generator=generator_for(0))
    theirs = F.avg_pool2d(x, 2 * radius + 1, 1, padding=radius, count_include_pad=False)
    assert torch.allclose(box_mean(x, radius), theirs, atol=1e-6)


@pytest.mark.parametrize("size", [(32, 40), (31, 41)])
def test_halve_is_the_mean_of_four(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size, generator=generator_for(1))
    assert torch.allclose(halve(x), F.avg_pool2d(x, 2), atol=1e-6)


def test_every_sample_has_its_own_kernel() -> None:
    x = torch.rand(3, 2, 20, 24, generator=generator_for(2))
    kernels = torch.rand(3, 5, 5, generator=generator_for(3))
    y = filter_each(x, kernels)
    for picture, kernel, filtered in zip(x, kernels, y, strict=True):
        assert torch.allclose(filtered, F.conv2d(picture[:, None], kernel[None, None])[:, 0], atol=1e-5)


def test_a_gaussian_has_the_std_asked_for() -> None:
    """Second moments; a discrete Gaussian of 1 px has them to a percent."""
    kernel = gaussian_kernels(torch.tensor([1.0]), torch.ones(1), torch.zeros(1), radius=6)[0]
    place = torch.arange(-6.0, 7.0)
    assert (kernel.sum(0) * place.square()).sum().item() == pytest.approx(1, rel=0.01)
    still = gaussian_kernels(torch.tensor([0.0]), torch.ones(1), torch.zeros(1))[0]
    assert still[3, 3] == 1 and still.sum() == 1


def test_sharpening_along_one_dimension() -> None:
    """Against the definition, x + blurred mask * 0.5 (x - blurred), filtered with torch in float64."""
    place = torch.arange(400, dtype=torch.float64)
    wave = 0.3 * (torch.cos(0.1 * place).sign() * 0.5 + torch.cos(0.1 * place)) / 1.5
    x = (0.5 + wave).expand(1, 3, 60, 400)
    gain = F.conv1d(wave[None, None], gaussian_taps(51, 8.0)[None, None])[0, 0]
    kept = slice(60, -60)
    share = ((wave[25:-25] - gain).abs() > 10 / 255).double()
    share = F.conv1d(share[None, None], gaussian_taps(51, 8.0)[None, None])[0, 0][10:-10]
    expected = x[0, 0, 0, kept] + share * 0.5 * (wave[25:-25] - gain)[35:-35]
    assert share.min() > 0.5 and (expected - x[0, 0, 0, kept]).abs().max() > 0.05
    assert torch.allclose(sharpened(x)[0, 1, 30, kept], expected, atol=1e-9)


def test_sharpening_leaves_faint_detail_and_flat_areas_alone() -> None:
    """Nothing beyond the threshold: the same bits. Results stay in [0, 1]; the type is float32 at least."""
    x = 0.5 + torch.rand(2, 3, 40, 52, generator=generator_for(5)) * 9 / 255
    assert torch.equal(sharpened(x), x)
    edge = torch.cat([torch.zeros(1, 1, 40, 40), torch.ones(1, 1, 40, 40)], -1)
    y = sharpened(edge)
    assert y.min() == 0 and y.max() == 1
    with torch.autocast("cpu", torch.bfloat16):
        inside = sharpened(x.bfloat16())
    assert inside.dtype == torch.float32 and torch.equal(inside, x.bfloat16().float())


def test_sharpening_each_channel_and_sample_by_itself() -> None:
    x = torch.rand(3, 2, 33, 30, generator=generator_for(6))
    whole = sharpened(x)
    for n in range(3):
        for c in range(2):
            assert torch.allclose(sharpened(x[n : n + 1, c : c + 1]), whole[n, c], atol=1e-6)
    assert torch.allclose(sharpened(x.mT), whole.mT, atol=1e-6), "separable"
    with pytest.raises(ValueError, match="more than 25 px, not 25 x 40"):
        sharpened(torch.zeros(1, 3, 25, 40))


def test_enlarging_is_linear_interpolation() -> None:
    """A plane stays one; a factor of 1 without shift gives the top left; white noise loses the gain returned."""
    rows, columns = torch.meshgrid(torch.arange(14.0), torch.arange(12.0), indexing="ij")
    x = (2 * rows + columns).expand(2, 1, 14, 12).contiguous()
    factor, shift = torch.tensor([1.0, 2.5]), torch.tensor([0.0, 0.4])
    y, gain = enlarge_each(x, factor, (shift, shift), (12, 10))
    assert torch.allclose(y[0], x[0, :, :12, :10], atol=1e-4) and gain[0].item() == pytest.approx(1, abs=1e-5)
    place = [(torch.arange(length) + 0.4) / 2.5 for length in (12, 10)]
    assert torch.allclose(y[1, 0], 2 * place[0][:, None] + place[1][None], atol=1e-4)
    white = torch.randn(2, 1, 402, 402, generator=generator_for(4))
    y, gain = enlarge_each(white, factor, (shift, shift), (400, 400))
    assert torch.allclose(y.square().mean((1, 2, 3)), gain, rtol=0.05)


def test_sharpening_equals_its_formula_with_opencvs_blur() -> None:
    """An edge of 0.6 and texture of 0.01: the edge overshoots by at most half of its residual, texture stays."""
    generator = generator_for(7)
    x = 0.2 + 0.6 * (torch.arange(200) >= 100).double() + 0.01 * torch.rand(1, 3, 120, 200, generator=generator)
    picture = x[0].permute(1, 2, 0).numpy()

    def blurred(of: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(of, (51, 51), 0)

    residual = picture - blurred(picture)
    mask = blurred((np.abs(residual) * 255 > 10).astype(np.float64))
    expected = mask * np.clip(picture + 0.5 * residual, 0, 1) + (1 - mask) * picture
    y = sharpened(x)
    assert y.dtype == torch.float64
    assert torch.allclose(y[0].permute(1, 2, 0), torch.from_numpy(expected), atol=1e-9)
    assert torch.equal(y[..., :40], x[..., :40]) and torch.equal(y[..., 160:], x[..., 160:])
    assert (x - y)[..., 99].min().item() > 0.1 and (y - x)[..., 100].min().item() > 0.1
    assert y.min() >= 0 and y.max() <= 1
