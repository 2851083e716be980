"""Re-arrangements of pixels: exact inverses, random cells; bicubic resampling as MATLAB does it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from restore.physics.resample import (
    draw_cells,
    pick_cells,
    pixel_shuffle_batch,
    pixel_unshuffle_batch,
    resize,
    resize_taps,
)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
def test_shuffling_back_is_exact(factor):
    x = torch.rand(3, 2, 4 * factor, 7 * factor, generator=torch.Generator().manual_seed(factor))
    assert torch.equal(pixel_shuffle_batch(pixel_unshuffle_batch(x, factor), factor), x)


def test_cells_are_drawn_uniformly_and_picked_whole():
    x = torch.arange(2 * 3 * 7 * 9, dtype=torch.float32).view(2, 3, 7, 9).requires_grad_()
    cells = draw_cells(2, 7, 9, 2, torch.Generator().manual_seed(0))
    assert cells.shape == (2, 3, 4)
    picked = pick_cells(x, cells, 2)
    for b, i, j in ((0, 0, 0), (1, 2, 3), (0, 1, 2)):
        row, column = divmod(int(cells[b, i, j]), 2)
        assert torch.equal(picked[b, :, i, j], x[b, :, 2 * i + row, 2 * j + column])
    picked.sum().backward()
    assert x.grad is not None
    assert set(x.grad.unique().tolist()) == {0.0, 1.0} and x.grad.sum() == picked.numel()
    counts = torch.bincount(draw_cells(8, 64, 64, 2, torch.Generator().manual_seed(1)).flatten(), minlength=4)
    expected = counts.sum() / 4
    assert ((counts - expected).square() / expected).sum() < 16.3  # chi-square, 3 degrees of freedom, p = 0.001


def test_phases_of_box_noise_are_not_correlated():
    noise = torch.nn.functional.avg_pool2d(
        torch.randn(1, 1, 302, 302, generator=torch.Generator().manual_seed(2)), 3, 1
    )

    def lag(x):
        return float((x[..., 1:] * x[..., :-1]).mean() / x.square().mean())

    assert lag(noise) == pytest.approx(2 / 3, abs=0.03)
    assert abs(lag(pixel_unshuffle_batch(noise, 3))) < 0.05


PICTURE = np.array([[(37 * i + 91 * j + 5 * i * j) % 256 for j in range(12)] for i in range(8)], np.float64)
STORED = np.array([[104.6873, 113.9004, 141.0388], [131.9968, 150.2402, 131.6365]])
"""`PICTURE` by 4, of the formula in float64, in 8-bit units."""
SIZES = [(17, 23), (5, 7), (40, 30), (34, 46), (1, 1), (3, 64), (16, 24)]


def keys(x):
    """Keys' kernel with a = -0.5, as the paper writes it."""
    x, a = abs(x), -0.5
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def matrix(length, to):
    """imresize of a line, straight from its definition: `to` x `length`."""
    scale, rows = to / length, np.zeros((to, length))
    stretch = min(1.0, scale)
    for k in range(to):
        middle = (k + 0.5) / scale - 0.5
        for j in range(math.floor(middle - 3 / stretch), math.ceil(middle + 3 / stretch) + 1):
            place = j
            while not 0 <= place < length:  # mirrored, the border itself repeated
                place = -1 - place if place < 0 else 2 * length - 1 - place
            rows[k, place] += keys(stretch * (middle - j))
    return rows / rows.sum(1, keepdims=True)


def resized(x, size, **options):
    return resize(torch.from_numpy(x)[None, None], size, **options)[0, 0].numpy()


@pytest.mark.parametrize("size", SIZES)
def test_resizing_is_the_formula_of_imresize(size):
    picture = np.random.default_rng(0).random((17, 23))
    expected = matrix(17, size[0]) @ picture @ matrix(23, size[1]).T
    assert np.abs(resized(picture, size) - expected).max() < 1e-12
    assert np.abs(resized(picture.astype(np.float32), size) - expected).max() < 2e-6


def test_stored_values_of_imresize():
    """By hand: weights of a half, 0.5 keys(0.25, 0.75, 1.25, 1.75), and of a double."""
    line = np.zeros((1, 20))
    line[0, 9] = 1
    assert resized(line, (1, 10))[0, 3:7].tolist() == [-0.03515625, 0.43359375, 0.11328125, -0.01171875]
    assert resized(np.array([[1.0, 2, 3, 4]]), (1, 2)).tolist() == [[1.4609375, 3.5390625]]
    line = np.zeros((1, 8))
    line[0, 4] = 1
    double = [-0.0234375, -0.0703125, 0.2265625, 0.8671875, 0.8671875, 0.2265625, -0.0703125, -0.0234375]
    assert resized(line, (1, 16))[0, 5:13].tolist() == double
    assert np.abs(resized(PICTURE, (2, 3)) - STORED).max() < 1e-4


def test_a_constant_stays_constant():
    for size in ((5, 7), (31, 64), (1, 1)):
        assert np.abs(resized(np.full((20, 28), 0.7, np.float32), size) - 0.7).max() < 1e-6


def test_a_ramp_becomes_the_smaller_ramp():
    ramp = np.arange(64.0)[None, :] + 10 * np.arange(48.0)[:, None]
    small = resized(ramp, (12, 16))
    exact = (4 * np.arange(16) + 1.5)[None, :] + 10 * (4 * np.arange(12) + 1.5)[:, None]
    assert np.abs(small - exact)[2:-2, 2:-2].max() < 1e-10


@pytest.mark.parametrize("size", [(12, 16), (16, 21), (33, 90), (48, 64), (100, 150)])
def test_the_interior_is_pillows(size):
    picture = np.random.default_rng(1).random((48, 64)).astype(np.float32)
    theirs = np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BICUBIC, reducing_gap=None))
    rows, columns = (math.ceil(2 * max(1, to / side)) + 1 for to, side in zip(size, picture.shape, strict=True))
    difference = np.abs(resized(picture, size) - theirs)
    assert difference[rows:-rows, columns:-columns].max() < 2e-6
    assert difference.max() > 1e-4 or size == (48, 64)  # the borders differ


def test_without_antialiasing_reduced_pictures_are_interpolated():
    line = np.random.default_rng(2).random((1, 15))
    assert np.allclose(resized(line, (1, 5), antialias=False), line[:, 1::3], atol=1e-15)


def test_single_pixels_and_the_same_size():
    one = torch.full((2, 3, 1, 1), 0.3)
    assert torch.allclose(resize(one, (4, 5)), torch.full((2, 3, 4, 5), 0.3))
    x = torch.rand(1, 2, 5, 6)
    assert resize(x, (5, 6)) is x


@pytest.mark.parametrize(("length", "to"), [(64, 16), (64, 17), (7, 100), (1, 9), (3, 1), (1000, 1)])
def test_taps_have_sum_1_and_lie_inside(length, to):
    taps = resize_taps(length, to)
    assert torch.allclose(taps.weights.sum(1), torch.ones(to, dtype=torch.float64), atol=1e-14)
    assert taps.places.min() >= 0 and taps.places.max() < length
