"""The DCT against its definition."""

from __future__ import annotations

import torch

from restore.physics.dct import dct_matrix


def test_dct_matrix_is_orthonormal() -> None:
    for size in (1, 3, 8):
        matrix = dct_matrix(size, torch.float64)
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(size, dtype=torch.float64))
