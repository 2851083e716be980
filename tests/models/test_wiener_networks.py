"""DWDN and INFWIDE: exact sizes, odd pictures, kernels of their own, the noise-to-signal ratio as published."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from restore.models import build
from restore.models.infwide import INFWIDE, noise_map
from restore.models.plain_unet import PlainUNet
from restore.models.wiener_layer import FeatureWiener, median3
from restore.models.wiener_unet import WienerUNet
from restore.physics.fourier import data_step, otf
from tests.classical.blurred import shake

NETWORKS = {"infwide": 15_742_342, "dwdn": 7_049_507, "wiener_unet": 728_903}
"""With a PSF as an input: name -> parameters."""


def count(net):
    return sum(p.numel() for p in net.parameters())


def levels(*sigmas: float) -> Tensor:
    return torch.tensor(sigmas)[:, None, None, None]


def psfs(*seeds, side=37):
    return torch.stack([shake(side, seed, torch.float32) for seed in seeds])[:, None]


def test_parameters():
    net = INFWIDE()
    assert [count(each) for each in (net.features, net.refine, net.denoise, net.merge)] == [
        39_712, 6_894_467, 4_254_240, 4_553_923,
    ]  # fmt: skip
    for name, expected in NETWORKS.items():
        net = build(name)
        assert count(net) == net.spec().parameters == expected and net.spec().task == "deconv"
    assert count(WienerUNet(steps=2, denoise=True)) == 1_442_578


@pytest.mark.parametrize("name", NETWORKS)
def test_odd_sizes_and_kernels_of_their_own(name):
    torch.manual_seed(0)
    net, x, k, sigma = build(name).eval(), torch.rand(2, 3, 51, 61), psfs(1, 2, side=9), levels(0.01, 0.05)
    with torch.inference_mode():
        both = net.stages(x, k, sigma)
        single = [net.stages(x[i : i + 1], k[i : i + 1], sigma[i : i + 1]) for i in range(2)]
        picture = net(x, psf=k, noise_level=sigma.expand(-1, 1, 51, 61))
    assert torch.allclose(picture, both.pictures[-1], atol=1e-5) and picture.dtype == torch.float32
    shapes = [tuple(y.shape[1:]) for y in both.pictures]
    assert shapes == ([(3, 51, 61)] if name == "wiener_unet" else [(3, 26, 31), (3, 51, 61)])
    assert (both.blurred is None) == (name != "infwide")
    for i, one in enumerate(single):
        assert all(torch.allclose(y[0], b[i], atol=1e-5) for y, b in zip(one.pictures, both.pictures, strict=True))


@pytest.mark.slow
def test_the_size_of_the_paper_s_check():
    with torch.inference_mode():
        (half, full), blurred = INFWIDE().eval().stages(torch.rand(1, 3, 255, 321), psfs(1), levels(0.02))
    assert half.shape[2:] == (128, 161) and full.shape == blurred.shape == (1, 3, 255, 321)


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


def test_the_noise_map_is_a_ratio_of_amplitudes():
    generator = torch.Generator().manual_seed(0)
    x = 0.5 + 0.1 * torch.randn(1, 3, 200, 210, generator=generator)
    smooth = median3(x)
    expected = float((smooth - x).std() / smooth.square().mean().sqrt())
    assert noise_map(x).shape == x.shape
    assert float(noise_map(x).mean()) == pytest.approx(expected, rel=0.02)
    assert torch.allclose(noise_map(2 * x), noise_map(x), rtol=1e-4)


def test_the_steps_of_the_compact_network_are_those_of_plug_and_play():
    """With U-Nets that add nothing, what is left are DPIR's data steps."""
    net, x, k, sigma = WienerUNet(steps=2).eval(), torch.rand(1, 3, 20, 24), psfs(3, side=7), levels(0.02)
    torch.nn.init.zeros_(net.refine.tail.weight)
    torch.nn.init.zeros_(net.refine.tail.bias)
    transfer, first = otf(k, (20, 24)), 49 / 255
    z = data_step(x, x, transfer, 0.23 * (0.02 / first) ** 2)
    expected = data_step(x, z, transfer, 0.23)
    with torch.inference_mode():
        assert torch.allclose(net(x, k, sigma), expected, atol=1e-5)


def test_the_compact_network_starts_from_a_denoiser():
    """With nothing to take out and no noise, the first step is the denoiser's, told 49/255."""
    torch.manual_seed(1)
    denoiser = PlainUNet(3, 1, (8, 12), (1, 1, 1))
    net = WienerUNet(steps=1, denoise=True, features=4, widths=(8, 12), blocks=(1, 1, 1)).eval()
    assert net.begin_with(denoiser)
    x, single, sigma = torch.rand(1, 3, 16, 20), torch.ones(1, 1, 1, 1), levels(0.1)
    with torch.inference_mode():
        made = net.stages(x, single, sigma)
        blurred = denoiser(x, noise_level=sigma)
        assert torch.allclose(made.blurred, blurred, atol=1e-5)
        assert torch.allclose(made.pictures[0], denoiser(blurred, noise_level=sigma), atol=1e-4)


def test_the_compact_network_uses_psf_level_and_features():
    torch.manual_seed(2)
    net = WienerUNet(widths=(8, 12), blocks=(1, 1, 1)).eval()
    x, k = torch.rand(1, 3, 24, 24), psfs(1, 2, side=9)
    with torch.inference_mode():
        first = net(x, k[:1], levels(0.02))
        assert (net(x, k[1:], levels(0.02)) - first).abs().max() > 1e-3
        assert (net(x, k[:1], levels(0.1)) - first).abs().max() > 1e-3
    loss = net(x, k[:1], levels(0.02)).square().mean()
    loss.backward()
    for name, parameter in net.named_parameters():
        assert float(parameter.grad.abs().max()) > 0, name
