"""Point spread functions: geometry of the made ones, and what becomes of bad ones."""

from __future__ import annotations

import math
import re

import pytest
import torch

from restore.errors import ConfigError
from restore.physics.batch import crop_or_pad
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


def test_sanitising_keeps_the_middle_and_says_what_it_did_and_how_much():
    raw = torch.zeros(6, 8)
    raw[3, 4], raw[3, 5], raw[0, 0] = 2.0, 1.0, -1.0
    psf, notes = sanitised(raw)
    assert notes == (
        "1 negative values of the PSF became 0 (25.0% of its light)",
        "the PSF is 6 px high: 1 px of zeros was added",
        "the PSF is 8 px wide: 1 px of zeros was added",
    )
    assert psf.tolist() == [[0.0, pytest.approx(2 / 3), pytest.approx(1 / 3)]]
    colour = raw.clamp(min=0)[..., None] * torch.tensor([1.0, 0.5, 0.0])
    assert "up to 100.0% of its peak apart" in sanitised(colour)[1][0] and torch.allclose(sanitised(colour)[0], psf)


def test_centring_moves_by_whole_pixels_and_says_so():
    raw = torch.zeros(9, 9)
    raw[1, 6] = 1.0
    psf, notes = sanitised(raw, centred=True)
    assert psf.tolist() == [[1.0]] and "3 px down and -2 px right" in notes[0]
    assert sanitised(raw)[0].shape == (7, 5)


def bead(side=33, at=(16.0, 16.0), sigma=2.2):
    """A point through a Gaussian blur, of peak 1, in a square frame."""
    y, x = (torch.arange(side, dtype=torch.float64) - place for place in at)
    return torch.exp(-(y[:, None] ** 2 + x**2) / (2 * sigma**2))


def noisy(psf, offset, peak=3000.0, read=4.0):
    return offset + peak * psf + read * torch.randn(psf.shape, generator=torch.Generator().manual_seed(1)).double()


def far(psf, truth):
    """How far two PSFs are apart: the sum of the differences' sizes about the middle, 0 to 2."""
    return float((crop_or_pad(psf.double(), (33, 33)) - crop_or_pad(truth / truth.sum(), (33, 33))).abs().sum())


@pytest.mark.parametrize("steps", [0.0, 1.0, 3100 / 255])
def test_the_background_of_a_photographed_point_goes_at_any_depth(steps):
    raw = noisy(bead(), 100.0)
    raw = raw if not steps else (raw / steps).round()
    psf, notes = sanitised(raw, measured=True)
    assert far(psf, bead()) < 0.03 < 0.9 < far(sanitised(raw).psf, bead())
    assert re.fullmatch(r"a background of [\d.]+, 3\.[123]% of the PSF's peak, was taken off", notes[0])
    assert re.fullmatch(r"\d+ values of the PSF below [\d.]+, its border's noise, became 0", notes[1])


def test_a_background_that_was_subtracted_leaves_no_rectified_noise():
    raw = noisy(bead(), 0.0, read=20.0)
    psf, notes = sanitised(raw, measured=True)
    assert far(psf, bead()) < 0.06 < 0.15 < far(sanitised(raw).psf, bead()) and "border's noise" in notes[0]


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_an_offset_of_either_sign_and_hot_pixels_are_no_light(noise):
    """Too much was subtracted; a sample that stands alone is none of a point that went through optics."""
    raw = bead() / bead().max() * 3000 - 200
    raw += noise * torch.randn(raw.shape, generator=torch.Generator().manual_seed(0))
    psf, notes = sanitised(raw, measured=True)
    assert far(psf, bead()) < 0.03 and notes[0].startswith("a background of -20")
    raw[3, 4] = raw[-5, 9] = 9000.0
    psf, notes = sanitised(raw, measured=True)
    assert far(psf, bead()) < 0.03 and re.search(r"single samples of the PSF \(\d+\.\d% of its light\)", notes[-1])


def test_a_point_of_one_sample_is_one():
    raw = torch.full((9, 9), 20.0)
    raw[4, 4] = 500.0
    assert sanitised(raw, measured=True).psf.shape == (1, 1)
    raw[4, 7] = 200.0  # two of them
    assert sanitised(raw, measured=True, centred=False).psf.count_nonzero() == 2


def test_a_grey_floor_goes():
    raw = torch.full((7, 7), 2.0)
    raw[3, 2:5] = 100.0
    psf, notes = sanitised(raw, measured=True)
    assert psf.shape == (1, 3) and notes == ("a background of 2, 2.0% of the PSF's peak, was taken off",)


@pytest.mark.parametrize(
    "text", ["gauss:0.5", "gauss:2", "gauss:3,1,30", "disc:1", "disc:3.5", "motion:15,0", "motion:21,75"]
)
def test_a_psf_that_fills_its_frame_is_not_taken_for_a_photograph_of_one(text):
    psf, notes = sanitised(described(text), measured=True)
    assert not notes and torch.allclose(psf, described(text), atol=1e-6)
    assert not sanitised(torch.ones(7, 7), measured=True).notes


@pytest.mark.parametrize(("side", "at"), [(32, 15.5), (32, 16.0), (31, 15.0)])
def test_even_sides_do_not_move_the_light(side, at):
    psf, notes = sanitised(bead(side, (at, at)), measured=True)
    assert far(psf, bead()) < 0.005
    done = {15.5: ["it was moved by 0.5 px"] * 2, 16.0: ["1 px of zeros was added"] * 2, 15.0: []}
    assert [note.partition(": ")[2] for note in notes] == done[at]


def test_a_point_that_lies_aside_in_its_frame_is_centred_and_a_trace_keeps_its_place():
    psf, notes = sanitised(noisy(bead(33, (11.0, 20.0)), 100.0), measured=True)
    assert far(psf, bead()) < 0.03 and "moved by 5 px down and -4 px right" in notes[-1]
    trace = torch.zeros(11, 11)
    trace[range(1, 10), range(1, 10)] = torch.linspace(9, 1, 9)  # its light is 1.3 px off, its support is not
    trace[1, 1] = 40.0
    psf, notes = sanitised(trace, measured=True)
    assert not notes and psf.shape == (9, 9) and float(psf[0, 0]) == float(psf.max())


@pytest.mark.parametrize(
    ("raw", "why"),
    [(torch.zeros(3, 3), "zero everywhere"), (torch.tensor([[float("nan")]]), "NaN"), (torch.zeros(0, 3), "shape"),
     (torch.ones(4), "shape")],
)  # fmt: skip
def test_what_is_no_psf(raw, why):
    with pytest.raises(ConfigError, match=why):
        sanitised(raw)
