"""The motion between two pictures, and that b(p + motion) = a(p)."""

import numpy as np
import pytest

from restore.classical.optical_flow import dense_motion
from tests.classical.blurred import scene


@pytest.mark.parametrize("move", [(3, 0), (0, -4), (2, 5)])
def test_a_moved_picture(move):
    right, down = move
    a = 255 * scene()[0, 0].numpy()
    b = np.roll(a, (down, right), (0, 1))
    motion = dense_motion(a, b)[24:-24, 24:-24]
    assert np.median(motion[..., 0]) == pytest.approx(right, abs=0.1)
    assert np.median(motion[..., 1]) == pytest.approx(down, abs=0.1)


def test_flat_pictures_do_not_crash():
    assert dense_motion(np.zeros((20, 300), np.float32), np.zeros((20, 300), np.float32)).shape == (20, 300, 2)
