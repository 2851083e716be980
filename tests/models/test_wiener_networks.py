"""DWDN and INFWIDE: exact sizes, odd pictures, kernels of their own, the noise-to-signal ratio as published."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.models.dwdn import DWDN
from restore.models.infwide import INFWIDE, noise_map
from restore.models.wiener_layer import FeatureWiener, fitted, median3
from tests.classical.blurred import shake


def count(net):
    return sum(p.numel() for p in net.parameters())


def psfs(*seeds, side=37):
    return torch.stack([shake(side, seed, torch.float32) for seed in seeds])[:, None]


def test_parameters():
    net = INFWIDE()
    assert [count(each) for each in (net.features, net.refine, net.denoise, net.merge)] == [
        39_712, 6_894_467, 4_254_240, 4_553_923,
    ]  # fmt: skip
    assert count(net) == net.spec().parameters == 15_742_342
    assert count(DWDN()) == DWDN().spec().parameters == 7_049_507


@pytest.mark.parametrize("made", [INFWIDE, DWDN])
def test_odd_sizes_and_kernels_of_their_own(made):
    torch.manual_seed(0)
    net, x, k = made().eval(), torch.rand(2, 3, 51, 61), psfs(1, 2, side=9)

    def outputs(x, k):
        y = net(x, k)
        return [*y[0], y[1]] if made is INFWIDE else y

    with torch.inference_mode():
        both = outputs(x, k)
        single = [outputs(x[i : i + 1], k[i : i + 1]) for i in range(2)]
    shapes = [tuple(y.shape[1:]) for y in both]
    assert shapes[:2] == [(3, 26, 31), (3, 51, 61)] and all(shape == (3, 51, 61) for shape in shapes[1:])
    for i, ys in enumerate(single):
        assert all(torch.allclose(y[0], b[i], atol=1e-5) for y, b in zip(ys, both, strict=True))


@pytest.mark.slow
def test_the_size_of_the_paper_s_check():
    with torch.inference_mode():
        (half, full), denoised = INFWIDE().eval()(torch.rand(1, 3, 255, 321), psfs(1))
    assert half.shape[2:] == (128, 161) and full.shape == denoised.shape == (1, 3, 255, 321)


def published(f, k, count_by_height):
    """The layer for one map, in numpy, from the paper's text."""
    margin = k.shape[0]
    wide = np.pad(f, margin, mode="edge")
    mirrored = np.pad(wide, 1, mode="reflect")
    windows = np.stack([mirrored[i : i + wide.shape[0], j : j + wide.shape[1]] for i in range(3) for j in range(3)])
    noise = np.median(windows, 0) - wide
    n = wide.shape[0] ** 2 if count_by_height else wide.size

    def variance(v):
        return ((v - v.sum() / n) ** 2).sum() / (n - 1)

    ratio = 8 / 30 * variance(noise) / np.sqrt(variance(wide))
    padded = np.zeros_like(wide)
    padded[: k.shape[0], : k.shape[1]] = k
    spectrum = np.fft.fft2(np.roll(padded, (-(k.shape[0] // 2), -(k.shape[1] // 2)), (0, 1)))
    found = np.fft.ifft2(spectrum.conj() * np.fft.fft2(wide) / (np.abs(spectrum) ** 2 + ratio)).real
    return found[margin:-margin, margin:-margin]


@pytest.mark.parametrize("exact", [False, True])
def test_the_layer_is_the_published_formula_on_pictures_that_are_not_square(exact):
    f, k = torch.rand(1, 16, 24, 37, dtype=torch.float64), shake(7)
    mine = FeatureWiener(exact_moments=exact)(f, 3 * k[None, None])[0]
    for channel in range(16):
        expected = published(f[0, channel].numpy(), k.numpy(), not exact)
        assert np.abs(mine[channel].numpy() - expected).max() < 1e-9


def test_gradients_go_through_the_ratio():
    f = torch.rand(1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    k = shake(3).abs()[None, None] + 0.01
    assert torch.autograd.gradcheck(lambda f: FeatureWiener()(f, k), (f,), eps=1e-6, atol=1e-5)


def test_sizes_are_fitted_around_the_middle():
    x = torch.arange(5.0).view(1, 1, 1, 5)
    assert fitted(x, torch.zeros(1, 1, 1, 4)).flatten().tolist() == [0, 1, 2, 3]
    assert fitted(x, torch.zeros(1, 1, 1, 3)).flatten().tolist() == [1, 2, 3]
    assert fitted(x, torch.zeros(1, 1, 2, 6))[0, 0].tolist() == [[0, 1, 2, 3, 4, 0], [0] * 6]


def test_the_noise_map_is_a_ratio_of_amplitudes():
    generator = torch.Generator().manual_seed(0)
    x = 0.5 + 0.1 * torch.randn(1, 3, 200, 210, generator=generator)
    smooth = median3(x)
    expected = float((smooth - x).std() / smooth.square().mean().sqrt())
    assert noise_map(x).shape == x.shape
    assert float(noise_map(x).mean()) == pytest.approx(expected, rel=0.02)
    assert torch.allclose(noise_map(2 * x), noise_map(x), rtol=1e-4)
