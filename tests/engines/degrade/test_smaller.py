"""Pictures made smaller: sizes, depth, alpha, and that they are what training learns from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import restore
from restore.degradations.downscale import DownscaleDegradation
from restore.degradations.real_world import describe
from restore.errors import ConfigError, LimitError, UnsupportedError
from restore.physics.blur_kernels import SINC, Kernel
from restore.physics.random import generator_for, hash_seed
from restore.physics.real_world import PassPlan, RealWorldPlan, RealWorldRecipe, damage, plan_real_world
from restore.physics.resample import resize
from tests.engines.degrade.test_engine import degraded, picture


def unit(pixels: np.ndarray) -> torch.Tensor:
    white = np.iinfo(pixels.dtype).max
    return torch.from_numpy(pixels.astype(np.float32) / white).movedim(-1, 0)[None]


@pytest.mark.parametrize("factor", [2, 4, 5])
def test_downscaling_is_what_training_learns_from(factor):
    pixels = picture(size=(220, 160))
    small = DownscaleDegradation(factor).draw({"clean": unit(pixels)}, 0, 0, 0).inputs["picture"]
    ours = degraded("downscale", pixels, factor=factor)
    assert np.abs(ours - small[0].movedim(0, -1).numpy() * 255).max() <= 1  # rounding of halves
    assert np.array_equal(degraded("downscale", pixels, 32, factor=factor), ours)


def test_downscaling_keeps_16_bits_and_takes_any_size():
    pixels = picture(dtype="uint16")
    small = degraded("downscale", pixels, factor=2.5)
    assert (small.shape, small.dtype) == ((100, 60, 3), np.uint16)
    exact = resize(unit(pixels), (100, 60))[0].movedim(0, -1).numpy().clip(0, 1) * 65535
    assert np.abs(small - exact).max() <= 1


@pytest.mark.parametrize(("samples", "dtype"), [(1, "uint8"), (3, "uint8"), (3, "uint16"), (4, "uint8"), (2, "uint16")])
def test_real_world_pictures_are_those_of_the_plan(samples, dtype):
    pixels = picture(samples, dtype)
    pixels[..., -1] = np.iinfo(dtype).max if samples in (2, 4) else pixels[..., -1]
    result = restore.load("degrade", method="real-world", factor=4, seed=5, device="cpu").restore(pixels)
    made = result.picture.pixels
    assert made.shape == (62, 37, samples) and made.dtype == pixels.dtype
    colours = made[..., :-1] if samples in (2, 4) else made
    steps = colours / np.iinfo(dtype).max * 255
    assert np.abs(steps - np.rint(steps)).max() < 1e-3  # 8 bits, in whatever depth
    assert result.decisions["size"] == "cut to 148 x 248 px, a multiple of 4, first"
    assert set(result.decisions) == {"first pass", "second pass", "end", "values", "size"}


def test_real_world_pictures_are_functions_of_seed_and_pixels():
    pixels = picture(size=(64, 48))
    made = degraded("real-world", pixels)
    assert np.array_equal(degraded("real-world", pixels, 32), made)
    other = restore.load("degrade", method="real-world", seed=6, device="cpu")(pixels)
    assert not np.array_equal(other, made)
    brighter = pixels.copy()
    brighter[0, 0, 0] ^= 1
    assert np.abs(degraded("real-world", brighter).astype(int) - made).mean() > 1


def test_the_noise_does_not_repeat_the_numbers_of_the_plan(monkeypatch):
    """What is drawn for a picture is that of the pipeline, from its own streams."""
    import restore.engines.degrade.smaller as smaller

    pixels = picture(1, size=(40, 40))
    monkeypatch.setattr(smaller, "digest", lambda source: 9)
    seed = hash_seed(5, 9)
    plan = plan_real_world(RealWorldRecipe(), generator_for(seed))
    expected = damage(unit(pixels), plan, 4, generator_for(seed, 1))[0, 0].numpy() * 255
    assert np.array_equal(degraded("real-world", pixels).reshape(10, 10), np.rint(expected))


def test_alpha_is_resampled_beside_the_colours():
    pixels = picture(4, size=(64, 96))
    for kind in ("downscale", "real-world"):
        alpha = degraded(kind, pixels)[..., 3]
        exact = resize(unit(pixels[..., 3:]), (16, 24))[0, 0].clamp(0, 1).numpy() * 255
        assert np.abs(alpha - exact).max() <= 1, kind


def test_a_crop_is_made_of_whole_pixels_of_the_whole():
    pixels = picture(size=(64, 96))
    whole = degraded("real-world", pixels)
    assert np.array_equal(degraded("real-world", pixels, crop=(5, 8, 42, 30)), whole[2:9, 2:11])


def test_strength_mixes_with_the_plainly_smaller_picture():
    pixels = picture(size=(64, 96))
    plain, half, full = (degraded("real-world", pixels, strength=strength).astype(float) for strength in (0, 0.5, 1))
    exact = resize(unit(pixels), (16, 24))[0].movedim(0, -1).clamp(0, 1).numpy() * 255
    assert np.abs(plain - exact).max() <= 0.51
    assert np.abs(half - (plain + full) / 2).max() <= 1.01


def test_what_is_refused():
    with pytest.raises(UnsupportedError, match="JPEG has grey or RGB, this picture 5 channels"):
        degraded("real-world", np.zeros((8, 8, 5), np.uint8))
    with pytest.raises(UnsupportedError, match=r"9 x 3 px are too few to become smaller by 4\. Give at least 4 x 4 px"):
        degraded("real-world", picture(size=(3, 9)))
    with pytest.raises(ConfigError, match=r"factor 2\.5 does not go with real-world\. Give a whole number"):
        degraded("real-world", picture(), factor=2.5)
    with pytest.raises(ConfigError, match=r"factor cannot be 1\.5\. It is a number, from 2 to 16"):
        degraded("downscale", picture(), factor=1.5)
    with pytest.raises(LimitError, match=r"150 x 251 px do not fit the memory budget of 1 MiB \(.*takes about \d+ MiB"):
        degraded("real-world", picture(), max_memory="1M")
    with pytest.raises(ConfigError, match="sigma does not go with real-world"):
        degraded("real-world", picture(), sigma=3)


def test_plans_in_words():
    first = PassPlan(Kernel("plateau-anisotropic", 9, (1.5, 0.75), 0.3, 1.25), 0.5, "area", True, 12.0, True, 60)
    second = PassPlan(None, 1.0, "bilinear", False, 1.5, False, 42)
    plan = RealWorldPlan(first, second, Kernel(SINC, 21, cutoff=1.5), "bicubic", True, 0)
    assert describe(plan) == {
        "first pass": "plateau-anisotropic blur of 9 px, sigma 1.50 and 0.75, power 1.25, 0.50 times the size of the "
        "picture (area), grey Gaussian noise of sigma 12.0, JPEG 60",
        "second pass": "1.00 times the size of the result (bilinear), 1.50 times Poisson noise",
        "end": "resized (bicubic), sinc of 21 px, cut-off 1.50, JPEG 42",
    }
    before = plan._replace(compressed_last=False, sinc=None)
    assert describe(before)["end"] == "JPEG 42, resized (bicubic)"
    assert describe(RealWorldPlan(None, None, None, "", False, 80)) == {"damage": "made smaller alone, JPEG 80"}
    assert describe(RealWorldPlan(None, None, None, "", False, 0)) == {"damage": "made smaller alone"}
