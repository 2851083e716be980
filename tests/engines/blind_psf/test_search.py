"""The search for a PSF: which parts are looked at, and what is decided."""

from __future__ import annotations

import pytest
import torch

from restore.analysis.sample import View
from restore.engines.blind_psf import search
from restore.engines.blind_psf.appraisal import look_at
from restore.engines.blind_psf.candidates import SIDE, Candidate
from restore.engines.blind_psf.search import Judged, Part, judge_blur, parts_of
from restore.engines.deblur.by_psf import take_out
from restore.inference.engine import Place
from restore.metrics.pixel import psnr
from restore.physics.batch import crop_or_pad
from restore.physics.fourier import convolve, otf
from restore.physics.psf import motion
from restore.picture import Picture, ValueScale
from tests.engines.blind_psf.photo import picture


def judged(x: torch.Tensor, **options) -> Judged:
    return judge_blur(view_of(x), **options)


def view_of(x: torch.Tensor) -> View:
    """Of a picture 1 x C x H x W."""
    picture = Picture.from_array(x[0].movedim(0, -1).numpy(), alpha=False)
    return View(picture, ValueScale(0.0, 1.0))


@pytest.mark.parametrize("size", [(256, 256), (300, 700), (64, 100), (1000, 520)])
def test_parts_lie_within_the_picture_and_reach_its_borders(size):
    height, width = size
    place = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")).float()
    parts = parts_of(view_of(torch.cat([place, place[:1]])[None] / 1000))
    assert 1 <= len(parts) <= 9
    for axis, side in enumerate(size):  # one part lies in the middle
        where = torch.cat([part.seen.pixels[0, axis].flatten() for part in parts]) * 1000
        ends = [float(where.min()) < 0.5, float(where.max()) > side - 1.5]
        assert ends == [side >= 1.3 * 256 or side <= 256] * 2


@pytest.mark.slow
def test_a_shake_is_found_and_taken_out():
    blurred, clean = picture(blur=12)
    found = judged(blurred)
    assert found.solution is not None and found.gain > 1, found.summary
    restored = take_out(blurred, found.solution, Place(0, 0, 256, 256)).clamp(0, 1)
    assert float(psnr(restored, clean, border=16) - psnr(blurred, clean, border=16)) > 1
    assert all(float(abs(psf.sum() - 1)) < 1e-4 for psf in (*found.solution.psfs, *found.solution.others))
    assert torch.allclose(found.solution.shares.sum(0), torch.ones(()), atol=1e-5)


@pytest.mark.slow
def test_a_sharp_picture_is_left_alone_and_a_tiny_one_is_not_estimated():
    sharp, _ = picture()
    found = judged(sharp)
    assert found.solution is None and "no PSF is expected to gain 1.5 dB" in found.summary
    assert judged(sharp[..., :60, :200]) == Judged(None, 0.0, "not estimated: 200 x 60 px are too few", too_small=True)


def test_several_psfs_are_kept_where_each_gains_in_its_own_part():
    parts = [Part(look_at(torch.rand(1, 1, 64, 64)), 32.0, column) for column in (32.0, 96.0)]
    psfs = [motion(5, 0), motion(9, 90), motion(3, 45)]
    table = torch.tensor([[3.0, -2.0], [-2.0, 2.0], [0.5, 0.4]])
    found = [Candidate(psf, f"number {i}", i, (0.0, 0.0, -1.0, 0.5)) for i, psf in enumerate(psfs)]
    decided = search._decide(parts, found, table, 0.25)
    assert decided.solution is not None and len(decided.solution.psfs) == 2
    assert decided.solution.shares.shape == (3, 1, 2)
    assert float(decided.solution.shares[1, 0, 0]) > 0.99 and float(decided.solution.shares[2, 0, 1]) > 0.99
    assert search._decide(parts, found, table - 4, 0.25).solution is None
    forced = search._decide(parts, found, table - 4, -100.0).solution
    assert forced is not None and float(forced.shares[0].max()) < 1e-6  # treated though nothing is expected of it


def test_one_psf_must_gain_in_the_mean_of_the_whole_picture():
    parts = [Part(look_at(torch.rand(1, 1, 64, 64)), 32.0, column) for column in (32.0, 96.0)]
    found = [Candidate(motion(5, 0), "it", 0, (0.0, 0.0, -1.0, 0.5))]
    table = torch.tensor([[3.0, -2.0]])
    assert search._decide(parts, found, table, 0.8).solution is None
    assert search._decide(parts, found, table, 0.4).solution is not None
    several = torch.tensor([[3.0, 2.0], [1.0, 9.0]])
    assert len(search._decide(parts, [*found, *found], several, 0.8, one=True).solution.psfs) == 1


def test_only_the_best_few_candidates_are_tried_in_every_part(monkeypatch):
    parts = [Part(look_at(torch.rand(1, 1, 64, 64)), row, column) for row in (0, 1, 2) for column in (0, 1, 2)]
    facts = (0.0, 0.0, -1.0, 0.5)
    made = [Candidate(motion(2 + i, 0), f"number {i}", i, facts) for i in range(12)]
    tried = []

    def expected(seen, candidate, first):
        tried.append((candidate.number, len(seen)))
        return torch.full((len(seen),), float(candidate.number % 7))

    monkeypatch.setattr(search, "candidates", lambda light: made)
    monkeypatch.setattr(search, "expected", expected)
    monkeypatch.setattr(search, "_refined", lambda light, candidate: candidate)
    found, gains = search._tried(torch.rand(1, 1, 64, 64), parts[::4], parts, 5)
    assert tried[:12] == [(i, 3) for i in range(12)]
    assert sorted(number for number, count in tried[12:] if count == 9) == [4, 5, 6, 6, 10, 11]  # and the best refined
    assert found[0].number == 6 and gains.shape == (5, 9)


@pytest.mark.parametrize("angle", [0, 40, 90, 135])
def test_an_estimate_along_the_lines_of_a_texture_is_not_tried(angle):
    """Grass: lines at an angle, and what was estimated of it lies along them, across them, or is no estimate."""
    noise = torch.rand(192, 192, generator=torch.Generator().manual_seed(0))
    grass = convolve(noise[None, None], otf(motion(61, angle).float(), (192, 192)))[0, 0]

    def refused(x, psf_angle, length=15.0):
        psf = crop_or_pad(motion(length, psf_angle).float(), (SIDE, SIDE))
        return search._is_texture(x, Candidate(psf, "", 2, (0.0, 0.0, 0.0, 0.0)))

    assert refused(grass, angle) and refused(grass, angle + 15)
    assert not refused(grass, angle + 90) and not refused(grass, angle + 35)
    assert not refused(grass, angle, length=5.0), "too short to harm"
    assert not refused(noise, angle), "no lines"


@pytest.mark.parametrize("everywhere", [True, False])
def test_where_all_candidates_are_texture_there_is_none(everywhere, monkeypatch):
    """In the whole picture, or in its middle alone."""
    middle = []

    def is_texture(light, candidate):
        middle.append(light.shape)
        return everywhere or light.shape == middle[0]

    monkeypatch.setattr(search, "_is_texture", is_texture)
    monkeypatch.setattr(search, "_changes", lambda gains: True)
    found = judged(picture(448)[0])
    assert len(set(middle)) == 2, "corners are looked at, too"
    if everywhere:
        assert found.solution is None and found.gain == 0 and "along the lines of a texture" in found.summary
