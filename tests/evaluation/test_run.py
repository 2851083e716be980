import time

import cv2
import numpy as np
import pytest

from restore.degradations.noise_cases import NoiseCase
from restore.errors import UnsupportedError
from restore.evaluation.protocol import EvaluationProtocol
from restore.evaluation.run import INPUT, evaluate, summarise
from restore.evaluation.samples import clean_sources

PROTOCOL = EvaluationProtocol(metrics=("psnr", "ssim"))
NOISE = NoiseCase(noise="gaussian", level=25)


@pytest.fixture
def sources(tmp_path):
    for name, level in (("a", 100), ("b", 140)):
        pixels = np.full((32, 40, 3), level, np.uint8)
        (tmp_path / f"{name}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return clean_sources(tmp_path, PROTOCOL)


def halved(sample):
    """Half of the noise gone: 6 dB; but none of it on picture b."""
    if sample.source.name == "b.png":
        return sample.damaged
    return np.rint((sample.damaged.astype(float) + sample.truth) / 2).astype(np.uint8)


def test_input_beside_output(sources):
    seen = []
    result = evaluate(sources, NOISE, {"half": halved}, PROTOCOL, lambda row, pixels: seen.append((row, pixels)))
    assert [(row.picture, row.method) for row in result.rows] == [
        (picture, method) for picture in ("a.png", "b.png") for method in (INPUT, "half")
    ]
    first, second = result.rows[:2]
    assert first.scores["psnr"] == pytest.approx(20 * np.log10(255 / 25), abs=0.2)
    assert second.scores["psnr"] - first.scores["psnr"] == pytest.approx(6.02, abs=0.1)
    assert set(first.scores) == {"psnr", "ssim_valid11"} and first.megapixels == 32 * 40 / 1e6
    assert [row for row, _ in seen] == result.rows and seen[1][1].shape == (32, 40, 3)


def test_the_worst_picture_is_named(sources):
    summary = summarise(evaluate(sources, NOISE, {"half": halved}, PROTOCOL).rows)
    assert [each.method for each in summary] == [INPUT, "half"] and summary[0].worst == ""
    half = summary[1]
    assert half.worst == "b.png" and half.least_gain == 0 and half.greatest_gain == pytest.approx(6.02, abs=0.1)
    assert half.pictures == 2
    assert half.means["psnr"] == pytest.approx(summary[0].means["psnr"] + 3.01, abs=0.05)


def test_worse_is_worse_whatever_the_direction(sources):
    """Of a distance, the picture that fell least is the worst."""
    from restore.evaluation.run import Row

    rows = [
        Row(picture, method, {"lite0_distance": value}, 0.0, 1.0)
        for picture, method, value in (("a", INPUT, 2), ("a", "m", 1), ("b", INPUT, 2), ("b", "m", 3))
    ]
    assert summarise(rows)[1].worst == "b" and summarise(rows)[1].least_gain == -1


def test_cpu_seconds_per_megapixel(sources):
    def slow(sample):
        start = time.process_time()
        while time.process_time() - start < 0.02:
            pass
        return sample.damaged

    half = summarise(evaluate(sources, NOISE, {"slow": slow}, PROTOCOL).rows)[1]
    assert 0.04 <= half.seconds < 0.3 and half.seconds_per_megapixel == pytest.approx(
        half.seconds / (2 * 32 * 40 / 1e6)
    )


def test_failures_are_named_and_the_rest_goes_on(sources, tmp_path):
    def picky(sample):
        if sample.source.name == "a.png":
            raise UnsupportedError("not this one")
        return sample.damaged

    (tmp_path / "c.png").write_bytes(b"no picture")
    result = evaluate(clean_sources(tmp_path, PROTOCOL), NOISE, {"picky": picky}, PROTOCOL)
    assert [(row.picture, row.method) for row in result.rows] == [
        ("a.png", INPUT), ("b.png", INPUT), ("b.png", "picky")
    ]  # fmt: skip
    assert [(failure.picture, failure.method) for failure in result.failures] == [("a.png", "picky"), ("c.png", INPUT)]
    assert result.failures[0].why == "a.png: not this one" and "c.png" in result.failures[1].why
    assert summarise(result.rows)[1].pictures == 1


def test_a_metric_that_cannot_be_had_leaves_the_others(sources):
    protocol = EvaluationProtocol(metrics=("psnr", "ms_ssim"))
    result = evaluate(sources, NOISE, {}, protocol)
    assert set(result.rows[0].scores) == {"psnr"} and "161" in result.failures[0].why


def test_rounding_and_border_are_the_protocols(sources):
    def off_by_a_little(sample):
        pixels = sample.truth / np.float32(255) + np.float32(0.3 / 255)
        pixels[0] = 0
        return pixels.astype(np.float32)

    case = NoiseCase(noise="gaussian", level=25, clipped=False)
    score = {}
    for rounded in (True, False):
        protocol = EvaluationProtocol(metrics=("psnr",), rounded=rounded, border=1)
        score[rounded] = evaluate(sources, case, {"m": off_by_a_little}, protocol).rows[1].scores["psnr"]
    assert score[True] == 100 and score[False] == pytest.approx(20 * np.log10(255 / 0.3), abs=0.01)
