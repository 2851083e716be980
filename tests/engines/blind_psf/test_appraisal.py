"""Taking a PSF out, and judging what came of it."""

from __future__ import annotations

import torch

from restore.engines.blind_psf.appraisal import expected, look_at, solve
from restore.engines.blind_psf.candidates import SIDE, Candidate
from restore.engines.blind_psf.judge import Judge, error_maps
from restore.metrics.pixel import psnr
from restore.physics.color import linear_to_srgb, srgb_to_linear
from restore.physics.fourier import convolve_reflected
from restore.physics.psf import motion
from tests.engines.blind_psf.photo import picture


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


def test_nothing_is_expected_of_a_point():
    point = torch.zeros(SIDE, SIDE)
    point[SIDE // 2, SIDE // 2] = 1
    one = Candidate(point, "a point", 0, (0.0, 0.0, -1.0, 0.5))
    parts = [look_at(picture()[0])] * 2
    assert expected(parts, one, one).tolist() == [0.0, 0.0]
    two = one._replace(psf=(point + point.roll(1, 0)) / 2)
    assert expected(parts, two, two).abs().min() > 0
