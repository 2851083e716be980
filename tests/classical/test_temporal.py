"""Averaging of neighbouring frames: what it gains where they show the same, and that nothing else is averaged.

Frames stand for denoised ones: a scene, and an error of each frame of its own, as smooth as networks leave it.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from restore.classical.temporal import REACH, _affine_motion, _spread, average_frames, averaged

LEVEL = 25.0
SIZE = (160, 208)
MARGIN = 40


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """A textured picture larger than the frames, without the finest detail: H x W x 3 float32 in 20..235"""
    rng = np.random.default_rng(7)
    shape = (SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN)
    total = np.zeros((*shape, 3), np.float32)
    for sigma, amplitude in ((2.0, 12), (5.0, 20), (20.0, 35)):
        layer = cv2.GaussianBlur(rng.standard_normal((*shape, 3)).astype(np.float32), (0, 0), sigma)
        total += layer / layer.std() * amplitude
    return (total + 128).clip(20, 235)


def view(scene: np.ndarray, x: float = 0, y: float = 0) -> np.ndarray:
    """The frame whose top left corner is at (MARGIN + x, MARGIN + y): H x W x 3 float32"""
    height, width = SIZE
    matrix = np.array([[1, 0, MARGIN + x], [0, 1, MARGIN + y]], np.float32)
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(scene, matrix, (width, height), flags=flags)


def errors(count: int, std: float = 3.0, seed: int = 0, shape: tuple[int, ...] = (*SIZE, 3)) -> np.ndarray:
    """T x H x W x C, independent over frames, smooth over pixels"""
    rng = np.random.default_rng(seed)
    blurred = [cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), 1.0) for _ in range(count)]
    stacked = np.stack(blurred).reshape(count, *shape)
    return stacked / stacked.std() * std


def frames_of(truth: list[np.ndarray], seed: int = 0, std: float = 3.0) -> list[np.ndarray]:
    """uint8 frames with an error each."""
    noisy = np.stack(truth) + errors(len(truth), std, seed, truth[0].shape)
    return list(noisy.round().clip(0, 255).astype(np.uint8))


def rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.square(a.astype(np.float64) - b).mean()))


def test_still_scene_loses_what_five_independent_errors_lose(scene: np.ndarray) -> None:
    truth = view(scene)
    frames = frames_of([truth] * 9)
    result = np.stack(list(averaged(frames, LEVEL)))
    before, after = (float(np.std(np.stack(x).astype(np.float64) - truth, axis=0).mean()) for x in (frames, result))
    assert after < 0.55 * before
    assert rms(result[4], truth) < 1.08 * 3 / 5**0.5
    assert rms(result[0], truth) < 1.08 * 3 / 3**0.5  # three frames at the ends


def test_still_scene_is_not_interpolated(scene: np.ndarray) -> None:
    frames = frames_of([view(scene)] * 5)
    plain = np.mean(np.stack(frames), axis=0, dtype=np.float64)
    assert (np.abs(average_frames(frames, 2, LEVEL) - plain) <= 0.51).mean() > 0.95


def test_more_error_than_expected_is_averaged_where_all_of_a_clip_has_it(scene: np.ndarray) -> None:
    truth = view(scene)
    result = average_frames(frames_of([truth] * 5, std=8), 2, LEVEL)
    assert rms(result, truth) < 1.2 * 8 / 5**0.5


def test_spread_is_known_from_matching_frames_only() -> None:
    rng = np.random.default_rng(0)
    like, unlike = rng.gamma(8, 1 / 8, (64, 64)), rng.gamma(0.7, 3, (64, 64))
    assert _spread([like * 0.6] * 4) == pytest.approx(1, abs=0.05)
    assert _spread([like * 2.5] * 4) == pytest.approx(3, abs=0.05)
    assert _spread([like * 2.5, *[like * 30] * 3]) == pytest.approx(1, abs=0.05)  # one match is chance
    assert _spread([unlike * 9] * 4) == pytest.approx(1, abs=0.05)
    assert _spread([like * 30] * 4) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("x", "y"), [(0.3, 0.1), (1.37, -0.45), (-3.5, 2.25)])
def test_pan_by_fractions_of_a_pixel_gains_as_much(scene: np.ndarray, x: float, y: float) -> None:
    truth = [view(scene, x * t, y * t) for t in range(5)]
    result = average_frames(frames_of(truth), 2, LEVEL)
    inner = (slice(16, -16), slice(16, -16))
    assert rms(result[inner], truth[2][inner]) < 1.15 * 3 / 5**0.5


def test_pan_does_not_blur() -> None:
    fine = errors(1, 25, 4, (SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN, 3))[0] + 128
    truth = [view(fine, 0.5 * t) for t in range(5)]
    result = average_frames(frames_of(truth, std=0.01), 2, LEVEL)
    assert rms(result[16:-16, 16:-16], truth[2][16:-16, 16:-16]) < 1.1  # twice that by linear interpolation


def test_motion_of_the_whole_picture_is_found_to_a_tenth_of_a_pixel(scene: np.ndarray) -> None:
    height, width = SIZE
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    truth = np.stack([0.8 + 0.01 * (x - 100) + 0.006 * y, -1.3 - 0.006 * (x - 100) + 0.01 * y], 2)
    second = view(scene).mean(2)
    # first(p) = second(p + truth)
    first = cv2.remap(scene.mean(2), np.dstack([x, y]) + truth + MARGIN, None, cv2.INTER_LANCZOS4)
    noise = np.random.default_rng(0).standard_normal((*SIZE, 2)) * 0.4
    found = _affine_motion(first, second, (truth + noise + 0.2).astype(np.float32))
    assert np.abs(found - truth)[16:-16, 16:-16].max() < 0.1


@pytest.mark.parametrize("still", [True, False])
def test_moved_object_leaves_no_ghost(scene: np.ndarray, still: bool) -> None:
    truth = []
    for t in range(5):
        frame = view(scene, 0 if still else 0.7 * t).copy()
        frame[60:100, 20 + 35 * t : 50 + 35 * t] = (230, 40, 60)
        truth.append(frame)
    frames = frames_of(truth)
    result = average_frames(frames, 2, LEVEL)
    for t in (0, 1, 3, 4):  # where it was and will be
        place = (slice(60, 100), slice(20 + 35 * t, 50 + 35 * t))
        assert rms(result[place], truth[2][place]) <= rms(frames[2][place], truth[2][place])
    change = np.abs(result.astype(int) - frames[2])
    assert change.max() < 5 * 3
    edge = (slice(64, 96), slice(88, 92))  # within the object, at its border: nothing moves there but itself
    assert rms(result[edge], truth[2][edge]) < 1.2 * rms(frames[2][edge], truth[2][edge])


def test_an_object_of_one_frame_stays_as_it_is(scene: np.ndarray) -> None:
    truth = [view(scene).copy() for _ in range(5)]
    truth[2][40:80, 50:90] = 250 - truth[2][40:80, 50:90]
    frames = frames_of(truth)
    result = average_frames(frames, 2, LEVEL)
    assert (result[44:76, 54:86] == frames[2][44:76, 54:86]).mean() > 0.98
    assert rms(result[:30], truth[2][:30]) < 2  # and the rest is averaged


def test_small_spot_of_one_frame_stays(scene: np.ndarray) -> None:
    truth = [view(scene).copy() for _ in range(5)]
    truth[2][60:62, 80:82] += 70
    frames = frames_of(truth)
    spot = (slice(60, 62), slice(80, 82))
    assert np.abs(average_frames(frames, 2, LEVEL)[spot].astype(int) - frames[2][spot]).max() <= 3


@pytest.mark.parametrize("textured", [[2], [0, 1, 3, 4]])
def test_texture_of_some_frames_on_a_flat_wall_stays(textured: list[int]) -> None:
    truth = [np.full((*SIZE, 3), 120, np.float32) for _ in range(5)]
    for t in textured:
        truth[t][40:100, 50:120] += errors(1, 11, 3)[0][40:100, 50:120]
    frames = frames_of(truth, std=1)
    inside = (slice(44, 96), slice(54, 116))
    assert (average_frames(frames, 2, LEVEL)[inside] == frames[2][inside]).mean() > 0.9


def test_other_shot_in_the_window_changes_nothing(scene: np.ndarray) -> None:
    other = scene[::-1, ::-1].copy()
    alone = frames_of([view(scene)] * 3)
    both = [*alone, *frames_of([view(other)] * 2, seed=5)]
    assert np.array_equal(average_frames(both, 2, LEVEL), average_frames(alone, 2, LEVEL))


@pytest.mark.parametrize("factor", [1.2, 1.05])
def test_flash_is_neither_spread_nor_removed(scene: np.ndarray, factor: float) -> None:
    truth = [view(scene) * (0.8 * factor if t == 2 else 0.8) for t in range(5)]
    frames = frames_of(truth)
    assert np.array_equal(average_frames(frames, 2, LEVEL), frames[2])
    assert np.array_equal(average_frames(frames, 3, LEVEL), average_frames([frames[i] for i in (0, 1, 3, 4)], 2, LEVEL))


def test_change_of_light_below_the_noise_is_seen() -> None:
    truth = [np.full((*SIZE, 3), 100.0 + 2.5 * (t == 2), np.float32) for t in range(5)]
    frames = frames_of(truth, std=2)
    assert abs(float(average_frames(frames, 2, LEVEL).mean()) - 102.5) < 0.1


def test_periodic_texture_is_not_averaged_out_of_step() -> None:
    x = np.arange(SIZE[1] + 40, dtype=np.float32)
    bars = np.repeat((128 + 90 * np.sign(np.sin(2 * np.pi * (x + 0.5) / 8)))[None], SIZE[0], 0)
    truth = [np.repeat(bars[:, 3 * t : SIZE[1] + 3 * t, None], 3, 2) for t in range(5)]
    frames = frames_of(truth)
    assert rms(average_frames(frames, 2, LEVEL), truth[2]) < 1.02 * rms(frames[2], truth[2])


def test_nothing_is_done_without_noise(scene: np.ndarray) -> None:
    frames = frames_of([view(scene)] * 5)
    assert np.array_equal(average_frames(frames, 2, 0), frames[2])
    assert average_frames(frames, 2, 0) is not frames[2]
    assert np.array_equal(average_frames(frames[:1], 0, LEVEL), frames[0])


def test_frames_that_agree_come_back_bit_for_bit(scene: np.ndarray) -> None:
    frame = view(scene).round().astype(np.uint8)
    assert np.array_equal(average_frames([frame] * 5, 2, LEVEL), frame)


def test_running_window_is_the_windows_one_by_one(scene: np.ndarray) -> None:
    frames = frames_of([view(scene, 0.6 * t) for t in range(7)])
    for count in (0, 1, 2, 3, 4, 7):
        shot = frames[:count]
        windows = [(max(i - REACH, 0), min(i + REACH + 1, count), i) for i in range(count)]
        expected = [average_frames(shot[a:b], i - a, LEVEL) for a, b, i in windows]
        result = list(averaged(iter(shot), LEVEL))
        assert len(result) == count
        assert all(np.array_equal(a, b) for a, b in zip(result, expected, strict=True))


def test_same_bytes_whatever_the_threads(scene: np.ndarray) -> None:
    frames = frames_of([view(scene, 1.3 * t, 0.4 * t) for t in range(5)])
    before, results = cv2.getNumThreads(), []
    try:
        for threads in (1, 3, 1):
            cv2.setNumThreads(threads)
            results.append(average_frames(frames, 2, LEVEL))
            assert cv2.getNumThreads() == threads
    finally:
        cv2.setNumThreads(before)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.parametrize("white", [1023, 65535])
def test_depths_agree(scene: np.ndarray, white: int) -> None:
    truth = np.stack([view(scene, 0.4 * t) for t in range(5)])
    deep = (truth + errors(5)) * (white / 255)
    frames = list(deep.round().clip(0, white).astype(np.uint16))
    result = average_frames(frames, 2, LEVEL, white)
    assert result.dtype == np.uint16
    assert rms(result[16:-16, 16:-16] * (255 / white), truth[2][16:-16, 16:-16]) < 1.15 * 3 / 5**0.5
    real = average_frames([x.astype(np.float32) / white for x in frames], 2, LEVEL, 1.0)
    assert real.dtype == np.float32
    assert rms(real * 255, result * (255 / white)) < 0.2


def test_white_is_the_limit(scene: np.ndarray) -> None:
    bright = np.where(scene > 128, 255, 90).astype(np.float32)
    truth = np.stack([view(bright, 0.5 * t).clip(0, 255) for t in range(5)]) * (1023 / 255)
    frames = list(truth.round().astype(np.uint16))
    result = average_frames(frames, 2, LEVEL, 1023)
    assert not np.array_equal(result, frames[2])
    assert result.max() <= 1023


@pytest.mark.parametrize(
    "shape", [(1, 1, 3), (7, 5, 3), (1, 9, 1), (63, 65, 3), (65, 67, 1), (64, 500, 3), (90, 64, 4), (33, 64)]
)
def test_odd_and_tiny_frames(shape: tuple[int, ...]) -> None:
    frames = list((120 + errors(5, shape=shape)).round().astype(np.uint8)) if min(shape[:2]) > 8 else []
    frames = frames or [np.full(shape, 118 + t, np.uint8) for t in range(5)]
    result = average_frames(frames, 2, LEVEL)
    assert (result.shape, result.dtype) == (shape, np.uint8)
    assert rms(result, np.full(shape, 120)) <= rms(frames[2], np.full(shape, 120))


def test_what_enters_the_frame_stays_as_it_is(scene: np.ndarray) -> None:
    wall = scene.copy()
    wall[:, MARGIN + SIZE[1] :] = 120  # flat: the border repeated would match
    truth = [view(wall, 7.0 * t) for t in range(5)]
    frames = frames_of(truth)
    result = average_frames(frames, 4, LEVEL)  # all others lack the last 7 columns
    assert np.array_equal(result[:, -6:], frames[4][:, -6:])
    assert rms(result[:, 8:-40], truth[4][:, 8:-40]) < 0.7 * rms(frames[4][:, 8:-40], truth[4][:, 8:-40])


def test_empty_frames() -> None:
    empty = np.zeros((0, 5, 3), np.uint8)
    assert average_frames([empty] * 3, 1, LEVEL).shape == (0, 5, 3)
