"""Cases of deconvolution against their formula, restated with numpy and scipy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

from restore.degradations.blur_cases import BlurCase
from restore.errors import ConfigError, UnsupportedError
from restore.physics.low_light import HEADROOM
from restore.physics.psf import described

CLEAN = np.random.default_rng(4).integers(0, 256, (40, 48, 3), np.uint8)
PSF = described("motion:9,30").double().numpy()


def blurred(index, level, clean=CLEAN):
    """In 8-bit units, the PSF flipped as convolution has it, and the noise of the published recipe."""
    x = np.stack([convolve(clean[..., c].astype(float), PSF, mode="wrap") for c in range(clean.shape[2])], -1)
    return x + level * np.random.default_rng(index).standard_normal(x.shape)


def test_the_picture_is_the_convolution_plus_the_noise_of_its_index():
    made = BlurCase(psf="motion:9,30", noise=7.65).make([CLEAN], 6)
    assert made.inputs["picture"].dtype == np.float32 and made.inputs["picture"].shape == CLEAN.shape
    assert np.allclose(made.inputs["picture"] * 255, blurred(6, 7.65), atol=1e-4)
    assert np.array_equal(made.targets["result"], CLEAN) and made.noise_level == 7.65
    assert made.border == max(PSF.shape)


def test_valid_pictures_are_cut_so_that_the_scene_goes_on_and_judged_in_the_same_margin():
    made = BlurCase(psf="motion:9,30", boundary="valid").make([CLEAN], 0)
    rows, columns = (side // 2 for side in PSF.shape)
    inner = (slice(rows, 40 - rows), slice(columns, 48 - columns))
    assert np.allclose(made.inputs["picture"] * 255, blurred(0, 0)[inner], atol=1e-4)
    assert np.array_equal(made.targets["result"], CLEAN[inner])
    assert made.border + max(rows, columns) == max(PSF.shape)
    assert BlurCase(psf="motion:9,30", whole=True).make([CLEAN], 0).border == 0


def test_clipped_pictures_are_8_bits_of_the_same():
    grey = CLEAN[..., :1]
    made = BlurCase(psf="motion:9,30", noise=30, clipped=True).make([grey], 2)
    codes = np.clip(np.rint(blurred(2, 30, grey)), 0, 255)
    assert made.inputs["picture"].dtype == np.uint8 and (made.inputs["picture"] == codes).mean() > 0.999


def test_a_dark_sensor():
    case = BlurCase(psf="disc:2", gain=8)
    first, again, other = (case.make([CLEAN], index).inputs["picture"] for index in (3, 3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.min() >= 0 and first.max() == pytest.approx(1 / HEADROOM)
    noisy, quiet = (each.make([CLEAN // 4], 0).inputs["picture"] for each in (case, BlurCase(psf="disc:2")))
    assert noisy.std() > 1.2 * quiet.std()
    with pytest.raises(UnsupportedError, match="a dark sensor has RGB, this picture 1 channels"):
        case.make([CLEAN[..., :1]], 0)


def test_what_methods_are_given():
    assert BlurCase(psf="disc:2", noise=3).options(1) == {"psf": "disc:2", "noise": 3, "boundary": "none"}
    assert BlurCase(psf="disc:2", noise=3, known_noise=False, boundary="valid").options(1) == {"psf": "disc:2"}
    several = BlurCase(psf=("disc:2", "disc:3"), gain=8, boundary="valid")
    assert [several.options(index)["psf"] for index in (0, 1, 2)] == ["disc:2", "disc:3", "disc:2"]
    sides = [several.make([CLEAN], index).targets["result"].shape[0] for index in (0, 1)]
    assert sides == [36, 34]
    assert "disc:2 or disc:3, valid, a dark sensor's noise, gain 8" in several.describe()


def test_a_kernel_of_a_file(tmp_path):
    np.save(tmp_path / "k.npy", PSF)
    code = np.rint(255 * PSF / PSF.max()).astype(np.uint8)
    (tmp_path / "k.png").write_bytes(cv2.imencode(".png", code)[1].tobytes())
    for name, tolerance in (("k.npy", 1e-4), ("k.png", 2)):
        made = BlurCase(psf=str(tmp_path / name)).make([CLEAN], 0)
        assert np.abs(made.inputs["picture"] * 255 - blurred(0, 0)).max() < tolerance


def test_what_cannot_be_made():
    with pytest.raises(UnsupportedError, match=r"48 x 40 px is too small for a PSF of 41 x 41 px"):
        BlurCase(psf="disc:20").make([CLEAN], 0)
    with pytest.raises(ConfigError, match="needs a PSF"):
        BlurCase(psf=())
    with pytest.raises(ConfigError, match="noise cannot be -1"):
        BlurCase(psf="disc:2", noise=-1)


def test_the_callers_random_state_stays():
    state = torch.get_rng_state()
    BlurCase(psf="disc:2", gain=8).make([CLEAN], 0)
    BlurCase(psf="disc:2", noise=8).make([CLEAN], 0)
    assert torch.equal(torch.get_rng_state(), state)
