"""The weight-free denoisers as engines: they denoise, tile exactly, keep depth and channels, and say what they did."""

import numpy as np
import pytest

from restore.engines.denoise.classical import ALGORITHMS, ClassicalEngine
from restore.engines.denoise.options import ClassicalOptions, ZeroShotOptions
from restore.engines.denoise.zero_shot import ZeroShotEngine
from restore.errors import ConfigError, UnsupportedError
from restore.picture import Picture
from tests.inference.engines import restore


def _psnr(a, b):
    return 10 * np.log10(1 / np.mean((a.astype(np.float64) - b) ** 2))


def _scene(height=160, width=200):
    """Smooth shading, edges and a texture, 0..1."""
    y, x = np.mgrid[0:height, 0:width] / 100
    scene = 0.5 + 0.2 * np.sin(3 * x) * np.cos(2 * y)
    scene[40:90, 50:120] += 0.2
    scene[100:140, 20:180] += 0.08 * np.sign(np.sin(40 * x[100:140, 20:180]))
    return np.repeat(scene[..., None], 3, axis=-1) * [1.0, 0.9, 0.8]


def _noisy(scene, sigma=25, seed=0, box=False):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(scene.shape)
    if box:
        noise = sum(np.roll(noise, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 3
    return np.clip(np.rint(scene * 255 + sigma * noise), 0, 255).astype(np.uint8)


SCENE = _scene()


def zero_shot(**options):
    return ZeroShotEngine(ZeroShotOptions(**options))


def classical(algorithm, **options):
    return ClassicalEngine(ClassicalOptions(algorithm=algorithm, **options))


ENGINES = {
    "fast": lambda: zero_shot(preset="fast"),
    "quality": lambda: zero_shot(preset="quality"),
    "pd": lambda: zero_shot(preset="fast", pd=2),
    **{name: (lambda name=name: classical(name)) for name in ALGORITHMS},
}
GAINS = {"fast": 8.0, "quality": 8.0, "pd": 6.0, "nlm": 6.0, "wavelet": 6.0, "opencv-nlm": 2.0}


@pytest.mark.parametrize("name", ENGINES)
def test_white_noise_is_removed(name):
    noisy = _noisy(SCENE)
    result, report = restore(ENGINES[name](), Picture.from_array(noisy))
    assert _psnr(result / 255, SCENE) - _psnr(noisy / 255, SCENE) > GAINS[name]
    assert float(report.decisions["noise"].split()[1].rstrip(",")) == pytest.approx(25, abs=2)


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "wavelet"])
def test_tiled_equals_untiled(name):
    height, width = (150, 170) if name == "quality" else (300, 330)  # it takes the longest
    source = Picture.from_array(_noisy(np.tile(SCENE, (2, 2, 1)))[:height, :width])
    tiled, report = restore(ENGINES[name](), source, tile=96)
    reference, _ = restore(ENGINES[name](), source, tile=1000)
    assert report.tiles > 1 or name == "quality"
    np.testing.assert_array_equal(tiled, reference)


@pytest.mark.parametrize("name", ["fast", "pd", "nlm", "wavelet"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_depth_and_channels_stay(name, dtype, samples):
    noisy = _noisy(SCENE)[:61, :53]
    pixels = np.concatenate([noisy, noisy[..., :1]], axis=-1)[..., :samples]
    stored = {"uint8": pixels, "uint16": pixels.astype(np.uint16) * 257, "float32": pixels.astype(np.float32) / 255}
    source = Picture.from_array(stored[dtype])
    result, _ = restore(ENGINES[name](), source)
    assert (result.shape, result.dtype) == (source.pixels.shape, source.pixels.dtype)
    if samples == 4:
        np.testing.assert_array_equal(result[..., 3], source.pixels[..., 3])


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (5, 3), (17, 16)])
def test_tiny_pictures_do_not_crash(name, size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    result, _ = restore(ENGINES[name](), Picture.from_array(pixels))
    assert result.shape == pixels.shape


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("name", ENGINES)
def test_constant_pictures_are_returned(name, value):
    pixels = np.full((60, 60, 3), value, np.uint8)
    np.testing.assert_array_equal(restore(ENGINES[name](), Picture.from_array(pixels))[0], pixels)


def test_correlated_noise_is_noticed_and_met_with_its_covariance():
    noisy = _noisy(SCENE, box=True)
    before = _psnr(noisy / 255, SCENE)
    gains, methods = {}, {}
    for pd in (None, 1, 3):
        result, report = restore(zero_shot(pd=pd), Picture.from_array(noisy))
        gains[pd], methods[pd] = _psnr(result / 255, SCENE) - before, report.decisions["method"]
        assert pd == 3 or "spatially correlated" in report.decisions["noise"]
    assert methods == {
        None: "zero-shot fast, full noise covariance",
        1: "zero-shot fast, taken as white",
        3: "zero-shot fast, pixel-shuffle 3",
    }
    assert gains[None] > 5 and gains[3] > 5
    assert gains[1] < gains[None] - 2


def test_the_fingerprint_names_every_option():
    engines = [ZeroShotEngine(), zero_shot(preset="quality"), zero_shot(pd=2), zero_shot(sigma=3.0)]
    engines += [ClassicalEngine(), classical("wavelet"), classical("nlm", sigma=3.0)]
    assert len({engine.fingerprint for engine in engines}) == len(engines)


def test_a_given_sigma_overrides_the_estimate():
    noisy = _noisy(SCENE)
    weak, report = restore(zero_shot(sigma=5.0), Picture.from_array(noisy))
    assert report.decisions["noise"] == "sigma 5.0 (given), white"
    assert _psnr(weak / 255, noisy / 255) > 30


def test_the_same_input_gives_the_same_bytes():
    source = Picture.from_array(_noisy(SCENE))
    first, second = (restore(zero_shot(preset="quality"), source)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: zero_shot(preset="best"), "--preset cannot be 'best'. Choose from fast, quality"),
        (lambda: zero_shot(pd=9), r"--pd cannot be 9. Use auto, 1 \(none\), 2, 3"),
        (lambda: zero_shot(sigma=300), "--sigma cannot be 300. It is a number, from 0 to 255"),
        (lambda: classical("bm3d"), "--algorithm cannot be 'bm3d'. Choose from nlm, wavelet, opencv-nlm"),
    ],
)
def test_wrong_choices_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_opencv_refuses_what_it_would_quantise():
    with pytest.raises(UnsupportedError, match="8-bit pictures only"):
        restore(classical("opencv-nlm"), Picture.from_array(np.zeros((20, 20), np.uint16)))


def test_a_given_sigma_keeps_the_measured_correlation():
    noisy = _noisy(SCENE, box=True)
    result, report = restore(zero_shot(sigma=25.0), Picture.from_array(noisy))
    assert report.decisions["noise"] == "sigma 25.0 (given), spatially correlated"
    assert _psnr(result / 255, SCENE) - _psnr(noisy / 255, SCENE) > 5


def test_float_noise_is_removed_below_zero_and_above_one_too():
    rng = np.random.default_rng(0)
    scene = np.clip(SCENE * 1.4 - 0.25, 0, 1)
    noisy = (scene + 0.1 * rng.standard_normal(scene.shape)).astype(np.float32)
    result, report = restore(ZeroShotEngine(), Picture.from_array(noisy))
    assert _psnr(result, scene) - _psnr(noisy, scene) > 8
    assert report.decisions["range"].startswith("values -0.")


def test_highlights_of_high_dynamic_range_survive():
    rng = np.random.default_rng(0)
    noisy = (SCENE + 0.02 * rng.standard_normal(SCENE.shape)).astype(np.float32)
    noisy[10:12, 10:20] = 30.0
    result, report = restore(ZeroShotEngine(), Picture.from_array(noisy))
    assert report.decisions["range"].startswith("values 0.") and "to 30: black" in report.decisions["range"]
    assert result[10:12, 10:20].min() > 29.9
