"""The compact deblurrer begins with deeper ones, and a stage's network with that of the stage before."""

from __future__ import annotations

import pytest
import torch

from restore.errors import ConfigError
from restore.models import build
from restore.training.initial_weights import begin_from

SMALL = {"widths": (8, 16)}


def test_blocks_spread_evenly_are_kept():
    deep = build("compact_deblur", blocks=(2, 6, 1), **SMALL)
    thin = build("compact_deblur", blocks=(1, 3, 1), **SMALL)
    assert thin.begin_with(deep)
    for own, theirs in ((0, 0), (1, 2), (2, 4)):
        assert torch.equal(thin.middle[own].conv1.weight, deep.middle[theirs].conv1.weight)
    assert torch.equal(thin.encoders[0][0].conv2.bias, deep.encoders[0][0].conv2.bias)
    assert torch.equal(thin.tail.weight, deep.tail.weight)


@pytest.mark.parametrize("arguments", [{"blocks": (1, 2, 1)}, {"widths": (8, 8), "blocks": (1, 3, 1)}])
def test_other_networks_are_not_begun_with(arguments):
    thin = build("compact_deblur", blocks=(1, 3, 1), **SMALL)
    before = {name: value.clone() for name, value in thin.state_dict().items()}
    assert not thin.begin_with(build("compact_deblur", **{**SMALL, **arguments}))
    assert all(torch.equal(value, before[name]) for name, value in thin.state_dict().items())


def multi(heads: int, middle: int = 3) -> torch.nn.Module:
    arguments = {**SMALL, "blocks": (1, middle, 1)}
    return build("multi_output", network="compact_deblur", heads=heads, arguments=arguments).eval()


def test_a_stage_may_have_more_heads_or_fewer_blocks_than_the_one_before():
    torch.manual_seed(0)
    single, several, x = multi(1), multi(4), torch.rand(1, 3, 16, 16)
    begin_from(several, single)
    answers = several(x).view(4, 3, 16, 16)
    assert float((answers - single(x)).abs().max()) < 0.05  # noise alone
    assert float((answers[0] - answers[1]).abs().max()) > 0
    thin = multi(4, middle=2)
    begin_from(thin, several)
    assert torch.equal(thin.network.middle[1].conv1.weight, several.network.middle[1].conv1.weight)
    assert torch.equal(thin.network.tail.weight, several.network.tail.weight)
    with pytest.raises(ConfigError, match="cannot begin with the MultiOutput of the one before"):
        begin_from(multi(1), several)


THREE = {**SMALL, "blocks": (1, 1, 1), "frames": 3}


def test_three_frames_begin_as_one_does_and_look_at_their_neighbours_then():
    one = build("compact_deblur", **{**SMALL, "blocks": (1, 1, 1)}).eval()
    three = build("compact_deblur", **THREE).eval()
    assert three.begin_with(one)
    x = torch.rand(2, 9, 16, 16)
    assert float((three(x) - one(x[:, 3:6])).abs().max()) < 1e-6
    assert float(three.head.weight[:, 12:].abs().max()) == 0
    three(x).sum().backward()
    assert float(three.head.weight.grad[:, 12:].abs().max()) > 0


def test_three_frames_go_on_from_three():
    before, after = (build("compact_deblur", **THREE) for _ in range(2))
    assert after.begin_with(before)
    assert torch.equal(after.head.weight, before.head.weight)


def test_one_frame_does_not_begin_with_three():
    assert not build("compact_deblur", **{**SMALL, "blocks": (1, 1, 1)}).begin_with(build("compact_deblur", **THREE))


def test_three_frames_with_heads_begin_with_the_heads_of_one():
    inner = {**SMALL, "blocks": (1, 3, 1)}
    three = build("multi_output", network="compact_deblur", heads=2, arguments={**inner, "frames": 3}).eval()
    one = multi(2).eval()
    assert three.begin_with(one)
    x = torch.rand(1, 9, 16, 16)
    assert float((three(x) - one(x[:, 3:6])).abs().max()) < 1e-6


def test_what_three_frames_need():
    spec = build("compact_deblur", frames=3).spec()
    assert (spec.window, spec.inputs, spec.conditions) == (3, ("picture",), ())
    assert spec.parameters == build("compact_deblur").spec().parameters + 6912


@pytest.mark.parametrize("frames", [0, 2])
def test_frames_have_a_middle(frames):
    with pytest.raises(ConfigError, match=f"frames is {frames}"):
        build("compact_deblur", frames=frames)
