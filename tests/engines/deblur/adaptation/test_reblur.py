"""Tiles blurred as the domain says, and only that."""

import math

import pytest
import torch

from restore.classical.linear_blur import LinearBlur, fit_linear_blur
from restore.engines.deblur.adaptation.domain import Domain, Fitted
from restore.engines.deblur.adaptation.mining import Tile
from restore.engines.deblur.adaptation.reblur import MARGIN, Mixture, Reblur
from restore.physics.color import srgb_to_linear, to_grey
from tests.engines.deblur.adaptation.seen_frames import photograph

LINES = Mixture(field=0, line=1, shake=0, mild=0)
FIELDS = Mixture(field=1, line=0, shake=0, mild=0)
MILD = Mixture(field=0, line=0, shake=0, mild=1)
SIDE = 128 + 2 * MARGIN


def domain(length: float = 11.0, angle: float = 0.7, **facts) -> Domain:
    tile = Tile(0, 0, 0, 128, 0.6, 1.0)
    return Domain(tuple(Fitted(tile, LinearBlur(length, angle, 0.8)) for _ in range(6)), **facts)


def tiles(count: int = 8) -> torch.Tensor:
    return photograph(SIDE)[None].expand(count, -1, -1, -1).contiguous()


def fitted(sample, i):
    pair = [to_grey(srgb_to_linear(x[i : i + 1]))[0, 0] for x in (sample.targets["result"], sample.inputs["picture"])]
    return fit_linear_blur(*pair)


def test_lines_of_the_domain():
    sample = Reblur(domain(), LINES).draw({"clean": tiles()}, 0, 0, 0)
    assert sample.inputs["picture"].shape == (8, 3, 128, 128)
    assert torch.equal(sample.targets["result"], tiles()[..., MARGIN:-MARGIN, MARGIN:-MARGIN])
    found = [fitted(sample, i) for i in range(8)]
    angles = [math.degrees(abs((blur.angle - 0.7 + math.pi / 2) % math.pi - math.pi / 2)) for blur in found if blur]
    lengths = [blur.length for blur in found if blur]
    assert len(angles) >= 7
    assert sorted(angles)[4] < 15
    assert 0.75 * 11 <= sorted(lengths)[4] <= 1.3 * 11


def test_fields_of_the_domain():
    field = torch.stack((torch.full((40, 40), 9.0), torch.zeros(40, 40)))
    sample = Reblur(domain(fields=(field,), scale=2.0), FIELDS).draw({"clean": tiles(4)}, 0, 0, 0)
    blur = fitted(sample, 0)
    assert blur is not None
    assert blur.length == pytest.approx(9, abs=1.5)
    assert min(blur.angle, math.pi - blur.angle) < 0.15


def test_without_fields_lines_take_their_place():
    sample = Reblur(domain(), FIELDS).draw({"clean": tiles(4)}, 0, 0, 0)
    assert sum(fitted(sample, i) is not None for i in range(4)) >= 3


def test_mild_blur_is_at_most_2_px_and_half_of_it_none():
    sample = Reblur(domain(), MILD).draw({"clean": tiles(24)}, 0, 0, 0)
    error = (sample.inputs["picture"] - sample.targets["result"]).abs().flatten(1).amax(1) * 255
    still = int((error <= 0.51).sum())
    assert 6 <= still <= 18
    assert all(blur is None or blur.length <= 3 for blur in (fitted(sample, i) for i in range(8)))


def test_unknown_domains_draw_from_a_wide_range():
    sample = Reblur(Domain(), LINES).draw({"clean": tiles(12)}, 0, 0, 0)
    lengths = [blur.length for blur in (fitted(sample, i) for i in range(12)) if blur]
    assert max(lengths) > 2 * min(lengths)


def test_the_noise_that_blur_takes_is_put_back():
    noisy = (0.5 + 4 / 255 * torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    without, restored = (
        Reblur(domain(noise=noise), LINES).draw({"clean": noisy}, 0, 0, 0).inputs["picture"] for noise in (0.0, 4 / 255)
    )
    assert 255 * float(without.std()) < 2
    assert 255 * float(restored.std()) == pytest.approx(4, rel=0.1)


def test_neighbours_in_time_stay_as_they_are():
    shown = torch.stack([tiles(2), tiles(2).flip(-1), tiles(2).flip(-2)], 1)
    sample = Reblur(domain(), LINES, frames=3).draw({"clean": shown}, 0, 0, 0)
    inner = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    assert sample.inputs["picture"].shape == (2, 3, 3, 128, 128)
    assert torch.equal(sample.inputs["picture"][:, 0], shown[inner][:, 0])
    assert torch.equal(sample.inputs["picture"][:, 2], shown[inner][:, 2])
    assert torch.equal(sample.targets["result"], shown[inner][:, 1])
    assert not torch.equal(sample.inputs["picture"][:, 1], shown[inner][:, 1])


def test_samples_are_a_function_of_seed_step_and_number():
    kind = Reblur(domain(noise=2 / 255))
    whole = kind.draw({"clean": tiles(3)}, 1, 2, 5).inputs["picture"]
    assert torch.equal(whole[2:], kind.draw({"clean": tiles(1)}, 1, 2, 7).inputs["picture"])
    assert not torch.equal(whole[:1], kind.draw({"clean": tiles(1)}, 1, 3, 5).inputs["picture"])


def test_compressed_as_the_pictures_are():
    sample = Reblur(domain(quality=20.0), MILD).draw({"clean": tiles(4)}, 0, 0, 0)
    error = (sample.inputs["picture"] - sample.targets["result"]).square().mean().sqrt()
    assert 255 * float(error) > 3
