"""Traces of JPEG and of blur, against pictures for which they are known."""

import math

import pytest
import torch

from restore.analysis.blocking import blocking
from restore.analysis.sharpness import edge_softness
from restore.physics.filters import filter_separably, gaussian_taps
from restore.physics.jpeg import jpeg


def texture(seed=0, side=160):
    """A picture with detail at all scales, 3 x side x side."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.full((1, 3, side, side), 0.5)
    for std in (1.0, 2.0, 4.0, 8.0):
        taps = gaussian_taps(6 * int(std) + 1, std).float()
        grain = filter_separably(torch.randn(1, 3, side, side, generator=generator), taps)
        total += 0.06 * grain / grain.std()
    return total.clamp(0, 1)


def test_blocks_show_more_the_lower_the_quality():
    x = texture()
    seen = [blocking([jpeg(x, torch.tensor([quality]))[0]]) for quality in (95.0, 80.0, 50.0, 20.0)]
    assert blocking([x[0]]) < 0.05 < 0.2 < seen[1] and seen == sorted(seen)


def test_blocks_are_found_wherever_the_grid_lies_and_in_grey():
    compressed = jpeg(texture(), torch.tensor([40.0]))[0]
    whole = blocking([compressed])
    assert blocking([compressed[:, 3:, 3:]]) == pytest.approx(whole, rel=0.2)
    assert blocking([compressed.mean(0, keepdim=True)]) > 0.5 * whole


def test_texture_beside_them_hides_no_blocks():
    x = texture(2)
    x[..., 60:] += 0.03 * torch.randn(x[..., 60:].shape, generator=torch.Generator().manual_seed(0))
    x[..., :60] = 0.3 + 0.1 * (x[..., :60] - 0.5)
    assert blocking([x[0]]) < 0.1 and blocking([jpeg(x.clamp(0, 1), torch.tensor([90.0]))[0]]) > 0.4  # 0.13 unmasked


def test_edges_and_flat_pictures_are_no_blocks():
    board = torch.zeros(1, 96, 96)
    board[:, ::8] = 1.0  # steps at every eighth row: things, not blocks
    assert blocking([board]) == 0 and blocking([torch.full((3, 64, 64), 0.4)]) == 0
    assert blocking([torch.rand(3, 9, 40)]) == 0, "too small to tell"


@pytest.mark.parametrize("std", [2.0, 3.0, 5.0])
def test_softness_of_an_edge_in_closed_form(std):
    """A step that is blurred by std s has a slope of 1 / s at its middle, after one more px 1 / sqrt(s^2 + 1)."""
    place = torch.arange(64, dtype=torch.float64) - 31
    edge = (0.5 * (1 + torch.erf((place) / (std * math.sqrt(2))))).float().expand(1, 64, 64)
    assert edge_softness([edge]) == pytest.approx(std / math.sqrt(std**2 + 1), rel=0.01)


def test_softness_grows_with_blur_and_is_not_guessed():
    x = texture(1)
    blurred = [filter_separably(x, gaussian_taps(13, std).float()) for std in (0.7, 1.0, 2.0)]
    seen = [edge_softness([each[0]]) for each in (x, *blurred)]
    assert seen == sorted(seen) and seen[-1] > 0.8
    assert edge_softness([torch.full((3, 40, 40), 0.3)]) is None
