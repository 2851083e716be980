"""Damage as an engine: the same bytes in tiles of any height, for every kind, depth and with alpha."""

from __future__ import annotations

import numpy as np
import pytest

import restore
from restore.errors import ConfigError, UnsupportedError
from restore.picture import Picture
from restore.tasks import TASKS

SMALLER = ("downscale", "real-world")
KINDS = tuple(kind for kind in TASKS["degrade"].methods if kind not in SMALLER)
COMPRESSED = {"jpeg": {}, **{kind: {"jpeg": 60} for kind in ("gaussian", "camera", "none", "blur")}}


def picture(samples: int = 3, dtype: str = "uint8", size: tuple[int, int] = (251, 150)) -> np.ndarray:
    """A smooth scene with some texture; with alpha that is 0 on the left where there are 2 or 4 samples."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    shades = [0.5 + 0.35 * np.sin(rows / (20 + 3 * c)) * np.cos(columns / (17 + 2 * c)) for c in range(samples)]
    unit = np.stack(shades, -1) + 0.05 * np.random.default_rng(0).random((*size, samples))
    if samples in (2, 4):
        unit[..., -1] = columns / size[1]
        unit[:, :20, -1] = 0
    if dtype == "float32":
        return unit.astype(np.float32)
    top = np.iinfo(dtype).max
    return np.rint(np.clip(unit, 0, 1) * top).astype(dtype)


def degraded(kind: str, pixels: np.ndarray, tile: int | None = None, **options: object) -> np.ndarray:
    return restore.load("degrade", method=kind, tile=tile, seed=5, device="cpu", **options)(pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_tiles_of_any_height_give_the_same_bytes(kind, samples, dtype):
    pixels = picture(samples, dtype)
    whole = degraded(kind, pixels, 4096)
    for tile in (32, 200, None):
        np.testing.assert_array_equal(degraded(kind, pixels, tile), whole)
    assert (whole.shape, whole.dtype) == (pixels.shape, pixels.dtype)
    assert np.array_equal(whole, pixels) == (kind == "none")
    if samples == 4:
        np.testing.assert_array_equal(whole[..., 3], pixels[..., 3])
        np.testing.assert_array_equal(whole[:, :20], pixels[:, :20])  # what cannot be seen stays


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("kind", COMPRESSED)
def test_compression_too(kind, samples):
    pixels = picture(samples)
    for sampling in ("420", "444"):
        options = {**COMPRESSED[kind], "subsampling": sampling}
        whole = degraded(kind, pixels, 4096, **options)
        for tile in (32, 200):
            np.testing.assert_array_equal(degraded(kind, pixels, tile, **options), whole)


@pytest.mark.parametrize("samples", [1, 3, 5])
def test_float_pictures_too(samples):
    pixels = picture(samples, "float32")
    for kind in ("gaussian", "correlated", "resize"):
        whole = degraded(kind, pixels, 4096)
        np.testing.assert_array_equal(degraded(kind, pixels, 32), whole)
        assert whole.dtype == np.float32 and float((whole - pixels).std()) > 0.05


@pytest.mark.parametrize(
    "options", [{"shape": "line", "angle": 20}, {"shape": "disc", "noise": 3}, {"shape": "field", "jpeg": 70},
                {"shape": "field", "length": 40}, {"varying": True}, {"varying": True, "gamma": True, "noise": 2}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_every_blur_in_tiles(options, dtype):
    pixels = picture(3, dtype)
    whole = degraded("blur", pixels, 4096, **options)
    np.testing.assert_array_equal(degraded("blur", pixels, 32, **options), whole)
    np.testing.assert_array_equal(degraded("blur", pixels, 32, crop=(41, 53, 70, 90), **options), whole[53:143, 41:111])
    assert whole.shape == pixels.shape and whole.dtype == pixels.dtype and not np.array_equal(whole, pixels)


def test_blur_keeps_the_mean_of_light():
    unit = picture(3, "float32")
    for options in ({}, {"shape": "field"}, {"varying": True}):
        blurred = degraded("blur", unit, gamma=True, **options)
        assert np.abs(blurred.mean((0, 1)) - unit.mean((0, 1))).max() < 2e-3
    point = np.zeros((61, 61), np.float32)
    point[30, 30] = 1
    for length in (5, 20):
        spread = degraded("blur", point, length=length, gamma=True)
        rows, columns = np.nonzero(spread > 1e-4)
        assert length - 2.5 <= max(np.ptp(columns * np.cos(a) + rows * np.sin(a)) for a in np.arange(16) * np.pi / 16)
        assert np.ptp(rows) <= length + 2 and spread.sum() == pytest.approx(1, abs=1e-3)


def test_out_of_the_tiles_come_those_asked_for():
    result = restore.load("degrade", method="gaussian", tile=32, device="cpu").restore(picture())
    assert (result.provenance["mode"], result.provenance["tile"], result.provenance["tiles"]) == ("rows", (64, 160), 7)
    assert result.decisions == {"damage": "gaussian, sigma 25", "values": "clipped and rounded to uint8"}


@pytest.mark.parametrize("kind", ["gaussian", "correlated", "resize", "jpeg"])
def test_a_crop_is_that_of_the_whole(kind):
    pixels = picture()
    part = degraded(kind, pixels, 32, crop=(41, 53, 70, 90))
    np.testing.assert_array_equal(part, degraded(kind, pixels, 4096)[53:143, 41:111])


def test_the_noise_is_a_function_of_seed_and_pixels():
    pixels = picture()
    other = pixels.copy()
    other[0, 0, 0] ^= 1
    engine = restore.load("degrade", method="gaussian", seed=5, device="cpu")
    noise = engine(pixels).astype(int) - pixels
    np.testing.assert_array_equal(engine(pixels) - pixels.astype(int), noise)
    for seed, each in ((6, pixels), (5, other)):
        again = restore.load("degrade", method="gaussian", seed=seed, device="cpu")(each).astype(int) - each
        assert abs(np.corrcoef(again.ravel(), noise.ravel())[0, 1]) < 0.02


def test_random_is_one_of_the_kinds_as_drawn_for_the_picture():
    engine, kinds = restore.load("degrade", method="random", device="cpu"), set()
    for shade in range(60, 200, 10):
        decisions = engine.restore(np.full((24, 24, 3), shade, np.uint8)).decisions
        kinds.add(decisions["damage"].split(",")[0].split(" ")[0])
    assert len(kinds) >= 5


@pytest.mark.parametrize("channels", [2, 8])
def test_random_draws_only_what_the_channels_allow(channels):
    engine, kinds = restore.load("degrade", method="random", device="cpu"), set()
    for shade in range(40, 240, 4):
        source = Picture.from_array(np.full((24, 24, channels), shade, np.uint8), alpha=False)
        kinds.add(engine.restore(source).decisions["damage"].split(",")[0].split(" ")[0])
    assert kinds == {"gaussian", "poisson", "speckle", "salt-pepper", "correlated", "resize"}
    with pytest.raises(UnsupportedError, match=f"JPEG has grey or RGB, this picture {channels} channels"):
        restore.load("degrade", method="random", jpeg=50).restore(source)


def test_values_beyond_the_range():
    dark = np.full((64, 64), 0.02, np.float32)
    dark[0, 0] = 1
    free, clipped = (restore.load("degrade", method="gaussian", clip=clip).restore(dark) for clip in (False, True))
    assert (free.decisions["values"], clipped.decisions["values"]) == ("not clipped", "clipped and rounded to float32")
    assert free.picture.pixels.min() < -0.1
    np.testing.assert_array_equal(clipped.picture.pixels, free.picture.pixels.clip(0, 1))
    kept = restore.load("degrade", method="gaussian", unclipped=True)
    np.testing.assert_array_equal(kept(dark), free.picture.pixels[..., 0])
    with pytest.raises(UnsupportedError, match="8 bits cannot hold values below black or above white"):
        kept((dark * 255).astype(np.uint8))


def test_what_is_refused():
    five = np.full((64, 64, 5), 128, np.uint8)
    with pytest.raises(UnsupportedError, match="a camera has grey or RGB, this picture 5 channels"):
        degraded("camera", five)
    with pytest.raises(UnsupportedError, match="JPEG has grey or RGB, this picture 5 channels"):
        degraded("gaussian", five, jpeg=50)
    with pytest.raises(ConfigError, match="clip and unclipped contradict each other"):
        degraded("gaussian", five, clip=True, unclipped=True)
    with pytest.raises(ConfigError, match="subsampling does not go with noise that is not compressed"):
        degraded("gaussian", five, subsampling="444")
    with pytest.raises(ConfigError, match=r"jpeg does not go with jpeg\. It belongs to gaussian or poisson"):
        degraded("jpeg", five, jpeg=50)
