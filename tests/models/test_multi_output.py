"""Several heads: their layout, their candidates, and how they begin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from restore.engines.backends import TorchBackend
from restore.errors import ConfigError, WeightsError
from restore.models import build
from restore.models.heads import candidates, pairs_of_heads, pairwise_distance, split_heads
from restore.models.multi_output import MultiOutput
from restore.models.probe import example, verify_spec
from restore.models.spec import ModelSpec, Output
from restore.training.initial_weights import load_initial_weights
from restore.training.settings import ModelSettings
from restore.zoo.weights import read_network, save_weights
from tests.zoo.tiny import CARD

SMALL = {"scale": 2, "width": 4, "blocks": 1}
NETWORKS = [
    ("plain_unet", {"widths": (4, 6), "blocks": (1, 1, 1), "condition_channels": 1}),
    ("compact_sr", SMALL),
    ("compact_sr", SMALL | {"tail": "nearest"}),
    ("srresnet", SMALL),
    ("srresnet", SMALL | {"norm": "batch", "tanh": True}),
    ("rrdb", SMALL | {"growth": 2}),
    ("srvgg", {"scale": 2, "width": 4, "convs": 1}),
    ("nafnet", {"width": 4, "encoder_blocks": (1, 2), "decoder_blocks": (1, 1)}),
]
each_network = pytest.mark.parametrize(("name", "arguments"), NETWORKS)
OWN = """
from torch import nn
from restore.models.blocks import added
from restore.models.spec import ModelSpec

class MyNet(nn.Module):
    output_layer = "ending"

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.intro, self.ending = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1, bias=False)

    def forward(self, x):
        return added(x, self.ending(self.intro(x)))

    def spec(self):
        return ModelSpec("deblur", channels=3, radius=2, parameters=sum(p.numel() for p in self.parameters()))
"""


def heads_of(name: str, arguments: dict, heads: int = 4) -> tuple[nn.Module, MultiOutput]:
    """(the network, with several heads), freshly drawn."""
    torch.manual_seed(0)
    wide = build("multi_output", network=name, heads=heads, arguments=arguments)
    assert isinstance(wide, MultiOutput)
    return build(name, **arguments).eval(), wide.eval()


@each_network
@torch.no_grad()
def test_heads_that_begin_alike_equal_the_network(name, arguments):
    single, wide = heads_of(name, arguments)
    assert wide.begin_with(single, noise=0)
    x, conditions = example(single.spec(), 16, 24, torch.empty(0), batch=2)
    y = split_heads(wide(x, **conditions), 4)
    assert y.shape == (2, 4, 3, 16 * single.spec().scale, 24 * single.spec().scale)
    assert (y - single(x, **conditions)[:, None]).abs().max() < 1e-6  # another number of channels, another summation


@each_network
@torch.no_grad()
def test_noise_tells_heads_apart_but_no_eye(name, arguments):
    single, wide = heads_of(name, arguments)
    x, conditions = example(single.spec(), 16, 24, torch.empty(0))
    assert wide.begin_with(single)
    y = split_heads(wide(x, **conditions), 4)
    assert (y - single(x, **conditions)[:, None]).abs().max() < 4 / 255  # of weights as large as those that are drawn
    assert all((y[:, i] - y[:, j]).abs().max() > 1e-6 for i in range(4) for j in range(i))
    again = heads_of(name, arguments)[1]
    assert again.begin_with(single) and torch.equal(again(x, **conditions), wide(x, **conditions))
    other = heads_of(name, arguments)[1]
    assert other.begin_with(single, seed=1) and not torch.equal(other(x, **conditions), wide(x, **conditions))


@each_network
@torch.no_grad()
def test_fresh_heads_differ_and_each_is_a_network(name, arguments):
    _, wide = heads_of(name, arguments)
    x, conditions = example(wide.spec(), 16, 24, torch.empty(0))
    y = split_heads(wide(x, **conditions), 4)
    assert all((y[:, i] - y[:, j]).abs().max() > 1e-4 for i in range(4) for j in range(i))
    for h in range(4):  # the layer's own group of channels makes the head
        alone, layer = build(name, **arguments).eval(), wide.network.get_submodule(wide.network.output_layer)
        state = dict(wide.network.state_dict())
        for part, value in layer.state_dict().items():
            state[f"{wide.network.output_layer}.{part}"] = value.chunk(4)[h]
        alone.load_state_dict(state)
        torch.testing.assert_close(alone(x, **conditions), y[:, h], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("width", "parameters"), [(32, 17_111_907 + 2_601), (64, 67_888_835 + 5_193)])
@torch.no_grad()
def test_nafnet_costs_next_to_nothing_more(width, parameters):
    with torch.device("meta"):
        wide = build("multi_output", network="nafnet", arguments={"width": width})
    assert wide.spec().parameters == sum(p.numel() for p in wide.parameters()) == parameters
    assert wide.spec().heads == 4 and wide.spec().outputs[0].channels == 12


def test_other_networks_are_not_begun_with():
    _, wide = heads_of(*NETWORKS[0])
    before = {name: value.clone() for name, value in wide.state_dict().items()}
    for other in (build("rrdb", **SMALL, growth=2), nn.Conv2d(3, 3, 1), wide, heads_of(*NETWORKS[0], heads=2)[1]):
        assert not wide.begin_with(other)
    assert not heads_of(*NETWORKS[2])[1].begin_with(build("compact_sr", **SMALL))  # another tail
    assert all(torch.equal(value, before[name]) for name, value in wide.state_dict().items())
    with pytest.raises(RuntimeError, match="size mismatch"):
        wide.begin_with(build("plain_unet", widths=(4, 8), blocks=(1, 1, 1), condition_channels=1))


@torch.no_grad()
def test_a_training_begins_with_weights_of_one_head(tmp_path):
    name, arguments = NETWORKS[0]
    single, wide = heads_of(name, arguments)
    save_weights(tmp_path / "single.safetensors", single, name, arguments, CARD)
    settings = ModelSettings(name="multi_output", arguments={"network": name, "arguments": arguments})
    load_initial_weights(wide, str(tmp_path / "single.safetensors"), settings)
    assert all(torch.equal(v, single.encoders.state_dict()[n]) for n, v in wide.network.encoders.state_dict().items())
    unfit = heads_of(name, arguments | {"widths": (4, 8)})[1]
    with pytest.raises(WeightsError, match="these weights do not fit into this network"):
        load_initial_weights(unfit, str(tmp_path / "single.safetensors"), settings)


@torch.no_grad()
def test_weights_survive_and_low_precision_touches_the_correction_alone(tmp_path):
    name, arguments = NETWORKS[0]
    _, wide = heads_of(name, arguments)
    described = {"network": name, "heads": 4, "arguments": json.loads(json.dumps(arguments))}
    save_weights(tmp_path / "heads.safetensors", wide, "multi_output", described, CARD)
    loaded = read_network(tmp_path / "heads.safetensors")
    x, conditions = example(wide.spec(), 16, 16, torch.empty(0))
    assert torch.equal(loaded.net(x, **conditions), wide(x, **conditions)) and loaded.spec.heads == 4
    backend = TorchBackend(loaded.net, loaded.spec)
    torch.testing.assert_close(backend(x, **conditions), wide(x, **conditions), atol=1e-6, rtol=0)
    rough = backend.to(torch.float16, torch.device("cpu"))(x, **conditions)
    assert (rough - wide(x, **conditions)).abs().max() < 0.5 / 255


def test_a_weights_file_imports_no_code(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(OWN)
    own = f"{tmp_path / 'net.py'}:MyNet"
    net = build("multi_output", network=own, heads=3)
    verify_spec(net, net.spec())
    path = tmp_path / "own.safetensors"
    save_weights(path, net, "multi_output", {"network": own, "heads": 3}, CARD)
    assert str(tmp_path) not in path.read_bytes().decode("latin-1")
    monkeypatch.chdir(tmp_path)  # where the name in the file would be found
    for model in (None, "multi_output"):
        with pytest.raises(WeightsError, match=r"the weights belong to 'net.py:MyNet', which is not part.*name it"):
            read_network(path, model)
    for trusted in (read_network(path, own), read_network(path, arguments={"network": own})):
        assert torch.equal(trusted.net.network.ending.weight, net.network.ending.weight)
    with pytest.raises(WeightsError, match=r"elsewhere\.py:Net' cannot be imported"):
        read_network(path, str(Path("elsewhere.py:Net")))
    with pytest.raises(WeightsError, match="these are weights of another network"):
        read_network(path, "compact_deblur")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"network": "plain_unet", "heads": 0}, "heads is 0. Give 1 to 64"),
        ({"network": "cbsn"}, "CBSN cannot have several heads: it names no output layer. Give its class an attribute"),
        ({"network": "multi_output", "arguments": {"network": "no:code"}}, "has several heads already"),
        ({"network": "plain_unet", "arguments": {"width": 3}}, "model 'plain_unet' has no argument 'width'"),
        ({}, "needs the argument 'network'"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ConfigError, match=words):
        build("multi_output", **arguments)


def test_specs_of_several_heads():
    assert ModelSpec("deblur", heads=2, outputs=(Output(channels=6),)).heads == 2
    for outputs in ((Output(),), (Output(channels=5),)):
        with pytest.raises(ConfigError, match=r"heads is 2, the main output has .* channels of all heads together"):
            ModelSpec("deblur", heads=2, outputs=outputs)


# ---- candidates


def test_candidates_in_their_order():
    order = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2), (3, 3)]
    assert pairs_of_heads(4) == order
    heads = torch.rand(2, 4, 3, 5, 6)
    made = candidates(heads)
    assert made.shape == (2, 10, 3, 5, 6)
    for k, (i, j) in enumerate(order):
        assert torch.equal(made[:, k], (heads[:, i] + heads[:, j]) / 2)
    assert torch.equal(made[:, [0, 2, 5, 9]], heads)
    assert torch.equal(candidates(heads[:, :1]), heads[:, :1])


def test_means_and_errors_of_candidates():
    heads, target = torch.rand(2, 4, 3, 5, 6, dtype=torch.float64), torch.rand(2, 3, 5, 6, dtype=torch.float64)
    made = candidates(heads)
    torch.testing.assert_close(made.mean(1), heads.mean(1))
    x = torch.rand(2, 1, 3, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(candidates(heads + x), made + x)

    def error(y):
        return (y - target).square().mean((1, 2, 3))

    apart = (heads[:, 0] - heads[:, 1]).square().mean((1, 2, 3))
    torch.testing.assert_close(error(made[:, 1]), error(heads[:, 0]) / 2 + error(heads[:, 1]) / 2 - apart / 4)


def test_pairwise_distance():
    noise = 0.3 * torch.randn(2, 5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pairwise_distance(noise), torch.full((2,), 0.3 * 2**0.5), rtol=0.02, atol=0)
    assert pairwise_distance(noise[:, :1]).tolist() == [0, 0]


def test_channels_that_are_of_no_heads():
    with pytest.raises(ValueError, match="7 channels are not those of 2 heads"):
        split_heads(torch.rand(1, 7, 2, 2), 2)
