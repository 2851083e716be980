"""A sharp picture comes back as it was; what decides that."""

import numpy as np
import pytest
import torch

import restore as program
from restore.engines.blind_psf.search import Judged
from restore.engines.deblur import engine as engine_module
from restore.engines.deblur import gate
from restore.engines.deblur.engine import DeblurEngine
from restore.engines.deblur.gate import FAINT, SHARP, Sharpness, relative_change
from restore.engines.deblur.network import DeblurNetwork
from restore.engines.deblur.options import DeblurOptions, NetworkOptions
from restore.errors import ConfigError
from restore.inference.engine import EngineOptions
from restore.picture import Picture

from .tiny import Offsets, sharp_scene, soft_scene


@pytest.mark.parametrize(("softness", "change", "sharp"), [
    (0.5, 0.01, True), (SHARP - 0.1, 0.2, True), (SHARP + 0.01, 0.0, False), (0.5, 2 * (SHARP - 0.5) + 0.01, False),
    (None, 0.0, False),
])  # fmt: skip
def test_both_figures_count(softness, change, sharp):
    assert Sharpness(softness, change).is_sharp == sharp


def test_the_figures_in_words():
    assert Sharpness(0.512, 0.034).summary == (
        "edge softness 0.51, the network would change 3.4% of the local gradient: 0.53 (sharp to 0.88)"
    )
    assert Sharpness(None, 0.2).summary.startswith("no edges, the network would change 20.0%")


def test_the_change_is_measured_against_the_gradient():
    ramp = torch.arange(8.0).div(100).expand(3, 8, 8).contiguous()  # 0.01 to the right, 0 down: 0.005 in the mean
    assert relative_change([ramp], lambda x: x + 0.001) == pytest.approx(0.2, rel=1e-4)
    assert relative_change([ramp, ramp], lambda x: x) == 0
    flat = torch.full((1, 5, 7), 0.5)
    assert relative_change([flat], lambda x: x + FAINT / 2) == pytest.approx(0.5, rel=1e-3)


def test_sides_are_filled_to_what_the_network_takes():
    seen = []

    def network(x):
        seen.append(tuple(x.shape))
        return x

    assert relative_change([torch.rand(1, 5, 17), torch.rand(1, 1, 1)], network, multiple_of=8) == 0
    assert seen == [(1, 1, 8, 24), (1, 1, 8, 8)]


def engine_of(monkeypatch, offsets, **options):
    net = Offsets(offsets)
    network = DeblurNetwork(net, net.spec(), "offsets", "0")
    monkeypatch.setattr(engine_module, "network_of", lambda weights, model: network)
    return program.Restorer("deblur", DeblurEngine(NetworkOptions(**options)))


def stored(scene, dtype):
    if dtype == "float32":
        return (scene * 1.3 - 0.1).astype(np.float32)  # values beyond 0 to 1 stay what they are
    return np.rint(scene * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_a_sharp_picture_comes_back_bit_by_bit(monkeypatch, dtype, channels, alpha):
    restorer = engine_of(monkeypatch, (0.004, -0.002), all_heads=True, uncertainty=True)
    pixels = stored(sharp_scene(channels=channels + alpha), dtype)
    if alpha:
        pixels[..., -1] = 0
        pixels[10:40, 10:40, -1] = stored(np.float32(0.9), dtype)
        pixels[12:38, 12:38, -1] = stored(np.float32(0.5), dtype)
    result = restorer.restore(pixels)
    assert result.decisions["method"] == "none: the picture is sharp (--force deblurs it)"
    assert "edge softness 0." in result.decisions["sharpness"] and "would change" in result.decisions["sharpness"]
    for name in ("result", "head_1", "head_2"):
        assert np.array_equal(result.pictures[name].pixels, pixels), name
    assert not result.pictures["uncertainty"].pixels.any()


def test_sensor_values_in_16_bits_come_back(monkeypatch):
    pixels = stored(sharp_scene(), "uint16") // 16
    assert np.array_equal(engine_of(monkeypatch, (0.001,)).restore(pixels).picture.pixels, pixels)


def test_counts_in_floats_come_back(monkeypatch):
    """Fitted into the unit range, from a black that is not 0, they would be rounded on the way."""
    grain = np.random.default_rng(0).random((48, 64, 3), np.float32)
    pixels = (sharp_scene() + 0.01 * grain) * np.float32(41.7) - np.float32(17.3)
    pixels[20:23, 20:23] = 1e-3 * grain[20:23, 20:23]  # their digits are lost beside a black of -7
    result = engine_of(monkeypatch, (0.001,)).restore(pixels)
    assert result.decisions["method"].startswith("none") and np.array_equal(result.picture.pixels, pixels)


@pytest.mark.parametrize(("scene", "offset", "options"), [
    (sharp_scene, 0.3, {}), (soft_scene, 0.001, {}), (sharp_scene, 0.004, {"force": True}),
])  # fmt: skip
def test_others_are_treated(monkeypatch, scene, offset, options):
    pixels = scene()
    result = engine_of(monkeypatch, (offset,), **options).restore(pixels)
    assert result.decisions["method"] == "network offsets"
    np.testing.assert_allclose(result.picture.pixels, pixels + offset, atol=1e-6)
    assert ("sharpness" in result.decisions) != bool(options)


def test_large_pictures_are_judged_by_four_crops(monkeypatch):
    calls = []
    monkeypatch.setattr(DeblurNetwork, "answers", lambda self, x: calls.append(x.shape) or _same(x))
    from restore.picture import Picture, ValueScale

    source = Picture.from_array(np.zeros((900, 700, 3), np.uint8))
    network = DeblurNetwork(Offsets((0.0,)), Offsets((0.0,)).spec(), "x", "0")
    gate.measure_sharpness(
        source, ValueScale.nominal(source.info), lambda x: network.answers(x[:, None]).pictures[:, 0]
    )
    assert [tuple(shape) for shape in calls] == [(1, 1, 3, 192, 192)] * 4


def _same(x):
    from restore.engines.deblur.network import Answers

    return Answers(x)


@pytest.mark.parametrize("method", ["measured", "psf"])
def test_no_psf_is_looked_for_where_edges_are_steep(monkeypatch, method):
    looked = []
    none = Judged(None, 0.0, "no PSF")
    monkeypatch.setattr(engine_module, "judge_blur", lambda view, **how: looked.append(how["least"]) or none)
    for scene, force, asked in ((sharp_scene(), False, 0), (sharp_scene(), True, 1), (soft_scene(), False, 1)):
        looked.clear()
        engine = DeblurEngine(DeblurOptions(force=force), method)
        condition = engine.prepare({"picture": Picture.from_array(stored(scene, "uint8"))}, EngineOptions())
        assert len(looked) == asked
        if not asked:
            assert condition.decisions["sharpness"].endswith("(sharp to 0.6)")
            assert condition.decisions["method"].startswith("none: the picture is sharp")


@pytest.mark.parametrize("head", [None, 1, 2])
def test_the_verdict_does_not_depend_on_the_head_that_is_asked_for(monkeypatch, head):
    """Alone, the first head would change the picture by far more, and the second not at all."""
    result = engine_of(monkeypatch, (0.3, 0.0), head=head).restore(sharp_scene())
    assert result.decisions["method"].startswith("network offsets")


@pytest.mark.parametrize(("method", "why"), [
    ("network", "none: the picture has no edges (--force tries)"),
    ("psf", "none: no blur is worth taking out (--force takes out the likeliest)"),
])  # fmt: skip
def test_without_edges_a_picture_stays_as_it_is(monkeypatch, method, why):
    found = Judged(None, 0.0, "no PSF")
    monkeypatch.setattr(engine_module, "judge_blur", lambda view, **how: found)
    net = Offsets((0.01,))
    monkeypatch.setattr(engine_module, "network_of", lambda *of: DeblurNetwork(net, net.spec(), "offsets", "0"))
    options = NetworkOptions() if method == "network" else DeblurOptions()
    restorer = program.Restorer("deblur", DeblurEngine(options, method))
    for pixels in (np.zeros((96, 96, 3), np.uint8), np.full((1, 1, 3), 7, np.uint8)):
        result = restorer.restore(pixels)
        assert result.decisions["method"] == why
        assert np.array_equal(result.picture.pixels, pixels)


def test_a_picture_too_small_for_a_psf_says_so_even_if_it_is_forced():
    result = program.load("deblur", method="psf", force=True).restore(np.full((1, 300, 3), 9, np.uint8))
    assert result.decisions["method"] == "none: the picture is too small to find its blur"
    with pytest.raises(ConfigError, match="Give 1 to 4, or leave it out for the best"):
        program.load("deblur", method="psf", head=9)
