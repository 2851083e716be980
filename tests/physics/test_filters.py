"""Means and kernels against PyTorch's own."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from restore.physics.filters import box_mean, filter_each, gaussian_blur, gaussian_kernels, unsharp_mask
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


@pytest.mark.parametrize("size", [(64, 80), (30, 27)])
def test_a_gaussian_blur_equals_opencvs(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size, generator=generator_for(5), dtype=torch.float64)
    theirs = [cv2.GaussianBlur(each.permute(1, 2, 0).numpy(), (51, 51), 0) for each in x]  # std 8 by its own rule
    assert torch.allclose(gaussian_blur(x, 51, 8.0), torch.from_numpy(np.stack(theirs)).permute(0, 3, 1, 2), atol=1e-9)


def test_a_blur_wider_than_the_picture_repeats_its_border() -> None:
    x = torch.rand(1, 2, 4, 60, generator=generator_for(6), dtype=torch.float64)
    tall = F.pad(x, (0, 0, 40, 40), "replicate")
    assert torch.allclose(gaussian_blur(x, 51, 8.0), gaussian_blur(tall, 51, 8.0)[..., 40:-40, :], atol=1e-12)


def test_an_unsharp_mask_equals_its_formula_with_opencvs_blur() -> None:
    """An edge of 0.6 and texture of 0.01: the edge overshoots by at most half of its residual, texture stays."""
    generator = generator_for(7)
    x = 0.2 + 0.6 * (torch.arange(200) >= 100).double() + 0.01 * torch.rand(1, 3, 120, 200, generator=generator)
    picture = x[0].permute(1, 2, 0).numpy()

    def blurred(of: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(of, (51, 51), 0)

    residual = picture - blurred(picture)
    mask = blurred((np.abs(residual) * 255 > 10).astype(np.float64))
    expected = mask * np.clip(picture + 0.5 * residual, 0, 1) + (1 - mask) * picture
    y = unsharp_mask(x)
    assert y.dtype == torch.float64
    assert torch.allclose(y[0].permute(1, 2, 0), torch.from_numpy(expected), atol=1e-9)
    assert torch.equal(y[..., :40], x[..., :40]) and torch.equal(y[..., 160:], x[..., 160:])
    assert (x - y)[..., 99].min().item() > 0.1 and (y - x)[..., 100].min().item() > 0.1
    assert y.min() >= 0 and y.max() <= 1


def test_an_unsharp_mask_leaves_flats_ramps_and_what_is_below_the_threshold() -> None:
    flat = torch.full((1, 3, 64, 64), 0.3)
    ramp = (torch.arange(80.0) / 100).expand(1, 1, 64, 80)
    noise = 0.5 + 0.03 * (torch.rand(1, 3, 64, 64, generator=generator_for(8)) - 0.5)
    assert torch.equal(unsharp_mask(flat), flat) and torch.equal(unsharp_mask(noise), noise)
    inside = unsharp_mask(ramp, threshold=0.2)
    assert torch.equal(inside, ramp), "its residual at the border is below 0.2, elsewhere 0"
    with torch.autocast("cpu", torch.bfloat16):
        half = unsharp_mask(noise.bfloat16())
    assert half.dtype == torch.float32 and torch.equal(half, noise.bfloat16().float())
