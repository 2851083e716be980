"""Outputs of a size that no scale makes: resampled in rows, the same in whatever bands these come."""

import numpy as np
import pytest
import torch

from restore.errors import ConfigError
from restore.inference.engine import Unchanged
from restore.inference.resizing import ResizedSink
from restore.models.spec import ModelSpec, OutputSize
from restore.physics.resample import resize
from restore.picture import MemorySink, Picture, PictureInfo
from tests.inference.engines import NetEngine, picture, restore


def unchanged(**size) -> Unchanged:
    engine = Unchanged()
    engine.spec = ModelSpec("none", size=OutputSize(**size))
    return engine


def directly(source: Picture, height: int, width: int) -> np.ndarray:
    return resize(torch.from_numpy(source.pixels).movedim(-1, 0)[None].float(), (height, width))[0].movedim(0, -1)


@pytest.mark.parametrize("size", [(20, 30), (61, 47), (90, 144), (1, 1), (150, 20)], ids=str)
def test_it_is_the_resampled_picture_in_any_tiles(size):
    source, (height, width) = picture(60, 48, 3, "uint8"), size
    expected = directly(source, height, width).round().clamp(0, 255).numpy()
    engine = unchanged(height=height, width=width)
    for tile in (16, 23, 64):
        result, report = restore(engine, source, tile=tile)
        assert (report.height, report.width) == size
        assert np.abs(result - expected).max() <= 1  # of ties in rounding
        assert np.mean(result != expected) < 1e-3


def test_any_bands_give_the_same_bytes():
    rng = np.random.default_rng(0)
    rows = rng.random((70, 33, 3)).astype(np.float32) * 255
    results = []
    for cuts in ([], [1, 2, 3, 50], [35], range(1, 70)):
        behind = MemorySink(PictureInfo(29, 50, 3))
        sink = ResizedSink(behind, 70, 33, 255.0)
        for start, stop in zip([0, *cuts], [*cuts, 70], strict=True):
            sink.write_rows(rows[start:stop])
        sink.commit()
        results.append(behind.picture.pixels)
    assert all(np.array_equal(each, results[0]) for each in results)


def test_few_rows_are_held():
    sink = ResizedSink(MemorySink(PictureInfo(1000, 8, 1)), 4000, 8, 255.0)
    most = 0
    for _ in range(4000 // 16):
        sink.write_rows(np.zeros((16, 8, 1), np.float32))
        most = max(most, len(sink._held))
    assert most <= 16 + 4 * 4  # a band, and the reach of the kernel stretched by 4


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_constant_stays_what_it_is(dtype):
    value = 0.37 if dtype == "float32" else 91
    source = Picture.from_array(np.full((31, 17, 3), value, dtype))
    result, _ = restore(unchanged(factor=1.7), source)
    assert result.shape == (53, 29, 3) and result.dtype == dtype
    assert np.abs(result - value).max() <= 1e-6 * (dtype == "float32")


def test_hidden_colours_do_not_bleed():
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[..., :3] = 200
    pixels[:, 20:] = (10, 20, 30, 0)  # hidden
    pixels[:, :20, 3] = 255
    result, _ = restore(unchanged(factor=0.6), Picture.from_array(pixels))
    seen = result[..., 3] > 2
    assert np.abs(result[seen][:, :3].astype(int) - 200).max() <= 1


def test_a_part_is_as_large_as_in_the_whole():
    source = picture(60, 48, 3, "uint8")
    result, _ = restore(unchanged(width=96), source, crop=(8, 10, 20, 12))
    assert result.shape == (24, 40, 3)


def test_a_network_is_resampled_from_its_own_size():
    net = torch.nn.Upsample(scale_factor=2, mode="nearest")
    source = picture(20, 16, 3)
    engine = NetEngine(net, ModelSpec("toy", scale=2, size=OutputSize(factor=1.5)))
    result, _ = restore(engine, source)
    doubled = Picture.from_array(source.pixels.repeat(2, 0).repeat(2, 1))
    assert np.abs(result - directly(doubled, 30, 24).numpy()).max() < 1e-5


@pytest.mark.parametrize(("size", "given", "expected"), [
    (OutputSize(factor=2.5), (10, 11), (25, 28)), (OutputSize(width=100), (10, 20), (50, 100)),
    (OutputSize(height=5), (10, 3), (5, 2)), (OutputSize(width=7, height=9), (1, 1), (9, 7)),
    (OutputSize(factor=0.1), (3, 40), (1, 4)),
])  # fmt: skip
def test_sizes(size, given, expected):
    assert size.of(*given) == expected


@pytest.mark.parametrize("fields", [{}, {"factor": 2.0, "width": 5}, {"factor": 0.0}, {"height": -1}])
def test_what_is_no_size(fields):
    with pytest.raises(ConfigError, match="a factor, or a width or height"):
        OutputSize(**fields)
