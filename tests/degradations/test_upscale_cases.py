"""Cases of super-resolution against their formula, restated with numpy and Pillow."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from restore.degradations import build, upscale_cases
from restore.degradations.upscale_cases import UpscaleCase
from restore.errors import ConfigError, UnsupportedError
from restore.physics.resample import resize

ROWS, COLUMNS = np.mgrid[:43, :50]
CLEAN = np.stack([2 * COLUMNS + ROWS, 3 * ROWS + 60, 200 - 2 * ROWS], -1).astype(np.uint8)  # ramps


def small(clean: np.ndarray, **fields) -> np.ndarray:
    return UpscaleCase(**fields).make([clean], 0).inputs["picture"]


def test_bicubic_of_a_ramp_is_the_ramp_between_pixels():
    made = UpscaleCase().make([CLEAN], 5)
    assert np.array_equal(made.targets["result"], CLEAN[:40, :48])
    assert made.inputs["picture"].shape == (10, 12, 3) and made.inputs["picture"].dtype == np.uint8
    rows, columns = np.mgrid[2:8, 2:10] * 4 + 1.5  # pixel k lies at 4 k + 1.5
    exact = np.stack([2 * columns + rows, 3 * rows + 60, 200 - 2 * rows], -1)
    assert np.abs(made.inputs["picture"][2:8, 2:10] - exact).max() <= 0.5
    assert made.border == 4 and UpscaleCase(whole=True).make([CLEAN], 0).border == 0


def test_codes_are_rounded_and_clipped_from_any_depth():
    flat = np.full((16, 16, 1), 40000, np.uint16)
    assert np.unique(small(flat)).tolist() == [round(40000 / 257)]
    edges = np.zeros((32, 32, 1), np.float32)
    edges[8:24, 8:24] = 1
    exact = resize(torch.from_numpy(edges).double().movedim(-1, 0)[None], (16, 16))[0, 0].numpy()
    assert exact.min() < -0.01 and exact.max() > 1.01
    assert np.array_equal(small(edges, factor=2)[..., 0], np.rint(255 * exact).clip(0, 255))


def test_scale_of_the_method_goes_with_the_case():
    assert UpscaleCase(factor=2).options(3) == {"scale": 2.0}
    assert small(CLEAN, factor=2).shape == (21, 25, 3)
    assert UpscaleCase.standard() == {"bicubic4": UpscaleCase(factor=4)}


def test_noise_is_that_of_the_index():
    case = UpscaleCase(kind="noise", level=8)
    made, plain = case.make([CLEAN], 7), small(CLEAN)
    noisy = plain + 8 * np.random.default_rng(7).standard_normal(plain.shape)
    assert np.array_equal(made.inputs["picture"], np.rint(noisy).clip(0, 255))
    assert made.noise_level == 8


def test_blur_comes_before_the_sampling():
    clean = np.full((64, 64, 3), 100, np.uint8)
    assert np.array_equal(small(clean, kind="blur", blur=1.5), np.full((16, 16, 3), 100))
    clean[:, 32:] = 200
    steps = np.diff(small(clean, kind="blur", blur=1.0)[8, :, 0].astype(float))
    place = np.arange(15) - 7
    slope = 100 * np.diff([0.5 * (1 + math.erf((x - 0.5) / 2**0.5)) for x in (*place, place[-1] + 1)])
    assert np.abs(steps - slope).max() <= 2  # of 38: the Gaussian's integral, widened a little by the sampling
    assert np.diff(small(clean)[8, :, 0].astype(float)).max() > 80


def test_jpeg_is_that_of_a_codec():
    rng = np.random.default_rng(0)
    clean = np.kron(rng.integers(60, 200, (8, 8, 3)), np.ones((32, 32, 1))).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(small(clean)).save(file, "JPEG", quality=30)
    theirs, ours = np.asarray(Image.open(file)).astype(int), small(clean, kind="jpeg", quality=30).astype(int)
    assert np.abs(ours - small(clean)).mean() > 3
    assert np.abs(ours - theirs).mean() < 1


def test_real_world_is_what_the_pipeline_draws_for_picture_and_index():
    case = UpscaleCase(kind="real-world")
    made, again, other = (case.make([CLEAN], index).inputs["picture"] for index in (9, 9, 10))
    assert made.dtype == np.uint8 and made.shape == (10, 12, 3) and case.make([CLEAN], 9).border == 4
    assert np.array_equal(made, again) and not np.array_equal(made, other)
    clean = torch.from_numpy(CLEAN[:40, :48]).movedim(-1, 0)[None].float() / 255
    drawn = build("real_world", factor=4).draw({"clean": clean}, upscale_cases.REAL_WORLD_SEED, 0, 9)
    expected = (255 * drawn.inputs["picture"][0].movedim(0, -1)).round().numpy()
    assert np.array_equal(made, expected)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "smaller by 4, antialiased bicubic as MATLAB's imresize, rounded to 8 bits; 4 px left out on each side"),
        ({"kind": "jpeg", "quality": 30, "whole": True}, "rounded to 8 bits, then JPEG of quality 30 (4:2:0)"),
        ({"kind": "noise", "level": 5}, "sigma 5 of 255 (numpy default_rng(picture index))"),
        ({"kind": "blur", "blur": 1.5}, "rounded to 8 bits, after a Gaussian blur, sigma 1.5 px of the small picture;"),
        ({"kind": "real-world", "factor": 2}, "smaller by 2 after blur, resizing, noise and JPEG drawn at random"),
    ],
)
def test_words(fields, words):
    assert words in UpscaleCase(**fields).describe()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"factor": 1}, "pictures cannot become smaller by 1. Give a factor from 2 to 16"),
        ({"kind": "bicubi"}, "there is no way 'bicubi' to make pictures smaller. Did you mean 'bicubic'?"),
        ({"kind": "jpeg"}, "the case jpeg cannot have quality 0. quality goes with jpeg"),
        ({"quality": 30}, "the case bicubic cannot have quality 30. quality goes with jpeg"),
        ({"kind": "blur"}, "the case blur cannot have blur 0. blur goes with blur"),
        ({"kind": "noise", "level": -1}, "the case noise cannot have level -1. level goes with noise"),
        ({"kind": "jpeg", "quality": 101}, "a JPEG cannot have quality 101. Give 1 to 100"),
    ],
)
def test_cases_that_cannot_be(fields, text):
    with pytest.raises(ConfigError) as caught:
        UpscaleCase(**fields)
    assert str(caught.value).startswith(text)


def test_small_pictures_are_refused():
    with pytest.raises(UnsupportedError, match=r"is too small for a factor of 4\. Take .* 12 px"):
        UpscaleCase().make([CLEAN[:11]], 0)
    assert small(CLEAN[:11], whole=True).shape == (2, 12, 3)
