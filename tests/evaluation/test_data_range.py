"""16-bit and float data are judged on the range of their truth where it is not the file's, and it is said."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from restore.evaluation.pictures import data_range
from restore.evaluation.protocol import EvaluationProtocol
from restore.evaluation.score import score

TRUTH = 0.95 * np.random.default_rng(0).random((64, 64))
NOISY = np.clip(TRUTH + np.random.default_rng(1).normal(0, 0.05, TRUTH.shape), 0, 1)
PSNR = 10 * np.log10(1 / np.mean((TRUTH - NOISY) ** 2))


@pytest.mark.parametrize(
    ("white", "dtype", "words"),
    [
        (255, np.uint8, ""), (4095, np.uint16, "range 0 to 4095"), (65535, np.uint16, ""), (1, np.float32, ""),
        (4095, np.float32, "range 0 to 4095"),
    ],
)  # fmt: skip
def test_the_same_pair_has_the_same_psnr_in_any_units(tmp_path, white, dtype, words):
    for name, values in (("noisy", NOISY), ("truth", TRUTH)):
        stored = values * white if dtype is np.float32 else np.rint(values * white)
        tifffile.imwrite(tmp_path / f"{name}.tif", stored.astype(dtype), photometric="minisblack")
    (scored,) = score([(tmp_path / "noisy.tif", tmp_path / "truth.tif")], ["psnr"], EvaluationProtocol())
    assert next(iter(scored.scores.values())) == pytest.approx(PSNR, abs=0.05)
    assert words in scored.range and bool(scored.range) == bool(words)


def test_what_is_no_count_is_judged_from_its_least_to_its_largest_value():
    scale = data_range((TRUTH * 800 - 1000).astype(np.float32))
    assert scale is not None and -1001 < scale.black < -999 and 750 < scale.white < 770
    assert data_range(np.zeros((4, 4), np.float32)) is None
