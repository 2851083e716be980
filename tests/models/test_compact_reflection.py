"""What the reflection network sees beside the picture, how its streams gate each other, and its local-linear answer."""

from __future__ import annotations

import pytest
import torch

from restore.errors import ConfigError
from restore.models import build
from restore.models.compact_reflection import FrozenStages, GatedBlock, filter_bank
from restore.models.spec import spec_of

SMALL = {"widths": (8, 12), "blocks": (1, 1, 1)}


def picture(side: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_the_answer_is_linear_in_the_picture_at_every_pixel():
    torch.manual_seed(0)
    net, x = build("compact_reflection", **SMALL).eval(), picture()
    with torch.no_grad():
        slope, offset, reflection, residual, logit = net.layers(x).split((3, 3, 3, 3, 1), 1)
        y = net(x)
    torch.testing.assert_close(y[:, :3], (1 + slope) * x + offset)
    torch.testing.assert_close(y[:, 3:6], reflection)
    torch.testing.assert_close(y[:, 6:9], residual)
    assert torch.equal(y[:, 9:], logit.sigmoid())
    assert [output.name for output in spec_of(net).outputs] == ["result", "reflection", "residual", "confidence"]


def test_each_stream_is_gated_by_the_other():
    """Halves t1 r1 of the one convolution times r2 t2 of the other: without R's part of the second, T's answer is 0."""
    torch.manual_seed(0)
    block, x = GatedBlock(8), torch.randn(1, 8, 9, 9)
    with torch.no_grad():
        block.mix.weight.copy_(torch.eye(8)[..., None, None])
        block.mix.bias.zero_()
        block.second.weight[:4].zero_()
        block.second.bias[:4].zero_()
        change = block(x) - x
    assert not change[:, :4].any() and change[:, 4:].abs().max() > 0.01


def test_the_bank_sees_what_it_says():
    flat = filter_bank(torch.full((1, 3, 32, 32), 0.25))
    assert flat.shape == (1, 22, 32, 32)
    assert float(flat.abs().max()) < 1e-3, "a flat grey has no bands, edges, spread or colour"
    x = torch.zeros(1, 3, 32, 32)
    x[..., 16:] = 1
    planes = filter_bank(x)
    edges = planes[0, [6, 10, 14]]
    assert float(edges[0, 5, 15]) == pytest.approx(4) and float(edges[0, 5, 20].abs()) < 1e-3
    spread = planes[0, 18]
    assert float(spread[5, 15]) == pytest.approx(4 * (4 / 9 * 5 / 9) ** 0.5, rel=1e-3) and float(spread[5, 5]) < 1e-3
    red = torch.full((1, 3, 32, 32), 0.18)
    red[:, 0] = 0.38
    chroma = filter_bank(red)[0, 20:, 4, 4]
    torch.testing.assert_close(chroma, torch.tensor([2.0, 1.0]).log() * torch.tensor([1.0, 0.0]), atol=1e-5, rtol=0)


def test_frozen_stages_are_never_trained():
    torch.manual_seed(0)
    net = build("compact_reflection", embedding="efficientnet_lite0", **SMALL)
    net(picture()).sum().backward()
    frozen = {id(each) for each in net.stages.parameters()}
    assert frozen and all((p.grad is None) == (id(p) in frozen) for p in net.parameters())
    before = [each.clone() for each in net.stages(picture())]
    net.train()
    for taken, again, channels, side in zip(
        before, net.stages(picture()), (16, 24, 40, 112), (16, 8, 4, 2), strict=True
    ):
        assert torch.equal(taken, again) and taken.shape == (2, channels, side, side)


def test_the_stages_are_those_of_the_backbone():
    from restore.losses.backbones import load_features

    features = load_features("efficientnet_lite0", weights="random")
    stages = FrozenStages()
    stages.load(features)
    x = picture()
    with torch.no_grad():
        expected = features(x, ["block0", "block2", "block4", "block8"])
        for ours, theirs in zip(stages(x), expected.values(), strict=True):
            torch.testing.assert_close(6 * ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"widths": (6, 8), "blocks": (1, 1, 1)}, "Give multiples of 4"),
        ({"widths": (8, 8), "blocks": (1, 1)}, "Give 3 numbers"),
        ({"embedding": "vgg"}, "embedding"),
        ({"embedding": "efficientnet_lite0", "widths": (4,) * 5, "blocks": (0,) * 9}, "has 4 levels"),
    ],
)
def test_arguments_that_describe_no_network(arguments, words):
    with pytest.raises(ConfigError, match=words):
        build("compact_reflection", **arguments)
