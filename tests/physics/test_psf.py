"""Point spread functions: geometry of the made ones, and what becomes of bad ones."""

from __future__ import annotations

import math

import pytest
import torch

from restore.errors import ConfigError
from restore.physics.psf import described, disc, gauss, motion, sanitised


def moments(psf):
    """(centroid off the middle: down, right; angle of the long axis in degrees, counter-clockwise; std along it)."""
    psf = psf.double()
    y = (torch.arange(psf.shape[0]) - psf.shape[0] // 2).double()[:, None]
    x = (torch.arange(psf.shape[1]) - psf.shape[1] // 2).double()[None]
    down, right = float((psf * y).sum()), float((psf * x).sum())
    xx, yy = float((psf * (x - right) ** 2).sum()), float((psf * (y - down) ** 2).sum())
    xy = -float((psf * (x - right) * (y - down)).sum())
    angle = math.degrees(math.atan2(2 * xy, xx - yy)) / 2
    return down, right, angle % 180, math.sqrt((xx + yy) / 2 + math.hypot((xx - yy) / 2, xy))


@pytest.mark.parametrize(("length", "angle"), [(21, 75), (15, 0), (9, 90), (40, 135), (33.5, 12)])
def test_motion(length, angle):
    psf = motion(length, angle)
    down, right, found, spread = moments(psf)
    assert float(psf.sum()) == pytest.approx(1, abs=1e-6)
    assert max(abs(down), abs(right)) < 0.05 and abs((found - angle + 90) % 180 - 90) < 0.5
    assert spread == pytest.approx((length - 1) / math.sqrt(12), rel=0.03)
    assert psf.shape[0] % 2 and psf.shape[1] % 2


def test_the_shortest_motion_is_none():
    assert motion(1, 30).tolist() == [[1.0]]


@pytest.mark.parametrize("radius", [1.5, 3, 5, 8.4])
def test_disc(radius):
    psf = disc(radius)
    assert float(psf.sum() / psf.max()) == pytest.approx(math.pi * radius**2, rel=0.01)
    assert max(map(abs, moments(psf)[:2])) < 1e-6


def test_gauss():
    assert moments(gauss(2.0))[3] == pytest.approx(2.0, rel=0.02)
    down, right, angle, spread = moments(gauss(3.0, 1.0, 30))
    assert angle == pytest.approx(30, abs=0.5) and spread == pytest.approx(3, rel=0.02)
    assert max(abs(down), abs(right)) < 1e-6


def test_descriptions():
    assert torch.equal(described("motion:21,75"), motion(21, 75))
    assert torch.equal(described("disc:5"), disc(5))
    assert torch.equal(described("gauss:2,1,30"), gauss(2, 1, 30))


@pytest.mark.parametrize(
    "wrong", ["motion:21", "motion:0.5,3", "disc:", "disc:0", "disc:nan", "gauss:1,2,3,4", "disc:9999"]
)
def test_wrong_descriptions_say_how(wrong):
    with pytest.raises(ConfigError, match=r"motion:LENGTH,ANGLE, disc:RADIUS or gauss:SIGMA"):
        described(wrong)


def test_an_unknown_blur():
    with pytest.raises(ConfigError, match="no blur called 'shake'"):
        described("shake:3")


def test_sanitising_keeps_the_middle_and_tells_what_it_did():
    raw = torch.zeros(6, 8)
    raw[3, 4], raw[3, 5], raw[0, 0] = 2.0, 1.0, -1.0
    psf, notes = sanitised(raw)
    assert notes == ("1 negative values of the PSF became 0",)
    assert psf.tolist() == [[0.0, pytest.approx(2 / 3), pytest.approx(1 / 3)]]
    colour = raw.clamp(min=0)[..., None] * torch.tensor([1.0, 0.5, 0.0])
    assert "coloured" in sanitised(colour)[1][0] and torch.allclose(sanitised(colour)[0], psf)


def test_centring_moves_by_whole_pixels_and_says_so():
    raw = torch.zeros(9, 9)
    raw[1, 6] = 1.0
    psf, notes = sanitised(raw, centred=True)
    assert psf.tolist() == [[1.0]] and "3 px down and -2 px right" in notes[0]
    assert sanitised(raw)[0].shape == (7, 5)


def test_a_grey_floor_goes():
    raw = torch.full((7, 7), 2.0)
    raw[3, 2:5] = 100.0
    psf, notes = sanitised(raw, floor=True)
    assert psf.shape == (1, 3) and "grey floor" in notes[0]


@pytest.mark.parametrize(
    ("raw", "why"),
    [(torch.zeros(3, 3), "zero everywhere"), (torch.tensor([[float("nan")]]), "NaN"), (torch.zeros(0, 3), "shape"),
     (torch.ones(4), "shape")],
)  # fmt: skip
def test_what_is_no_psf(raw, why):
    with pytest.raises(ConfigError, match=why):
        sanitised(raw)
