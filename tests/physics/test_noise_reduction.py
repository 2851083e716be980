"""What cameras leave of noise: shrinkage, and kernels that roll off."""

from __future__ import annotations

import torch

from restore.physics.dct import dct_matrix
from restore.physics.filters import gaussian_kernels
from restore.physics.noise_reduction import reduced_noise, rolling_off, shrink_details


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.05 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_without_a_threshold_nothing_is_shrunk() -> None:
    x = 0.5 + noise(2, 1, 40, 37)
    assert torch.allclose(shrink_details(x, torch.zeros(2)), x, atol=1e-6)
    x, n = torch.rand(2, 3, 33, 40), noise(2, 3, 33, 40)
    assert torch.allclose(reduced_noise(x, n, torch.zeros(2)), n, atol=1e-6)


def test_weak_details_go_strong_ones_and_means_stay() -> None:
    x = torch.full((1, 1, 64, 64), 0.5) + noise(1, 1, 64, 64)
    y = shrink_details(x, torch.tensor([0.25]))  # five times the noise
    assert float((y - y.mean()).std()) < 0.4 * float((x - x.mean()).std())
    assert abs(float(y.mean() - x.mean())) < 1e-3
    stripes = torch.zeros(1, 1, 64, 64)
    stripes[..., ::2] = 1.0
    assert float((shrink_details(stripes, torch.tensor([0.25])) - stripes).abs().max()) < 0.05


def test_each_sample_has_its_own_threshold() -> None:
    x = 0.5 + noise(2, 1, 64, 64)
    both = shrink_details(x, torch.tensor([0.0, 0.3]))
    assert torch.allclose(both[:1], x[:1], atol=1e-6)
    assert torch.allclose(both[1:], shrink_details(x[1:], torch.tensor([0.3])))


def test_noise_is_left_at_details_and_colours_keep_theirs() -> None:
    x = torch.full((1, 3, 64, 64), 0.5)
    x[..., 32:] = torch.rand(64, 32, generator=torch.Generator().manual_seed(1)).round()  # texture on the right
    n = noise(1, 3, 64, 64, seed=2)
    left = torch.einsum("oc,nchw->nohw", dct_matrix(3), reduced_noise(x, n, torch.tensor([0.15])))
    assert float(left[:, :1, :, :24].std()) < 0.5 * 0.05 < 0.8 * 0.05 < float(left[:, :1, :, 40:].std())
    assert torch.allclose(left[:, 1:], torch.einsum("oc,nchw->nohw", dct_matrix(3), n)[:, 1:], atol=1e-6)


def test_steepness_two_is_the_gaussian() -> None:
    blur = torch.tensor([1.0, 1.4])
    expected = gaussian_kernels(blur, torch.ones(2), torch.zeros(2), 6)
    assert torch.allclose(rolling_off(blur, torch.full((2,), 2.0), 6), expected, atol=2e-3)
    delta = rolling_off(torch.zeros(1), torch.full((1,), 2.0), 6)[0]
    assert abs(float(delta[6, 6]) - 1) < 1e-5 and abs(float(delta.sum()) - 1) < 1e-5


def test_steeper_passes_more_below_and_less_beyond() -> None:
    soft, steep = (
        torch.fft.fft2(rolling_off(torch.tensor([0.7]), torch.tensor([p]), 6), s=(64, 64))[0, 0].abs()
        for p in (2.0, 8.0)
    )
    below, beyond = round(64 * 0.2), round(64 * 0.42)  # f0 is 0.32 cycles per px
    assert steep[below] > soft[below] + 0.1 and steep[beyond] < soft[beyond] - 0.1
