"""Checkpoints of super-resolution under the names that their programs give, through the reader of weights files."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from restore.errors import WeightsError
from restore.models import build
from restore.zoo import loading
from restore.zoo.card import WeightsCard
from restore.zoo.published import recognised
from restore.zoo.weights import read_network, save_weights
from tests.zoo.tiny import CARD

RRDB = {"width": 4, "blocks": 2, "growth": 3}
State = dict[str, Tensor]


def shapes(convolutions: dict[str, tuple[int, int]], slopes: dict[str, int] | None = None) -> State:
    """Random 3 x 3 convolutions by name and (channels out, in), and slopes of PReLUs."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, (coarse, fine) in convolutions.items():
        state[f"{name}.weight"] = torch.rand(coarse, fine, 3, 3, generator=generator) - 0.5
        state[f"{name}.bias"] = torch.rand(coarse, generator=generator) - 0.5
    for name, count in (slopes or {}).items():
        state[f"{name}.weight"] = torch.rand(count, generator=generator)
    return state


def rrdb(ups: int, inputs: int = 3, width: int = 4, blocks: int = 2, growth: int = 3) -> State:
    """As BasicSR and Real-ESRGAN write it."""
    layers = {"conv_first": (width, inputs)}
    for block in range(blocks):
        for dense in (1, 2, 3):
            for conv in range(1, 6):
                out = growth if conv < 5 else width
                layers[f"body.{block}.rdb{dense}.conv{conv}"] = (out, width + (conv - 1) * growth)
    layers |= dict.fromkeys(("conv_body", *(f"conv_up{n + 1}" for n in range(ups)), "conv_hr"), (width, width))
    return shapes(layers | {"conv_last": (3, width)})


def as_esrgan(state: State) -> State:
    """The names of ESRGAN's own program."""
    theirs = {
        r"^body": "RRDB_trunk",
        r"\.rdb": ".RDB",
        "conv_body": "trunk_conv",
        "conv_up": "upconv",
        "conv_hr": "HRconv",
    }
    renamed = {}
    for name, value in state.items():
        for new, old in theirs.items():
            name = re.sub(new, old, name)
        renamed[name] = value
    return renamed


def as_numbers(state: State, ups: int, blocks: int = 2) -> State:
    """The names of ESRGAN's first program: a doubling is an enlargement, a convolution and its activation."""
    numbers = {"conv_first": 0, "conv_hr": 2 + 3 * ups, "conv_last": 4 + 3 * ups}
    numbers |= {f"conv_up{n + 1}": 3 + 3 * n for n in range(ups)}
    renamed = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        if layer in numbers:
            renamed[f"model.{numbers[layer]}.{kind}"] = value
        elif layer == "conv_body":
            renamed[f"model.1.sub.{blocks}.{kind}"] = value
        else:
            layer = re.sub(r"^body\.(\d+)\.rdb(\d)", r"model.1.sub.\1.RDB\2", layer)
            renamed[f"{layer}.0.{kind}"] = value
    return renamed


def srresnet(factors: tuple[int, ...], width: int = 4, blocks: int = 2) -> State:
    layers = {"conv_first": (width, 3)}
    layers |= {f"body.{n}.conv{k}": (width, width) for n in range(blocks) for k in (1, 2)}
    layers |= {f"upconv{n + 1}": (width * factor**2, width) for n, factor in enumerate(factors)}
    return shapes(layers | {"conv_hr": (width, width), "conv_last": (3, width)})


def srvgg(scale: int, width: int = 4, convs: int = 2) -> State:
    layers = {f"body.{2 * n}": (width, width if n else 3) for n in range(convs + 1)}
    layers[f"body.{2 * convs + 2}"] = (3 * scale**2, width)
    return shapes(layers, {f"body.{2 * n + 1}": width for n in range(convs + 1)})


def ours(model: str, state: State, layers: dict[str, str], **arguments: Any) -> nn.Module:
    """The network with a state whose names begin as `layers` says (regular expression -> ours)."""
    renamed = {}
    for name, value in state.items():
        for pattern, own in layers.items():
            name = re.sub(pattern, own, name)
        renamed[name] = value
    net = build(model, **arguments).eval()
    net.load_state_dict(renamed)
    return net


def rrdb_net(state: State, **arguments: Any) -> nn.Module:
    layers = {rf"\.rdb{n + 1}\.": f".dense.{n}." for n in range(3)}
    layers |= {rf"^(body.*)\.conv{n + 1}\.": rf"\1.convs.{n}." for n in range(5)}
    return ours("rrdb", state, layers | {rf"^conv_up{n + 1}": f"ups.{n}" for n in range(3)}, **RRDB, **arguments)


def check(path, state: Any, net: nn.Module, side: int = 8) -> None:
    """A file loads by itself, as weights of the task, with the answers of `net`."""
    torch.save(state, path)
    loaded = loading.load(path, "upscale")
    assert type(loaded.net) is type(net) and loaded.spec == net.spec()  # type: ignore[operator]
    x = torch.rand(1, 3, side, side)
    with torch.no_grad():
        assert torch.equal(loaded.net(x), net(x))


@pytest.mark.parametrize(("scale", "inputs", "ups"), [(4, 3, 2), (2, 12, 2), (1, 48, 2), (8, 3, 3)])
def test_basicsr_s_rrdbnet(tmp_path, scale, inputs, ups):
    state = rrdb(ups, inputs)
    net = rrdb_net(state, scale=scale)
    for wrapper in ("params_ema", "params"):
        check(tmp_path / "net.pth", {wrapper: state}, net)
    check(tmp_path / "net.pth", state, net)


def test_the_average_is_taken_where_a_file_holds_both(tmp_path):
    state, other = rrdb(2), {name: torch.zeros_like(value) for name, value in rrdb(2).items()}
    check(tmp_path / "net.pth", {"params": other, "params_ema": state}, rrdb_net(state))


@pytest.mark.parametrize("ups", [0, 1, 2, 3])
def test_esrgan_s_own_names(tmp_path, ups):
    state = rrdb(ups)
    net = rrdb_net(state, scale=2**ups, unshuffle=1)
    check(tmp_path / "numbers.pth", as_numbers(state, ups), net)
    if ups:
        check(tmp_path / "net.pth", as_esrgan(state), net)


def test_the_published_sizes_are_read_from_shapes():
    """RealESRGAN_x4plus, x2plus, x4plus_anime_6B; realesr-animevideov3 and general-x4v3; MSRResNet_x4."""
    with torch.device("meta"):
        files = {
            "rrdb": ({"blocks": 23}, {"blocks": 23, "scale": 2}, {"blocks": 6}),
            "srvgg": ({"convs": 16}, {"convs": 32}),
        }
        counts = {
            str(arguments): sum(p.numel() for p in build(model, **arguments).parameters())
            for model, all_of in files.items()
            for arguments in all_of
        }
    assert list(counts.values()) == [16_697_987, 16_703_171, 4_467_779, 621_424, 1_213_296]
    for state, expected in (
        (rrdb(2, 3, 64, 6, 32), {"blocks": 6, "width": 64, "growth": 32, "scale": 4}),
        (rrdb(2, 12, 64, 3, 32), {"blocks": 3, "scale": 2, "unshuffle": 2}),
        (srvgg(4, 64, 16), {"convs": 16, "width": 64, "scale": 4}),
        (srresnet((2, 2), 64, 16), {"blocks": 16, "width": 64, "scale": 4, "norm": "none"}),
    ):
        known = recognised(state)
        assert known is not None and known.arguments | expected == known.arguments
        with torch.device("meta"):
            assert build(known.model, **known.arguments).state_dict().keys() == known.state.keys()


@pytest.mark.parametrize(("scale", "factors"), [(2, (2,)), (3, (3,)), (4, (2, 2)), (8, (2, 2, 2))])
def test_basicsr_s_msrresnet(tmp_path, scale, factors):
    state = srresnet(factors)
    layers = {r"^conv_first": "first.0", r"^conv_hr": "last.0", r"^conv_last": "last.2"}
    layers |= {rf"^upconv{n + 1}": f"enlarge.{3 * n}" for n in range(3)}
    check(tmp_path / "net.pth", {"params": state}, ours("srresnet", state, layers, width=4, blocks=2, scale=scale))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_real_esrgan_s_compact_network(tmp_path, scale):
    state = srvgg(scale)
    check(tmp_path / "net.pth", {"params": state}, ours("srvgg", state, {}, width=4, convs=2, scale=scale))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("conv_hr.bias"), "missing: conv_hr.bias"),
        (lambda s: s.update({"conv_up9.weight": s["conv_up1.weight"]}), "ups.8.weight"),
        (lambda s: s.update({"conv_body.weight": s["conv_body.weight"][:2]}), "conv_body.weight is 2 x 4 x 3 x 3"),
        (lambda s: s.update({"conv_first.weight": torch.zeros(4, 5, 3, 3)}), "conv_first.weight is 4 x 5 x 3 x 3"),
        (lambda s: s.update({"conv_first.weight": torch.zeros(())}), "does not say which network"),
        (lambda s: s.update({"body.9999.rdb1.conv1.weight": torch.zeros(1)}), "missing: body.2.dense"),
        (lambda s: s.update({"conv_hr.bias": s["conv_hr.bias"] * torch.nan}), "not finite"),
        (lambda s: s.update({f"body.{n}.rdb1.conv1.bias": torch.zeros(1) for n in range(99)}), "0 to 64 blocks"),
        (lambda s: s.update({"trunk_conv.weight": torch.zeros(1)}), "does not say which network"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, words):
    state = rrdb(2)
    change(state)
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(WeightsError) as caught:
        read_network(tmp_path / "net.pth")
    assert words in str(caught.value)


def test_other_files_are_left_alone():
    relu = {name: value for name, value in srvgg(4).items() if value.ndim == 4 or name.endswith("bias")}
    edsr = {**srresnet((2,)), "conv_after_body.weight": torch.zeros(1)}
    edsr.pop("upconv1.weight")
    for state in (relu, edsr, {"body.0.weight": torch.zeros(3, 3, 3, 3)}, {"model.0.weight": torch.zeros(1)}, {}):
        assert recognised(state) is None


def test_weights_of_our_own_are_not_taken_for_published_ones(tmp_path):
    """Their label says the network and all its arguments, also those that no shape shows."""
    arguments = {"width": 4, "convs": 2, "scale": 2}
    net = build("srvgg", **arguments)
    card = WeightsCard(**{**CARD.model_dump(), "task": "upscale"})
    save_weights(tmp_path / "own.safetensors", net, "srvgg", arguments, card)
    loaded = read_network(tmp_path / "own.safetensors")
    assert loaded.card is not None and loaded.spec.scale == 2
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in loaded.net.state_dict().items())


def test_a_named_network_is_asked_first(tmp_path):
    """Weights with such names may be of a network of one's own; what the config says of the same one holds."""
    torch.save(srvgg(4), tmp_path / "net.pth")
    with pytest.raises(WeightsError, match="these are not the weights of compact_sr"):
        read_network(tmp_path / "net.pth", "compact_sr")
    with pytest.raises(WeightsError, match=r"body\.6\.weight is 48 x 4 x 3 x 3, the network's is 12 x 4 x 3 x 3"):
        read_network(tmp_path / "net.pth", "srvgg", {"scale": 2})
    assert read_network(tmp_path / "net.pth", "srvgg").spec.scale == 4
    with pytest.raises(WeightsError, match="for the task 'upscale', not 'denoise'"):
        loading.load(tmp_path / "net.pth", "denoise")
