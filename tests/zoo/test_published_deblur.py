"""NAFNet's checkpoints under the names of their authors, through the reader of weights files."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from restore.errors import WeightsError
from restore.models import build
from restore.training.initial_weights import load_initial_weights
from restore.training.settings import ModelSettings
from restore.zoo import loading
from restore.zoo.published import recognised
from restore.zoo.weights import read_network

GOPRO = ((1, 1, 1, 28), 1, (1, 1, 1, 1))
SIDD = ((2, 2, 4, 8), 12, (2, 2, 2, 2))
State = dict[str, Tensor]


def official(shape: Any = GOPRO, width: int = 2, heads: int = 1) -> State:
    """The names and shapes of a published file, written out without our network."""
    encoders, middle, decoders = shape
    sizes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, out: int, into: int, side: int, bias: bool = True) -> None:
        sizes[f"{name}.weight"] = (out, into, side, side)
        sizes.update({f"{name}.bias": (out,)} if bias else {})

    def blocks(name: str, count: int, c: int) -> None:
        for prefix in (f"{name}.{n}" for n in range(count)):
            sizes.update({f"{prefix}.{each}": (1, c, 1, 1) for each in ("beta", "gamma")})
            sizes.update({f"{prefix}.norm{n}.{kind}": (c,) for n in (1, 2) for kind in ("weight", "bias")})
            for each, out, into, side in (
                ("conv1", 2 * c, c, 1), ("conv2", 2 * c, 1, 3), ("conv3", c, c, 1), ("sca.1", c, c, 1),
                ("conv4", 2 * c, c, 1), ("conv5", c, c, 1),
            ):  # fmt: skip
                conv(f"{prefix}.{each}", out, into, side)

    conv("intro", width, 3, 3)
    conv("ending", 3 * heads, width, 3)
    levels = len(encoders)
    for level, (encoder, decoder) in enumerate(zip(encoders, decoders, strict=True)):
        blocks(f"encoders.{level}", encoder, width << level)
        conv(f"downs.{level}", width << (level + 1), width << level, 2)
        conv(f"ups.{level}.0", width << (levels - level + 1), width << (levels - level), 1, bias=False)
        blocks(f"decoders.{level}", decoder, width << (levels - 1 - level))
    blocks("middle_blks", middle, width << levels)
    generator = torch.Generator().manual_seed(0)
    return {name: 0.4 * torch.rand(size, generator=generator) - 0.2 for name, size in sizes.items()}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(("shape", "task", "side"), [(GOPRO, "deblur", 384), (SIDD, "denoise", 0)])
def test_published_files_load_strictly(tmp_path, shape, task, side, prefix):
    """Weights for noise are for that task and pool globally, as they were published."""
    state = official(shape)
    assert len(state) == 664
    torch.save({"params": {prefix + name: value for name, value in state.items()}}, tmp_path / "net.pth")
    loaded = loading.load(tmp_path / "net.pth", task)
    net: Any = loaded.net
    assert (net.width, net.local_side, len(net.middle_blks)) == (2, side, shape[1])
    assert [tuple(map(len, stages)) for stages in (net.encoders, net.decoders)] == [shape[0], shape[2]]
    assert net.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    other = "denoise" if task == "deblur" else "deblur"
    with pytest.raises(WeightsError, match=f"for the task '{task}', not '{other}'"):
        loading.load(tmp_path / "net.pth", other)


def test_the_published_widths_are_read_from_shapes():
    for width in (32, 64):
        with torch.device("meta"):
            state = build("nafnet", width=width).state_dict()
        known = recognised(state)
        assert known is not None and known.model == "nafnet"
        assert known.arguments == {
            "channels": 3, "width": width, "encoder_blocks": GOPRO[0], "middle_blocks": 1,
            "decoder_blocks": GOPRO[2],
        }  # fmt: skip
        with torch.device("meta"):
            assert build(known.model, **known.arguments).state_dict().keys() == state.keys()


def test_pooling_can_be_chosen(tmp_path):
    torch.save({"params": official()}, tmp_path / "net.pth")
    local = read_network(tmp_path / "net.pth")
    plain = read_network(tmp_path / "net.pth", "nafnet", {"local_side": 0})
    assert (local.net.local_side, plain.net.local_side) == (384, 0)
    assert local.sha256 == plain.sha256


def test_files_of_several_heads(tmp_path):
    state = official(heads=4)
    torch.save({"params": state}, tmp_path / "net.pth")
    loaded = read_network(tmp_path / "net.pth")
    net: Any = loaded.net
    assert net.heads == loaded.spec.heads == 4 and net(torch.rand(1, 3, 5, 9)).shape == (1, 12, 5, 9)
    assert (net.network.width, net.network.local_side) == (2, 384)
    assert torch.equal(net.network.ending.weight, state["ending.weight"])


def test_several_heads_begin_with_a_published_file(tmp_path):
    state = official(((1, 1), 1, (1, 1)))
    torch.save({"params": state}, tmp_path / "net.pth")
    arguments = {"width": 2, "encoder_blocks": [1, 1], "decoder_blocks": [1, 1]}
    alone: Any = build("nafnet", **arguments)
    load_initial_weights(alone, str(tmp_path / "net.pth"), ModelSettings(name="nafnet", arguments=arguments))
    assert torch.equal(alone.ending.weight, state["ending.weight"])
    wide = {"network": "nafnet", "heads": 3, "arguments": arguments}
    net: Any = build("multi_output", **wide)
    described = ModelSettings(name="multi_output", arguments=wide)
    assert load_initial_weights(net, str(tmp_path / "net.pth"), described) == ()
    assert torch.equal(net.network.middle_blks[0].beta, state["middle_blks.0.beta"])
    off = (net.network.ending.weight - state["ending.weight"].repeat(3, 1, 1, 1)).abs()
    assert 0 < off.max() < 0.01
    wide = {**wide, "arguments": {**arguments, "width": 4}}
    with pytest.raises(WeightsError, match="do not fit into this network"):
        described = ModelSettings(name="multi_output", arguments=wide)
        load_initial_weights(build("multi_output", **wide), str(tmp_path / "net.pth"), described)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("ending.bias"), "missing: ending.bias"),
        (lambda s: s.update({"encoders.0.7.beta": torch.zeros(1)}), "missing: encoders.0.1."),
        (lambda s: s.update({"ending.weight": torch.zeros(4, 2, 3, 3)}), "ending.weight is 4 x 2 x 3 x 3"),
        (lambda s: s.update({"intro.weight": torch.zeros(2, 0, 3, 3)}), "channels is 0"),
        (lambda s: s.update({"intro.weight": torch.zeros(())}), "does not say which network"),
        (lambda s: s.pop("encoders.0.0.sca.1.weight"), "does not say which network"),
        (lambda s: s.update({f"downs.{n}.bias": torch.zeros(1) for n in range(99)}), "Give 1 to 6 numbers"),
        (lambda s: s.update({"ups.0.0.bias": torch.zeros(16)}), "not in the network: ups.0.0.bias"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, words):
    state = official(((1, 1), 1, (1, 1)))
    change(state)
    torch.save({"params": state}, tmp_path / "net.pth")
    with pytest.raises(WeightsError) as caught:
        read_network(tmp_path / "net.pth")
    assert words in str(caught.value)


def test_the_names_of_the_test_are_all_that_count():
    """The list above is the network's own, name for name and shape for shape."""
    for shape, arguments in (
        (GOPRO, {}),
        (SIDD, dict(zip(("encoder_blocks", "middle_blocks", "decoder_blocks"), SIDD, strict=True))),
    ):
        with torch.device("meta"):
            ours = build("nafnet", width=2, **arguments).state_dict()
        assert {n: v.shape for n, v in ours.items()} == {n: v.shape for n, v in official(shape).items()}
        assert not [name for name in ours if re.search(r"sca\.0|ups\.\d\.1", name)]
