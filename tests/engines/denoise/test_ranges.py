"""`restore denoise` on what people have: any range and type of values, gaps, hot pixels, print, noise of luma alone."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from PIL import Image

import restore
from restore import Restorer
from restore.errors import UnsupportedError


@cache
def denoiser(**options: object) -> Restorer:
    return restore.load("denoise", device="cpu", **options)


def scene(side: int = 128, seed: int = 0) -> np.ndarray:
    """A gentle picture, 0 to 1."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:side, :side] / side
    waves = sum(rng.normal() * np.sin(2 * np.pi * (a * xx + b * yy)) for a, b in rng.integers(-3, 4, (8, 2)))
    return (waves - waves.min()) / np.ptp(waves)


def counts(side: int = 128) -> np.ndarray:
    """A dim exposure: 105 to 1000 counts and their noise, in 16 bits."""
    photons = 20 + 850 * scene(side)
    rng = np.random.default_rng(1)
    return np.rint(100 + rng.poisson(photons) + rng.normal(0, 1.6, photons.shape)).clip(1).astype(np.uint16)


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


class TestRange:
    def test_results_commute_with_an_affine_change_of_values_and_of_type(self):
        plain = counts()
        result = denoiser()(plain).astype(float)
        assert rms(result - plain) > 3
        others = {
            "x 4 + 3000": (plain * 4 + 3000).astype(np.uint16),
            "float32": plain.astype(np.float32),
            "unit floats": (plain / 65535).astype(np.float32),
            "below zero": (plain.astype(np.float32) - 6000),
        }
        back = {
            "x 4 + 3000": lambda y: (y.astype(float) - 3000) / 4,
            "float32": lambda y: y.astype(float),
            "unit floats": lambda y: y.astype(float) * 65535,
            "below zero": lambda y: y.astype(float) + 6000,
        }
        for name, picture in others.items():
            assert np.abs(back[name](denoiser()(picture)) - result).max() <= 1, name

    @pytest.mark.parametrize(("count", "value"), [(1, 4095), (1, 65535), (20, 65535)])
    def test_hot_pixels_cost_nothing_and_are_kept(self, count, value):
        plain = counts()
        hot = plain.copy()
        at = np.random.default_rng(2).integers(5, 123, (count, 2))
        hot[at[:, 0], at[:, 1]] = value
        truth = 120 + 850 * scene()
        near = np.ones(plain.shape, bool)
        near[at[:, 0], at[:, 1]] = False
        before, after = denoiser()(plain), denoiser()(hot)
        assert rms((after - truth)[near]) < 1.06 * rms((before - truth)[near])  # 0.5 dB
        assert np.all(after[at[:, 0], at[:, 1]] == value)
        removed = denoiser(hot_pixels="remove")(hot)
        assert np.abs(removed[at[:, 0], at[:, 1]] - truth[at[:, 0], at[:, 1]]).max() < 100

    def test_the_file_limits_the_result_and_not_the_guess(self):
        """Faint beads become brighter than any sample of the picture."""
        yy, xx = np.mgrid[:96, :96]
        blurred = 10 + sum(900 * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / 8) for y in (24, 70) for x in (24, 70))
        x = np.random.default_rng(0).poisson(blurred)
        sharp = {dtype: restore.load("deconv", method="rl", psf="gauss:2", device="cpu")(x.astype(dtype)).astype(float)
                 for dtype in ("uint16", "float32")}  # fmt: skip
        assert sharp["uint16"].max() > 2500 and sharp["uint16"].max() == pytest.approx(sharp["float32"].max(), rel=0.01)


class TestGaps:
    @pytest.mark.parametrize("value", [np.nan, -9999.0, -3.4028235e38])
    def test_missing_data_come_back_as_they_are_and_do_no_harm(self, value):
        truth = 400 + 60 * scene()
        noisy = (truth + np.random.default_rng(0).normal(0, 6, truth.shape)).astype(np.float32)
        yy, xx = np.mgrid[:128, :128]
        hole = (xx - 64) ** 2 + (yy - 64) ** 2 > 58**2
        broken = noisy.copy()
        broken[hole] = value
        result = denoiser()(broken)
        assert np.array_equal(result[hole], broken[hole], equal_nan=True)
        rim = ~hole & ((xx - 64) ** 2 + (yy - 64) ** 2 > 53**2)
        assert rms((result - truth)[rim]) < 0.6 * rms((noisy - truth)[rim])
        assert rms((result - truth)[~hole]) < 1.15 * rms((denoiser()(noisy) - truth)[~hole])

    @pytest.mark.parametrize("share", [0.02, 0.3])
    @pytest.mark.parametrize("value", [np.nan, -9999.0, 1e20])
    def test_scattered_gaps_do_not_hide_the_noise(self, share, value):
        truth = 400 + 60 * scene()
        rng = np.random.default_rng(0)
        broken = (truth + rng.normal(0, 6, truth.shape)).astype(np.float32)
        specks = rng.random(truth.shape) < share
        broken[specks] = value
        broken[60] = value  # a line that was not read
        result = denoiser()(broken)
        assert np.array_equal(result[specks], broken[specks], equal_nan=True)
        known = broken == broken
        known &= np.abs(broken) < 5000
        assert rms((result - truth)[known]) < 0.62 * rms((broken - truth)[known])

    def test_infinity_is_refused(self):
        picture = counts().astype(np.float32)
        picture[3, 4] = np.inf
        with pytest.raises(UnsupportedError, match="1 sample is infinite"):
            denoiser()(picture)

    @pytest.mark.parametrize("sigma", [10, 50])
    @pytest.mark.parametrize("value", [0, 255])
    def test_bars_do_not_hide_the_noise_between_them(self, sigma, value):
        clean = (30 + 190 * scene())[..., None].repeat(3, 2)
        noisy = np.clip(np.rint(clean + np.random.default_rng(0).normal(0, sigma, clean.shape)), 0, 255).astype(
            np.uint8
        )
        boxed = noisy.copy()
        boxed[:40], boxed[88:] = value, value
        result = denoiser()(boxed)
        assert np.array_equal(result[:40], boxed[:40]) and np.array_equal(result[88:], boxed[88:])
        inside = slice(48, 80)
        assert rms((result - clean)[inside]) < 1.3 * rms((denoiser()(noisy) - clean)[inside])


class TestLevel:
    @pytest.mark.parametrize("sigma", [8, 15, 30])
    @pytest.mark.parametrize("method", ["auto", "zero-shot"])
    def test_noise_alike_in_all_colours_is_noise(self, sigma, method):
        grey = 30 + 190 * scene()
        noisy = np.clip(np.rint(grey + np.random.default_rng(0).normal(0, sigma, grey.shape)), 0, 255).astype(np.uint8)
        alone = rms(denoiser(method=method)(noisy) - grey)
        in_rgb = denoiser(method=method)(noisy[..., None].repeat(3, 2))
        assert rms(in_rgb - grey[..., None]) < 1.04 * alone + 0.3
        sepia = np.array([1.0, 0.86, 0.68])
        in_sepia = denoiser(method=method)(np.rint(noisy[..., None] * sepia).astype(np.uint8))
        assert rms(in_sepia - grey[..., None] * sepia) < 1.04 * alone + 0.3

    @pytest.mark.parametrize("sigma", [8, 30])
    def test_noise_partly_alike_in_the_colours(self, sigma):
        """Half of its variance: the network for white noise leaves much of what the colours share."""
        grey = 30 + 190 * scene()
        rng = np.random.default_rng(0)
        noise = sigma * 0.5**0.5 * (rng.normal(size=(128, 128, 1)) + rng.normal(size=(128, 128, 3)))
        noisy = np.clip(np.rint(grey[..., None] + noise), 0, 255).astype(np.uint8)
        result = restore.load("denoise", device="cpu").restore(noisy)
        assert result.decisions["method"] == "network denoise: the noise is partly alike in the colours"
        white = denoiser(method="network", weights="denoise_white")(noisy)
        assert rms(result.picture.pixels - grey[..., None]) < 0.9 * rms(white - grey[..., None])

    def test_print_is_not_harmed(self):
        """Halftone and dither, with noise and without."""
        yy, xx = np.mgrid[:144, :144]
        screen = np.sin(2 * np.pi * (xx + yy) / 6) * np.sin(2 * np.pi * (xx - yy) / 6)
        halftone = np.where(128 + 120 * screen > 80 + 100 * xx / 144, 250.0, 20.0)
        dither = 255.0 * np.asarray(Image.fromarray(np.uint8(20 + 215 * scene(144))).convert("1"))
        for name, clean in (("halftone", halftone), ("dither", dither)):
            for sigma, colours in ((0, 3), (8, 3), (20, 3), (8, 1), (20, 1)):  # one for all: noise alike in the colours
                noise = np.random.default_rng(0).normal(0, sigma, (144, 144, colours)).repeat(3 // colours, 2)
                noisy = np.clip(np.rint(clean[..., None] + noise), 0, 255).astype(np.uint8)
                before, after = (rms(x - clean[..., None]) for x in (noisy.astype(float), denoiser()(noisy)))
                assert after <= 1.012 * before, (name, sigma, colours)  # 0.1 dB

    @pytest.mark.parametrize("sigma", [0, 10, 25])
    def test_screens_of_colour_print_are_not_harmed(self, sigma):
        """Three screens at their angles, sharp and soft: white noise has as much power at fine frequencies."""
        yy, xx = np.mgrid[:160, :160]
        planes = []
        for angle, tone in zip(np.deg2rad([15, 45, 75]), (scene(160, 1), scene(160, 2), scene(160, 3)), strict=True):
            u, v = xx * np.cos(angle) + yy * np.sin(angle), yy * np.cos(angle) - xx * np.sin(angle)
            screen = np.sin(2 * np.pi * u / 6) * np.sin(2 * np.pi * v / 6)
            planes.append(np.where(screen / 2 + 0.5 > tone, 245.0, 15.0))
        sharp = np.stack(planes, 2)
        for name, clean in (("sharp", sharp), ("soft", cv2.GaussianBlur(sharp, (0, 0), 0.8))):
            noisy = np.clip(np.rint(clean + np.random.default_rng(0).normal(0, sigma, clean.shape)), 0, 255)
            assert rms(denoiser()(noisy.astype(np.uint8)) - clean) <= 1.012 * rms(noisy - clean) + 0.3, name

    def test_stripes_are_not_harmed(self):
        clean = 255.0 * (np.indices((96, 96)) % 2)
        for stripes in clean:
            noisy = np.clip(np.rint(stripes + np.random.default_rng(0).normal(0, 10, stripes.shape)), 0, 255)
            assert rms(denoiser()(noisy.astype(np.uint8)) - stripes) <= 1.012 * rms(noisy - stripes)

    def test_a_checkerboard_comes_back(self):
        board = (255 * (np.indices((96, 96)).sum(0) % 2)).astype(np.uint8)
        assert np.array_equal(denoiser()(board), board)
