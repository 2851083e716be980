"""What the shipped networks of super-resolution promise on any picture: plain colours stay, tiles do not show."""

from __future__ import annotations

import numpy as np
import pytest

import restore

NAMES = ["upscale_x2", "upscale_x4", "upscale_x4_gan", "upscale_x4_real"]
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
        assert np.abs(drift).max() < 1, (colour, float(np.abs(drift).max()))
