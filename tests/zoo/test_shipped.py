"""The shipped weights, called by keyword, against their networks written out with functions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import restore.zoo
from restore.physics.fourier import data_step, difference_power, otf
from restore.zoo import resolver

NAMES = {"cbsn": "denoise", "deblur": "deblur", "deconv": "deconv", "deconv_low_light": "deconv",
         "deconv_prior": "denoise", "denoise": "denoise", "denoise_white": "denoise",
         "dereflect": "dereflect", "upscale_x2": "upscale", "upscale_x4": "upscale", "upscale_x4_gan": "upscale",
         "upscale_x4_real": "upscale"}  # fmt: skip
State = dict[str, Tensor]


@pytest.fixture(autouse=True)
def shipped_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("RESTORE_HOME", str(tmp_path))


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def conv(w: State, name: str, x: Tensor, **how: int) -> Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **how)


def block(w: State, name: str, x: Tensor) -> Tensor:
    return x + conv(w, f"{name}.conv2", conv(w, f"{name}.conv1", x, padding=1).relu(), padding=1)


def unet(w: State, planes: Tensor) -> Tensor:
    """The correction of a PlainUNet of two levels with blocks 2, 3, 2, from colours and conditions in one."""
    fine = conv(w, "head", F.pixel_unshuffle(planes, 2), padding=1)
    for n in range(2):
        fine = block(w, f"encoders.0.{n}", fine)
    coarse = conv(w, "downs.0", fine, stride=2)
    for n in range(3):
        coarse = block(w, f"middle.{n}", coarse)
    x = F.conv_transpose2d(coarse, w["ups.0.weight"], w["ups.0.bias"], stride=2) + fine
    for n in range(2):
        x = block(w, f"decoders.0.{n}", x)
    return F.pixel_shuffle(conv(w, "tail", x, padding=1), 2)


def part(w: State, name: str) -> State:
    return {key.removeprefix(f"{name}."): value for key, value in w.items() if key.startswith(f"{name}.")}


def test_all_that_is_shipped_is_named_here():
    assert {path.stem for path in resolver.PACKAGED.glob("*.safetensors")} == set(NAMES)


@pytest.mark.parametrize("name", [name for name, task in NAMES.items() if task == "denoise" and name != "cbsn"])
@torch.no_grad()
def test_denoisers(name):
    net = restore.zoo.load(name, "denoise").net
    x, level = uniform(0, 2, 3, 24, 32), 0.2 * uniform(1, 2, 1, 24, 32)
    expected = unet(net.state_dict(), torch.cat([x, level], 1))
    assert (net.residual(x, noise_level=level) - expected).abs().max() < 1e-6
    assert (net(x, noise_level=level) - (x + expected)).abs().max() < 1e-6
    assert (net(x, noise_level=level[..., :1, :1]) - net(x, noise_level=level)).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["deconv", "deconv_low_light"])
@torch.no_grad()
def test_deconvolving_networks(name):
    net = restore.zoo.load(name, "deconv").net
    w, steps, first = net.state_dict(), net.steps, 49 / 255
    x, k, sigma = uniform(2, 2, 3, 24, 28), uniform(3, 2, 1, 5, 5), torch.tensor([0.01, 0.05])[:, None, None, None]
    k = k / k.sum((-2, -1), keepdim=True)

    def plane(level: Tensor) -> Tensor:
        return level.expand(-1, 1, 24, 28)

    y = x if net.denoise is None else x + unet(part(w, "denoise"), torch.cat([x, plane(sigma)], 1))
    maps = block(w, "features.2", conv(w, "features.0", x, padding=1).relu())
    transfer = otf(k, (24, 28))
    weight = w["log_weight"].exp()[:, None, None] * sigma**1.5
    power = transfer.abs().square() + weight * difference_power((24, 28), x) + 1e-6
    maps = torch.fft.irfft2(torch.fft.rfft2(maps) * transfer.conj() / power, s=(24, 28))
    actual = y
    for step in range(steps):
        level = first * (sigma / first) ** (step / (steps - 1))
        z = data_step(y, actual, transfer, math.exp(w["log_trust"][step]) * (sigma / level) ** 2)
        actual = z + unet(part(w, "refine"), torch.cat([z, plane(level), maps], 1))
    assert (net(x, psf=k, noise_level=sigma) - actual).abs().max() < 1e-4
    assert (net(x, psf=k, noise_level=plane(sigma)) - actual).abs().max() < 1e-4
    assert (actual - x).abs().max() > 0.1


@pytest.mark.parametrize("blind", [True, False])
@torch.no_grad()
def test_the_blind_spot_network(blind):
    net = restore.zoo.load("cbsn", "denoise").net
    w, x = net.state_dict(), uniform(4, 1, 3, 20, 26)

    def branch(name: str, dilation: int, x: Tensor) -> Tensor:
        kernel = w[f"{name}.entry.weight"].clone()
        if blind:
            kernel[..., dilation - 1, dilation - 1] = 0
        x = F.conv2d(x, kernel, w[f"{name}.entry.bias"], padding=dilation - 1).relu()
        x = conv(w, f"{name}.mix.2", conv(w, f"{name}.mix.0", x).relu()).relu()
        for n in range(9):
            inner = conv(w, f"{name}.blocks.{n}.conv1", x, padding=dilation, dilation=dilation).relu()
            x = x + conv(w, f"{name}.blocks.{n}.conv2", inner).relu()
        return conv(w, f"{name}.exit", x).relu()

    head = conv(w, "head", x).relu()
    y = conv(w, "merge", torch.cat([branch("a", 2, head), branch("b", 3, head)], 1)).relu()
    expected = conv(w, "tail.4", conv(w, "tail.2", conv(w, "tail.0", y).relu()).relu())
    assert (net(x, blind) - expected).abs().max() < 1e-4
