"""A network behind the engine contract: channels, noise map, precision, tiles."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from restore.engines.denoise.network import DenoisingNetwork
from restore.engines.denoise.options import NetworkOptions
from restore.engines.network import NetworkEngine
from restore.errors import ConfigError, ModelError
from restore.inference.engine import Condition, EngineOptions, Place
from restore.models import build
from restore.models.spec import ModelSpec, Output
from restore.physics.level import KNOTS, MAP_RADIUS
from restore.picture import Picture
from restore.zoo.card import WeightsCard
from restore.zoo.weights import read_network, save_weights
from tests.inference.engines import picture, restore

CPU = torch.device("cpu")


def small(**arguments: object) -> nn.Module:
    torch.manual_seed(0)
    return build("plain_unet", **{"widths": (6, 8), "blocks": (1, 1, 1), **arguments}).eval()


def engine(net: nn.Module, sigma: float | None = None) -> DenoisingNetwork:
    return DenoisingNetwork(net, net.spec(), "small", "abc", sigma)


def answer(run: NetworkEngine, x: Tensor, condition: Condition | None = None) -> Tensor:
    return run(x, condition or Condition(), [Place(0, 0, 16, 12)] * len(x))["result"]


def prepared(run: NetworkEngine, source: Picture) -> Condition:
    return run.prepare({"picture": source}, EngineOptions())


def tile(channels: int, seed: int = 0) -> Tensor:
    return torch.rand(2, 1, channels, 16, 12, generator=torch.Generator().manual_seed(seed))


class Level(nn.Module):
    """Returns its condition as every colour, and keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.given: list[Tensor] = []

    def forward(self, x: Tensor, noise_level: Tensor) -> Tensor:
        self.given.append(x)
        return noise_level.expand(-1, 3, -1, -1)

    def spec(self) -> ModelSpec:
        return ModelSpec("denoise", channels=3, parameters=1, conditions=("noise_level",))


@torch.no_grad()
def test_colour_into_a_colour_network_is_the_network():
    net, x = small(), tile(3)
    torch.testing.assert_close(answer(engine(net), x), net(x[:, 0]), atol=1e-6, rtol=0)


@torch.no_grad()
def test_grey_is_repeated_and_averaged():
    net, x = small(), tile(1)
    y = answer(engine(net), x)
    expected = net(x[:, 0].repeat(1, 3, 1, 1)).mean(1, keepdim=True)
    assert y.shape == x[:, 0].shape
    torch.testing.assert_close(y, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("colours", "channels"), [(1, 1), (1, 2), (1, 3), (1, 4), (1, 7), (3, 1), (3, 2), (3, 4), (3, 7)]
)
def test_other_channels_are_each_taken_as_grey(colours, channels):
    run, x = engine(small(channels=colours)), tile(channels)
    y = answer(run, x)
    assert y.shape == x[:, 0].shape
    for channel in range(channels):
        alone = answer(run, x[:, :, channel : channel + 1])
        torch.testing.assert_close(y[:, channel : channel + 1], alone, atol=1e-6, rtol=0)


def test_the_engine_takes_any_number_of_channels():
    net = small()
    spec = engine(net).spec
    assert spec.channels is None
    assert (spec.radius, spec.multiple_of, spec.parameters) == (
        net.spec().radius,
        4,
        net.spec().parameters,
    )


def test_several_outputs_stay_apart():
    class Two(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x + 1, x - 1], dim=1)

    spec = ModelSpec("split", channels=3, outputs=(Output("up"), Output("down", "down")))
    for channels in (1, 3, 5):
        x = tile(channels)
        actual = NetworkEngine(Two(), spec, "two", "")(x, Condition(), [Place(0, 0, 16, 12)] * 2)
        assert list(actual) == ["up", "down"]
        torch.testing.assert_close(actual["up"], x[:, 0] + 1)
        torch.testing.assert_close(actual["down"], x[:, 0] - 1)


def test_an_output_may_have_channels_of_its_own():
    """Of channels that are shown one by one, an output of one channel is the mean of theirs."""

    class WithMap(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, x.square().mean(1, keepdim=True)], dim=1)

    spec = ModelSpec("map", channels=3, outputs=(Output(), Output("energy", "energy", channels=1, mixes=False)))
    for channels in (1, 3, 5):
        x = tile(channels)
        actual = NetworkEngine(WithMap(), spec, "map", "")(x, Condition(), [Place(0, 0, 16, 12)] * 2)
        torch.testing.assert_close(actual["result"], x[:, 0])
        torch.testing.assert_close(actual["energy"], x[:, 0].square().mean(1, keepdim=True))


def test_a_network_with_the_wrong_number_of_channels_is_named():
    spec = ModelSpec("map", channels=3, outputs=(Output(), Output("energy", "energy", channels=1)))
    with pytest.raises(ModelError, match="map gave 3 channels instead of 4"):
        NetworkEngine(nn.Identity(), spec, "map", "")(tile(3), Condition(), [Place(0, 0, 16, 12)] * 2)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_two_pictures_are_shown_together(channels):
    class Difference(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, 3:] - x[:, :3]

    run = NetworkEngine(Difference(), ModelSpec("rectify", inputs=("first", "second"), channels=3), "dual", "")
    x = torch.rand(2, 2, channels, 16, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(answer(run, x), x[:, 1] - x[:, 0])


def test_a_condition_that_is_not_measured_is_refused():
    spec = ModelSpec("denoise", channels=3, conditions=("noise_level", "time"))
    for kind, missing in ((NetworkEngine, "noise_level and time"), (DenoisingNetwork, "time")):
        with pytest.raises(
            ModelError, match=f"of toy must be given {missing}, which is not measured here. Use weights"
        ):
            kind(nn.Identity(), spec, "toy", "")


# ---- the noise level


def noisy(sigma: float, size: int = 160, seed: int = 0) -> Picture:
    ramp = np.linspace(60, 190, size, dtype=np.float32)[:, None, None] * np.ones((1, size, 3), np.float32)
    noise = np.random.default_rng(seed).standard_normal(ramp.shape) * sigma
    return Picture.from_array(np.clip(np.rint(ramp + noise), 0, 255).astype(np.uint8))


def test_the_users_sigma_reaches_the_network_in_unit_range():
    run = engine(Level(), 25.5)
    condition = prepared(run, noisy(10))
    assert condition.decisions == {"method": "network small", "noise": "sigma 25.5 (given), white"}
    torch.testing.assert_close(answer(run, tile(3), condition), torch.full((2, 3, 16, 12), 0.1))
    torch.testing.assert_close(answer(run, tile(1), condition), torch.full((2, 1, 16, 12), 0.1))
    assert run.fingerprint == "network:small:abc:sigma=25.5"


def test_the_noise_is_measured_otherwise():
    run = engine(Level())
    condition = prepared(run, noisy(20))
    assert float(answer(run, tile(3), condition).mean()) * 255 == pytest.approx(20, rel=0.15)
    assert condition.decisions["noise"].endswith("(measured), white")


def test_the_level_follows_the_local_brightness_and_widens_the_halo():
    run = engine(Level())
    shot = Condition(data=(torch.linspace(0, 1, KNOTS) / 30).sqrt())
    bright = torch.full((1, 1, 3, 16, 16), 0.2)
    bright[..., 8:] = 0.8
    level = answer(run, bright, shot)[0, 0]
    assert level[8, 2] == pytest.approx((0.2 / 30) ** 0.5, rel=0.02)
    assert level[8, 13] == pytest.approx((0.8 / 30) ** 0.5, rel=0.02)
    assert run.spec.radius == Level().spec().radius + MAP_RADIUS
    assert engine(small()).spec.radius == small().spec().radius


def test_noise_is_not_measured_for_networks_that_do_not_ask():
    condition = prepared(engine(small(), 3), noisy(20))
    assert condition.decisions == {"method": "network small"}
    assert condition.data is None


def test_a_picture_too_small_to_measure_counts_as_clean():
    run = engine(Level())
    condition = prepared(run, Picture.from_array(np.zeros((3, 3, 3), np.uint8)))
    assert condition.decisions["noise"].startswith("not measured")
    assert torch.equal(answer(run, tile(3), condition), tile(3)[:, 0]), "the picture as it is"


def test_a_sigma_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="--sigma cannot be 300"):
        NetworkOptions(sigma=300)


def test_the_value_range_is_measured():
    dark = Picture.from_array(np.random.default_rng(0).integers(0, 4096, (20, 20, 3)).astype(np.uint16))
    scale = prepared(engine(small()), dark).scale
    assert -400 < scale.black < 0 and 4096 < scale.black + scale.white < 4500


# ---- types, devices, memory layout


def test_casting_leaves_the_engine_alone_and_is_done_once():
    net = small()
    first = engine(net)
    half = first.cast(torch.float16, CPU)
    assert first.cast(torch.float32, CPU)._backend is first._backend
    assert first.cast(torch.float16, CPU)._backend is half._backend is not first._backend
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert half.fingerprint == first.fingerprint == "network:small:abc"
    assert half.spec == first.spec


def test_low_precision_touches_the_correction_only():
    net = small()
    for parameter in net.get_submodule("tail").parameters():
        nn.init.zeros_(parameter)
    x = tile(3)
    assert torch.equal(answer(engine(net).cast(torch.float16, CPU), x), x[:, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_answers_are_in_float32_whatever_is_computed_in(dtype):
    assert answer(engine(small()).cast(dtype, CPU), tile(3)).dtype == torch.float32


def test_the_network_sees_channels_last():
    net = Level()
    answer(engine(net), tile(3), Condition(data=torch.full((KNOTS,), 0.1)))
    assert net.given[0].is_contiguous(memory_format=torch.channels_last)
    assert net.given[0].shape == (2, 3, 16, 12)


def test_no_graph_is_kept():
    assert not answer(engine(small()), tile(3).requires_grad_()).requires_grad


# ---- through the runner


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_tiled_equals_untiled(channels):
    run, source = engine(small(condition_channels=1)), picture(131, 150, channels)
    reference, whole_report = restore(run, source, tile=160)
    tiled, report = restore(run, source, tile=48)
    assert whole_report.tiles == 1 < report.tiles
    np.testing.assert_allclose(tiled, reference, atol=1e-5)


def test_half_precision_through_the_runner_stays_close():
    run, source = engine(small()), picture(40, 50, 3)
    exact, _ = restore(run, source, precision="fp32")
    rough, report = restore(run, source, precision="fp16")
    assert report.precision == "float16"
    error = np.abs(rough - exact).max()
    assert 0 < error < 0.5 / 255


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("size", [(1, 1), (3, 50), (33, 21)])
def test_size_and_depth_stay(size, dtype):
    source = picture(*size, 3, dtype)
    result, report = restore(engine(small()), source)
    assert (result.shape, result.dtype) == (source.pixels.shape, source.pixels.dtype)
    assert report.decisions["method"] == "network small"


def test_weights_from_a_file_give_the_same_bytes(tmp_path):
    arguments = {"condition_channels": 1, "widths": [6, 8], "blocks": [1, 1, 1]}
    card = WeightsCard(name="w", task="denoise", summary="", date=datetime.date(2026, 1, 1), licence="CC0")
    path, net = tmp_path / "w.safetensors", small(**arguments)
    sha256 = save_weights(path, net, "plain_unet", arguments, card).sha256
    loaded = read_network(path)
    run = DenoisingNetwork(loaded.net, loaded.spec, "w", loaded.sha256)
    assert run.fingerprint == f"network:w:{sha256}"
    source = picture(40, 50, 3, "uint8")
    np.testing.assert_array_equal(restore(run, source)[0], restore(engine(net), source)[0])


def test_a_standardised_network_is_tiled_exactly_and_does_not_depend_on_the_range():
    """Mean and std are the whole picture's: tiles do not have their own."""
    torch.manual_seed(0)
    net = build("cbsn", width=4, blocks=2).eval()
    run = NetworkEngine(net, net.spec(), "blind", "x")
    rng = np.random.default_rng(1)
    source = Picture.from_array((rng.random((96, 110, 3)) * np.linspace(0.2, 1, 110)[None, :, None]).astype(np.float32))
    tiled, report = restore(run, source, tile=48)
    whole, _ = restore(run, source, tile=1000)
    assert report.tiles > 3 and report.mode == "exact" and np.abs(tiled - whole).max() < 1e-5
    pixels = torch.from_numpy(source.pixels).permute(2, 0, 1)[None]
    mean, std = pixels.mean((2, 3), keepdim=True), pixels.std((2, 3), keepdim=True, correction=0)
    with torch.no_grad():
        expected = (net((pixels - mean) / std) * std + mean)[0].permute(1, 2, 0).numpy()
    assert np.abs(whole - expected).max() < 1e-5
