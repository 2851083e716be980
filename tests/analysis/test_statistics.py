"""Mean and std of channels, streamed."""

from __future__ import annotations

import numpy as np
import pytest

from restore.analysis import value_range
from restore.analysis.statistics import mean_and_std
from restore.analysis.value_range import find_scale
from restore.picture import Picture, ValueScale


def test_they_are_numpys_in_any_bands(monkeypatch):
    codes = np.random.default_rng(0).integers(0, 65536, (37, 53, 4)).astype(np.uint16)
    source, scale = Picture.from_array(codes), ValueScale(0.0, 65535.0, 65535.0)
    for band in (1 << 22, 500):
        monkeypatch.setattr(value_range, "_BAND", band)
        mean, std = mean_and_std(source, scale)
        unit = codes[..., :3].reshape(-1, 3) / 65535
        assert mean.numpy() == pytest.approx(unit.mean(0), rel=1e-6) and std.numpy() == pytest.approx(
            unit.std(0), rel=1e-6
        )


def test_a_flat_picture():
    source = Picture.from_array(np.full((100, 100), 179, np.uint8))
    mean, std = mean_and_std(source, find_scale(source))
    assert float(mean) == pytest.approx(179 / 255) and float(std) == pytest.approx(0.01)
