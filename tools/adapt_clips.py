"""Synthetic clips with truth whose blur differs from what a deblurrer was trained on, one way at a time.

Every clip has 24 frames of 320 x 240 px: a window that moves over a photograph in bouts of six frames, the first two of
which are (nearly) still, so that there is something sharp to learn from. The truth of a frame is the photograph at the
middle of its exposure, at a whole pixel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.physics.camera_blur import lit, photographed
from restore.physics.fourier import convolve, otf
from restore.physics.shake import draw_paths, rasterised

FRAMES, HEIGHT, WIDTH = 24, 240, 320
_BOUT, _STILL = 6, 2  # frames of a bout; of these, at its beginning, (nearly) still
MOVING = tuple(k for k in range(FRAMES) if k % _BOUT >= _STILL)
_EXPOSURE, _MOMENTS = 0.8, 33
_SIDE = 65  # px, of PSFs
_MARGIN = 40  # px around a window, that blur brings in
_ROOM = 160  # px that the photograph is mirrored by


@dataclass(frozen=True)
class Shift:
    """How the blur of a clip is.

    Attributes:
        length: px of the frames that move.
        still: px of those that do not.
        angle: of all bouts, degrees; None: drawn for each.
        shaken: along random paths instead of lines.
        lights: factor of what is at white before the blur.
        noise: std, 8-bit units.
        quality: of JPEG; 0: none.
    """

    length: tuple[float, float]
    still: tuple[float, float] = (0.0, 1.2)
    angle: float | None = None
    shaken: bool = False
    lights: float = 1.0
    noise: float = 1.0
    quality: float = 0.0


SHIFTS: Mapping[str, Shift] = {
    "a longer": Shift((8.0, 24.0)),
    "b one direction": Shift((5.0, 12.0), angle=60.0),
    "c shaken": Shift((6.0, 16.0), shaken=True),
    "d saturated": Shift((4.0, 12.0), lights=3.0),
    "e noise, JPEG": Shift((4.0, 12.0), noise=5.0, quality=60.0),
    "f mild": Shift((0.0, 2.0)),
    "g none": Shift((2.0, 9.0)),
    "h nothing sharp": Shift((6.0, 16.0), still=(6.0, 16.0)),
}


def make_clip(photograph: Tensor, shift: Shift, seed: int) -> tuple[Tensor, Tensor]:
    """(frames, their truth), FRAMES x 3 x HEIGHT x WIDTH each, 8-bit values in [0, 1].

    Args:
        photograph: 3 x H x W in [0, 1], of any size.
    """
    generator = torch.Generator().manual_seed(seed)
    scene = _roomy(photograph)
    middle = torch.tensor([scene.shape[-1] / 2, scene.shape[-2] / 2])
    place, angle = middle, 0.0
    frames, truths = [], []
    for k in range(FRAMES):
        chance, turn, direction = torch.rand(3, generator=generator).tolist()
        if k % _BOUT == 0:
            angle = math.radians(shift.angle) if shift.angle is not None else math.pi * turn
            angle += math.pi * (direction < 0.5)
        low, high = shift.still if k % _BOUT < _STILL else shift.length
        length = low + (high - low) * chance
        step = length / _EXPOSURE * torch.tensor([math.cos(angle), math.sin(angle)])
        path = _path(shift, length, step, generator)
        place = place + step
        if ((place - middle).abs() > torch.tensor([_ROOM / 2, _ROOM / 2])).any():
            angle, place = angle + math.pi, place - 2 * step  # back, before the edge
        frame, truth = _frame(scene, place.round().long(), path, shift, generator)
        frames.append(frame)
        truths.append(truth)
    return torch.stack(frames), torch.stack(truths)


def _roomy(photograph: Tensor) -> Tensor:
    height, width = photograph.shape[-2:]
    factor = max((HEIGHT + 2 * _MARGIN) / height, (WIDTH + 2 * _MARGIN) / width, 0.5)
    size = max(HEIGHT, round(height * factor)), max(WIDTH, round(width * factor))
    small = F.interpolate(photograph[None], size, mode="bilinear", antialias=True, align_corners=False)
    return F.pad(small, [_ROOM] * 4, mode="reflect")


def _path(shift: Shift, length: float, step: Tensor, generator: torch.Generator) -> Tensor:
    """Of an exposure around its middle, 1 x M x 2 px."""
    if shift.shaken:
        path = draw_paths([generator]) * length
        return path - path[:, path.shape[1] // 2 : path.shape[1] // 2 + 1]
    times = (torch.arange(_MOMENTS) + 0.5) / _MOMENTS - 0.5
    return _EXPOSURE * (times[:, None] * step)[None]


def _frame(
    scene: Tensor, place: Tensor, path: Tensor, shift: Shift, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    left, top = int(place[0]) - WIDTH // 2 - _MARGIN, int(place[1]) - HEIGHT // 2 - _MARGIN
    part = scene[..., top : top + HEIGHT + 2 * _MARGIN, left : left + WIDTH + 2 * _MARGIN]
    linear = torch.ones(1, dtype=torch.bool)
    light = lit(part, linear, torch.tensor([shift.lights]))
    y = convolve(light, otf(rasterised(path, _SIDE), (part.shape[-2], part.shape[-1])))
    noise = shift.noise / 255 * torch.randn(part.shape, generator=generator)
    inner = (..., slice(_MARGIN, -_MARGIN), slice(_MARGIN, -_MARGIN))
    blurred = photographed(y, linear, noise, torch.tensor([shift.quality]), inner)
    return blurred[0], (part[inner][0].clamp(0, 1) * 255).round() / 255
