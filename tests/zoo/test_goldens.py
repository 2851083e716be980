"""What every shipped weights file makes of a picture made here: a file that was damaged or is used otherwise shows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

import restore
from restore.degradations.cases import through_jpeg
from restore.physics.resample import resize
from restore.zoo import resolver

Array = np.ndarray
HEIGHT, WIDTH = 96, 120
_WITHIN = 0.02  # dB
_PSF_RADIUS = 2.5


@cache
def scene() -> Array:
    """Smooth shades, edges and texture in colour: float64 HEIGHT x WIDTH x 3, within 0.05 and 0.95."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    rng = np.random.default_rng(0)
    shades = np.stack([0.5 + 0.2 * np.sin(rows / (17 + i) + i) * np.cos(columns / (13 + 3 * i)) for i in range(3)], -1)
    disc = (rows - 34) ** 2 + (columns - 40) ** 2 < 22**2
    stripes = (columns > 70) & (rows > 50) & ((rows + columns) // 6 % 2 == 0)
    grain = _blurred(rng.standard_normal((HEIGHT, WIDTH)), _gauss(1.2))
    texture = 0.08 * grain / grain.std() * (rows > 60) * (columns < 64)
    edges = 0.25 * disc[..., None] * (1, -0.4, 0.3) - 0.25 * stripes[..., None] * (0.6, 1, 0.8)
    return np.clip(shades + edges + texture[..., None], 0.05, 0.95)


def _gauss(sigma: float) -> Array:
    rows, columns = np.mgrid[-7:8, -7:8]
    kernel = np.exp(-(rows**2 + columns**2) / (2 * sigma**2))
    return kernel / kernel.sum()


def psf() -> Array:
    """A disc with soft edges and a tail to one side, 9 x 9, of sum 1."""
    rows, columns = np.mgrid[-4:5, -4:5]
    values = np.clip(_PSF_RADIUS + 0.5 - np.hypot(rows, columns), 0, 1) + 0.5 * ((rows == columns) & (rows > 0))
    return (values / values.sum()).astype(np.float32)


def _blurred(x: Array, kernel: Array) -> Array:
    """Circular: H x W or H x W x C."""
    wide = np.zeros(x.shape[:2])
    wide[: kernel.shape[0], : kernel.shape[1]] = kernel
    wide = np.roll(wide, (-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), (0, 1))
    transfer = np.fft.fft2(wide).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
    return np.fft.ifft2(np.fft.fft2(x, axes=(0, 1)) * transfer, axes=(0, 1)).real


def as_file(x: Array) -> Array:
    return np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)


def noise(seed: int, level: float) -> Array:
    """White, of std `level` of 255."""
    return np.random.default_rng(seed).standard_normal((HEIGHT, WIDTH, 3)) * (level / 255)


def white() -> Array:
    return as_file(scene() + noise(1, 25))


def correlated() -> Array:
    grain = _blurred(noise(2, 1), _gauss(0.9))
    return as_file(scene() + grain * (15 / 255 / grain.std()))


def blurred(level: float) -> Array:
    return as_file(_blurred(scene(), psf()) + noise(3, level))


def in_low_light() -> Array:
    """Few photons, rows of unequal gain, clipped lights, 8 bits."""
    rng = np.random.default_rng(4)
    photons = rng.poisson(60 * np.clip(1.15 * _blurred(scene(), psf()), 0, None)) + rng.normal(0, 1.5, scene().shape)
    return as_file(photons / 60 * rng.normal(1, 0.01, (HEIGHT, 1, 1)))


def smaller(factor: int) -> Array:
    small = resize(torch.from_numpy(scene()).movedim(-1, 0)[None], (HEIGHT // factor, WIDTH // factor))
    return as_file(small[0].movedim(0, -1).numpy())


def worn() -> Array:
    """Smaller by 4, with white noise of 24 and JPEG of quality 95."""
    noisy = smaller(4) + 24 * np.random.default_rng(5).standard_normal((HEIGHT // 4, WIDTH // 4, 3))
    return through_jpeg(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), 95)


def upscaled(weights: str, picture: Array, factor: int) -> Array:
    return restore.load("upscale", weights=weights, scale=factor, device="cpu", precision="fp32")(picture)


def plain(picture: Array) -> Array:
    """Bicubic, to the scene's size."""
    large = resize(torch.from_numpy(picture / 255.0).movedim(-1, 0)[None], (HEIGHT, WIDTH))
    return as_file(large[0].movedim(0, -1).numpy())


def denoised(weights: str, picture: Array) -> Array:
    return restore.load("denoise", weights=weights, device="cpu", precision="fp32")(picture)


def deconvolved(weights: str, picture: Array, method: str, **options: float) -> Array:
    load = {"psf": psf(), "method": method, "weights": weights, "boundary": "none", "precision": "fp32"}
    return restore.load("deconv", device="cpu", **load, **options)(picture)


def soft() -> Array:
    """A Gaussian blur of std 1 px and a little noise."""
    return as_file(_blurred(scene(), _gauss(1.0)) + noise(6, 1))


def deblurred(weights: str, picture: Array) -> Array:
    load = {"weights": weights, "method": "network", "force": True, "precision": "fp32"}
    return restore.load("deblur", device="cpu", **load)(picture)


def behind_glass() -> Array:
    """Less of the scene, and over it a soft picture of something else."""
    return as_file(0.9 * scene() + 0.5 * _blurred(scene()[::-1, ::-1], _gauss(2.5)) ** 2)


def without_reflection(picture: Array) -> Array:
    net = restore.zoo.load("dereflect", "dereflect").net
    x = torch.from_numpy(picture).movedim(-1, 0)[None] / 255
    with torch.inference_mode():
        return as_file(net(x[..., :96, :96])[0, :3].movedim(0, -1).double().numpy())


class Golden(NamedTuple):
    """What is damaged how, what the weights make of it, and PSNR in dB before and after."""

    damaged: Callable[[], Array]
    restored: Callable[[Array], Array]
    before: float
    after: float
    truth: Callable[[], Array] = scene
    shown: Callable[[Array], Array] = lambda damaged: damaged  # as large as the truth


GOLDENS: dict[str, Golden] = {
    "cbsn": Golden(correlated, lambda x: denoised("cbsn", x), 24.622, 27.434),
    "denoise": Golden(correlated, lambda x: denoised("denoise", x), 24.622, 30.310),
    "denoise_white": Golden(white, lambda x: denoised("denoise_white", x), 20.266, 31.485),
    "deconv": Golden(lambda: blurred(3), lambda x: deconvolved("deconv", x, "infwide"), 27.926, 33.154),
    "deconv_low_light": Golden(
        in_low_light, lambda x: deconvolved("deconv_low_light", x, "infwide"), 19.261, 26.070, lambda: 1.15 * scene()
    ),
    "deconv_prior": Golden(
        lambda: blurred(7.65), lambda x: deconvolved("deconv_prior", x, "pnp", noise=7.65), 26.249, 31.336
    ),
    "deblur": Golden(soft, lambda x: deblurred("deblur", x), 31.209, 30.977),
    "dereflect": Golden(
        behind_glass, without_reflection, 20.172, 22.141, lambda: scene()[:, :96], shown=lambda damaged: damaged[:, :96]
    ),
    "upscale_x4": Golden(lambda: smaller(4), lambda x: upscaled("upscale_x4", x, 4), 27.960, 29.523, shown=plain),
    "upscale_x4_gan": Golden(
        lambda: smaller(4), lambda x: upscaled("upscale_x4_gan", x, 4), 27.960, 28.945, shown=plain
    ),
    "upscale_x4_real": Golden(worn, lambda x: upscaled("upscale_x4_real", x, 4), 22.824, 23.429, shown=plain),
    "upscale_x2": Golden(lambda: smaller(2), lambda x: upscaled("upscale_x2", x, 2), 32.786, 35.339, shown=plain),
}


def psnr(x: Array, truth: Array) -> float:
    return float(-10 * np.log10(np.mean((x / 255 - truth) ** 2)))


def test_every_shipped_file_has_a_golden():
    assert set(GOLDENS) == {path.stem for path in resolver.PACKAGED.glob("*.safetensors")}


@pytest.mark.parametrize("name", GOLDENS)
def test_golden(name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RESTORE_HOME", str(tmp_path))  # the shipped file, not one of the user's of that name
    golden = GOLDENS[name]
    damaged = golden.damaged()
    assert psnr(golden.shown(damaged), golden.truth()) == pytest.approx(golden.before, abs=0.005), (
        "the picture itself is another"
    )
    assert psnr(golden.restored(damaged), golden.truth()) == pytest.approx(golden.after, abs=_WITHIN)
