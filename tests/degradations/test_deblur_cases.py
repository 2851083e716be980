"""Cases of blind deblurring against the physics of cameras, restated."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch

from restore.degradations.deblur_cases import BORDER, DEBLUR_SEED, DeblurCase
from restore.errors import ConfigError, UnsupportedError
from restore.physics.camera_blur import CameraBlurRecipe, blur_as_camera
from restore.physics.color import linear_to_srgb, srgb_to_linear
from restore.physics.shake import discs

ROWS, COLUMNS = np.mgrid[:96, :110]
CLEAN = (
    np.stack([2 * COLUMNS + ROWS // 8 * 4, 2 * ROWS + 30, 200 - ROWS // 9 % 2 * 90], -1).clip(0, 255).astype(np.uint8)
)
BARE = {"noise": 0, "jpeg": 0}


def made(clean: np.ndarray = CLEAN, index: int = 0, **fields):
    return DeblurCase(**fields).make([clean], index)


def test_a_disc_in_linear_light_is_scipys_convolution():
    sample = made(kind="disc", radius=3, **BARE)
    light = srgb_to_linear(torch.from_numpy(CLEAN).movedim(-1, 0)[None].double() / 255)[0].numpy()
    psf = discs(torch.tensor([3.0]), 13)[0, 0].double().numpy()
    blurred = np.stack([scipy.ndimage.convolve(plane, psf) for plane in light])
    codes = 255 * linear_to_srgb(torch.from_numpy(blurred)[None])[0].movedim(0, -1).numpy()
    margin = (96 - sample.targets["result"].shape[0]) // 2
    inner = (slice(margin, -margin), slice(margin, -margin))
    assert np.array_equal(sample.targets["result"], CLEAN[inner])
    assert np.abs(sample.inputs["picture"] - codes[inner]).max() <= 0.51 and sample.inputs["picture"].dtype == np.uint8
    assert sample.border == BORDER == 12 and sample.noise_level == 0
    plain = made(kind="disc", radius=3, linear=False, **BARE).inputs["picture"]
    assert np.abs(plain.astype(int) - sample.inputs["picture"]).max() > 5


@pytest.mark.parametrize("fields", [{"length": 12}, {"length": 12, "varying": True}, {"kind": "line", "length": 8}])
def test_a_sample_is_that_of_the_camera_for_seed_and_index(fields):
    case = DeblurCase(**fields)
    first, again, other = (case.make([CLEAN], index).inputs["picture"] for index in (4, 4, 5))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    recipe = CameraBlurRecipe(
        {case.kind: 1.0}, (case.length,) * 2, (0, 0), varying=float(case.varying), linear=1.0, lights=(1, 1),
        noise=(1, 1), jpeg=1.0, quality=(92, 92),
    )  # fmt: skip
    x = torch.from_numpy(CLEAN).movedim(-1, 0)[None].float() / 255
    drawn = blur_as_camera(x, recipe, DEBLUR_SEED, 0, 4)
    assert np.array_equal(first, (255 * drawn.blurred[0].movedim(0, -1)).round().numpy())
    assert bool(drawn.varying) == case.varying
    assert not np.array_equal(DeblurCase(**fields, seed=1).make([CLEAN], 4).inputs["picture"], first)


def test_noise_and_jpeg_alone():
    flat = np.full((80, 80, 3), 32896, np.uint16)
    assert np.unique(made(flat, kind="none", **BARE).inputs["picture"]).tolist() == [128]
    assert made(flat, kind="none", **BARE).targets["result"].dtype == np.uint16
    noisy = made(flat, kind="none", noise=4, jpeg=0).inputs["picture"].astype(float)
    assert noisy.std() == pytest.approx(4, rel=0.03)
    squeezed = made(flat, kind="none", noise=4, jpeg=30).inputs["picture"].astype(float)
    assert squeezed.std() < 3
    assert not DeblurCase(kind="none", **BARE).damages and DeblurCase(kind="none").damages
    grey = made(flat[..., :1], length=5)
    assert grey.inputs["picture"].shape == grey.targets["result"].shape == (*grey.inputs["picture"].shape[:2], 1)


def test_standard_cases():
    cases = DeblurCase.standard()
    assert list(cases) == ["shake5", "shake12", "shake20"]
    assert [case.length for case in cases.values()] == [5, 12, 20]
    for case in cases.values():
        assert (case.noise, case.jpeg, case.linear, case.varying, case.kind) == (1, 92, True, False, "shake")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"length": 12},
            "a shake of 12 px along a random path, in linear light, white noise, sigma 1 of 255, rounded to 8 bits, "
            "JPEG of quality 92 (4:2:0) (seed: picture index); 12 px left out on each side",
        ),
        ({"kind": "line", "length": 7.5, "varying": True}, "a line of 7.5 px in a random direction, changing over the"),
        ({"kind": "disc", "radius": 3, "linear": False, **BARE}, "of the file's values, no noise, rounded to 8 bits ("),
        (
            {"kind": "none", "seed": 7},
            "not blurred, white noise, sigma 1 of 255, rounded to 8 bits, JPEG of quality 92",
        ),
        ({"kind": "none", "seed": 7}, "(seed: 7 and picture index)"),
    ],
)
def test_words(fields, words):
    assert words in DeblurCase(**fields).describe()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"kind": "shak", "length": 3}, "there is no blur 'shak'. Did you mean 'shake'?"),
        ({}, "the blur shake cannot have length 0. Give it length above 0, up to 200"),
        ({"kind": "disc", "radius": 3, "length": 4}, "the blur disc cannot have length 4. Leave length out"),
        ({"kind": "disc"}, "the blur disc cannot have radius 0"),
        ({"kind": "none", "radius": -1}, "the blur none cannot have radius -1"),
        ({"kind": "disc", "radius": 3, "varying": True}, "the blur disc cannot vary. varying goes with shake and line"),
        ({"length": 5, "noise": -1}, "noise cannot be -1"),
        ({"length": 5, "jpeg": 101}, "a JPEG cannot have quality 101. Give 1 to 100, or 0"),
    ],
)
def test_cases_that_cannot_be(fields, text):
    with pytest.raises(ConfigError) as caught:
        DeblurCase(**fields)
    assert str(caught.value).startswith(text)


def test_pictures_that_cannot_be_taken():
    with pytest.raises(UnsupportedError, match=r"a picture of 110 x 60 px is too small for this blur\. Take .* 72 px"):
        made(CLEAN[:60], length=5)
    with pytest.raises(UnsupportedError, match="JPEG has grey or RGB, this picture 5 channels"):
        made(np.zeros((96, 96, 5), np.uint8), length=5)
    assert made(np.zeros((96, 96, 5), np.uint8), length=5, jpeg=0).inputs["picture"].shape[2] == 5
