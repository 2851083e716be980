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

from restore.errors import ConfigError, ModelError
from restore.models import MODELS, build
from restore.models.probe import Example, example, measure_radius, verify_spec


@dataclass(frozen=True)
class Case:
    model: str
    parameters: int
    arguments: dict[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        torch.manual_seed(0)
        return build(self.model, **self.arguments).eval()

    @property
    def id(self) -> str:
        scale = f"-x{self.arguments['scale']}" if "scale" in self.arguments else ""
        return f"{self.model}-{self.arguments.get('network', '')}{self.parameters}{scale}"


UNETS = [
    Case("plain_unet", 711_948),
    Case("plain_unet", 713_676, {"condition_channels": 1}),
    Case("plain_unet", 678_604, {"widths": (64,), "blocks": (9,)}),
    Case("plain_unet", 7_484, {"channels": 1, "widths": (8, 8, 8), "blocks": (1, 2, 1, 0, 1)}),
    Case("compact_deblur", 1_307_084),
]
SMALL_RRDB = {"width": 4, "growth": 2, "blocks": 1}
SMALL_REFLECTION = {"widths": (8, 12), "blocks": (1, 2, 1)}
UPSCALERS = [
    Case("compact_sr", 620_336),
    Case("compact_sr", 607_139, {"tail": "nearest"}),
    Case("srresnet", 1_517_571),
    Case("srresnet", 1_549_462, {"norm": "batch"}),
    Case("srvgg", 621_424),
    Case("srvgg", 1_213_296, {"convs": 32}),
    *(Case("compact_sr", n, {"scale": s, "width": 4, "blocks": 1}) for s, n in ((2, 852), (3, 1_407), (8, 7_512))),
    *(Case("compact_sr", 1_947, {"scale": s, "width": 4, "blocks": 1, "tail": "nearest"}) for s in (2, 3, 8)),
    *(Case("srresnet", n, {"scale": s, "width": 4, "blocks": 1}) for s, n in ((2, 1_259), (3, 1_999), (8, 2_443))),
    *(Case("srresnet", n, {"scale": s, "width": 4, "blocks": 1, "norm": "batch"})
      for s, n in ((2, 3_014), (3, 3_754), (8, 4_200))),
    *(Case("rrdb", n, {"scale": s, **SMALL_RRDB}) for s, n in ((2, 3_983), (4, 3_659), (8, 3_807))),
    Case("rrdb", 2_435, {"scale": 1, **SMALL_RRDB, "blocks": 0}),
    Case("rrdb", 3_363, {"scale": 1, "unshuffle": 1, **SMALL_RRDB}),
    *(Case("srvgg", n, {"scale": s, "width": 4, "convs": 2}) for s, n in ((1, 531), (2, 864), (3, 1_419))),
]  # fmt: skip
HEADS = [
    Case("multi_output", 7_484, {"network": "plain_unet", "heads": 1, "arguments": UNETS[3].arguments}),
    Case("multi_output", 8_360, {"network": "plain_unet", "arguments": UNETS[3].arguments}),
    Case("multi_output", 713_676 + 3 * 5_196, {"network": "plain_unet", "arguments": {"condition_channels": 1}}),
    Case("multi_output", 2_184, {"network": "compact_sr", "arguments": {"scale": 2, "width": 4, "blocks": 1}}),
    Case("multi_output", 3_900, {"network": "compact_sr", "arguments": {"width": 4, "blocks": 1, "tail": "nearest"}}),
    Case("multi_output", 1_592, {"network": "srresnet", "arguments": {"scale": 2, "width": 4, "blocks": 1}}),
    Case("multi_output", 5_939, {"network": "srresnet",
                                 "arguments": {"scale": 2, "width": 4, "blocks": 1, "norm": "batch"}}),
    Case("multi_output", 4_316, {"network": "rrdb", "arguments": {"scale": 2, **SMALL_RRDB}}),
    Case("multi_output", 2_196, {"network": "srvgg", "arguments": {"scale": 2, "width": 4, "convs": 2}}),
]  # fmt: skip
"""Further heads of c outputs of the last convolution, k x k of w inputs, have c (k^2 w + 1) parameters each."""
EXACT = [
    *UNETS,
    *UPSCALERS,
    Case("cbsn", 5_487, {"width": 8, "blocks": 2}),
    Case("cbsn", 5_487, {"width": 8, "blocks": 2, "blind": True}),
    *HEADS,
]
CASES = [
    *EXACT,
    Case("wiener_unet", 728_903),
    Case("wiener_unet", 1_442_578, {"steps": 2, "denoise": True}),
    Case("infwide", 15_742_342),
    Case("dwdn", 7_049_507),
    Case("rrdb", 16_697_987),
    Case("rrdb", 16_703_171, {"scale": 2}),
    Case("rrdb", 4_467_779, {"blocks": 6}),
    Case("compact_reflection", 1_376_820),
    Case("compact_reflection", 1_370_484, {"embedding": "none"}),
    Case("compact_reflection", 194_924, {"embedding": "learned", **SMALL_REFLECTION}),
    Case("compact_reflection", 376_048, {"embedding": "efficientnet_lite0", **SMALL_REFLECTION}),
    Case("nafnet", 17_111_907),
    Case("nafnet", 6_471, {"width": 4, "encoder_blocks": (1, 2), "decoder_blocks": (1, 1), "local_side": 8}),
]
of = {"ids": lambda case: case.id}


def shown(net: nn.Module, height: int, width: int, seed: int = 0) -> Example:
    """A random picture, and a random noise level for every pixel."""
    pictures, conditions = example(net.spec(), height, width, torch.empty(0))
    generator = torch.Generator().manual_seed(seed)
    if "noise_level" in conditions:
        conditions["noise_level"] = 0.2 * torch.rand(1, 1, height, width, generator=generator)
    return Example(torch.rand(pictures.shape, generator=generator), conditions)


def cut(x: Example, rows: slice, columns: slice) -> Example:
    """A part of a picture and of its map of noise."""
    size = x.pictures.shape[-2:]
    inside = {n: v[..., rows, columns] if v.shape[-2:] == size else v for n, v in x.conditions.items()}
    return Example(x.pictures[..., rows, columns], inside)


def call(net: nn.Module, x: Example) -> Tensor:
    return net(x.pictures, **x.conditions)


def test_every_model_has_a_case():
    assert {case.model for case in CASES} == set(MODELS)


@pytest.mark.parametrize("case", CASES, **of)
def test_parameters_are_counted(case):
    net = case.build()
    assert net.spec().parameters == case.parameters == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("case", CASES, **of)
def test_spec_holds(case):
    net = case.build()
    verify_spec(net, net.spec())
    if case in EXACT:
        assert measure_radius(net, net.spec()) == net.spec().radius


@pytest.mark.parametrize("case", CASES, **of)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 37), (7, 7), (13, 29)])
@torch.no_grad()
def test_odd_sizes_through_padding(case, height, width):
    net = case.build()
    spec = net.spec()
    sides = (-(-max(side, spec.min_size) // spec.multiple_of) * spec.multiple_of for side in (height, width))
    y = call(net, shown(net, *sides))[..., : spec.scale * height, : spec.scale * width]
    outputs = sum(output.channels_of(spec.channels) for output in spec.outputs)
    channels = spec.heads * spec.channels if spec.heads > 1 else outputs
    assert y.shape == (1, channels, spec.scale * height, spec.scale * width)
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("case", UNETS, **of)
@torch.no_grad()
def test_shift_by_the_multiple_shifts_the_interior(case):
    net = case.build()
    spec = net.spec()
    step, margin = spec.multiple_of, -(-spec.radius // spec.multiple_of) * spec.multiple_of
    x = shown(net, 2 * margin + 4 * step, 2 * margin + 4 * step)
    whole, shifted = call(net, x), call(net, cut(x, slice(step, None), slice(step, None)))
    inside = slice(margin, -margin)
    torch.testing.assert_close(
        whole[..., step:, step:][..., inside, inside], shifted[..., inside, inside], atol=1e-5, rtol=0
    )
    # and by less than the multiple it does not: the spec asks for no more than is needed
    part = slice(step // 2, -(step - step // 2))
    off, there = call(net, cut(x, part, part)), whole[..., part, part]
    assert (there - off)[..., inside, inside].abs().max() > 1e-3


@pytest.mark.parametrize("case", EXACT, **of)
@torch.no_grad()
def test_promised_types_stay_within_half_an_8_bit_step(case):
    net = case.build()
    name = "residual" if net.spec().residual else "forward"
    x, conditions = shown(net, 64, 64)
    exact = getattr(net, name)(x, **conditions)
    for dtype in net.spec().dtypes:
        rough = case.build().to(getattr(torch, dtype))
        given = {key: value.to(getattr(torch, dtype)) for key, value in conditions.items()}
        found = getattr(rough, name)(x.to(getattr(torch, dtype)), **given).float()
        assert (found - exact).abs().max() < 0.5 / 255, dtype


@pytest.mark.parametrize("case", UNETS, **of)
@torch.no_grad()
def test_residual_is_what_forward_adds(case):
    net = case.build()
    x, conditions = shown(net, 16, 16)
    assert net.spec().residual
    assert torch.equal(net(x, **conditions), x + net.residual(x, **conditions))


@pytest.mark.parametrize("case", CASES, **of)
def test_same_seed_same_weights(case):
    first, second = case.build().state_dict(), case.build().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("case", EXACT, **of)
def test_channels_last_stays_channels_last(case):
    net = case.build().to(memory_format=torch.channels_last)
    x, conditions = shown(net, 32, 32)
    seen: list[bool] = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda _m, _i, y: seen.append(y.is_contiguous(memory_format=torch.channels_last))
            )
    with torch.no_grad():
        net(x.contiguous(memory_format=torch.channels_last), **conditions)
    assert seen and all(seen)


@torch.no_grad()
def test_the_noise_level_changes_the_answer_and_may_be_one_number():
    net = build("plain_unet", condition_channels=1).eval()
    x, level = torch.rand(2, 3, 16, 16), torch.tensor([0.1, 0.3])[:, None, None, None]
    one, other = net(x, noise_level=level), net(x, noise_level=level + 0.5)
    assert (one - other).abs().max() > 1e-4
    assert torch.equal(one, net(x, noise_level=level.expand(2, 1, 16, 16)))
    assert torch.equal(net(x, noise_level=level[:1]), net(x, noise_level=level[:1].repeat(2, 1, 1, 1)))


def test_a_missing_or_needless_noise_level_is_refused():
    x = torch.rand(1, 3, 16, 16)
    with pytest.raises(ModelError, match="takes 1 condition planes, none is given"):
        build("plain_unet", condition_channels=1)(x)
    with pytest.raises(ModelError, match="takes 0 condition planes, some are given"):
        build("plain_unet")(x, noise_level=x[:, :1])


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
    x, level = torch.rand(1, 3, 16, 12), torch.rand(1, 1, 16, 12)
    planes = torch.cat([x, level], 1)

    def conv(h: Tensor, name: str, **how: int) -> Tensor:
        return F.conv2d(h, w[f"{name}.weight"], w[f"{name}.bias"], **how)

    def block(h: Tensor, name: str) -> Tensor:
        inner = conv(h, f"{name}.conv1", padding=1).relu()
        return h + conv(inner, f"{name}.conv2", padding=1)

    fine = block(conv(F.pixel_unshuffle(planes, 2), "head", padding=1), "encoders.0.0")
    coarse = block(block(conv(fine, "downs.0", stride=2), "middle.0"), "middle.1")
    up = F.conv_transpose2d(coarse, w["ups.0.weight"], w["ups.0.bias"], stride=2)
    tail = conv(block(up + fine, "decoders.0.0"), "tail", padding=1)
    expected = x + F.pixel_shuffle(tail, 2)
    torch.testing.assert_close(net(x, noise_level=level), expected, atol=1e-6, rtol=0)


def test_a_network_of_another_scale_begins_with_the_body():
    torch.manual_seed(0)
    by_4, by_2 = build("compact_sr", width=6, blocks=2), build("compact_sr", scale=2, width=6, blocks=2)
    tail = by_2.tail.weight.clone()
    assert by_2.begin_with(by_4) and torch.equal(by_2.tail.weight, tail)
    assert torch.equal(by_2.body[1].conv2.weight, by_4.body[1].conv2.weight)
    assert not by_2.begin_with(build("plain_unet")) and not by_2.begin_with(build("compact_sr", scale=2, width=6))
