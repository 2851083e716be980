"""Which network enlarges what, and to which size."""

import numpy as np
import pytest
import torch

import restore as program
from restore.errors import ConfigError, RestoreError, WeightsError
from restore.physics.resample import enlarge
from restore.zoo.weights import read_network
from tests.inference.engines import picture

from .tiny import SHIPPED, upscalers, write_tiny

pytestmark = pytest.mark.usefixtures("upscalers")
__all__ = ["upscalers"]


def answer(folder, name, pixels):
    net = read_network(folder / f"{name}.safetensors").net
    with torch.inference_mode():
        return net(torch.from_numpy(pixels).movedim(-1, 0)[None])[0].movedim(0, -1).numpy()


def restored(pixels, **options):
    return program.load("upscale", device="cpu", **options).restore(pixels)


@pytest.mark.parametrize(("options", "network"), [
    ({"method": "fidelity"}, "upscale_x4"), ({"method": "gan"}, "upscale_x4_gan"),
    ({"method": "real"}, "upscale_x4_real"), ({"method": "fidelity", "scale": 2}, "upscale_x2"),
    ({"sharpness": 1.0}, "upscale_x4_gan"), ({"sharpness": 0.0}, "upscale_x4"),
])  # fmt: skip
def test_each_method_has_its_network(upscalers, options, network):
    pixels = picture(13, 17, 3).pixels
    result = restored(pixels, **options)
    assert result.decisions["method"] == f"network {network}"
    assert np.abs(result.picture.pixels - answer(upscalers, network, pixels)).max() < 1e-5


@pytest.mark.parametrize(("scale", "network", "size"), [
    (1.5, "upscale_x2", (20, 27)), (2, "upscale_x2", (26, 36)), (3, "upscale_x4", (39, 54)),
    (4, "upscale_x4", (52, 72)),
    (6.5, "upscale_x4", (84, 117)),
])  # fmt: skip
def test_the_network_of_the_next_larger_factor(scale, network, size):
    result = restored(picture(13, 18, 3, "uint8").pixels, method="fidelity", scale=scale)
    assert result.decisions["method"] == f"network {network}"
    assert result.picture.pixels.shape == (*size, 3)
    assert ("size" in result.decisions) == (scale not in (2, 4))


def test_sizes_keep_the_shape_and_what_is_as_large_is_only_resampled():
    pixels = picture(20, 30, 3, "uint8").pixels
    assert program.upscale(pixels, size="90x").shape == (60, 90, 3)
    assert program.upscale(pixels, size=(None, 44)).shape == (44, 66, 3)
    result = restored(pixels, size="15x")
    assert result.picture.pixels.shape == (10, 15, 3) and "as large already" in result.decisions["method"]
    assert np.array_equal(program.upscale(pixels, scale=1), pixels)


def test_sharpness_is_the_network_of_mixed_weights(upscalers):
    pixels = picture(9, 9, 3).pixels
    result = restored(pixels, sharpness=0.25)
    soft, crisp = (read_network(upscalers / f"{name}.safetensors").net for name in ("upscale_x4", "upscale_x4_gan"))
    for mine, theirs in zip(soft.parameters(), crisp.parameters(), strict=True):
        mine.data.lerp_(theirs.data, 0.25)
    with torch.inference_mode():
        expected = soft(torch.from_numpy(pixels).movedim(-1, 0)[None])[0].movedim(0, -1).numpy()
    assert result.decisions["method"] == "network upscale_x4 with 25% of upscale_x4_gan"
    assert np.abs(result.picture.pixels - expected).max() < 1e-5


def test_strength_mixes_with_the_plainly_enlarged():
    pixels = picture(9, 11, 3).pixels
    plain = enlarge(torch.from_numpy(pixels).movedim(-1, 0)[None], 4)[0].movedim(0, -1).numpy()
    full = program.upscale(pixels, method="gan")
    assert np.abs(program.upscale(pixels, method="gan", strength=0.0) - plain).max() < 1e-5
    half = program.upscale(pixels, method="gan", strength=0.5)
    assert np.abs(half - (plain + full) / 2).max() < 1e-5


@pytest.mark.parametrize("scale", [2, 3.3, 4])
def test_tiles_leave_no_trace(upscalers, scale):
    for name in ("upscale_x4", "upscale_x2"):
        write_tiny(upscalers, name, SHIPPED[name], 0, width=64)  # of the shipped width: the same sums in any tile
    pixels = picture(70, 90, 3, "uint8").pixels
    results = [program.upscale(pixels, scale=scale, method="fidelity", tile=tile) for tile in (16, 33, 100)]
    assert all(np.array_equal(each, results[0]) for each in results)


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_grey_alpha_and_depth(channels, dtype):
    pixels = picture(12, 10, channels, dtype).pixels
    result = program.upscale(pixels)
    assert result.shape == (48, 40, channels) and result.dtype == dtype


def test_flat_patches_keep_their_colour():
    for colour in ((0, 0, 0), (255, 255, 255), (200, 30, 90), (128, 128, 128)):
        pixels = np.full((24, 24, 3), colour, np.uint8)
        plain = program.upscale(pixels, strength=0.0)
        assert np.array_equal(plain, np.broadcast_to(np.uint8(colour), plain.shape))


def test_damaged_pictures_get_the_network_that_knows_damage():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:320, :328]
    clean = 128 + 90 * np.sign(np.sin(rows / 7) * np.sin(columns / 9))
    noisy = clean + rng.normal(0, 20, clean.shape)
    assert restored(np.rint(clean).astype(np.uint8)).decisions["method"] == "network upscale_x4"
    small = restored(np.clip(np.rint(noisy[:96, :96]), 0, 255).astype(np.uint8))
    assert small.decisions["picture"].startswith("clean (noise not measured, "), "texture would pass for noise"
    result = restored(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    assert result.decisions["method"] == "network upscale_x4_real"
    assert result.decisions["picture"].startswith("noise (noise ")


@pytest.mark.parametrize(("options", "words"), [
    ({"scale": 0.5}, "scale cannot be 0.5"), ({"scale": 17}, "scale cannot be 17"), ({"size": "big"}, "size cannot be"),
    ({"size": "x"}, "size cannot be"), ({"size": "0x5"}, "size cannot be"), ({"size": "70000x"}, "size cannot be"),
    ({"scale": 2, "size": "9x"}, "both say how large"), ({"sharpness": 2}, "sharpness cannot be 2"),
    ({"sharpness": 0.5, "method": "real"}, "sharpness does not go with"), ({"method": "network"}, "needs weights"),
])  # fmt: skip
def test_wrong_options(options, words):
    with pytest.raises(ConfigError, match=words):
        program.load("upscale", **options)


def test_weights_of_ones_own(upscalers, tmp_path):
    path = write_tiny(tmp_path, "mine", 3, 9)
    result = program.upscale(picture(8, 8, 3).pixels, weights=path, scale=3)
    assert np.abs(result - answer(tmp_path, "mine", picture(8, 8, 3).pixels)).max() < 1e-5
    with pytest.raises(WeightsError, match="not on this machine"):
        program.load("upscale", weights="absent")


def test_weights_of_another_task_are_refused():
    with pytest.raises(RestoreError, match="for the task 'denoise', not 'upscale'"):
        program.load("upscale", weights="denoise")
