"""Networks that enlarge: zero convolutions, sub-pixels, normalisation, the forms of their papers, tiles."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models import build
from restore.models.rrdb import RRDB, DenseBlock
from restore.physics.resample import enlarge
from tests.inference.engines import NetEngine, picture, restore, whole

ALL = (2, 3, 4, 8)
ENLARGED = {
    **{f"compact_sr-{tail}": ("compact_sr", {"tail": tail, "blocks": 1}, ALL) for tail in ("shuffle", "nearest")},
    **{f"srresnet-{norm}": ("srresnet", {"norm": norm, "blocks": 1}, ALL) for norm in ("none", "batch")},
    "rrdb": ("rrdb", {"blocks": 1, "growth": 4}, (2, 4, 8)),
    "srvgg": ("srvgg", {"convs": 1}, ALL),
}  # fmt: skip
CASES = [(name, scale) for name, (_, _, scales) in ENLARGED.items() for scale in scales]


def made(name: str, scale: int = 4, width: int = 8, **changes: object) -> Any:
    model, arguments, _ = ENLARGED[name]
    torch.manual_seed(0)
    return build(model, width=width, scale=scale, **(arguments | changes)).eval()


@torch.no_grad()
def zero_(*modules: nn.Module) -> None:
    """All convolutions in them become zero."""
    for module in itertools.chain.from_iterable(each.modules() for each in modules):
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@pytest.mark.parametrize(("name", "scale"), CASES)
@torch.no_grad()
def test_odd_sizes(name, scale):
    net = made(name, scale)
    sides = (18, 32) if net.spec().multiple_of == 2 else (17, 31)
    x = torch.rand(2, 3, *sides)
    y = net(x)
    assert y.shape == (2, 3, sides[0] * scale, sides[1] * scale)
    torch.testing.assert_close(net(x[1:]), y[1:], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_24_px_picture_becomes_96_px():
    for model in ("compact_sr", "srresnet", "srvgg"):
        assert build(model).eval()(torch.rand(1, 3, 24, 24)).shape == (1, 3, 96, 96)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@torch.no_grad()
def test_without_its_last_convolution_each_gives_the_plainly_enlarged_picture(scale):
    x = torch.rand(1, 3, 9, 7)
    for tail in ("shuffle", "nearest"):
        net = made(f"compact_sr-{tail}", scale)
        zero_(net.tail if tail == "shuffle" else net.last)
        assert torch.equal(net(x), enlarge(x, scale))
    net = made("srresnet-none", scale)
    zero_(net.last[-1])
    assert torch.equal(net(x), F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False))
    net = made("srvgg", scale)
    zero_(net.body[-1])
    assert torch.equal(net(x), x.repeat_interleave(scale, 2).repeat_interleave(scale, 3))
    for tanh in (False, True):
        net = made("srresnet-batch", scale, tanh=tanh)
        zero_(net.last)
        assert torch.equal(net(x), torch.full((1, 3, 9 * scale, 7 * scale), 0.5))  # 0 of [-1, 1]


@torch.no_grad()
def test_tanh_bounds_the_paper_s_values():
    x = torch.rand(1, 3, 8, 8)
    plain, bounded = made("srresnet-batch"), made("srresnet-batch", tanh=True)
    for net in (plain, bounded):
        net.last.weight *= 100
    torch.testing.assert_close(bounded(x), ((2 * plain(x) - 1).tanh() + 1) / 2)
    assert plain(x).amax() > 1 and bounded(x).amin() >= 0 and bounded(x).amax() <= 1


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@torch.no_grad()
def test_sub_pixels_begin_equal(scale):
    """A constant picture becomes one without squares; by default the sub-pixels differ."""
    x = torch.rand(1, 3, 1, 1).expand(1, 3, 24, 24)
    for name, changes in (
        ("compact_sr-shuffle", {}),
        ("srresnet-batch", {"icnr": True}),
        ("srresnet-none", {"icnr": True}),
    ):
        net = made(name, scale, **changes)
        stages = [net.tail] if name.startswith("compact") else list(net.enlarge[::3])
        factors = [scale] if name.startswith("compact") else [stage.upscale_factor for stage in net.enlarge[1::3]]
        for conv, factor in zip(stages, factors, strict=True):
            assert conv.weight.std() > 0
            for value in (conv.weight, conv.bias):
                grouped = value.unflatten(0, (-1, factor**2))
                assert torch.equal(grouped, grouped[:, :1].expand_as(grouped))
        inside = slice(10 * scale, -10 * scale)
        y = net(x)[..., inside, inside]
        assert (y - y.mean((2, 3), keepdim=True)).abs().max() < 1e-5
    plain = made("srresnet-none", scale).enlarge[0].weight.unflatten(0, (8, -1))
    assert (plain - plain[:, :1]).abs().max() > 0.01


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@torch.no_grad()
def test_whatever_was_learned_plain_places_have_no_pattern(scale):
    net = made("compact_sr-shuffle", scale)
    generator = torch.Generator().manual_seed(1)
    for value in net.parameters():
        value.normal_(std=0.1, generator=generator)
    assert net.tail.weight.unflatten(0, (3, -1)).sum((3, 4)).std(1).mean() > 0.1
    x = torch.rand(2, 3, 1, 1, generator=generator).expand(2, 3, 24, 24)
    inside = slice(10 * scale, -10 * scale)
    y = net(x)[..., inside, inside]
    assert (y - y.mean((2, 3), keepdim=True)).abs().max() < 1e-5
    moved = net(torch.rand(2, 3, 24, 24, generator=generator))[..., inside, inside]
    phases = F.pixel_unshuffle(moved, scale).unflatten(1, (3, -1))
    assert phases.std(2).mean() > 0.02  # where something changes, sub-pixels do differ


def test_in_eval_mode_the_normalised_form_depends_on_its_input_alone():
    net = made("srresnet-batch")
    x, other = torch.rand(1, 3, 8, 8), torch.rand(3, 3, 8, 8)
    net.train()
    trained = net(torch.cat([x, other]))[:1], net(torch.cat([x, 3 * other]))[:1]
    assert (trained[0] - trained[1]).abs().max() > 1e-3
    net.eval()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    alone, together = net(x), net(torch.cat([x, 3 * other]))[:1]
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert torch.equal(net(x), alone)


@torch.no_grad()
def test_the_normalised_form_is_the_table_in_its_file():
    net = made("srresnet-batch", 2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in module.state_dict().values():
                if value.is_floating_point():
                    value.uniform_(0.5, 2)
    w, x = net.state_dict(), torch.rand(1, 3, 6, 5)

    def conv(h: Tensor, name: str, padding: int = 1) -> Tensor:
        return F.conv2d(h, w[f"{name}.weight"], w[f"{name}.bias"], padding=padding)

    def norm(h: Tensor, name: str) -> Tensor:
        mean, var = (w[f"{name}.running_{each}"][:, None, None] for each in ("mean", "var"))
        gain, bias = (w[f"{name}.{each}"][:, None, None] for each in ("weight", "bias"))
        return (h - mean) / (var + 1e-5).sqrt() * gain + bias

    def prelu(h: Tensor, name: str) -> Tensor:
        return torch.where(h > 0, h, 0.25 * h)

    first = prelu(conv(x, "first.0", 4), "first.1")
    inner = prelu(norm(conv(first, "body.0.conv1"), "body.0.norm1"), "body.0.activation")
    body = first + norm(conv(inner, "body.0.conv2"), "body.0.norm2")
    merged = first + norm(conv(body, "merge.0"), "merge.1")
    large = prelu(F.pixel_shuffle(conv(merged, "enlarge.0"), 2), "enlarge.2")
    torch.testing.assert_close(net(x), (conv(large, "last", 4) + 1) / 2, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_dense_block_of_the_paper():
    """239,808 parameters; with zero convolutions a dense block is the identity, an RRDB 1 + 0.2 times its input."""
    block: Any = DenseBlock(64, 32)
    assert sum(p.numel() for p in block.parameters()) == 239_808
    x: Tensor = torch.rand(1, 64, 5, 5)
    y: list[Tensor] = []
    for number, conv in enumerate(block.convs):
        value = F.conv2d(torch.cat([x, *y], 1), conv.weight, conv.bias, padding=1)
        y.append(F.leaky_relu(value, 0.2) if number < 4 else value)
    torch.testing.assert_close(block(x), 0.2 * y[-1] + x)
    zero_(block)
    assert torch.equal(block(x), x)
    rrdb = RRDB(64, 32)
    zero_(rrdb)
    torch.testing.assert_close(rrdb(x), 1.2 * x)


@torch.no_grad()
def test_rrdb_begins_with_a_tenth_of_he_s_scale():
    net = made("rrdb", width=64)
    weight = net.body[0].dense[0].convs[0].weight
    assert weight.std().item() == pytest.approx(0.1 * (2 / (64 * 9)) ** 0.5, rel=0.05)


@torch.no_grad()
def test_rrdb_looks_at_unshuffled_pixels():
    """Scales 1 and 2 keep the body of scale 4, on 16 and 4 times the channels; another unshuffle can be asked for."""
    for arguments, channels, doublings, multiple in (
        ({"scale": 4}, 3, 2, 1), ({"scale": 2}, 12, 2, 2), ({"scale": 1}, 48, 2, 4), ({"scale": 8}, 3, 3, 1),
        ({"scale": 1, "unshuffle": 1}, 3, 0, 1), ({"scale": 2, "unshuffle": 1}, 3, 1, 1),
    ):  # fmt: skip
        net = made("rrdb", **arguments)
        assert (net.conv_first.in_channels, len(net.ups), net.spec().multiple_of) == (channels, doublings, multiple)
    half, full = made("rrdb", 2), made("rrdb", 4)
    full.load_state_dict({**half.state_dict(), "conv_first.weight": full.conv_first.weight})
    x = torch.rand(1, 3, 6, 8)
    full.conv_first = half.conv_first
    assert torch.equal(half(x), full(F.pixel_unshuffle(x, 2)))


def test_rrdb_says_how_far_it_sees_and_is_tiled_accordingly():
    deep, anime, small = (made("rrdb", blocks=n).spec() for n in (23, 6, 4))
    assert (deep.radius, anime.radius, small.radius) == (349, 94, 64)
    assert (deep.tiling, anime.tiling, small.tiling) == ("local", "local", "exact")
    assert deep.overlap == anime.overlap == 96 and small.overlap == 0
    assert made("rrdb", scale=2, blocks=23).spec().radius == 698


@pytest.mark.parametrize("norm", ["batch", "none"])
@torch.no_grad()
def test_srresnet_in_tiles_is_the_whole(norm):
    """With its radius of at most 40 px to 1e-5; with an overlap of 8 px seams stay."""
    torch.manual_seed(0)
    net: Any = build("srresnet", channels=1, width=8, norm=norm).eval()
    if norm == "none":  # which begins with a tenth of He's scale
        for module in net.body.modules():
            if isinstance(module, nn.Conv2d):
                module.weight *= 4
        for conv in (net.first[0], net.enlarge[0], net.enlarge[3], net.last[0]):
            conv.weight *= 4
    assert net.spec().radius <= 40
    engine, source = NetEngine(net, net.spec()), picture(20, 210)
    tiled, report = restore(engine, source, tile=120)
    assert report.mode == "exact" and report.tiles > 1
    assert np.abs(tiled - whole(engine, source)).max() < 1e-5 * np.abs(tiled).max()
    x = torch.from_numpy(source.pixels).permute(2, 0, 1)[None]
    cut = net(x[..., 96:200])[..., 16:-16]  # 4 px from the edges that are none
    expected = net(x)[..., 4 * 96 + 16 : 4 * 200 - 16]
    assert (cut - expected).abs().max() > 1e-4 * expected.abs().max()


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        ("compact_sr", {"scale": 1}, "scale of 2 to 8"),
        ("compact_sr", {"tail": "bicubic"}, "argument tail"),
        ("srresnet", {"scale": 5}, "scale 2, 3, 4 or 8"),
        ("srresnet", {"tanh": True}, "tanh only with batch"),
        ("srresnet", {"norm": "layer"}, "argument norm"),
        ("rrdb", {"scale": 3}, "scale 1, 2, 4 or 8"),
        ("rrdb", {"unshuffle": 3}, "unshuffle 0, 1, 2 or 4"),
        ("rrdb", {"blocks": 10**9}, "0 to 64 blocks"),
        ("srvgg", {"convs": -1}, "0 to 256 convs"),
        ("srvgg", {"activation": "gelu"}, "argument activation"),
    ],
)
def test_wrong_arguments_are_refused(model, arguments, words):
    with pytest.raises(ConfigError, match=words):
        build(model, **arguments)


@torch.no_grad()
def test_srvgg_s_activations():
    x = torch.rand(1, 3, 8, 8)
    kinds = {kind: made("srvgg", activation=kind) for kind in ("prelu", "relu", "leaky_relu")}
    for net in kinds.values():
        net.load_state_dict(kinds["relu"].state_dict(), strict=False)
    slopes = {"prelu": 0.25, "relu": 0.0, "leaky_relu": 0.1}
    for kind, net in kinds.items():
        h = x
        for layer in net.body[:-1]:
            if isinstance(layer, nn.Conv2d):
                h = F.leaky_relu(layer(h), slopes[kind])
        expected = F.pixel_shuffle(net.body[-1](h), 4) + F.interpolate(x, scale_factor=4)
        torch.testing.assert_close(net(x), expected)
