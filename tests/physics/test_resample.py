"""Re-arrangements of pixels: exact inverses, random cells."""

from __future__ import annotations

import pytest
import torch

from restore.physics.resample import draw_cells, pick_cells, pixel_shuffle_batch, pixel_unshuffle_batch


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
