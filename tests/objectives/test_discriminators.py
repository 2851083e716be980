"""Discriminators: exact sizes, logits, the sizes of pictures they take, spectral norms, and their names in configs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from restore.errors import ConfigError
from restore.losses.pixel import l2_loss
from restore.models import build as build_network
from restore.objectives import DISCRIMINATORS, build
from restore.objectives.adversarial import Adversarial
from restore.objectives.discriminator import PatchDiscriminator
from restore.objectives.unet_discriminator import UNetDiscriminator
from restore.objectives.vgg_discriminators import SRGANDiscriminator, VGGDiscriminator
from restore.physics.resample import resize
from tests.training.tiny import draw, network

PARAMETERS = {
    SRGANDiscriminator: 23_565_505,
    VGGDiscriminator: 14_499_401,
    UNetDiscriminator: 4_376_897,
    PatchDiscriminator: 166_753,
}


def seeded(kind: type[nn.Module], width: int = 4, seed: int = 0, **arguments: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(width=width, **arguments)


@pytest.mark.parametrize("kind", PARAMETERS, ids=lambda kind: kind.__name__)
def test_parameters(kind):
    with torch.device("meta"):
        assert sum(p.numel() for p in kind().parameters()) == PARAMETERS[kind]


@pytest.mark.parametrize(
    ("kind", "size", "logits"),
    [
        (SRGANDiscriminator, (96, 96), (1,)),
        (SRGANDiscriminator, (40, 72), (1,)),
        (VGGDiscriminator, (128, 128), (1,)),
        (UNetDiscriminator, (64, 40), (1, 64, 40)),
        (UNetDiscriminator, (8, 8), (1, 8, 8)),
    ],
)
def test_logits_have_no_bounds_and_train_every_weight(kind, size, logits):
    net = seeded(kind).train()
    y = net(torch.rand(2, 3, *size))
    assert y.shape == (2, *logits)
    y.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    last = net.last if kind is UNetDiscriminator else net.dense[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(-7.5)
    assert torch.equal(net(torch.rand(2, 3, *size)), torch.full((2, *logits), -7.5))


@torch.no_grad()
def test_srgan_s_sees_96_px_whole_and_other_sizes_averaged():
    net = seeded(SRGANDiscriminator).eval()
    x = torch.rand(1, 3, 96, 96)
    h = 2 * x - 1
    strides = []
    for layer in net.layers:
        h = layer(h)
        strides += [layer.stride[0]] if isinstance(layer, nn.Conv2d) else []
    assert strides == [1, 2] * 4 and h.shape == (1, 32, 6, 6)
    torch.testing.assert_close(net(x), net.dense(h.flatten(1)))
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in net.layers) == 7
    twice = torch.rand(1, 3, 192, 192)
    deep = F.avg_pool2d(net.layers(2 * twice - 1), 2)
    torch.testing.assert_close(net(twice), net.dense(deep.flatten(1)))


@pytest.mark.parametrize("size", [(96, 96), (128, 120), (256, 256)])
def test_vgg_style_takes_128_px_alone(size):
    with pytest.raises(ConfigError) as caught:
        seeded(VGGDiscriminator)(torch.rand(1, 3, *size))
    assert f"128 x 128 px, not of {size[0]} x {size[1]}. Set data.crop=128" in str(caught.value)


@torch.no_grad()
def test_vgg_style_has_no_biases_but_the_first_before_its_norms():
    net = seeded(VGGDiscriminator)
    convs = [layer for layer in net.layers if isinstance(layer, nn.Conv2d)]
    assert [conv.bias is not None for conv in convs] == [True] + [False] * 9
    assert [conv.out_channels // 4 for conv in convs] == [1, 1, 2, 2, 4, 4, 8, 8, 8, 8]
    assert [(conv.kernel_size[0], conv.stride[0]) for conv in convs] == [(3, 1), (4, 2)] * 5


@pytest.mark.parametrize("size", [(60, 64), (64, 66), (4, 4)])
def test_the_unet_takes_multiples_of_8(size):
    with pytest.raises(ConfigError) as caught:
        seeded(UNetDiscriminator)(torch.rand(1, 3, *size))
    assert f"multiples of 8, not {size[0]} x {size[1]} px. Set data.crop to a multiple of 8" in str(caught.value)


@torch.no_grad()
def test_the_unet_adds_what_it_passed_on_the_way_down():
    net = seeded(UNetDiscriminator).eval()
    x = torch.rand(1, 3, 16, 24)

    def act(h: torch.Tensor) -> torch.Tensor:
        return torch.where(h > 0, h, 0.2 * h)

    def larger(h: torch.Tensor) -> torch.Tensor:
        return F.interpolate(h, scale_factor=2, mode="bilinear")

    a = act(net.first(x))
    b = act(net.downs[0](a))
    c = act(net.downs[1](b))
    d = act(net.downs[2](c))
    y = act(net.ups[0](larger(d))) + c
    y = act(net.ups[1](larger(y))) + b
    y = act(net.ups[2](larger(y))) + a
    expected = net.last(act(net.detail[1](act(net.detail[0](y)))))
    torch.testing.assert_close(net(x), expected)


@torch.no_grad()
def test_spectral_norms_are_1():
    """After 20 iterations, one a training step. Fresh weights are hard: their singular values lie close together."""
    net = seeded(UNetDiscriminator, width=64, seed=1).train()
    x = torch.rand(1, 3, 8, 8)
    for _ in range(20):
        net(x)
    net.eval()
    for conv in (*net.downs, *net.ups, *net.detail):
        assert conv.bias is None
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
    before = net.detail[0].parametrizations.weight.original.clone()
    net.detail[0].parametrizations.weight.original *= 10  # which the norm takes back
    net.train()
    for _ in range(20):
        net(x)
    net.eval()
    scaled = torch.linalg.matrix_norm(net.detail[0].weight.flatten(1), 2).item()
    assert scaled == pytest.approx(1, abs=0.02) and not torch.equal(before, net.detail[0].weight)


@pytest.mark.parametrize("kind", [SRGANDiscriminator, VGGDiscriminator, UNetDiscriminator])
def test_no_width_is_refused(kind):
    with pytest.raises(ConfigError, match="width 1 to 512"):
        kind(width=0)
    with pytest.raises(ConfigError, match="these arguments describe no discriminator"):
        kind(channels=0)


def test_discriminators_by_name():
    losses = {"l2": 1.0}
    kinds = {
        "patch_discriminator": PatchDiscriminator, "srgan_discriminator": SRGANDiscriminator,
        "vgg_discriminator": VGGDiscriminator, "unet_discriminator": UNetDiscriminator,
    }  # fmt: skip
    assert set(kinds) == set(DISCRIMINATORS)
    for name, kind in kinds.items():
        objective = build(
            "adversarial", network(), losses=losses, arguments={"discriminator": {"name": name, "width": "4"}}
        )
        assert isinstance(objective, Adversarial) and type(objective.discriminator) is kind
    made = build("adversarial", network(), losses=losses)
    assert isinstance(made, Adversarial) and isinstance(made.discriminator, PatchDiscriminator)
    grey = build_network("plain_unet", channels=1, widths=(4,), blocks=(1,))
    assert build("adversarial", grey).discriminator.layers[0].in_channels == 1  # type: ignore[union-attr]
    own = f"{__name__}:Own"
    made = build("adversarial", network(), arguments={"discriminator": {"name": own, "slope": 2}})
    assert made.discriminator.slope == 2.0  # type: ignore[union-attr]


class Own(nn.Module):
    """Reached by import path."""

    def __init__(self, channels: int, slope: float) -> None:
        super().__init__()
        self.slope = slope


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"name": "unet_discriminatr"}, "no discriminator is called 'unet_discriminatr'. Did you mean 'unet_discrimin"),
        ({"name": 3}, "no discriminator is called '3'"),
        ({"name": "unet_discriminator", "widht": 4}, "no argument 'widht'. Did you mean 'width'?"),
        ({"name": "vgg_discriminator", "width": "broad"}, "argument width cannot be 'broad'"),
        ({"name": "os:system"}, "not a torch.nn.Module class"),
    ],
)
def test_wrong_descriptions_are_refused(described, words):
    with pytest.raises(ConfigError) as caught:
        build("adversarial", network(), arguments={"discriminator": described})
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", ["vanilla", "relativistic"])
@pytest.mark.parametrize("discriminator", [SRGANDiscriminator, UNetDiscriminator])
def test_both_phases_of_a_step(discriminator, kind):
    """On 16 px, with R1: the restoring phase reaches the network, the other one the discriminator."""
    judge = seeded(discriminator)
    objective = Adversarial(network(), judge, {"l2": (1.0, l2_loss)}, kind=kind, r1=1.0, r1_every=1, ramp=0)
    batch = draw(0, 0, 4).to(torch.device("cpu"))
    pictures = {name: resize(x, (16, 16)) for name, x in batch.pictures.items()}
    for phase, learns in (("discriminate", judge), ("restore", objective.network)):
        objective.zero_grad()
        losses = objective(type(batch)(pictures, batch.seed, batch.step, batch.first_index), phase, 0)
        losses["loss"].backward()
        assert all(value.isfinite() for value in losses.values())
        assert all(p.grad is not None for p in learns.parameters())
