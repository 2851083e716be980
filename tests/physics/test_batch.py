"""Small things that all operators on batches share."""

from __future__ import annotations

import torch

from restore.physics.batch import crop_or_pad


def test_crops_and_pads_around_the_middle() -> None:
    x = torch.arange(5.0).view(1, 1, 1, 5)
    assert crop_or_pad(x, (1, 4)).flatten().tolist() == [0, 1, 2, 3]
    assert crop_or_pad(x, (1, 3)).flatten().tolist() == [1, 2, 3]
    assert crop_or_pad(x, (2, 6))[0, 0].tolist() == [[0, 1, 2, 3, 4, 0], [0] * 6]
    assert crop_or_pad(x[0, 0], (3, 7)).tolist() == [[0] * 7, [0, 0, 1, 2, 3, 4, 0], [0] * 7]
