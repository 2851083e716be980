"""Camera noise: correlated in space, dependent on the signal, right in level, the scene itself untouched."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from restore.physics.camera import (
    CAMERA_DRAWN,
    PRESETS,
    Camera,
    _develop,
    _to_light,
    _to_picture,
    add_camera,
    draw_cameras,
)
from restore.physics.random import generator_for


def cameras(count: int, *presets: str) -> Camera:
    chance = torch.rand(count, len(CAMERA_DRAWN), generator=generator_for(0))
    return draw_cameras({name: PRESETS[name] for name in presets or PRESETS}, chance)


def noise_at(level: float, camera: Camera, channels: int = 3, side: int = 64) -> Tensor:
    flat = torch.full((len(camera.iso), channels, side, side), level)
    return add_camera(flat, camera, generator_for(1)) - flat


def lag1(noise: Tensor, dim: int) -> Tensor:
    noise = noise - noise.mean((2, 3), keepdim=True)
    size = noise.shape[dim] - 1
    product = noise.narrow(dim, 0, size) * noise.narrow(dim, 1, size)
    return product.mean((1, 2, 3)) / noise.square().mean((1, 2, 3))


@pytest.mark.parametrize("preset", list(PRESETS))
def test_neighbours_are_correlated(preset: str) -> None:
    noise = noise_at(0.4, cameras(24, preset))
    for dim in (2, 3):
        assert lag1(noise, dim).min() > 0.2
    smoothed = lag1(noise_at(0.4, cameras(24, "smoothed")), 3)
    assert smoothed.mean() > 0.7


def test_noise_depends_on_the_signal_and_the_sensitivity() -> None:
    one = cameras(1, "dslr")
    slow, fast = one._replace(iso=torch.tensor([400.0])), one._replace(iso=torch.tensor([6400.0]))
    dark, bright = (noise_at(level, fast, side=128).std() for level in (0.2, 0.8))
    assert dark > 1.3 * bright  # the tone curve steepens shadows
    assert float(noise_at(0.5, fast).std() / noise_at(0.5, slow).std()) == pytest.approx(
        4, rel=0.1
    )  # shot noise: sqrt(16)


def test_level_without_processing_is_that_of_the_sensor() -> None:
    """On measured pixels nothing but the slope of the tone curve stands between sensor and picture."""
    one, zero = torch.ones(4), torch.zeros(4)
    camera = Camera(
        one * 1600, one * 20e3, one * 4, red=one, blue=one, saturation=one, gamma=one * 2.2, malvar=zero,
        luma_blur=zero, chroma_blur=zero, chroma=one, fine=one, sharpen=zero, phase=torch.arange(4.0),
    )  # fmt: skip
    noise = noise_at(0.5, camera, side=256)
    light = float(_to_light(torch.tensor([0.5]), torch.tensor([2.2])))
    electrons = 20e3 / 16
    sensor = (light * electrons + 16) ** 0.5 / electrons
    step = torch.tensor([light - 1e-3, light + 1e-3])
    slope = float(_to_picture(step, torch.tensor([2.2])).diff() / 2e-3)
    for phase, (row, column) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        red = noise[phase, 0, row::2, column::2]  # a phase moves the pattern: red sits elsewhere
        assert float(red.std()) == pytest.approx(sensor * slope, rel=0.03)
        assert noise[phase, 0, 1 - row :: 2, column::2].std() < 0.8 * red.std()  # interpolated between two


@pytest.mark.parametrize("name", ["bilinear", "malvar"])
def test_demosaicing_is_that_of_the_literature(name: str) -> None:
    """Bilinear: OpenCV's. Malvar: planes of one slope, and a grey edge, come out exactly."""
    one, zero = torch.ones(1), torch.zeros(1)
    malvar = one if name == "malvar" else zero
    camera = cameras(1)._replace(red=one, blue=one, saturation=one, malvar=malvar, phase=zero)
    if name == "bilinear":
        mosaic = torch.randint(0, 256, (1, 1, 24, 32), generator=generator_for(2)).float()
        ours = _develop(mosaic, camera)[0].permute(1, 2, 0).numpy()
        theirs = cv2.demosaicing(mosaic[0, 0].byte().numpy(), cv2.COLOR_BayerRGGB2RGB)[2:-2, 2:-2]
        assert np.abs(ours - theirs).max() <= 0.51
        return
    ramp = torch.arange(24.0)[:, None] * 3 + torch.arange(32.0)[None] * 2
    assert torch.allclose(_develop(ramp[None, None], camera), ramp[2:-2, 2:-2].expand(1, 3, -1, -1), atol=1e-3)


def test_tone_curve_is_inverted_and_close_to_srgb() -> None:
    x = torch.linspace(0, 1, 256)
    gamma = torch.tensor([2.2])
    light = _to_light(x, gamma)
    assert torch.allclose(_to_picture(light, gamma), x, atol=1e-5)
    srgb = torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    assert (light - srgb).abs().max() < 0.04


def test_a_camera_without_noise_leaves_the_picture_alone() -> None:
    still = cameras(4)._replace(full_well=torch.full((4,), 1e14), read_noise=torch.zeros(4))
    x = torch.rand(4, 3, 33, 47, generator=generator_for(3))
    assert torch.allclose(add_camera(x, still, generator_for(1)), x, atol=1e-4)


def test_chroma_noise_is_scaled_and_luma_is_not() -> None:
    """R - Y and B - Y take the factor, Y stays: what noise reduction in cameras leaves is mostly luma."""
    camera = cameras(4, "phone")
    full, half = (noise_at(0.4, camera._replace(chroma=torch.full((4,), share))) for share in (1.0, 0.5))
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    luma = (full * weights).sum(1, keepdim=True)
    assert torch.allclose((half * weights).sum(1, keepdim=True), luma, atol=1e-5)
    assert torch.allclose(half - luma, 0.5 * (full - luma), atol=1e-5)


def test_grey_gets_the_luma_of_the_colour_noise() -> None:
    camera = cameras(6)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    luma = (noise_at(0.3, camera) * weights).sum(1, keepdim=True)
    assert torch.allclose(noise_at(0.3, camera, channels=1), luma, atol=1e-5)
