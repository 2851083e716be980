"""The guard of deconvolution: right answers pass, amplified noise and wrong PSFs do not; stars keep their sky."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore.classical.hyper_laplacian import hyper_laplacian
from restore.classical.richardson_lucy import richardson_lucy
from restore.engines.deconv.guard import MOST_MISFIT, WELL, Candidate, Guard, choose, flaw_of
from restore.engines.deconv.methods import Measured
from restore.physics.psf import gauss
from restore.picture import Picture
from tests.classical.blurred import circular, psnr, scene, shake
from tests.engines.deconv.test_engine import deconvolution, prepared
from tests.inference.engines import restore

SIGMA = 2.55 / 255


@pytest.fixture(scope="module")
def pair():
    truth = scene()[..., 100:356, 100:356].float()
    return truth, circular(truth, gauss(2.0), SIGMA)


def candidate(name, solve):
    return Candidate(name, lambda y, place: solve(y.pixels), name)


def guarding(y, psf, sigma=SIGMA):
    return Guard([y], psf, Measured(sigma, 1.0, 0.0), "none")


RIGHT = candidate("right", lambda y: hyper_laplacian(y, gauss(2.0), 1500.0))
NOISY = candidate("noisy", lambda y: richardson_lucy(y, gauss(2.0), 300))


def test_a_right_answer_leaves_the_noise_and_is_better_than_the_picture(pair):
    guard = guarding(pair[1], gauss(2.0))
    assert guard.misfit(RIGHT).whole == pytest.approx(1.0, abs=0.05)
    assert guard.predicted(RIGHT) == pytest.approx(1.1, abs=0.1) and guard.predicted(None) > 3
    assert guard.amplified(RIGHT) < 0.2 and not flaw_of(RIGHT, guard)


def test_predicted_error_ranks_answers_as_their_error_does_where_their_misfit_does_not(pair):
    """The truth itself leaves nothing but the withheld noise; re-blurred, what lacks detail looks as good."""
    truth, y = pair
    guard = guarding(y, gauss(2.0))
    exact = candidate("exact", lambda y: truth)
    answers = [exact, *(candidate(str(w), lambda y, w=w: hyper_laplacian(y, gauss(2.0), w)) for w in (1500.0, 200.0))]
    predicted = [guard.predicted(each) for each in answers]
    assert predicted[0] == pytest.approx(1.0, abs=0.05) and predicted == sorted(predicted)
    errors = [float((guard.answers(each)[0] - truth).square().mean()) for each in answers]
    assert errors == sorted(errors) and predicted[2] > 1.1 * predicted[1] > 1.1 * predicted[0]
    assert guard.misfit(answers[1]).whole < guard.misfit(exact).whole, "by its misfit the truth is the worse one"


def test_an_answer_that_is_amplified_noise_re_blurs_well_and_is_refused(pair):
    y = circular(pair[0], gauss(2.0), 0.05)
    guard = guarding(y, gauss(2.0), 0.05)
    answer = richardson_lucy(y, gauss(2.0), 300)
    assert guard.misfit(NOISY).whole < 1.1 and psnr(answer, pair[0]) < psnr(y, pair[0])
    assert "of what it changes is noise" in flaw_of(NOISY, guard)
    smooth = candidate("smooth", lambda y: hyper_laplacian(y, gauss(2.0), 120.0))
    assert guard.predicted(smooth) < guard.predicted(NOISY) and choose([NOISY, smooth], guard).chosen is smooth
    verdict = choose([NOISY], guard)
    assert verdict.chosen is None and "; not noisy: " in verdict.why


def test_a_psf_of_twice_the_size_leaves_the_picture_alone(pair):
    wrong = candidate("wrong", lambda y: hyper_laplacian(y, gauss(4.0), 1500.0))
    guard = guarding(pair[1], gauss(4.0))
    assert guard.misfit(wrong).blocks > MOST_MISFIT.blocks
    verdict = choose([wrong], guard)
    assert verdict.chosen is None and "is the PSF right?" in verdict.why
    codes = (pair[1][0].movedim(0, -1).clamp(0, 1) * 255).round().byte().numpy()
    result, report = restore(deconvolution("auto", "gauss:6"), Picture.from_array(codes))
    np.testing.assert_array_equal(result, codes)
    assert report.decisions["method"].startswith("none: no answer is to be believed; not ")
    named = prepared(deconvolution("hyper-laplacian", "gauss:6"), codes).decisions["method"]
    assert "; beware: re-blurred it misses the picture by" in named


def test_what_comes_later_must_lead_and_what_is_good_enough_ends_the_search(pair):
    guard = guarding(pair[1], gauss(2.0))
    close = candidate("close", lambda y: hyper_laplacian(y, gauss(2.0), 1000.0))
    blunt = candidate("blunt", lambda y: hyper_laplacian(y, gauss(2.0), 30.0))
    better, worse = sorted([RIGHT, close], key=guard.predicted)
    less, more = guard.predicted(worse) - guard.predicted(better), guard.predicted(worse) - 1
    assert 0 < less < 0.1 < more and choose([worse, better], guard).chosen is better
    for lead in ((less + 0.01, 0.0), (0.0, less / more + 0.01)):
        assert choose([worse, better._replace(lead=lead)], guard).chosen is worse
    assert choose([blunt, RIGHT._replace(lead=(0.03, 0.3))], guard).chosen.method == "right"
    exact = candidate("exact", lambda y: pair[0])
    never = candidate("never", lambda y: pytest.fail("it need not be tried"))
    assert guard.predicted(exact) <= WELL and choose([exact, never], guard).chosen is exact


def test_what_was_put_on_top_makes_every_answer_a_wrong_one(pair):
    y = pair[1].clone()
    y[..., 100:130, 60:200] = 0.0
    guard = guarding(y, gauss(2.0))
    misfit = guard.misfit(RIGHT)
    assert misfit.blocks < MOST_MISFIT.blocks and misfit.whole > MOST_MISFIT.whole
    assert "re-blurred it misses" in flaw_of(RIGHT, guard)


def sky(level):
    """Stars on a sky of `level`, some clipped, H x W x 1, 16 bits, and where there is no star."""
    rng = np.random.default_rng(3)
    stars, far = torch.zeros(1, 1, 192, 192), np.ones((192, 192), bool)
    yy, xx = np.mgrid[:192, :192]
    for row, column, flux in zip(*rng.integers(20, 172, (2, 20)), 10 ** rng.uniform(-1, 1.8, 20), strict=True):
        stars[..., row, column] += flux
        far &= np.hypot(yy - row, xx - column) > 16
    seen = circular(stars + level, gauss(2.0), 0.0)[0, 0].numpy() * 65535
    noisy = rng.poisson(seen) + rng.normal(0, 8, seen.shape)
    return np.clip(np.rint(noisy), 0, 65535).astype(np.uint16)[..., None], far


def test_stars_that_are_clipped_leave_no_ring_below_the_sky():
    codes, far = sky(0.02)
    result, report = restore(deconvolution("auto", "gauss:2"), Picture.from_array(codes))
    assert report.decisions["method"].startswith("rl-tv, ")
    assert result.min() >= 0.8 * 0.02 * 65535
    assert result[far].mean() == pytest.approx(codes[far].mean(), rel=0.01) and result.max() >= codes.max()


def test_single_bright_pixels_on_black_stay_and_constants_are_unchanged():
    codes = np.zeros((96, 96, 1), np.uint8)
    codes.reshape(-1)[np.random.default_rng(0).choice(96 * 96, 40, replace=False)] = 220
    result, report = restore(deconvolution("auto", "gauss:1.6"), Picture.from_array(codes))
    assert result.max() >= 150 and report.decisions["noise"].startswith("sigma 0.30")
    for value in (0, 128, 255):
        for method in ("auto", "wiener", "hyper-laplacian", "rl", "infwide"):
            flat = np.full((40, 33, 3), value, np.uint8)
            np.testing.assert_array_equal(
                restore(deconvolution(method, "gauss:1.6"), Picture.from_array(flat))[0], flat
            )


def test_thin_pictures_are_refused_in_a_sentence_or_done():
    from restore.errors import UnsupportedError

    for shape in ((1, 1, 3), (3, 3, 3), (1, 500, 3), (400, 7, 3)):
        with pytest.raises(UnsupportedError, match="is larger than the picture of"):
            restore(deconvolution("auto", "gauss:1.6"), Picture.from_array(np.zeros(shape, np.uint8)))
    ramp = np.tile(np.arange(60, dtype=np.uint8), (12, 1))[..., None] * 4
    result, _ = restore(deconvolution("auto", "gauss:1.6"), Picture.from_array(ramp))
    assert np.abs(result.astype(int) - ramp)[:, 8:-8].max() <= 3


def test_the_same_picture_is_judged_alike_twice(pair):
    codes = (pair[1][0].movedim(0, -1).clamp(0, 1) * 255).round().byte().numpy()
    engine = deconvolution("auto", shake(15).numpy())
    first, second = (prepared(engine, codes).decisions for _ in range(2))
    assert first == second and torch.equal(*(Guard([pair[1]], gauss(2.0), Measured(SIGMA, 1.0, 0.0), "none")
                                             .answers(RIGHT)[0] for _ in range(2)))  # fmt: skip
