"""NAFNet against its paper's numbers, local pooling against brute force, sizes, low precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models import build
from restore.models.nafnet import ChannelNorm, LocalMean, NAFBlock, NAFNet, widened, window_means, with_global_pooling
from restore.models.probe import measure_radius, verify_spec
from tests.inference.engines import NetEngine, picture, restore, whole

SIDD = {"encoder_blocks": (2, 2, 4, 8), "middle_blocks": 12, "decoder_blocks": (2, 2, 2, 2)}
SMALL = {"width": 4, "encoder_blocks": (1, 1, 1, 2)}
LOW = [torch.float16, torch.bfloat16]


def made(**arguments: Any) -> NAFNet:
    """A network whose blocks are not the identity."""
    torch.manual_seed(0)
    net: Any = build("nafnet", **{**SMALL, **arguments}).eval()
    for block in net.modules():
        if isinstance(block, NAFBlock):
            nn.init.normal_(block.beta, std=0.3)
            nn.init.normal_(block.gamma, std=0.3)
    return net


def random(*sizes: int, seed: int = 1) -> Tensor:
    return torch.rand(sizes, generator=torch.Generator().manual_seed(seed))


def brute_force(x: Tensor, side: int) -> Tensor:
    """What TLC is said to be: means of windows in float64, the edges repeated, the smaller half first."""
    height, width = x.shape[-2:]
    rows, columns = min(side, height), min(side, width)
    means = F.avg_pool2d(x.double(), (rows, columns), stride=1)
    before, after = (columns - 1) // 2, columns - 1 - (columns - 1) // 2
    above, below = (rows - 1) // 2, rows - 1 - (rows - 1) // 2
    return F.pad(means, (before, after, above, below), mode="replicate")


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({}, 17_111_907),
        ({"width": 64}, 67_888_835),
        (SIDD, 29_159_715),
        ({"width": 64, **SIDD}, 115_982_915),
        ({"width": 16}, 4_347_827),
    ],
)
def test_the_published_sizes(arguments, parameters):
    with torch.device("meta"):
        net = build("nafnet", **arguments)
        spec: Any = net.spec()
    assert sum(p.numel() for p in net.parameters()) == spec.parameters == parameters
    assert len(net.state_dict()) == len(list(net.parameters())) == 664  # no buffer among them
    assert spec.radius == (325 if "middle_blocks" in arguments else 279)  # 310 and 264, and 15 for the phase


def test_the_published_names_and_shapes():
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in build("nafnet").state_dict().items()}
    block = {
        "conv1.weight": (512, 256, 1, 1), "conv1.bias": (512,), "conv2.weight": (512, 1, 3, 3), "conv2.bias": (512,),
        "conv3.weight": (256, 256, 1, 1), "conv3.bias": (256,), "sca.1.weight": (256, 256, 1, 1), "sca.1.bias": (256,),
        "conv4.weight": (512, 256, 1, 1), "conv4.bias": (512,), "conv5.weight": (256, 256, 1, 1), "conv5.bias": (256,),
        "norm1.weight": (256,), "norm1.bias": (256,), "norm2.weight": (256,), "norm2.bias": (256,),
        "beta": (1, 256, 1, 1), "gamma": (1, 256, 1, 1),
    }  # fmt: skip
    prefix = "encoders.3.27."
    assert {name.removeprefix(prefix): s for name, s in shapes.items() if name.startswith(prefix)} == block
    outside = {name: s for name, s in shapes.items() if not name.startswith(("encoders", "decoders", "middle_blks"))}
    expected = {"intro.weight": (32, 3, 3, 3), "intro.bias": (32,), "ending.weight": (3, 32, 3, 3), "ending.bias": (3,)}
    for level, width in enumerate((32, 64, 128, 256)):
        expected |= {f"downs.{level}.weight": (2 * width, width, 2, 2), f"downs.{level}.bias": (2 * width,)}
        expected |= {f"ups.{3 - level}.0.weight": (4 * width, 2 * width, 1, 1)}
    assert outside == expected
    assert shapes["middle_blks.0.beta"] == (1, 512, 1, 1) and shapes["decoders.0.0.beta"] == (1, 256, 1, 1)


@torch.no_grad()
def test_a_fresh_block_is_the_identity():
    x = random(1, 8, 5, 7) - 0.5
    assert torch.equal(NAFBlock(8)(x), x)


@torch.no_grad()
def test_a_fresh_network_is_its_convolutions():
    net: Any = build("nafnet", **SMALL).eval()
    x = random(2, 3, 32, 48)
    features, skips = net.intro(x), []
    for down in net.downs:
        skips.append(features)
        features = down(features)
    for up in net.ups:
        features = up(features) + skips.pop()
    assert torch.equal(net(x) - x, x + net.ending(features) - x)


@torch.no_grad()
def test_a_block_is_the_table_in_its_file():
    block = NAFBlock(6).double().eval()
    for value in block.parameters():
        nn.init.normal_(value)
    w, x = block.state_dict(), random(2, 6, 5, 4).double()

    def conv(h: Tensor, name: str, **how: int) -> Tensor:
        return F.conv2d(h, w[f"{name}.weight"], w[f"{name}.bias"], **how)

    def norm(h: Tensor, name: str) -> Tensor:
        mean, var = h.mean(1, keepdim=True), h.var(1, correction=0, keepdim=True)
        gain, bias = (w[f"{name}.{each}"][:, None, None] for each in ("weight", "bias"))
        return (h - mean) / (var + 1e-6).sqrt() * gain + bias

    h = conv(conv(norm(x, "norm1"), "conv1"), "conv2", padding=1, groups=12)
    h = h[:, :6] * h[:, 6:]
    h = h * conv(h.mean((2, 3), keepdim=True), "sca.1")
    y = x + w["beta"] * conv(h, "conv3")
    h = conv(norm(y, "norm2"), "conv4")
    expected = y + w["gamma"] * conv(h[:, :6] * h[:, 6:], "conv5")
    torch.testing.assert_close(block(x), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("side", [1, 2, 3, 7, 24, 31, 48])
@pytest.mark.parametrize("size", [(1, 1), (1, 60), (2, 3), (25, 60), (60, 25), (50, 50), (49, 24), (48, 49)])
def test_local_means_are_those_of_brute_force(size, side):
    """Also where windows are clipped in one axis, or cover the map."""
    x = 4 * random(2, 5, *size) - 1
    got = LocalMean(side).eval()(x)
    if max(size) <= side:
        assert got.shape[-2:] == (1, 1)
    expected = brute_force(x, side)
    torch.testing.assert_close(widened(got, *size).expand_as(x), expected.float(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(widened(window_means(x, side), *size).expand_as(x), expected.float(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", LOW)
def test_local_means_of_large_maps_keep_their_digits(dtype):
    """Sums of 5 10^7 are beyond float16, and prefix sums beyond its digits; only the result is rounded."""
    x = (200 * random(1, 1, 700, 560) + 50).to(dtype)
    got, expected = LocalMean(384).eval()(x), window_means(x.double(), 384)
    assert got.dtype == dtype and got.shape == expected.shape
    torch.testing.assert_close(got.double(), expected, atol=0, rtol=0.51 * torch.finfo(dtype).eps)


def test_windows_are_halved_at_each_level():
    with torch.device("meta"):
        net = build("nafnet")
    sides = {name: module.side for name, module in net.named_modules() if isinstance(module, LocalMean)}
    assert [sides[f"encoders.{n}.0.sca.0"] for n in range(4)] == [384, 192, 96, 48]
    assert [sides[f"decoders.{n}.0.sca.0"] for n in range(4)] == [48, 96, 192, 384]
    assert sides["middle_blks.0.sca.0"] == 24 and len(sides) == 36
    with torch.device("meta"):
        plain = build("nafnet", local_side=0)
    assert {module.side for module in plain.modules() if isinstance(module, LocalMean)} == {0}


@torch.no_grad()
def test_local_pooling_changes_nothing_up_to_its_side():
    local, plain = made(local_side=64), made(local_side=0)
    for size in ((64, 64), (64, 17), (1, 1), (33, 50)):
        x = random(1, 3, *size)
        assert torch.equal(local(x), plain(x))
    for size in ((64, 65), (96, 64), (120, 120)):
        x = random(1, 3, *size)
        assert (local(x) - plain(x)).abs().max() > 1e-5
        assert torch.equal(local.train()(x), plain(x))  # crops of training are seen as a whole
        local.eval()


@pytest.mark.slow
@torch.no_grad()
def test_local_pooling_of_the_published_side():
    local, plain = made(), made(local_side=0)
    x = random(1, 3, 384, 384)
    assert torch.equal(local(x), plain(x))
    x = random(1, 3, 720, 1280)
    assert (local(x) - plain(x)).abs().max() > 1e-6


@torch.no_grad()
def test_the_network_with_local_pooling_is_the_one_with_brute_force(monkeypatch):
    net, x = made(local_side=32), random(1, 3, 80, 48)
    got = net(x)
    monkeypatch.setattr(LocalMean, "forward", lambda self, h: brute_force(h, self.side).to(h.dtype))
    torch.testing.assert_close(got, net(x), atol=1e-5, rtol=0)
    monkeypatch.undo()
    assert torch.equal(got, net(x))


@torch.no_grad()
def test_any_size():
    """Zeros are added at the bottom and right, and cut off again."""
    net = made(width=2, encoder_blocks=(1, 1, 1, 1), local_side=16)
    for side in range(1, 41):
        x = random(1, 3, side, (7 * side) % 40 + 1)
        height, width = x.shape[-2:]
        y = net(x)
        assert y.shape == (1, 3, height, width) and y.isfinite().all()
        padded = net(F.pad(x, (0, -width % 16, 0, -height % 16)))
        torch.testing.assert_close(y, padded[..., :height, :width], atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_input_is_added():
    net, x = made(), random(2, 3, 21, 34)
    assert torch.equal(net(x), x + net.residual(x))


@torch.no_grad()
def test_pooling_that_is_made_global_shares_its_weights():
    local = made(local_side=16)
    plain: Any = with_global_pooling(local)
    assert all(mine is theirs for mine, theirs in zip(plain.parameters(), local.parameters(), strict=True))
    x = random(1, 3, 48, 40)
    assert torch.equal(plain(x), made(local_side=0)(x)) and (local(x) - plain(x)).abs().max() > 1e-5
    assert with_global_pooling(plain) is None and with_global_pooling(build("plain_unet")) is None


@pytest.mark.parametrize("dtype", LOW)
@torch.no_grad()
def test_the_norm_reduces_in_float32(dtype):
    """At the bottleneck of the published weights values reach 175; the sum of 512 squares is infinite in float16."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 512, 8, 8, generator=generator)
    x = (x * (175 / x.abs().max())).to(dtype)
    assert dtype != torch.float16 or (x * x).sum(1).isinf().all()
    norm, rough = ChannelNorm(512), ChannelNorm(512).to(dtype)
    got, expected = rough(x), norm(x.float())
    assert got.dtype == dtype and expected.std().item() == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(got.float(), expected, atol=1e-6, rtol=0.51 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", LOW)
@torch.no_grad()
def test_a_wide_block_in_low_precision(dtype):
    """Off by less than one step of the type at 175 (0.125 in float16, 1 in bfloat16)."""
    generator = torch.Generator().manual_seed(0)
    exact, rough = NAFBlock(512).eval(), NAFBlock(512).eval()
    for value in (exact.beta, exact.gamma):
        value.normal_(generator=generator)
    rough.load_state_dict(exact.state_dict())
    x = torch.randn(1, 512, 8, 8, generator=generator)
    x = (x * (175 / x.abs().max())).to(dtype)
    error = (rough.to(dtype)(x).float() - exact(x.float())).abs().max()
    assert error < 128 * torch.finfo(dtype).eps


@torch.no_grad()
def test_promised_types_stay_within_half_an_8_bit_step():
    net, x = made(width=8), random(1, 3, 96, 80)
    errors = {}
    for dtype in LOW:
        rough = made(width=8).to(dtype)
        errors[dtype] = 255 * float((rough.residual(x.to(dtype)).float() - net.residual(x)).abs().max())
    assert errors[torch.float16] < 0.5 < errors[torch.bfloat16]
    assert net.spec().dtypes == ("float32", "float16")


@pytest.mark.parametrize("training", [True, False])
def test_gradients_reach_everything(training):
    net = made(local_side=16).train(training)
    x = random(1, 3, 40, 24).requires_grad_()
    net(x).square().mean().backward()
    for name, value in [("input", x), *net.named_parameters()]:
        assert value.grad is not None and value.grad.isfinite().all() and value.grad.abs().max() > 0, name


def test_gradients_of_local_means():
    x = random(1, 2, 7, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: widened(LocalMean(3).eval()(x), 7, 5), x)


def test_the_spec_holds(monkeypatch):
    """Its radius is that of the convolutions, measured with means that are always 1."""
    shape = {"width": 2, "encoder_blocks": (1, 2), "decoder_blocks": (1, 1)}
    net = made(**shape)
    spec = net.spec()
    verify_spec(net, spec)
    assert (spec.task, spec.tiling, spec.residual, spec.multiple_of) == ("deblur", "local", True, 4)
    assert [output.channels_of(3) for output in spec.outputs] == [3]
    assert spec.overlap >= 64
    assert measure_radius(net, spec) > spec.radius + 384  # windows upon windows
    assert measure_radius(made(**shape, local_side=0), spec) is None
    monkeypatch.setattr(LocalMean, "forward", lambda self, h: torch.ones_like(h[..., :1, :1]))
    assert measure_radius(net, spec) == spec.radius == 2 + 1 + 2 * 2 + 2 + 1 + 4 + 3


@torch.no_grad()
def test_tiles_are_blended():
    """On the grid of the whole picture; their means are others, by which they differ from the whole."""
    net = made(channels=1)
    engine, source = NetEngine(net, net.spec()), picture(400, 280)
    tiled, report = restore(engine, source, tile=256)
    assert report.mode == "blend" and report.tiles > 1
    assert 1e-6 < abs(tiled - whole(engine, source)).max() < 1e-3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": 0}, "channels is 0"),
        ({"width": 0}, "width is 0"),
        ({"encoder_blocks": ()}, r"encoder_blocks is \(\)"),
        ({"encoder_blocks": (1, 1, 1, -1)}, "Give 1 to 6 numbers of 0 to 128, finest level first"),
        ({"decoder_blocks": (1, 1)}, r"decoder_blocks is \(1, 1\) for 4 levels"),
        ({"middle_blocks": 10**9}, "middle_blocks is 1000000000"),
        ({"local_side": 15}, "local_side is 15. Give 16 to 65536 px, or 0 for global pooling"),
        ({"widths": 3}, "Did you mean 'width'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        build("nafnet", **arguments)
