import cv2
import numpy as np
import pytest

from restore.degradations.noise_cases import NoiseCase
from restore.errors import FileError, UnsupportedError
from restore.evaluation.pictures import read_unit
from restore.evaluation.protocol import EvaluationProtocol
from restore.evaluation.samples import clean_sources, paired_sources, read_sample

CLEAN = np.random.default_rng(9).integers(0, 256, (40, 48, 3), np.uint8)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels[..., ::-1])[1].tobytes())
    return path


def test_gaussian_noise_is_exactly_that_of_the_published_recipe():
    x = CLEAN.astype(np.float64)
    y = x + 25 * np.random.default_rng(7).standard_normal(x.shape)
    clipped = NoiseCase(noise="gaussian", level=25).damaged(CLEAN, 7)
    assert clipped.dtype == np.uint8 and np.array_equal(clipped, np.clip(np.rint(y), 0, 255))
    float_ = NoiseCase(noise="gaussian", level=25, clipped=False).damaged(CLEAN, 7)
    assert float_.dtype == np.float32 and np.array_equal(float_, (y / 255).astype(np.float32))


def test_poisson_noise_is_exactly_that_of_the_published_recipe():
    x = CLEAN.astype(np.float64)
    y = np.random.default_rng(3).poisson(x / 255 * 30) / 30 * 255
    assert np.array_equal(NoiseCase(noise="poisson", level=30).damaged(CLEAN, 3), np.clip(np.rint(y), 0, 255))


def test_box_noise_keeps_its_level_and_is_correlated():
    grey = np.full((200, 200, 1), 128, np.uint8)
    noise = NoiseCase(noise="box", level=20, clipped=False).damaged(grey, 0)[..., 0] * 255 - 128
    assert noise.std() == pytest.approx(20, rel=0.05)
    assert np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1] == pytest.approx(2 / 3, abs=0.05)


def test_no_noise_leaves_the_picture_alone_at_its_depth():
    deep = CLEAN.astype(np.uint16) * 257 + 3
    assert NoiseCase().damaged(deep, 5) is deep


def test_sixteen_bits_are_damaged_on_the_scale_of_eight():
    deep = CLEAN.astype(np.uint16) * 257
    case = NoiseCase(noise="gaussian", level=10, clipped=False)
    assert np.allclose(case.damaged(deep, 1), case.damaged(CLEAN, 1), atol=1e-6)


def test_jpeg_comes_after_the_noise():
    smooth = np.broadcast_to(np.linspace(60, 180, 64)[:, None, None], (64, 64, 3)).astype(np.uint8).copy()
    noisy = NoiseCase(noise="gaussian", level=15).damaged(smooth, 2).astype(float)
    compressed = NoiseCase(noise="gaussian", level=15, jpeg=10).damaged(smooth, 2)
    assert compressed.dtype == np.uint8
    assert np.std(compressed - noisy) > 1 and np.std(compressed - smooth.astype(float)) < 10
    code = cv2.imencode(".jpg", noisy.astype(np.uint8)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    libjpeg = cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    assert np.abs(compressed - libjpeg).mean() < 1.5


def test_the_index_counts_all_pictures_of_the_folder(tmp_path):
    for name in ("c", "a", "b", "d", "sub/e"):
        write(tmp_path / f"{name}.png", CLEAN)
    sources = clean_sources(tmp_path, EvaluationProtocol(every=2, first=2))
    assert [(source.name, source.index) for source in sources] == [("a.png", 0), ("c.png", 2)]
    sample = read_sample(sources[1], NoiseCase(noise="gaussian", level=25))
    assert np.array_equal(sample.damaged, sample.case.damaged(CLEAN, 2)) and np.array_equal(sample.truth, CLEAN)
    assert sample.noise_level == 25
    cropped = read_sample(sources[1], NoiseCase(), limit=16)
    assert cropped.truth.shape == (16, 16, 3) and np.array_equal(cropped.truth, CLEAN[:16, :16])


def test_poisson_level_is_measured_for_methods_that_need_it(tmp_path):
    write(tmp_path / "a.png", np.full((100, 100, 3), 128, np.uint8))
    (source,) = clean_sources(tmp_path, EvaluationProtocol())
    expected = np.sqrt(128 / 255 / 30) * 255
    assert read_sample(source, NoiseCase(noise="poisson", level=30)).noise_level == pytest.approx(expected, rel=0.03)


def test_pairs(tmp_path):
    for name in ("a_real", "a_mean", "b_real"):
        write(tmp_path / f"{name}.png", CLEAN + ("mean" in name))
    sources, strangers = paired_sources({"picture": tmp_path}, tmp_path, ("_real", "_mean"), EvaluationProtocol())
    assert [source.name for source in sources] == ["a_real.png"] and "b_real.png: no clean partner" in strangers[0]
    sample = read_sample(sources[0])
    assert np.array_equal(sample.damaged, CLEAN) and np.array_equal(sample.truth, CLEAN + 1) and sample.noise_level == 0
    write(tmp_path / "a_mean.png", CLEAN[:30])
    with pytest.raises(UnsupportedError, match=r"a_real.png: the sizes differ: 48 x 40 and 48 x 30"):
        read_sample(sources[0])


def test_an_empty_folder(tmp_path):
    with pytest.raises(FileError, match="no pictures to evaluate on"):
        clean_sources(tmp_path, EvaluationProtocol())


def test_sixteen_bit_pictures_are_read_at_full_depth(tmp_path):
    pixels = np.full((12, 12, 3), 0x1234, np.uint16)
    unit = read_unit(write(tmp_path / "a.png", pixels))
    assert unit.values.shape == (1, 3, 12, 12) and float(unit.values[0, 0, 0, 0]) == pytest.approx(0x1234 / 65535)
