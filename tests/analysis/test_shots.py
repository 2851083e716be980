"""Where shots begin: cuts, and what is none."""

from __future__ import annotations

import numpy as np
import pytest

from restore.analysis.shots import cuts_of, find_shots
from restore.picture import Picture
from tests.clips import scene

NIGHT, DAY = scene(12, seed=1).astype(float) * 0.3, 255 - scene(12, seed=2).astype(float) * 0.4


def shots(frames: np.ndarray) -> list[int]:
    closed = []

    class Frame(Picture):
        def close(self):
            closed.append(self)

    array = np.clip(np.rint(frames), 0, 255).astype(np.uint8)
    found = find_shots(Frame(Picture.from_array(one).info, one) for one in array)
    assert len(closed) == len(frames)
    return found


def test_cuts():
    assert shots(np.concatenate([NIGHT, DAY])) == [0, 12]
    assert shots(np.concatenate([NIGHT[:5], DAY[:7], NIGHT[:6]])) == [0, 5, 12]
    noise = np.random.default_rng(0).normal(0, 20, (24, *NIGHT.shape[1:]))
    assert shots(np.concatenate([NIGHT, DAY]) + noise) == [0, 12]


@pytest.mark.parametrize("length", [1, 2])
def test_a_flash_is_none(length):
    frames = NIGHT.copy()
    frames[6 : 6 + length] = 250
    assert shots(frames) == [0]


def test_a_fade_and_a_dissolve_are_none():
    share = np.linspace(0, 1, 12)[:, None, None, None]
    assert shots(DAY * (1 - share)) == [0]
    assert shots(NIGHT * (1 - share) + DAY * share) == [0]


def test_motion_is_none():
    """A camera that turns fast: every frame is unlike the one before."""
    picture = np.random.default_rng(0).uniform(0, 255, (8, 80))
    wide = np.kron(picture, np.ones((8, 8)))[..., None].repeat(3, -1)
    assert shots(np.stack([wide[:, 24 * index : 24 * index + 96] for index in range(20)])) == [0]


def test_a_still_a_frame_and_nothing():
    assert shots(NIGHT[:1].repeat(6, 0)) == [0] and shots(NIGHT[:1]) == [0] and find_shots([]) == [0]


def test_depths_count_the_same():
    array = np.rint(np.concatenate([NIGHT, DAY])).astype(np.uint8)
    deep = [Picture.from_array(one.astype(np.uint16) * 257) for one in array]
    floats = [Picture.from_array(one.astype(np.float32) / 255) for one in array]
    assert find_shots(deep) == find_shots(floats) == [0, 12]


def test_the_rule():
    """A step counts over 0.08 of white, over three times those around, and four frames after the cut before."""
    still = [0.001] * 6
    assert cuts_of([*still, 0.081, *still]) == [0, 7] and cuts_of([*still, 0.079, *still]) == [0]
    assert cuts_of([0.1] * 4 + [0.29] + [0.1] * 4) == [0] and cuts_of([0.1] * 4 + [0.31] + [0.1] * 4) == [0, 5]
    assert cuts_of([0.5, *still]) == [0], "a shot of one frame"
    assert cuts_of([*still[:3], 0.5, *still]) == [0, 4] and cuts_of([*still[:2], 0.5, *still]) == [0]
