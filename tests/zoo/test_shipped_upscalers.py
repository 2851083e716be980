"""What the shipped networks of super-resolution promise on any picture: plain colours stay, tiles do not show."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import restore
from restore.zoo import load

NAMES = ["upscale_x2", "upscale_x4", "upscale_x4_gan", "upscale_x4_real"]
MOST = {"upscale_x4_real": 1.6}
"""Of 255; yellow drifts most."""
COLOURS = [
    (0, 0, 0), (255, 255, 255), (128, 128, 128), (20, 20, 20), (235, 235, 235), (255, 0, 0), (0, 255, 0), (0, 0, 255),
    (135, 190, 235), (240, 205, 180), (90, 56, 37), (60, 110, 50), (250, 240, 10), (200, 30, 160), (10, 80, 90),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_plain_colours_stay_up_to_the_border(name):
    upscale = restore.load("upscale", weights=name, device="cpu", precision="fp32")
    for colour in COLOURS:
        plain = np.tile(np.float32(colour) / 255, (24, 28, 1))
        drift = 255 * (upscale(plain) - plain[0, 0])
        assert np.abs(drift).max() < MOST.get(name, 1.0), (colour, float(np.abs(drift).max()))


def textured(side: int) -> np.ndarray:
    """Shades, stripes of many periods and grain: uint8 side x side x 3."""
    rows, columns = np.mgrid[:side, :side] / side
    waves = [np.sin(2 * np.pi * (k * rows**2 + (3 + k) * columns)) for k in (3, 8, 19)]
    grain = np.random.default_rng(0).normal(0, 0.1, (side, side, 3))
    return np.uint8(np.clip(np.stack(waves, -1) * 0.35 + 0.5 + grain, 0, 1) * 255)


@pytest.mark.parametrize(("side", "tile"), [(72, 32), pytest.param(512, 200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_tiles_do_not_show(name, side, tile):
    picture, net = textured(side), load(name, "upscale").net.eval()
    tiled, untiled = (
        restore.load("upscale", weights=name, scale=net.scale, tile=each, device="cpu", precision="fp32")(picture)
        for each in (tile, 4 * side)
    )
    assert np.array_equal(tiled, untiled)
    exact = (
        net(torch.from_numpy(picture).movedim(-1, 0)[None].float() / 255)[0].clamp(0, 1).movedim(0, -1).numpy() * 255
    )
    assert np.abs(tiled - exact).max() < 0.5001  # rounded, whichever way between two codes
