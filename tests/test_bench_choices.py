"""`tools/bench_choices.py`: the arithmetic of regret, which trials there are, and what damages them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from restore.physics.fourier import convolve, otf
from restore.tasks import task_named
from tests.data.conftest import save, scene
from tests.documents import ROOT


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(ROOT / "tools"), *sys.path])
        import bench_choices

        return bench_choices


@pytest.fixture(scope="module")
def situations(bench):
    return bench.choice_situations


GREY = np.full((300, 310, 3), 128, np.uint8)
SCENE = scene(3, 320, 330)


def noise_of(trial):
    """In 8-bit units."""
    return (trial.damaged.astype(float) - trial.truth) / trial.white * 255


# --- the arithmetic ------------------------------------------------------------------------------------------------


def rows(bench, level, first=False, **found):
    """Scores by method; `slow` takes 3.1 times auto's second, `a` 3."""
    seconds = {"input": 0.0, "auto": 1.0, "a": 3.0, "slow": 3.1}
    return [bench.Row("white", level, "x", name, value, seconds[name], first) for name, value in found.items()]


def test_regret_is_what_auto_loses_against_the_best_of_all_that_are_quick(bench):
    found = rows(bench, 5, True, input=31.0, auto=30.5, a=33.0, slow=40.0) + rows(bench, 9, input=20.0, auto=29, a=28.0)
    first, second = bench.cases(found)
    assert (first.best, first.regret, first.harmed) == (33.0, 2.5, True)
    assert (second.best, second.regret, second.harmed) == (29.0, 0.0, False)
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in bench.regret_table([first, second]).split("\n")
    ]
    assert lines[2] == ["white", "2", "25.50", "29.75", "31.00", "1.25", "2.50", "5", "1"]
    assert lines[3] == ["all", "2", "25.50", "29.75", "31.00", "1.25", "2.50", "white 5", "1"]


@pytest.mark.parametrize(("auto", "harmed"), [(30.91, False), (30.89, True)])
def test_a_tenth_below_the_input_is_harm(bench, auto, harmed):
    (case,) = bench.cases(rows(bench, 5, True, input=31.0, auto=auto))
    assert case.harmed is harmed and case.best == 31.0


def test_where_less_is_better_the_sign_is_turned_and_the_table_is_not(bench):
    (case,) = bench.cases(rows(bench, 5, True, input=2.0, auto=1.5, a=1.0), -1)
    assert (case.regret, case.harmed) == (0.5, False)
    assert "|  2.00 | 1.50 | 1.00 |        0.50 |" in bench.regret_table([case], -1)


def test_the_first_trials_say_what_is_slow_and_it_is_reported_apart(bench):
    found = rows(bench, 5, True, input=31.0, auto=30.0, a=33.0, slow=40.0) + rows(bench, 9, input=20, auto=29, a=28)
    assert bench.slow_ones(found) == {"slow"}
    later = [bench.Row("white", 9, "x", "a", 28.0, 99.0)]
    assert bench.slow_ones(found + later) == {"slow"}
    table = bench.method_table(found)
    assert "| slow (slow: 1 trials, auto 30.00) | 40.00 |                 |  3.10 |" in table
    assert "| a                                 | 30.50 |               1 |  3.00 |" in table


def test_scores_are_of_the_truths_own_white_and_end_at_50(bench):
    truth = np.full((40, 40, 3), 400, np.uint16)
    trial = bench.Trial(damaged=truth, truth=truth, white=900.0)
    assert bench.score("psnr", truth, trial) == 50.0
    assert bench.score("psnr", truth + np.uint16(9), trial) == pytest.approx(40.0, abs=1e-3)
    large = bench.Trial(damaged=GREY[:20, :20], truth=GREY[:40, :40])
    assert bench.score("psnr", large.damaged, large) == 50.0, "it is enlarged"


def test_pictures_are_spread_and_pairs_are_in_thirds(bench):
    assert bench.spread(4, range(14)) == [0, 4, 7, 10] and bench.spread(9, range(3)) == [0, 1, 2]
    assert bench.thirds([5, 1, 4, 2, 3, 6], float) == [[1, 2], [3, 4], [5, 6]]


def test_the_middle_levels_of_the_first_picture_come_first(bench, tmp_path):
    for number in range(3):
        save(tmp_path / f"clean/{number}.png", scene(number, 260, 270))
        for ending, noise in (("_mean", 0), ("_real", 10 * number)):
            pair = scene(number, 260, 270) + np.random.default_rng(0).integers(0, noise + 1, (260, 270, 3))
            save(tmp_path / f"pairs/{2 - number}{ending}.png", pair.clip(0, 255).astype(np.uint8))
    sources = bench.clean_sources(tmp_path / "clean", bench.EvaluationProtocol())
    both = {"white": bench.TASKS["denoise"].situations["white"], "real": bench.TASKS["denoise"].situations["real"]}
    made = list(bench.trials(both, sources, 2, tmp_path / "pairs"))
    places = [(first, *each[:3]) for first, each in made]
    assert places[:2] == [(True, "white", 15, "0.png"), (True, "real", "middle", "1_real.png")]
    assert places[2:] == [
        (False, "white", 5, "0.png"), (False, "white", 35, "0.png"), (False, "real", "fine", "2_real.png"),
        (False, "real", "coarse", "0_real.png"), *((False, "white", level, "2.png") for level in (5, 15, 35)),
    ]  # fmt: skip
    assert all(each[1][3].damaged.shape == (256, 256, 3) for each in made)
    assert [each[1][1] for each in bench.trials(both, sources, 1, None)] == [15, 5, 35], "no pairs, no real ones"


def test_a_trial_goes_through_auto_and_the_methods(bench):
    truth = SCENE[:48, :56]
    noisy = np.clip(truth + np.random.default_rng(0).normal(0, 20, truth.shape), 0, 255).astype(np.uint8)
    trial = bench.Trial(damaged=noisy, truth=truth)
    methods = {"nlm": {"method": "classical", "algorithm": "nlm"}, "left": {"method": "classical", "sigma": 0.0}}
    (found,) = bench.measured("denoise", methods, "psnr", iter([(True, ("white", 20, "x", trial))]))
    by_name = {row.method: row for row in found}
    assert list(by_name) == ["input", "auto", "nlm", "left"]
    assert by_name["auto"].score > by_name["input"].score + 3 and by_name["nlm"].score > by_name["input"].score + 2
    assert by_name["left"].score == by_name["input"].score
    assert by_name["auto"].seconds > 0 and "method" in by_name["auto"].took


# --- situations ----------------------------------------------------------------------------------------------------


def test_every_entry_has_known_methods_and_three_levels(bench):
    for name, each in bench.TASKS.items():
        assert {how["method"] for how in each.methods.values()} <= set(task_named(name).methods)
        levels = {what: situation.levels for what, situation in each.situations.items()}
        assert {what for what, given in levels.items() if len(given) != 3} <= {"real-world"}


@pytest.mark.parametrize(("task", "names"), [
    ("denoise", "white correlated Poisson JPEG film_grain 16-bit_dim letterbox halftone clean camera real"),
    ("deconv", "gauss line disc shake dark white_page stars blown_lights film_frame bars_on_top PSF_1_px_too_wide"),
])  # fmt: skip
def test_the_number_decides_all_and_truths_are_clean(bench, task, names):
    made = bench.TASKS[task].situations
    assert [name.replace(" ", "_") for name in made] == names.split()
    for name, situation in made.items():
        if not situation.make:
            continue
        picture = SCENE if name != "clean" else scene(3, 520, 520)
        first, again, other = (situation.make(picture, situation.levels[1], number) for number in (4, 4, 5))
        np.testing.assert_array_equal(first.damaged, again.damaged)
        assert first.damaged.shape == first.truth.shape == (256, 256, 3)
        if name != "clean":
            assert (first.damaged != other.damaged).any() and (first.damaged != first.truth).any(), name
        if name not in ("halftone", "clean", "stars") and task == "denoise":
            np.testing.assert_array_equal(first.truth, other.truth, err_msg=name)


@pytest.mark.parametrize("name", ["white", "correlated", "film grain", "16-bit dim"])
def test_levels_are_those_asked_for(bench, name):
    """On middle grey; grain is strongest there."""
    situation = bench.TASKS["denoise"].situations[name]
    for level in situation.levels[:2]:
        trial = situation.make(GREY, level, 1)
        assert noise_of(trial).std() == pytest.approx(level, rel=0.04)
        assert abs(noise_of(trial).mean()) < 0.1 * level


def test_each_kind_of_noise_is_what_its_name_says(bench):
    known = bench.TASKS["denoise"].situations
    made = {name: known[name].make(GREY, known[name].levels[1], 2) for name in ("white", "correlated", "film grain",
                                                                               "Poisson", "16-bit dim")}  # fmt: skip

    def neighbours(name):
        noise = noise_of(made[name])
        return np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]

    assert abs(neighbours("white")) < 0.02 and neighbours("correlated") > 0.7 and 0.3 < neighbours("film grain") < 0.7
    grain = noise_of(made["film grain"])
    assert np.ptp(grain, axis=-1).max() == 0, "alike in all colours"
    assert noise_of(made["Poisson"]).var() == pytest.approx(128 / 100 * 255, rel=0.05)  # x / photons, in codes
    dim = made["16-bit dim"]
    assert dim.damaged.dtype == dim.truth.dtype == np.uint16 and dim.truth.max() == round(128 / 255 * 900)


def test_grain_spares_black_and_white(situations):
    for level in (0, 255):
        trial = situations.film_grain(np.full_like(GREY, level), 20, 0)
        np.testing.assert_array_equal(trial.damaged, trial.truth)


def test_bars_of_a_letterbox_are_black_and_noise_is_within(situations):
    trial = situations.letterbox(GREY, 15, 0)
    for bar in (slice(0, 32), slice(224, 256)):
        assert trial.damaged[bar].max() == trial.truth[bar].max() == 0
    assert noise_of(trial)[32:224].std() == pytest.approx(15, rel=0.04) and trial.truth[32:224].min() == 128


def test_print_is_black_on_white_and_of_three_kinds(situations):
    ramp = np.tile(np.linspace(0, 255, 256).astype(np.uint8)[:, None, None], (1, 256, 3))
    text, halftone, dither = (situations.page(ramp, number) for number in range(3))
    assert 0.7 < (text == 255).mean() < 0.99 and text.min() == 0
    for sheet, near in ((halftone, 0.2), (dither, 0.05)):
        assert ((sheet == 0) | (sheet == 255)).mean() > 0.99  # but for smooth letters
        shares = [(sheet[rows] > 127).mean() for rows in (slice(20, 60), slice(180, 220))]
        assert shares == pytest.approx([40 / 256, 200 / 256], abs=near)


def test_clean_pictures_are_their_truth(situations):
    for kind in ("photograph", "halved", "page"):
        trial = situations.clean(scene(3, 520, 520), kind, 0)
        np.testing.assert_array_equal(trial.damaged, trial.truth)


@pytest.mark.parametrize("kind", ["gauss", "line", "disc", "shake"])
def test_the_truth_blurred_by_the_given_psf_differs_by_the_noise_alone(situations, kind):
    """And by more where that PSF is a pixel too wide."""
    blocks = np.random.default_rng(0).integers(40, 216, (80, 80, 3), np.uint8)
    picture = blocks.repeat(4, 0).repeat(4, 1)  # nothing clips
    residuals = []
    for wider in (0.0, 1.0):
        trial = situations.blurred(kind, wider=wider)(picture, 0.5, 3)
        psf = torch.from_numpy(trial.options["psf"])
        assert float(psf.sum()) == pytest.approx(1, abs=1e-5) and psf.shape[0] % 2 == 1
        truth = torch.from_numpy(trial.truth.astype(np.float32)).movedim(-1, 0)[None]
        again = convolve(truth, otf(psf, (256, 256)))[0].movedim(0, -1).numpy()
        residuals.append((again - trial.damaged)[24:-24, 24:-24].std())
    assert residuals[0] == pytest.approx((0.5**2 + 1 / 12) ** 0.5, rel=0.1)
    assert residuals[1] > 1.5 * residuals[0]


@pytest.mark.parametrize(("kind", "width"), [("gauss", 4.7), ("line", 15.0), ("disc", 8.0), ("shake", 19.0)])
@pytest.mark.parametrize("wider", [0.0, 1.0])
def test_psfs_have_their_width(situations, kind, width, wider):
    psf = situations.psf_of(kind, 2, wider).double()
    place = torch.arange(len(psf)).double() - len(psf) // 2
    if kind == "shake":  # extent along 16 directions, to within the pixels it is spread over
        rows, columns = ((psf.sum(dim) > 0).nonzero()[[0, -1], 0].diff().item() for dim in (1, 0))
        assert max(rows, columns) <= width + wider + 1 and np.hypot(rows, columns) >= width + wider - 1
        return
    spread = float((psf * (place[:, None] ** 2 + place[None] ** 2)).sum())  # of both axes
    wanted = width + wider
    expected = {"gauss": 2 * (wanted / 2.3548) ** 2, "line": wanted**2 / 12, "disc": wanted**2 / 8}[kind]
    assert spread == pytest.approx(expected, rel=0.06)


def test_contents_are_dark_white_starry_blown_and_barred(bench):
    made = {name: each.make(SCENE, 0.5, 1) for name, each in bench.TASKS["deconv"].situations.items()}
    assert 20 < made["dark"].truth.max() <= 31  # 0.12 of 255
    assert np.median(made["white page"].truth) == 255 and made["white page"].truth.min() < 60
    stars = made["stars"].truth
    assert np.median(stars) == 5 and 80 < (stars[..., 0] > 100).sum() <= 150
    assert (made["blown lights"].truth == 255).mean() == pytest.approx(0.03, abs=0.02)
    for name in ("film frame", "bars on top"):
        assert made[name].truth[:32].max() == made[name].truth[-32:].max() == 0 < made[name].truth[40:-40].max()
    assert made["bars on top"].damaged[:32].max() == 0 < made["film frame"].damaged[28:32].max()


def test_cases_of_a_task_are_trials(bench):
    """Their options and borders too; truths are as much larger as was asked for."""
    picture = scene(5, 800, 790)
    for factor in (2, 4):
        trial = bench.TASKS["upscale"].situations["clean"].make(picture, factor, 0)
        assert trial.options == {"scale": factor} and trial.border == factor
        assert len(trial.truth) == 768 == factor * len(trial.damaged)
    trial = bench.TASKS["deblur"].situations["sharp"].make(picture, 5, 0)
    assert noise_of(trial).std() == pytest.approx(5, rel=0.1) and trial.border == 12
