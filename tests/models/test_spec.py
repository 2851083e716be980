"""Specs that describe no network are refused, and networks that say nothing of themselves."""

from __future__ import annotations

import pytest
from torch import nn

from restore.errors import ConfigError
from restore.models.spec import ModelSpec, Output, spec_of


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"inputs": 2}, "inputs is 2. Give a tuple of names"),
        ({"inputs": "picture"}, "inputs is 'picture'. Give a tuple of names"),
        ({"inputs": ()}, r"inputs are named \(\)"),
        ({"inputs": ("a", "a")}, "inputs are named .* all different"),
        ({"outputs": ("result",)}, "outputs is .* Give a tuple of restore.models.spec.Output"),
        ({"outputs": (Output(), Output())}, "outputs are named"),
        ({"conditions": "psf"}, "conditions is 'psf'"),
        ({"window": 2}, "window is 2 with 1 inputs. Give an odd number"),
        ({"window": 3, "inputs": ("a", "b")}, "window is 3 with 2 inputs"),
        ({"scale": 0}, "scale is 0. Give 1 or more"),
        ({"multiple_of": 0}, "multiple_of is 0"),
        ({"radius": -1}, "radius is -1. Give 0 or more"),
        ({"tiling": "tiles"}, "tiling is 'tiles'. Give exact, rows, local, whole"),
        ({"reduction": 0}, "reduction is 0. Give 1 or more"),
        ({"reduction": 2}, "reduction is 2 with tiling 'exact' and scale 1. Only tiling \"whole\" with scale 1"),
        ({"reduction": 2, "scale": 2, "tiling": "whole"}, "reduction is 2 with tiling 'whole' and scale 2"),
        ({"residual": True, "scale": 2}, "residual is true"),
    ],
)
def test_what_describes_no_network(facts, words):
    with pytest.raises(ConfigError, match=f"this spec describes no network: {words}"):
        ModelSpec("denoise", **facts)


def test_how_many_pictures_a_call_takes():
    assert ModelSpec("denoise").pictures == 1
    assert ModelSpec("unroll", inputs=("first", "second")).pictures == 2
    assert ModelSpec("deblur", window=5).pictures == 5


def test_sizes_of_outputs():
    assert ModelSpec("upscale", scale=3).output_size(5, 7) == (15, 21)
    smaller = ModelSpec("degrade", reduction=4, tiling="whole")
    assert [smaller.scaled(length) for length in (3, 4, 11, 12)] == [0, 1, 2, 3]
    assert smaller.output_size(11, 12) == (2, 3) and smaller.output_size(3, 9) == (1, 2)


def test_networks_without_a_spec():
    class Odd(nn.Conv2d):
        def spec(self):
            return {"task": "denoise"}

    for net in (nn.Conv2d(3, 3, 1), Odd(3, 3, 1)):
        with pytest.raises(ConfigError, match=f"{type(net).__name__} does not say what it needs. Give the class a"):
            spec_of(net)
