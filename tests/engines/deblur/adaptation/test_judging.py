"""What is objected to in a network's answers, and what gains are believed."""

import math
from dataclasses import replace

import pytest
import torch

from restore.degradations.degradation import Sample
from restore.engines.deblur.adaptation.domain import measure_domain
from restore.engines.deblur.adaptation.judging import OnInput, compare_on_input, least_likely_gain, tile_psnrs
from restore.engines.deblur.adaptation.seen import Frame
from tests.engines.deblur.adaptation.seen_frames import blurred, photograph

BOARD = 0.02 * (torch.arange(192) % 2 * 2 - 1) * (torch.arange(192)[:, None] % 2 * 2 - 1)
FINE = OnInput(rest=1.0, sharpness=1.0, shift=0.0, outside=1.0, checker=1.0, tremble=1.0)


@pytest.fixture(scope="module")
def shown():
    """Blurred pictures, and the sharp one as the baseline's answer."""
    x = photograph(192)
    frames = [Frame(blurred(x, 9.0, 0.5, i), 0, i) for i in range(3)]
    answers = [x] * 3
    return frames, answers, measure_domain(frames, answers).fitted


def test_the_same_answers_are_fine(shown):
    frames, answers, fitted = shown
    seen = compare_on_input(frames, answers, answers, fitted)
    assert seen.objection == ""
    assert (seen.rest, seen.sharpness, seen.tremble) == (1, 1, 1)


@pytest.mark.parametrize(
    ("spoilt", "fact", "least"),
    [
        (lambda x: x.roll(5, -1), "rest", 1.05), (lambda x: 0.5 + 0.9 * (x - 0.5), "sharpness", 0.5),
        (lambda x: (x + 0.05).clamp(0, 1), "shift", 0.02), (lambda x: 3 * (x - x.mean()) + x.mean(), "outside", 2),
        (lambda x: x + BOARD, "checker", 1.5),
    ],
)  # fmt: skip
def test_spoilt_answers(shown, spoilt, fact, least):
    frames, answers, fitted = shown
    seen = compare_on_input(frames, answers, [spoilt(x) for x in answers], fitted)
    assert getattr(seen, fact) > least
    assert seen.sharpness < 0.98 or fact != "sharpness"
    assert seen.objection


@pytest.mark.parametrize(
    ("fact", "bad", "words"),
    [
        ("rest", 1.06, "fit the input less"), ("sharpness", 0.97, "less sharp"), ("shift", 2.1 / 255, "shifts colours"),
        ("outside", 2.1, "range of values"), ("checker", 1.6, "checkerboard"), ("tremble", 1.06, "tremble"),
    ],
)  # fmt: skip
def test_every_figure_has_its_bound(fact, bad, words):
    assert FINE.objection == ""
    assert words in replace(FINE, **{fact: bad}).objection


def test_trembling_answers_show_in_their_figure(shown):
    frames, _, fitted = shown
    calm = [frame.pixels for frame in frames]
    bright = [x + (0.05 if i % 2 else 0.0) for i, x in enumerate(calm)]
    assert compare_on_input(frames, calm, bright, fitted).tremble > 1.5
    steep = [0.5 + 1.2 * (x - 0.5) for x in calm]  # all differences are larger, slopes too
    seen = compare_on_input(frames, calm, steep, fitted)
    assert (seen.sharpness, seen.tremble) == pytest.approx((1.2, 1.0), abs=0.01)


def test_psnrs_of_tiles():
    truth = torch.full((2, 3, 8, 8), 0.5)
    sample = Sample({"picture": torch.stack([truth[0] + 0.1, truth[0] + 0.01])}, {"result": truth})
    assert tile_psnrs(lambda x: x, [sample]).tolist() == pytest.approx([20, 40], abs=1e-3)


def test_gains_by_chance_are_not_believed():
    gains = torch.tensor([2.0, -1.5, 1.0, -1.2, 0.5, 0.2, -0.4, 0.3])
    assert float(gains.mean()) > 0.1
    assert least_likely_gain(gains, 0) < 0
    assert least_likely_gain(torch.full((8,), 0.3), 0) == pytest.approx(0.3)
    assert math.isclose(least_likely_gain(gains, 1), least_likely_gain(gains, 1))
