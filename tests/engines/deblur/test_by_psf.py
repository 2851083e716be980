"""Deblurring by candidate PSFs: what is judged, decided and taken out."""

from __future__ import annotations

import math

import pytest
import torch

from restore.engines.deblur import by_psf
from restore.engines.deblur.appraisal import look_at, solve
from restore.engines.deblur.by_psf import Judged, Part, Solution, judge_blur, parts_of, take_out
from restore.engines.deblur.candidates import SIDE, WINDOWS, Candidate, PSFNetwork, candidates, evidence
from restore.engines.deblur.judge import Judge, error_maps
from restore.inference.engine import Place
from restore.metrics.pixel import psnr
from restore.physics.camera_blur import CameraBlurRecipe, blur_as_camera
from restore.physics.color import linear_to_srgb, srgb_to_linear, to_grey
from restore.physics.fourier import convolve_reflected
from restore.physics.psf import motion


def picture(size: int = 256, blur: float = 0.0, seed: int = 0, varying: bool = False) -> tuple[torch.Tensor, ...]:
    """(blurred, clean) photographs 1 x 3 x size x size of scikit-image, shaken by `blur` px in linear light."""
    from skimage.data import astronaut

    whole = torch.from_numpy(astronaut().copy()).movedim(-1, 0)[None].float() / 255
    kinds = {"shake": 1.0} if blur else {"none": 1.0}
    recipe = CameraBlurRecipe(
        weights=kinds, length=(blur or 1.0, blur or 1.0), varying=float(varying), linear=1.0, lights=(1.0, 1.0),
        noise=(1.0, 1.0), jpeg=0.0,
    )  # fmt: skip
    made = blur_as_camera(whole, recipe, seed, 0, 0)
    top = (made.clean.shape[-1] - size) // 2
    inner = (..., slice(top, top + size), slice(top, top + size))
    return made.blurred[inner].contiguous(), made.clean[inner].contiguous()


def judged(x: torch.Tensor, **options) -> Judged:
    height, width = x.shape[-2:]

    def read(top: int, left: int, rows: int, columns: int) -> torch.Tensor:
        return x[..., top : top + rows, left : left + columns]

    return judge_blur(read, height, width, **options)


def judged_gain(before: torch.Tensor, after: torch.Tensor) -> float:
    """dB by the sums of the judge's maps."""
    blurred, restored = error_maps(before, after).sum((0, 2, 3))
    return float(10 * (blurred / restored).log10())


def test_a_known_psf_is_taken_out_in_linear_light():
    _, clean = picture()
    psf = motion(9, 30)
    blurred = linear_to_srgb(convolve_reflected(srgb_to_linear(clean), psf)).clamp(0, 1)
    gain = psnr(solve(blurred, psf).clamp(0, 1), clean, border=16) - psnr(blurred, clean, border=16)
    assert float(gain) > 5
    one = torch.ones(1, 1)
    assert float((solve(clean, one, 1e6) - clean).abs().max()) < 0.02


@pytest.mark.parametrize("size", [(256, 256), (300, 700), (64, 100), (1000, 520)])
def test_parts_lie_within_the_picture_and_reach_its_borders(size):
    height, width = size
    x = torch.rand(1, 1, height, width)
    seen = torch.zeros(height, width, dtype=torch.bool)

    def read(top: int, left: int, rows: int, columns: int) -> torch.Tensor:
        assert 0 <= top <= height - rows and 0 <= left <= width - columns
        seen[top : top + rows, left : left + columns] = True
        return x[..., top : top + rows, left : left + columns]

    parts = parts_of(read, height, width)
    assert 1 <= len(parts) <= 9
    for lines, side in ((seen.any(1), height), (seen.any(0), width)):  # one part lies in the middle
        assert lines[0] == lines[-1] == (side >= 1.3 * 256 or side <= 256)


def test_shares_are_those_of_the_parts_at_their_middles():
    shares = torch.rand(2, 2, 3).softmax(0)
    solution = Solution([motion(5, 0)], shares, ([50.5, 150.5], [50.5, 100.5, 150.5]), [])
    x = torch.rand(1, 1, 200, 200)
    whole = Place(0, 0, 200, 200)
    y = take_out(x, solution, whole)
    restored = solve(x, motion(5, 0))
    for row, at_row in enumerate((50, 150)):
        for column, at_column in enumerate((50, 100, 150)):
            share = float(shares[1, row, column])
            expected = (1 - share) * x[0, 0, at_row, at_column] + share * restored[0, 0, at_row, at_column]
            assert math.isclose(float(y[0, 0, at_row, at_column]), float(expected), abs_tol=1e-5)
    part = take_out(x[..., 40:, 20:], solution, Place(40, 20, 200, 200))  # the shares go by the place in the picture
    plain = Solution([motion(5, 0)], torch.tensor([[[1.0]], [[0.0]]]), ([100.0], [100.0]), [])
    assert torch.equal(take_out(x, plain, whole), x)
    assert part.shape == (1, 1, 160, 180)


def test_the_network_of_candidates_gives_psfs_of_sum_1():
    light = torch.rand(96, 96)
    seen = evidence(light)
    assert seen.maps.shape == (len(WINDOWS), SIDE, SIDE) and seen.facts.shape == (len(WINDOWS), 3)
    torch.manual_seed(0)
    psfs, logits = PSFNetwork(heads=3)(seen.maps[None], seen.facts[None])
    assert psfs.shape == (1, 3, SIDE, SIDE) and logits.shape == (1, 3)
    assert float(psfs.min()) >= 0 and torch.allclose(psfs.sum((-2, -1)), torch.ones(1, 3), atol=1e-5)


def test_the_judge_knows_a_good_result_from_a_bad_one():
    blurred, clean = picture(blur=12)
    spoilt = solve(blurred, motion(15, 60)).clamp(0, 1)
    assert judged_gain(blurred, clean) > max(1.0, judged_gain(blurred, spoilt) + 1)
    sharp, _ = picture()
    assert judged_gain(sharp, solve(sharp, motion(9, 30)).clamp(0, 1)) < -3
    maps = error_maps(blurred[..., :100, :70], clean[..., :100, :70])
    assert maps.shape == (1, 2, 12, 8) and float(maps.min()) > 0
    torch.manual_seed(0)
    assert Judge()(torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64)).shape == (2, 2, 8, 8)


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
    assert found.solution is None and "no PSF is expected to gain 0.8 dB" in found.summary
    assert judged(sharp[..., :60, :200]) == Judged(None, 0.0, "not estimated: 200 x 60 px are too few")


def test_candidates_are_estimates_and_the_networks_by_falling_probability():
    blurred, _ = picture(blur=8)
    found = candidates(to_grey(srgb_to_linear(blurred[..., :128, :128]))[0, 0])
    assert len(found) == len(WINDOWS) + 4
    assert [each.origin for each in found[:2]] == ["estimate in 9 px", "estimate in 15 px"]
    chances = [float(each.origin.rpartition(" ")[2]) for each in found[len(WINDOWS) :]]
    assert chances == sorted(chances, reverse=True)


def test_several_psfs_are_kept_where_each_gains_in_its_own_part():
    parts = [Part(look_at(torch.rand(1, 1, 64, 64)), 32.0, column) for column in (32.0, 96.0)]
    psfs = [motion(5, 0), motion(9, 90), motion(3, 45)]
    table = torch.tensor([[3.0, -2.0], [-2.0, 2.0], [0.5, 0.4]])
    found = [Candidate(psf, f"number {i}", i, (0.0, 0.0, -1.0, 0.5)) for i, psf in enumerate(psfs)]
    decided = by_psf._decide(parts, found, table, 0.25)
    assert decided.solution is not None and len(decided.solution.psfs) == 2
    assert decided.solution.shares.shape == (3, 1, 2)
    assert float(decided.solution.shares[1, 0, 0]) > 0.99 and float(decided.solution.shares[2, 0, 1]) > 0.99
    assert by_psf._decide(parts, found, table - 4, 0.25).solution is None
    forced = by_psf._decide(parts, found, table - 4, -100.0).solution
    assert forced is not None and float(forced.shares[0].max()) < 1e-6  # treated though nothing is expected of it
