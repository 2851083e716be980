"""Where pictures are sharpest: what a deblurrer can take for the truth when there is none.

Source: the relative sharpness module of He et al., "Domain-adaptive Video Deblurring via Test-time Blurring", ECCV 2024
(https://arxiv.org/abs/2407.09059). Differences: it asks a network for the size of the blur; here tiles are ranked by
what a further slight blur leaves of their edges (Crete et al., SPIE 2007) and by how little the deblurrer changes, and
tiles that are not sharp at all are never taken: it took a fifth of the tiles whatever they looked like.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.engines.deblur.adaptation.seen import Frame
from restore.physics.color import to_grey
from restore.physics.filters import filter_separably, gaussian_taps

SIDE, SMALL_SIDE = 128, 96
"""px, of tiles; the small one where a frame's shorter side is below 512 px."""
FEWEST = 8
"""Tiles with texture, without which nothing is learned."""
_WANTED, _MOST, _LEAST_WANTED, _PER_FRAME = 0.2, 400, 24, 3
_LARGEST_SHARE = 0.4  # of the tiles, where a fifth is too few
_TEXTURE, _CLIPPED = 0.02, 0.05  # least std of the smoothed luma; most samples at black or white
_SHARP = 0.52  # least share of the slopes that a blur of nine taps takes away; lines blurred over 5 px: 0.55
_OVERLAP, _NEAR = 0.25, 3  # most that two tiles of near frames may share; frames
_TAPS = 9
_FLAT = 1e-3


class Tile(NamedTuple):
    """A part of a frame.

    Attributes:
        frame: its place in the list of frames.
        top, left, side: px.
        sharpness: share of its slopes that a further blur takes away, 0..1.
        score: by which it was ranked; higher is sharper.
    """

    frame: int
    top: int
    left: int
    side: int
    sharpness: float
    score: float


def sharpest_tiles(frames: Sequence[Frame], restored: Sequence[Tensor]) -> list[Tile]:
    """The sharpest tiles of some frames, sharpest first; none if too few are sharp.

    Args:
        restored: what the deblurrer makes of each frame, C x H x W.
    """
    tiles = textured_tiles(frames, restored)
    sharp = [tile for tile in tiles if tile.sharpness >= _SHARP]
    if len(tiles) < FEWEST or len(sharp) < FEWEST:
        return []
    wanted = min(max(_WANTED * len(tiles), min(_LEAST_WANTED, _LARGEST_SHARE * len(tiles))), _MOST)
    per_frame = max(_PER_FRAME, -(-int(wanted) // len(frames)))
    chosen: list[Tile] = []
    for tile in sorted(sharp, key=lambda each: -each.score):
        if len(chosen) >= wanted:
            break
        beside = [other for other in chosen if _near(frames[tile.frame], frames[other.frame])]
        in_frame = sum(other.frame == tile.frame for other in beside)
        if in_frame < per_frame and all(_shared(tile, other) <= _OVERLAP for other in beside):
            chosen.append(tile)
    return chosen if len(chosen) >= FEWEST else []


def textured_tiles(frames: Sequence[Frame], restored: Sequence[Tensor]) -> list[Tile]:
    """All tiles with enough texture and few clipped samples, each ranked among all of them."""
    found: list[tuple[int, int, int, int]] = []
    sharpness, residual = [], []
    for number, (frame, answer) in enumerate(zip(frames, restored, strict=True)):
        side = SIDE if min(frame.pixels.shape[-2:]) >= 512 else SMALL_SIDE
        if min(frame.pixels.shape[-2:]) < side:
            continue
        facts = _facts(frame.pixels, answer, side)
        good = (facts.texture >= _TEXTURE) & (facts.clipped <= _CLIPPED)
        step = side // 2
        found += [(number, int(i) * step, int(j) * step, side) for i, j in good.nonzero()]
        sharpness.append(facts.sharpness[good])
        residual.append(facts.residual[good])
    if not found:
        return []
    q, e = torch.cat(sharpness), torch.cat(residual)
    score = _ranks(q) - 0.5 * _ranks(e)
    return [Tile(*place, float(q[i]), float(score[i])) for i, place in enumerate(found)]


class _Facts(NamedTuple):
    """Of the tiles of a frame, rows x columns each."""

    texture: Tensor
    clipped: Tensor
    sharpness: Tensor
    residual: Tensor


def _facts(pixels: Tensor, answer: Tensor, side: int) -> _Facts:
    grey, restored = to_grey(pixels[None]), to_grey(answer[None])

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, side, side // 2)[0, 0]

    smooth = filter_separably(grey, gaussian_taps(7, 1.0).float(), "replicate")
    texture = (mean(smooth.square()) - mean(smooth).square()).clamp(min=0).sqrt()
    clipped = mean(((pixels <= 0) | (pixels >= 1)).float().mean(0)[None, None])
    kept = []
    for axis in (-1, -2):
        taps = torch.zeros(_TAPS, _TAPS)
        taps[_TAPS // 2 if axis == -1 else slice(None), slice(None) if axis == -1 else _TAPS // 2] = 1 / _TAPS
        padded = F.pad(grey, [_TAPS // 2] * 4, mode="replicate")
        slope, after = (_slopes(each, axis) for each in (grey, F.conv2d(padded, taps[None, None])))
        kept.append(mean((slope - after).clamp(min=0)) / mean(slope).clamp(min=1e-6))
    slopes = _slopes(restored, -1) + _slopes(restored, -2)
    residual = mean((restored - grey).abs()) / (mean(slopes) + _FLAT)
    return _Facts(texture, clipped, torch.minimum(*kept), residual)


def _slopes(x: Tensor, axis: int) -> Tensor:
    """|derivative| along an axis, of the same size: the last one is repeated."""
    difference = x.diff(dim=axis).abs()
    return torch.cat([difference, difference.narrow(axis, -1, 1)], axis)


def _ranks(values: Tensor) -> Tensor:
    """0 (least) to 1; equal values have one rank."""
    ordered = values.sort().values
    below, up_to = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return (below + up_to - 1) / (2 * max(1, len(values) - 1))


def _near(one: Frame, other: Frame) -> bool:
    return one.sequence == other.sequence and abs(one.number - other.number) <= _NEAR


def _shared(one: Tile, other: Tile) -> float:
    """Area that two tiles share, over that of the smaller one."""
    down, across = (
        min(a + one.side, b + other.side) - max(a, b) for a, b in ((one.top, other.top), (one.left, other.left))
    )
    return max(0, down) * max(0, across) / min(one.side, other.side) ** 2
