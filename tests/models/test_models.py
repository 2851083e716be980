"""What every network of `MODELS` promises: one parametrised test covers them all."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models import MODELS, build
from restore.models.probe import measure_radius, verify_spec

from . import test_wiener_networks


@dataclass(frozen=True)
class Case:
    model: str
    parameters: int
    arguments: dict[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        return build(self.model, **self.arguments).eval()


CASES = [
    Case("plain_unet", 711_948),
    Case("plain_unet", 713_676, {"condition_channels": 1}),
    Case("plain_unet", 678_604, {"widths": (64,), "blocks": (9,)}),
    Case("plain_unet", 7_484, {"channels": 1, "widths": (8, 8, 8), "blocks": (1, 2, 1, 0, 1)}),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case.model}-{case.parameters}")
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def picture(net: nn.Module, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    planes = net.spec().channels + getattr(net, "condition_channels", 0)
    return torch.rand(1, planes, height, width, generator=generator)


def padded(net: nn.Module, x: Tensor) -> Tensor:
    """Run at the spec's multiple, cut back to x's size."""
    step, (height, width) = net.spec().multiple_of, x.shape[2:]
    wide = F.pad(x, (0, -width % step, 0, -height % step), mode="replicate")
    return net(wide)[..., :height, :width]


def test_every_model_has_a_case():
    of_their_own = {*test_wiener_networks.NETWORKS, "cbsn"}  # test files
    assert {case.model for case in CASES} | of_their_own == set(MODELS)


def test_parameters_are_counted(case):
    net = case.build()
    assert net.spec().parameters == case.parameters == sum(p.numel() for p in net.parameters())


def test_spec_holds(case):
    net = case.build()
    verify_spec(net, net.spec())
    assert measure_radius(net, net.spec()) == net.spec().radius


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 37), (7, 7), (13, 29)])
@torch.no_grad()
def test_odd_sizes_through_padding(case, height, width):
    net = case.build()
    x = picture(net, height, width)
    y = padded(net, x)
    assert y.shape == (1, net.spec().channels, height, width)
    assert torch.isfinite(y).all()


@torch.no_grad()
def test_shift_by_the_multiple_shifts_the_interior(case):
    net = case.build()
    spec = net.spec()
    step, margin = spec.multiple_of, -(-spec.radius // spec.multiple_of) * spec.multiple_of
    x = picture(net, 2 * margin + 4 * step, 2 * margin + 4 * step)
    whole, shifted = net(x), net(x[..., step:, step:])
    inside = slice(margin, -margin)
    torch.testing.assert_close(
        whole[..., step:, step:][..., inside, inside], shifted[..., inside, inside], atol=1e-5, rtol=0
    )
    # and by less than the multiple it does not: the spec asks for no more than is needed
    off = net(x[..., step // 2 : -(step - step // 2), step // 2 : -(step - step // 2)])
    there = whole[..., step // 2 : -(step - step // 2), step // 2 : -(step - step // 2)]
    assert (there - off)[..., inside, inside].abs().max() > 1e-3


@torch.no_grad()
def test_promised_types_stay_within_half_an_8_bit_step(case):
    net = case.build()
    x = picture(net, 64, 64)
    exact = net.residual(x)
    for name in net.spec().dtypes:
        dtype = getattr(torch, name)
        rough = case.build().to(dtype).residual(x.to(dtype)).float()
        assert (rough - exact).abs().max() < 0.5 / 255, name


@torch.no_grad()
def test_residual_is_what_forward_adds(case):
    net = case.build()
    x = picture(net, 16, 16)
    assert torch.equal(net(x), x[:, : net.spec().channels] + net.residual(x))


def test_same_seed_same_weights(case):
    first, second = case.build().state_dict(), case.build().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_channels_last_stays_channels_last(case):
    net = case.build().to(memory_format=torch.channels_last)
    x = picture(net, 32, 32).contiguous(memory_format=torch.channels_last)
    seen: list[bool] = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda _m, _i, y: seen.append(y.is_contiguous(memory_format=torch.channels_last))
            )
    with torch.no_grad():
        net(x)
    assert seen and all(seen)


def test_condition_planes_change_the_answer():
    net = build("plain_unet", condition_channels=1).eval()
    x = picture(net, 16, 16)
    louder = x.clone()
    louder[:, 3:] += 0.5
    with torch.no_grad():
        assert (net(x) - net(louder)).abs().max() > 1e-4
        assert torch.equal(louder[:, :3], x[:, :3])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"width": (8, 8)}, "no argument 'width'"),
        ({"width": (8, 8)}, "Did you mean 'widths'?"),
        ({"channels": "three"}, "argument channels cannot be 'three'"),
        ({"widths": [8, "x"]}, "argument widths.1 cannot be 'x'"),
        ({"blocks": (2, 3)}, "Give 3 numbers of 0 to 128"),
        ({"channels": 0}, "channels is 0"),
        ({"widths": ()}, "widths is ()"),
        ({"blocks": (10**9, 1, 1)}, "Give 3 numbers"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ConfigError) as caught:
        build("plain_unet", **arguments)
    assert words in str(caught.value)


class Toy(nn.Module):
    """Reached by import path."""

    def __init__(self, rate: float, sizes: tuple[int, ...] = (3,), on: bool = True) -> None:
        super().__init__()
        self.rate, self.sizes, self.on = rate, sizes, on


def test_arguments_are_converted_by_type():
    net = build(f"{__name__}:Toy", rate="1e-3", sizes=["3", 4], on="off")
    assert (net.rate, net.sizes, net.on) == (1e-3, (3, 4), False)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("plain_unett", "Did you mean 'plain_unet'?"),
        ("no.such.module:Net", "No module named 'no'"),
        ("restore.models.plain_unet:Plain", "has no Plain"),
        ("os:system", "not a torch.nn.Module class"),
        (f"{__name__}:Toy", "needs the argument 'rate'"),
        (":", "no model is called ':'"),
    ],
)
def test_unknown_models(model, words):
    with pytest.raises(ConfigError) as caught:
        build(model)
    assert words in str(caught.value)


def test_importing_models_imports_no_torch():
    code = "import sys, restore.models; sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@torch.no_grad()
def test_plain_unet_is_the_table_in_its_file():
    """The two-level network written out with functions."""
    torch.manual_seed(0)
    net = build("plain_unet", condition_channels=1, widths=(4, 6), blocks=(1, 2, 1))
    w = net.state_dict()
    x = torch.rand(1, 4, 16, 12)

    def conv(h: Tensor, name: str, **how: int) -> Tensor:
        return F.conv2d(h, w[f"{name}.weight"], w[f"{name}.bias"], **how)

    def block(h: Tensor, name: str) -> Tensor:
        inner = conv(h, f"{name}.conv1", padding=1).relu()
        return h + conv(inner, f"{name}.conv2", padding=1)

    fine = block(conv(F.pixel_unshuffle(x, 2), "head", padding=1), "encoders.0.0")
    coarse = block(block(conv(fine, "downs.0", stride=2), "middle.0"), "middle.1")
    up = F.conv_transpose2d(coarse, w["ups.0.weight"], w["ups.0.bias"], stride=2)
    tail = conv(block(up + fine, "decoders.0.0"), "tail", padding=1)
    torch.testing.assert_close(net(x), x[:, :3] + F.pixel_shuffle(tail, 2), atol=1e-6, rtol=0)
