"""How the pictures at hand are blurred, measured on themselves: lengths and directions of tiles, motion between frames.

Source: the blur conditions of He et al., "Domain-adaptive Video Deblurring via Test-time Blurring", ECCV 2024, for
whose magnitudes a network was trained. Here a tile is compared with a sharper version of it, which is blurred along
lines until it fits (`restore.classical.linear_blur`): the same place in a near frame of the clip, moved onto it, or
what the deblurrer makes of it. In clips the motion between frames, times the share of the time that the shutter is
open, gives the blur of every pixel, and the tiles' lengths give that share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.classical.linear_blur import LEAST_SIDE, LinearBlur, fit_linear_blur
from restore.classical.optical_flow import dense_motion
from restore.engines.deblur.adaptation.mining import Tile, textured_tiles
from restore.engines.deblur.adaptation.seen import Frame
from restore.physics.blurred_noise import blurred_noises
from restore.physics.color import srgb_to_linear, to_grey
from restore.physics.filters import filter_separably, gaussian_taps

FEWEST = 5
"""Fitted tiles, with fewer of which blurs are drawn from a wide range instead."""
_FITTED, _FIT_SIDE = 32, 256
_NEAR, _CLEARLY = 3, 0.06  # frames; by which a near one's share of slopes is higher
_FLOW_SIDE = 512  # px, longer side of frames whose motion is looked for
_LEAST_MOTION = 2.0  # px between frames, with which the shutter is measured
_DISAGREEMENT = math.radians(30)  # of motion and tiles, from which the motion is not believed
_SHUTTER = 0.05, 1.0
_SMOOTH = 6.0  # px, std


class Fitted(NamedTuple):
    """A blurred tile: the blur that its deblurred version needs to look like it."""

    tile: Tile
    blur: LinearBlur


class Domain(NamedTuple):
    """What is known of the blur.

    Attributes:
        fitted: tiles with their blurs.
        fields: 2 x h x w (right, down) each, px of the frame: blur of every pixel of a frame, sampled coarsely.
        scale: px of the frame in one of a field.
        shutter: share of the time between two frames that the shutter is open; None: not known.
        noise: std of the frames' noise, of 1.
        quality: of JPEG; 0: not compressed.
    """

    fitted: tuple[Fitted, ...] = ()
    fields: tuple[Tensor, ...] = ()
    scale: float = 1.0
    shutter: float | None = None
    noise: float = 0.0
    quality: float = 0.0

    @property
    def blurs(self) -> tuple[LinearBlur, ...]:
        return tuple(each.blur for each in self.fitted)

    @property
    def known(self) -> bool:
        """Whether enough tiles could be fitted."""
        return len(self.fitted) >= FEWEST

    @property
    def middle(self) -> float:
        """Median length of the blur, px."""
        return float(torch.tensor([blur.length for blur in self.blurs]).median()) if self.blurs else 0.0


def measure_domain(frames: Sequence[Frame], restored: Sequence[Tensor], quality: float = 0.0) -> Domain:
    """The blur of some frames.

    Args:
        restored: what the deblurrer makes of each, C x H x W.
        quality: of JPEG, as the files say.
    """
    fitted = fit_tiles(frames, restored)
    noise = float(blurred_noises(torch.stack([_middle(each.pixels) for each in frames[::4]])).median())
    motions = _motions(frames)
    shutter = _shutter(fitted, motions)
    fields, scale = (), 1.0
    if shutter is not None:
        scale = next(iter(motions.values())).scale
        fields = tuple(_smoothed(shutter * motion.field) for motion in motions.values())
    return Domain(tuple(fitted), fields, scale, shutter, noise, quality)


def fit_tiles(frames: Sequence[Frame], restored: Sequence[Tensor]) -> list[Fitted]:
    """Blurs of the most textured places, spread over all frames."""
    tiles = sorted(textured_tiles(frames, restored), key=lambda tile: (tile.frame, tile.top, tile.left))
    at = {(tile.frame, tile.top, tile.left): tile for tile in tiles}
    fitted = []
    for tile in tiles[:: max(1, -(-len(tiles) // _FITTED))]:
        sharper = _sharper(frames, tile, at)
        pair = [
            around(picture, tile)
            for picture in (restored[tile.frame] if sharper is None else sharper, frames[tile.frame].pixels)
        ]
        blur = fit_linear_blur(*pair) if min(pair[0].shape) >= LEAST_SIDE else None
        if blur is not None:
            fitted.append(Fitted(tile, blur))
    return fitted


def _sharper(frames: Sequence[Frame], tile: Tile, at: Mapping[tuple[int, int, int], Tile]) -> Tensor | None:
    """A near frame that is clearly sharper there, moved onto the tile's: C x H x W."""
    frame = frames[tile.frame]
    near = [
        other
        for k in range(max(0, tile.frame - _NEAR), min(len(frames), tile.frame + _NEAR + 1))
        if frames[k].sequence == frame.sequence
        and abs(frames[k].number - frame.number) <= _NEAR
        and (other := at.get((k, tile.top, tile.left))) is not None
    ]
    best = max(near, key=lambda other: other.sharpness)
    if best.sharpness < tile.sharpness + _CLEARLY:
        return None
    other = frames[best.frame].pixels
    one, two = _small(frame.pixels), _small(other)
    motion = torch.from_numpy(dense_motion(one.numpy(), two.numpy())).movedim(-1, 0)
    scale = frame.pixels.shape[-1] / one.shape[-1]
    motion = F.interpolate(motion[None] * scale, other.shape[-2:], mode="bilinear", align_corners=False)[0]
    return moved(other, motion)


def moved(x: Tensor, motion: Tensor) -> Tensor:
    """C x H x W at places + motion, 2 x H x W (right, down), bilinear, repeated at the border."""
    from kornia.geometry.transform import remap

    height, width = x.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = columns[None] + motion[:1], rows[None] + motion[1:]
    return remap(x[None], *places, padding_mode="border", align_corners=True)[0]


def around(picture: Tensor, tile: Tile) -> Tensor:
    """Linear light in and around a tile, as grey: h x w."""
    height, width = picture.shape[-2:]
    side = min(_FIT_SIDE, height, width)
    top = min(max(tile.top + tile.side // 2 - side // 2, 0), height - side)
    left = min(max(tile.left + tile.side // 2 - side // 2, 0), width - side)
    part = picture[None, :, top : top + side, left : left + side].clamp(0, 1)
    return to_grey(srgb_to_linear(part))[0, 0]


class _Motion(NamedTuple):
    field: Tensor  # 2 x h x w, px of the frame between two frames
    scale: float


def _motions(frames: Sequence[Frame]) -> dict[int, _Motion]:
    """Of frames with neighbours on both sides: half of the way from the one before to the one after, by their place."""
    motions = {}
    for i in range(1, len(frames) - 1):
        before, frame, after = frames[i - 1 : i + 2]
        if frame.follows(before) and after.follows(frame):
            small = [_small(each.pixels) for each in (before, frame, after)]
            scale = frame.pixels.shape[-1] / small[1].shape[-1]
            there, back = (dense_motion(small[1].numpy(), other.numpy()) for other in (small[2], small[0]))
            field = torch.from_numpy(there - back).movedim(-1, 0) * (scale / 2)
            motions[i] = _Motion(field.contiguous(), scale)
    return motions


def _small(pixels: Tensor) -> Tensor:
    """Grey in 8-bit units, h x w, at most `_FLOW_SIDE` px."""
    grey = 255 * to_grey(pixels[None])
    factor = -(-max(pixels.shape[-2:]) // _FLOW_SIDE)
    return F.avg_pool2d(grey, factor, ceil_mode=True, count_include_pad=False)[0, 0] if factor > 1 else grey[0, 0]


def _shutter(fitted: Sequence[Fitted], motions: dict[int, _Motion]) -> float | None:
    """The share of the time that the shutter is open: length of the blur over that of the motion at the same place."""
    shares, weights, apart = [], [], []
    for tile, blur in fitted:
        motion = motions.get(tile.frame)
        if motion is None:
            continue
        top, left, side = (round(value / motion.scale) for value in (tile.top, tile.left, tile.side))
        right, down = motion.field[:, top : top + side, left : left + side].flatten(1).median(1).values.tolist()
        length = math.hypot(right, down)
        if length > _LEAST_MOTION:
            angle = abs((math.atan2(down, right) - blur.angle + math.pi / 2) % math.pi - math.pi / 2)
            shares.append(blur.length / length)
            weights.append(blur.confidence)
            apart.append(angle)
    if not shares or sorted(apart)[len(apart) // 2] > _DISAGREEMENT:
        return None
    least, most = _SHUTTER
    return min(max(_weighted_median(shares, weights), least), most)


def _weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    total = 0.0
    for value, weight in sorted(zip(values, weights, strict=True)):
        total += weight
        if total >= sum(weights) / 2:
            return value
    return values[-1]


def _smoothed(field: Tensor) -> Tensor:
    taps = gaussian_taps(2 * round(2 * _SMOOTH) + 1, _SMOOTH).float()
    return filter_separably(field[:, None], taps, "replicate")[:, 0]


def _middle(pixels: Tensor, side: int = 256) -> Tensor:
    """The middle of C x H x W, repeated at the border where it is smaller."""
    height, width = pixels.shape[-2:]
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    part = pixels[None, :, top : top + side, left : left + side]
    return F.pad(part, (0, side - part.shape[-1], 0, side - part.shape[-2]), mode="replicate")[0]
