"""Samples to unit values and back."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from restore.io.tensors import to_stored, to_unit
from restore.picture import PictureInfo, ValueScale


@pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("uint16", 10), ("uint16", 16)])
def test_every_integer_comes_back(dtype, bits):
    stored = np.arange(2**bits, dtype=dtype).reshape(-1, 16, 1).repeat(3, 2)
    scale = ValueScale.nominal(PictureInfo(*stored.shape, dtype=dtype, bits=bits))
    unit = to_unit(stored, scale)
    assert unit.dtype == torch.float32 and unit.shape == (1, 3, len(stored), 16)
    assert unit.min() == 0 and unit.max() == 1 and float(unit[0, 1, 1, 0]) == pytest.approx(16 / (2**bits - 1))
    np.testing.assert_array_equal(to_stored(unit[0], scale, dtype).numpy(), stored)


def test_out_of_range_is_clipped_and_halves_are_rounded_to_even():
    unit = torch.tensor([-1.0, 0.5 / 255, 1.5 / 255, 2.0], dtype=torch.float64).view(1, 1, 4)
    assert to_stored(unit, ValueScale(), "uint8").flatten().tolist() == [0, 0, 2, 255]
    assert to_stored(unit, ValueScale(clip=100.0), "uint8").flatten().tolist() == [0, 0, 2, 100]


def test_memory_that_a_decoder_lends_is_left_alone():
    stored = np.frombuffer(bytes(range(24)), np.uint8).reshape(2, 4, 3)[:, ::2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unit = to_unit(stored, ValueScale())
    assert unit[0, :, 0, 1].mul(255).tolist() == pytest.approx([6, 7, 8])
    whole = np.zeros((2, 2, 1), np.float32)
    to_unit(whole, ValueScale.nominal(PictureInfo(2, 2, 1, dtype="float32")))[...] = 1
    assert not whole.any()
