"""Sharp tiles are found where they are, within their bounds; flat and blurred pictures give none."""

import math

import torch

from restore.engines.deblur.adaptation.mining import FEWEST, SMALL_SIDE, _shared, sharpest_tiles, textured_tiles
from restore.engines.deblur.adaptation.seen import Frame
from tests.engines.deblur.adaptation.seen_frames import blurred, clip, photograph


def unchanged(frames):
    return [frame.pixels for frame in frames]


def test_the_sharp_frames_are_taken():
    frames = clip(24)
    tiles = sharpest_tiles(frames, unchanged(frames))
    sharp = [frames[tile.frame].number % 3 == 0 for tile in tiles]
    assert len(tiles) >= FEWEST
    assert sum(sharp) / len(sharp) >= 0.9


def test_the_order_of_frames_does_not_matter():
    frames = clip(12)
    back = frames[::-1]
    one = {(frames[t.frame].number, t.top, t.left) for t in sharpest_tiles(frames, unchanged(frames))}
    other = {(back[t.frame].number, t.top, t.left) for t in sharpest_tiles(back, unchanged(back))}
    assert one == other


def test_tiles_of_near_frames_hardly_overlap():
    frames = clip(24)
    tiles = sharpest_tiles(frames, unchanged(frames))
    for i, one in enumerate(tiles):
        for other in tiles[:i]:
            if abs(frames[one.frame].number - frames[other.frame].number) <= 3:
                assert _shared(one, other) <= 0.25


def test_what_the_deblurrer_leaves_alone_ranks_higher():
    x = photograph(96)
    frames = [Frame(x, 0, 0), Frame(x, 1, 0)]
    answers = [x + 0.1 * torch.randn(3, 96, 96, generator=torch.Generator().manual_seed(0)), x]
    changed, alone = textured_tiles(frames, answers)
    assert changed.sharpness == alone.sharpness
    assert alone.score > changed.score


def test_blurred_clips_have_none():
    frames = [Frame(blurred(photograph(), 14.0, math.pi / 3, i), 0, i) for i in range(12)]
    assert sharpest_tiles(frames, unchanged(frames)) == []


def test_flat_and_small_frames_have_none():
    flat = [Frame(torch.full((3, 256, 256), 0.5), 0, 0)]
    small = [Frame(photograph(64)[..., :40], 0, 0)]
    assert sharpest_tiles(flat, unchanged(flat)) == []
    assert textured_tiles(small, unchanged(small)) == []


def test_clipped_tiles_are_left_out():
    x = photograph(SMALL_SIDE).clone()
    x[:, :10] = 1.0
    frames = [Frame(x, 0, 0)]
    assert textured_tiles(frames, unchanged(frames)) == []
