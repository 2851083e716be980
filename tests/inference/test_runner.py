"""Tiled equals untiled, values come back exactly, memory trouble changes nothing."""

import gc
import weakref
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from restore.errors import ModelError, UnsupportedError
from restore.inference.engine import Condition, Unchanged
from restore.models.spec import ModelSpec
from restore.picture import Picture, ValueScale
from tests.inference.engines import FAMILIES, NetEngine, picture, plain, restore, whole

SIZES = [(1, 70), (70, 1), (3, 3), (7, 7), (37, 53), (64, 64), (101, 97), (50, 210), (233, 61)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_tiled_equals_untiled(family, size):
    engine = NetEngine(*FAMILIES[family]())
    source = picture(*size)
    reference = whole(engine, source)
    for tile in (16, 40):
        tiled, report = restore(engine, source, tile=tile)
        assert np.abs(tiled - reference).max() <= 1e-5
    assert report.mode == "exact" and report.tiles >= 1


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_tiled_equals_untiled_for_every_size_up_to_70(family):
    engine = NetEngine(*FAMILIES[family]())
    worst = 0.0
    for height in range(1, 71):
        for width in range(1, 71):
            source = picture(height, width, seed=height * 71 + width)
            worst = max(worst, np.abs(restore(engine, source, tile=16)[0] - whole(engine, source)).max())
    assert worst <= 1e-5


def test_in_double_precision_tiled_equals_untiled_to_1e_12():
    net, spec = FAMILIES["unet"]()
    net.double()

    class Double(NetEngine):
        def __call__(self, x, condition, places):
            y = self.net(x[:, 0].double())
            self.results.append(y)
            return {"result": y.float()}

    engine = Double(net, spec)
    engine.results = []
    source = picture(80, 80)
    restore(engine, source, tile=80)
    reference = engine.results.pop()[0, 0]
    engine.results.clear()
    restore(engine, source, tile=24)
    tile = engine.results[0][0, 0]  # origin 0, kept up to core + halo
    assert (tile[:40, :40] - reference[:40, :40]).abs().max() <= 1e-12


@pytest.mark.parametrize("family", ["plain", "unet", "unshuffled"])
def test_a_halo_that_is_too_small_shows(family):
    net, spec = FAMILIES[family]()
    source = picture(120, 120)
    reference = whole(NetEngine(net, spec), source)
    short = NetEngine(net, replace(spec, radius=max(0, spec.radius - max(spec.multiple_of, 3)) // 2))
    assert np.abs(restore(short, source, tile=16)[0] - reference).max() > 1e-4


@pytest.mark.parametrize("family", ["unet", "unshuffled", "windowed"])
def test_an_origin_off_the_grid_shows(family):
    """The same network, but the plan does not know its multiple: tiles start off its grid."""
    net, spec = FAMILIES[family]()
    source = picture(128, 128)
    reference = whole(NetEngine(net, spec), source)

    class Padded(torch.nn.Module):
        def forward(self, x):
            height, width = x.shape[-2:]
            pad = (0, -width % spec.multiple_of, 0, -height % spec.multiple_of)
            return net(torch.nn.functional.pad(x, pad, mode="replicate"))[..., :height, :width]

    unaligned = NetEngine(Padded(), replace(spec, multiple_of=1, radius=spec.radius + 8))
    assert np.abs(restore(unaligned, source, tile=31)[0] - reference).max() > 1e-4


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("tile", [None, 17])
def test_identity_is_bit_exact(dtype, samples, tile):
    source = picture(45, 71, samples, dtype)
    source = Picture.from_array(source.pixels)  # 2 and 4 samples: with alpha
    result, _ = restore(Unchanged(), source, tile=tile)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, source.pixels)


def test_all_65536_codes_survive():
    codes = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    result, _ = restore(Unchanged(), Picture.from_array(codes))
    np.testing.assert_array_equal(result[..., 0], codes)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_strength_zero_returns_the_input(dtype):
    source = picture(40, 40, 1, dtype)
    result, _ = restore(NetEngine(*plain()), source, strength=0.0)
    np.testing.assert_array_equal(result, source.pixels)


def test_strength_mixes_linearly():
    engine, source = NetEngine(*plain()), picture(40, 40)
    full, half = restore(engine, source)[0], restore(engine, source, strength=0.5)[0]
    np.testing.assert_allclose(half, (full + source.pixels) / 2, atol=1e-6)


def test_a_crop_equals_the_crop_of_the_whole():
    engine, source = NetEngine(*FAMILIES["unet"]()), picture(150, 170)
    reference = whole(engine, source)
    result, report = restore(engine, source, tile=32, crop=(41, 53, 70, 40))
    np.testing.assert_allclose(result, reference[53:93, 41:111], atol=1e-5)
    assert (report.height, report.width) == (40, 70)


def test_a_crop_outside_the_picture_is_refused():
    with pytest.raises(UnsupportedError, match="not inside the picture of 20 x 10"):
        restore(Unchanged(), picture(10, 20), crop=(0, 0, 21, 5))


def test_every_source_row_is_read_once():
    class Counting(Picture):
        reads = []

        def read_rows(self, start, stop):
            self.reads.extend(range(start, stop))
            return super().read_rows(start, stop)

    base = picture(300, 40)
    source = Counting(base.info, base.pixels)
    restore(NetEngine(*plain()), source, tile=32)
    rows = list(range(300))
    assert Counting.reads[:300] == rows  # what is missing, of floats
    assert Counting.reads[300:] == rows  # tiles


class _OutOfMemory(NetEngine):
    """Raises at one call, as a device would: the k-th call of tiles larger than `limit` pixels."""

    limit, at = 0, 0

    def __call__(self, x, condition, places):
        y = super().__call__(x, condition, places)
        if len(self.calls) > self.at and x.shape[-1] * x.shape[-2] > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return y


@cache
def large_result(family):
    source = picture(700, 700)
    return source, whole(NetEngine(*FAMILIES[family]()), source)


@pytest.mark.parametrize("at", range(0, 16, 5))
@pytest.mark.parametrize("family", ["plain", "unet"])
def test_out_of_memory_at_any_tile_gives_the_same_result(family, at):
    source, reference = large_result(family)
    engine = _OutOfMemory(*FAMILIES[family]())
    engine.limit, engine.at = 170 * 170, at
    result, report = restore(engine, source, tile=192)
    assert np.abs(result - reference).max() <= 1e-5
    assert any("out of memory" in text for text in report.warnings)


def test_running_out_of_memory_keeps_no_reference():
    pinned = []

    class Pinning(_OutOfMemory):
        def __call__(self, x, condition, places):
            if not pinned:
                pinned.append(weakref.ref(x))
                raise torch.OutOfMemoryError("CUDA out of memory")
            if not self.calls:  # collecting takes long
                gc.collect()
                assert pinned[0]() is None
            return super().__call__(x, condition, places)

    engine = Pinning(*plain())
    engine.limit = 10**9
    restore(engine, picture(300, 300), tile=256)


def test_out_of_memory_at_the_smallest_tile_is_said():
    engine = _OutOfMemory(*plain())
    with pytest.raises(ModelError, match="out of memory even with tiles of"):
        restore(engine, picture(100, 100), tile=64)


def test_other_runtime_errors_are_not_retried():
    class Broken(NetEngine):
        def __call__(self, x, condition, places):
            self.calls.append(1)
            raise RuntimeError("CUDA error: device-side assert triggered")

    engine = Broken(*plain())
    with pytest.raises(RuntimeError, match="device-side assert"):
        restore(engine, picture(100, 100), tile=64)
    assert len(engine.calls) == 1


class _Overflowing(NetEngine):
    """Not finite in bfloat16 on bright tiles."""

    def __call__(self, x, condition, places):
        y = super().__call__(x, condition, places)
        if self.dtype is torch.bfloat16 and x[..., :1, :1].mean() > 0.5:
            y = {"result": y["result"] * float("nan")}
        return y


def test_a_tile_that_is_not_finite_is_redone_in_float32():
    net, spec = plain()
    source = picture(120, 120)
    reference = whole(NetEngine(net, spec), source)
    engine = _Overflowing(net, replace(spec, dtypes=("float32", "bfloat16")))
    result, report = restore(engine, source, tile=32, precision="bf16")
    assert np.isfinite(result).all()
    assert report.warnings == ["a tile was not finite in bfloat16 and was redone in float32"]
    assert np.abs(result - reference).max() <= 1e-5


def test_a_network_that_is_never_finite_is_an_error():
    engine = NetEngine(torch.nn.LogSigmoid(), ModelSpec("toy"))
    engine.net = lambda x: x * float("inf")
    with pytest.raises(ModelError, match="not finite"):
        restore(engine, picture(20, 20))


def test_a_wrong_shape_is_a_contract_error():
    engine = NetEngine(torch.nn.MaxPool2d(2), ModelSpec("toy"))
    with pytest.raises(ModelError, match=r"returned \(1, 1, 10, 10\) as 'result' instead of \(1, 1, 20, 20\)"):
        restore(engine, picture(20, 20))


def test_sinks_are_aborted_on_errors():
    from restore.inference.options import RunOptions
    from restore.inference.runner import run
    from restore.picture import MemorySink

    class Sink(MemorySink):
        aborted = False

        def abort(self):
            self.aborted = True

    sink = Sink(picture(20, 20).info)
    engine = NetEngine(torch.nn.MaxPool2d(2), ModelSpec("toy"))
    with pytest.raises(ModelError):
        run(engine, [picture(20, 20)], lambda _n, _i: sink, RunOptions(device="cpu"))
    assert sink.aborted


def _blend_engine(radius: int = 60):
    """A box filter whose radius is out of reach for tiles of this size."""

    class Box(torch.nn.Module):
        def forward(self, x):
            side = 2 * radius + 1
            rows = torch.nn.functional.avg_pool2d(x, (side, 1), 1, (radius, 0), count_include_pad=False)
            return torch.nn.functional.avg_pool2d(rows, (1, side), 1, (0, radius), count_include_pad=False)

    return NetEngine(Box(), ModelSpec("toy", radius=radius, tiling="local"))


def test_blending_leaves_no_steps():
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 400, dtype=np.float32)
    source = Picture.from_array((ramp[:, None] * 0.5 + ramp[None] * 0.3 + 0.05 * rng.random((400, 400))).astype("f4"))
    error = restore(_blend_engine(), source, tile=128)[0] - whole(_blend_engine(), source)
    steps = max(np.abs(np.diff(error[..., 0], axis=axis).mean(1 - axis)).max() for axis in (0, 1))
    assert steps * 255 <= 0.5
    hard = NetEngine(_blend_engine().net, ModelSpec("toy", radius=32))
    error = restore(hard, source, tile=128)[0] - whole(_blend_engine(), source)
    assert np.abs(np.diff(error[..., 0], axis=0).mean(1)).max() * 255 > 0.5  # what a hard cut would show


def test_blending_survives_out_of_memory_without_a_seam():
    source = Picture.from_array(np.linspace(0, 1, 500 * 300, dtype=np.float32).reshape(500, 300))
    engine = _OutOfMemory(torch.nn.Identity(), ModelSpec("toy", radius=100, tiling="local"))
    engine.limit, engine.at = 250 * 250, 3
    result, report = restore(engine, source, tile=192)
    np.testing.assert_allclose(result, source.pixels, atol=1e-6)
    assert report.mode == "blend" and report.warnings


def test_an_enlarging_engine_is_tiled_exactly():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 9, 3, padding=1), torch.nn.PixelShuffle(3)).eval()
    engine = NetEngine(net, ModelSpec("toy", scale=3, radius=1))
    source = picture(50, 61)
    result, _ = restore(engine, source, tile=16)
    assert result.shape == (150, 183, 1)
    np.testing.assert_allclose(result, whole(engine, source), atol=1e-6)


def test_twelve_bit_data_is_scaled_by_4095_and_never_exceeds_it():
    class Brighter(NetEngine):
        def prepare(self, sources, options):
            return Condition(ValueScale(0.0, 4095.0, 4095.0))

    engine = Brighter(None, ModelSpec("toy"))
    engine.net = lambda x: x * 1.5
    codes = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    result, _ = restore(engine, Picture.from_array(codes))
    np.testing.assert_allclose(result[..., 0], np.minimum(codes * 1.5, 4095), atol=0.51)
    assert result.max() == 4095


def test_a_change_of_depth_uses_the_whole_target_range():
    source = Picture.from_array(np.array([[0, 32768, 65535]], np.uint16))
    result, _ = restore(Unchanged(), source, target={"dtype": "uint8", "bits": 8})
    np.testing.assert_array_equal(result[..., 0], [[0, 128, 255]])


def test_colour_under_full_transparency_is_hidden_from_the_engine_and_kept():
    pixels = np.full((40, 40, 4), 200, np.uint8)
    pixels[10:30, 10:30] = (0, 255, 0, 0)  # a green hole under alpha 0
    seen = []
    engine = NetEngine(None, ModelSpec("toy"))

    def blur(x):
        seen.append(x)
        return torch.nn.functional.avg_pool2d(x, 5, 1, 2, count_include_pad=False)

    engine.net = blur
    engine.spec = ModelSpec("toy", radius=2)
    result, _ = restore(engine, Picture.from_array(pixels), tile=16)
    assert max(float((x - 200 / 255).abs().max()) for x in seen) < 1e-6
    np.testing.assert_array_equal(result, pixels)  # no dark or green fringe, hole and alpha untouched
