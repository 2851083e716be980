"""Averaging of what is the same in neighbouring frames that were denoised one by one; where nothing matches, nothing.

    out = (m + sum_k w_k n_k) / (1 + sum_k w_k),   w_k = ramp(d_k / t) ramp(D_k / T) ramp(b_k / c)

m: the middle frame; n_k: neighbour k, moved onto m; d_k, D_k: mean squared difference of both around a pixel, near
and far; t, T: what frames that show the same differ by there, measured on photographs with white noise of std 10, 25
and 50 that our networks denoised: it depends on the texture over the noise level, hardly on either alone; b_k: square
of the mean difference in a wide surrounding, which finds changes of the light that hide below t; c: what noise alone
leaves of that. A ramp is 1 up to its first end and 0 from its second on.

Sources: Buades, Lisani, Miladinovic, "Patch-based video denoising with optical flow estimation", IEEE TIP 2016
(denoised frames are warped and compared); Kroeger et al., "Fast optical flow using dense inverse search", ECCV 2016;
Lucas, Kanade, 1981, and Baker, Matthews, IJCV 2004 (the affine motion of the whole picture, by Gauss-Newton).
Differences: frames are denoised alone first and only averaged here; of three motions (none, affine, dense) each pixel
takes the simplest that matches: the edges of denoised frames wobble with the noise, and a flow that follows the
wobble averages none of it.

| array | shape |
|---|---|
| frames | H x W x C, uint8 or uint16, or float32; values 0..white |
| inside | H' x W' (x C) float32 in 8-bit units, half the size: what is compared and where motion is found |
| motion | H' x W' x 2 float32, (x, y) in pixels of the half size: where the neighbour shows what the middle has |
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from restore.classical.optical_flow import dense_motion

REACH = 2
"""Frames on each side that are averaged."""
_LEAST_LEVEL = 0.05  # 8-bit units; below this nothing is done
_DIFFERENCE = (20, 0.2, 0.4, 0.0008)  # t = level^2 (min(a v, b v^c) + d), v = variance less slope / level^2
_MOST = 0.2  # of t, times level^2
_NEAR, _NEAR_RAMP = 3, (2.0, 5.0)  # px of half size around a pixel that are compared; ramp of d / t
_FAR, _FAR_RAMP = 9, (1.4, 2.4)
_WORST = 3.0  # times t, that a whole clip may differ by more than networks leave of white noise
_LOW, _LOW_RAMP = 0.35, (7.0, 8.5)  # 5 % quantile of d / t in white noise; ramp of what it is over that
_APART_RAMP = (1.9, 2.3)  # of the 25 % quantile over the 5 % quantile
_WIDE = 33  # px of half size, of the wide surrounding
_MEAN, _MEAN_RAMP = 0.02, (2.0, 5.0)  # std of the mean of the difference there, times the level; ramp of b / c
_LEAST_SIZE, _LONGEST = 64, 8  # px, of the shorter side, and aspect; other frames are taken as still
_SIMPLER = (0.8, 0.1)  # a motion must match better than the simpler one by this factor and this times t
_STEPS, _POINTS = 5, 20000  # Gauss-Newton
_ROWS = 128  # at a time


@dataclass(frozen=True)
class _Frame:
    """A frame and what is needed of it as the middle or a neighbour."""

    pixels: np.ndarray  # H x W x C, as given
    grey: np.ndarray  # H' x W', mean of the channels, 8-bit units
    expected: np.ndarray  # H' x W', t: mean squared difference from its like, 8-bit units
    unit: float  # 8-bit units in one of the pixels' values


@dataclass(frozen=True)
class _Neighbour:
    """A neighbour moved onto the middle, and how they differ."""

    pixels: np.ndarray  # H x W x C, as given
    shift: np.ndarray  # H' x W', difference of the means of the channels, 8-bit units
    near: np.ndarray  # H' x W', d / t; infinite where the neighbour has nothing
    far: np.ndarray  # H' x W', d / t of a wider surrounding


def averaged(shot: Iterable[np.ndarray], level: float, white: float = 255) -> Iterator[np.ndarray]:
    """The denoised frames of one shot, each averaged with its neighbours: as many, in order, `REACH` frames late.

    Args: as `average_frames`. Of the frames `2 * REACH + 1` are held at once: leave them as they are meanwhile.
    """
    window: deque[tuple[np.ndarray, _Frame | None]] = deque()
    after = -1  # frames in the window after the one whose turn it is; -1: there is none

    def turn() -> np.ndarray:
        place = len(window) - 1 - after
        result = _average(window, place, level, white)
        if place == REACH:
            window.popleft()
        return result

    for frame in shot:
        window.append((frame, _prepared(frame, level, white)))
        after += 1
        if after == REACH:
            yield turn()
            after -= 1
    while after >= 0:
        yield turn()
        after -= 1


def average_frames(frames: Sequence[np.ndarray], middle: int, level: float, white: float = 255) -> np.ndarray:
    """Average one denoised frame with those neighbours, and those parts of them, that show the same.

    Args:
        frames: consecutive denoised frames of one shot, H x W x C (or H x W) each, uint8, uint16 or float32, all of
            one size; `REACH` on each side are what `averaged` takes.
        middle: index of the frame that is wanted.
        level: std of the noise of the frames before they were denoised, in 8-bit units (0..255).
        white: value of white in the frames: 255, 1023 for 10 bits, 65535, 1.0.
    Returns:
        the averaged frame, of the same type (rounded) and shape; the frame itself, bit for bit, where nothing
        matches, where there are no neighbours, or where the level is (nearly) nil.
    """
    window = [(frame, _prepared(frame, level, white)) for frame in frames]
    return _average(window, middle, level, white)


def _average(window: Sequence[tuple[np.ndarray, _Frame | None]], middle: int, level: float, white: float) -> np.ndarray:
    original, frame = window[middle]
    others = [other for i, (_, other) in enumerate(window) if i != middle and other is not None]
    if frame is None or not others:
        return original.copy()
    neighbours = [_matched(frame, other) for other in others]
    spread = _spread([neighbour.far for neighbour in neighbours])
    weights = [_enlarged(_weight(neighbour, level, spread), frame.pixels.shape) for neighbour in neighbours]
    result = np.empty_like(frame.pixels)
    channels = result.shape[2]
    for rows in _bands(len(result)):
        total = frame.pixels[rows].astype(np.float32)
        whole = np.ones(total.shape[:2], np.float32)
        for neighbour, weight in zip(neighbours, weights, strict=True):
            total += neighbour.pixels[rows] * _repeated(weight[rows], channels)
            whole += weight[rows]
        total /= _repeated(whole, channels)
        if result.dtype.kind == "u":
            total = np.rint(total, out=total).clip(0, white, out=total)
        result[rows] = total
    return result.reshape(original.shape)


def _prepared(frame: np.ndarray, level: float, white: float) -> _Frame | None:
    """None where nothing is to be done: no noise, no pixels."""
    if level < _LEAST_LEVEL or frame.size == 0:
        return None
    unit = 255 / white
    pixels = np.ascontiguousarray(frame).reshape(*frame.shape[:2], -1)
    squares, grey, small = [], [], []
    for rows in _bands(len(pixels)):
        values = pixels[rows].astype(np.float32)
        small.append(_halved(values))
        grey.append(_channel_mean(small[-1]))
        squares.append(_halved(_channel_mean(np.square(values))))
    variance = unit**2 * _texture(np.concatenate(small), np.concatenate(squares))
    steep, factor, power, floor = _DIFFERENCE
    variance /= level**2
    noise = (np.minimum(steep * variance, factor * variance**power) + floor).clip(max=_MOST) * level**2
    rounding = unit**2 / 6 if frame.dtype.kind == "u" else 0
    return _Frame(pixels, np.concatenate(grey) * np.float32(unit), noise + rounding, unit)


def _texture(small: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Variance around each pixel, less that of a slope: H' x W' x C, means of squares H' x W' -> H' x W', >= 0"""
    squares = _box(squares, _NEAR) - _channel_mean(np.square(_box(small, _NEAR)))
    pixels = 2 * _NEAR
    for axis in (0, 1):
        squares -= _channel_mean(np.square(_slope(small, axis) / 2)) * ((pixels**2 - 1) / 12)
    return squares.clip(0, out=squares)


def _matched(frame: _Frame, other: _Frame) -> _Neighbour:
    """A neighbour moved onto the middle, and compared."""
    motion = _motion(frame, other)
    moved, expected, places = other.pixels, other.expected, None
    if motion is not None:
        moved, expected = np.empty_like(other.pixels), _warped(other.expected, motion)
        places = _places(*moved.shape[:2]) + _enlarged(2 * motion, moved.shape)
    squares, shifts = [], []
    for rows in _bands(len(moved)):
        if places is not None:
            moved[rows] = _remapped(other.pixels, places[rows])
        difference = np.subtract(moved[rows], frame.pixels[rows], dtype=np.float32)
        shifts.append(_halved(_channel_mean(difference)))
        squares.append(_halved(_channel_mean(np.square(difference))))
    expected = np.minimum(frame.expected, expected)
    difference = np.concatenate(squares) * np.float32(frame.unit**2)
    near = _box(difference, _NEAR) / _box(expected, _NEAR + 2)
    if motion is not None:
        near[_outside(motion)] = np.inf
    far = _box(difference, _FAR) / _box(expected, _FAR)
    return _Neighbour(moved, np.concatenate(shifts) * np.float32(frame.unit), near, far)


def _spread(ratios: Sequence[np.ndarray]) -> float:
    """What d / t is where frames match, relative to white noise (networks leave more of correlated noise): 1.._WORST.

    Seen in the neighbour that matches second best (one match can be chance), where it matches best, and believed
    where quantiles of d / t lie as close as they do in matching frames; those of others lie far apart.
    """
    quantiles = sorted(tuple(np.quantile(ratio[::2, ::2], (0.05, 0.25))) for ratio in ratios)
    low, quarter = quantiles[min(1, len(quantiles) - 1)]
    known = _ramp(quarter / max(low, 1e-6), _APART_RAMP) * _ramp(low / _LOW, _LOW_RAMP)
    return float(1 + known * (min(max(low / _LOW, 1), _WORST) - 1))


def _weight(neighbour: _Neighbour, level: float, spread: float) -> np.ndarray:
    """Weight of a moved neighbour, H' x W', 0..1."""
    weight = _ramp(neighbour.near / spread, _NEAR_RAMP) * _ramp(neighbour.far / spread, _FAR_RAMP)
    mean = _box(neighbour.shift * weight, _WIDE) / (_box(weight, _WIDE) + 1e-6)
    return weight * _ramp(np.square(mean / (_MEAN * level)) / spread, _MEAN_RAMP)


def _ramp(ratio: np.ndarray | float, ends: tuple[float, float]) -> np.ndarray:
    whole, none = ends
    return np.clip((none - ratio) / (none - whole), 0, 1)


def _motion(frame: _Frame, other: _Frame) -> np.ndarray | None:
    """H' x W' x 2; None: none anywhere. Each pixel's is the simplest that matches."""
    a, b = frame.grey, other.grey
    if 2 * min(a.shape) < _LEAST_SIZE or max(a.shape) > _LONGEST * min(a.shape):
        return None
    dense = dense_motion(a, b)
    whole = _affine_motion(a, b, dense)
    still = np.zeros_like(dense)
    errors = [_error(a, b), *(_error(a, _warped(b, motion)) for motion in (whole, dense))]
    costs = [float((error / frame.expected).clip(0, 5).mean()) for error in errors[:2]]
    simple = [(still, errors[0]), (whole, errors[1])]
    if costs[1] < 0.98 * costs[0]:
        simple.reverse()
    factor, share = _SIMPLER
    chosen, error = simple[0]
    for motion, its_error in (simple[1], (dense, errors[2])):
        better = its_error + share * frame.expected < factor * error
        chosen = np.where(better[..., None], motion, chosen)
        error = np.where(better, its_error, error)
    return chosen if chosen.any() else None


def _error(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _box(np.square(a - b), 5)


def _affine_motion(a: np.ndarray, b: np.ndarray, dense: np.ndarray) -> np.ndarray:
    """Motion of the whole picture, H' x W' x 2: an affine fit to the dense motion, then by the pixels themselves."""
    basis = _affine_basis(*a.shape)
    inner = (slice(4, -4, 2), slice(4, -4, 2))
    slopes = np.stack([_slope(a, axis)[inner].ravel() for axis in (0, 1)], 1)
    strength = np.square(slopes).sum(1)
    strong = np.flatnonzero(strength >= np.quantile(strength, 0.8))
    strong = strong[:: len(strong) // _POINTS + 1]
    strength, slopes = strength[strong], slopes[strong]  # n, n x 2
    points = basis[inner].reshape(-1, 3)[strong]  # n x 3
    there = dense[inner].reshape(-1, 2)[strong]  # n x 2
    affine = np.zeros((3, 2), np.float32)
    affine[0] = np.median(there, 0)
    for _ in range(_STEPS):
        weight = strength * _robust(np.square(there - points @ affine).sum(1), 0.01)
        affine = _least_squares(points, there, weight)
    places = _places(*a.shape)[inner].reshape(-1, 2)[strong]
    design = np.concatenate([points * slopes[:, :1], points * slopes[:, 1:]], 1)  # n x 6
    values = a[inner].ravel()[strong]
    for _ in range(_STEPS):
        rest = values - _remapped(b, (places + points @ affine)[:, None])[:, 0]
        affine += _least_squares(design, rest, _robust(np.square(rest), 0.01)).reshape(2, 3).T
    return basis @ affine


@lru_cache(maxsize=2)
def _affine_basis(height: int, width: int) -> np.ndarray:
    """1, x, y: H' x W' x 3, about the middle, in picture widths."""
    places = _places(height, width) / width
    return np.dstack(
        [np.ones((height, width), np.float32), places[..., 0] - 0.5, places[..., 1] - 0.5 * height / width]
    )


@lru_cache(maxsize=4)
def _places(height: int, width: int) -> np.ndarray:
    """x, y of each pixel: H x W x 2"""
    return np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))


def _slope(x: np.ndarray, axis: int) -> np.ndarray:
    """Derivative along x (0) or y (1), by pixel: H x W (x C) -> H x W (x C)"""
    import cv2

    return cv2.Sobel(x, cv2.CV_32F, 1 - axis, axis, scale=1 / 8).reshape(x.shape)


def _robust(squares: np.ndarray, least: float) -> np.ndarray:
    """Weights of residuals by Geman and McClure, their scale the median: n -> n"""
    return np.square(1 / (1 + squares / max(2 * float(np.median(squares)), least)))


def _least_squares(design: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """n x k, n x m or n, n -> k x m or k float32; the smallest solution where there are many."""
    weighted = (design * weight[:, None]).astype(np.float64)
    return np.linalg.lstsq(weighted.T @ design, weighted.T @ target, rcond=1e-7)[0].astype(np.float32)


def _warped(picture: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """H x W, H x W x 2 -> H x W: the picture at x + motion, linear."""
    return _remapped(picture, _places(*picture.shape) + motion, cubic=False)


def _remapped(picture: np.ndarray, places: np.ndarray, cubic: bool = True) -> np.ndarray:
    """H x W (x C), h x w x 2 -> h x w (x C): the picture at these places; exact where they are whole."""
    import cv2

    how = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    moved = cv2.remap(picture, places, None, how, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return moved.reshape(*places.shape[:2], *picture.shape[2:])


def _outside(motion: np.ndarray) -> np.ndarray:
    """H' x W', where the motion leaves the frame, and around."""
    import cv2

    height, width = motion.shape[:2]
    x, y = motion[..., 0] + np.arange(width), motion[..., 1] + np.arange(height)[:, None]
    outside = (x < -0.1) | (x > width - 0.9) | (y < -0.1) | (y > height - 0.9)
    return cv2.dilate(outside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def _box(x: np.ndarray, side: int) -> np.ndarray:
    import cv2

    return cv2.boxFilter(x, -1, (side, side), borderType=cv2.BORDER_REFLECT).reshape(x.shape)


def _channel_mean(x: np.ndarray) -> np.ndarray:
    """H x W x C -> H x W"""
    import cv2

    channels = x.shape[2]
    return x[..., 0] if channels == 1 else cv2.transform(x, np.full((1, channels), 1 / channels, np.float32))


def _halved(x: np.ndarray) -> np.ndarray:
    """H x W (x C) -> ceil(H / 2) x ceil(W / 2) (x C): means of 2 x 2 pixels"""
    import cv2

    height, width = x.shape[:2]
    even = cv2.copyMakeBorder(x, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE) if height % 2 or width % 2 else x
    size = ((width + 1) // 2, (height + 1) // 2)
    return cv2.resize(even, size, interpolation=cv2.INTER_AREA).reshape(*size[::-1], *x.shape[2:])


def _enlarged(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """H' x W' (x 2) -> H x W (x 2): the inverse of `_halved`, linear."""
    import cv2

    double = cv2.resize(x, (2 * x.shape[1], 2 * x.shape[0]), interpolation=cv2.INTER_LINEAR)
    return double[: shape[0], : shape[1]]


def _repeated(x: np.ndarray, channels: int) -> np.ndarray:
    """H x W -> H x W x C"""
    import cv2

    return x[..., None] if channels == 1 else cv2.merge([x] * channels)


def _bands(height: int) -> Iterator[slice]:
    """Rows at a time, an even number: what a processor's cache holds."""
    return (slice(top, top + _ROWS) for top in range(0, height, _ROWS))
