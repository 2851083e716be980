"""Motion blur that is another one at every place: the picture averaged along displacements, a linear operator.

    y(p) = sum_k w_k x(p + d_k(p))

`FieldBlur`: p moves evenly along a vector b(p) of its own, d_k = s_k b + bend (4 s_k^2 - mean) b', s_k in [-1/2, 1/2],
b' is b turned by 90 degrees. `PathBlur`: a camera moves and rolls, the same for all places but for where they lie.

Pictures are B x C x H x W; displacements are in px (right, down). Values between pixels are bilinear; beyond the border
the picture is mirrored about its outermost pixels. In the type of the displacements, of at least float32.

Sources: averaging along flow vectors: Gong et al., "From motion blur to motion flow", CVPR 2017; rolling cameras:
Whyte et al., "Non-uniform deblurring for shaken images", IJCV 2012.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from restore.physics.shake import draw_paths

Size = tuple[int, int]
_LEAST, _MOST = 9, 65  # samples of an exposure
_WAVES = 4  # of a random field along each axis: 0 to 3 half waves over the picture
_LOOK = 33  # places along each axis at which a random field's largest vector is sought


def sample_count(longest: float) -> int:
    """Moments of an exposure that a blur of this extent (px) needs: one a pixel, odd, 9 to 65."""
    return min(_MOST, max(_LEAST, (math.ceil(longest) + 1) | 1))


def exposure_times(count: int, shutter: float = 0.0) -> tuple[list[float], list[float]]:
    """(times in [-1/2, 1/2], their weights of sum 1) of `count` equal parts of an exposure, at the middle of each.

    Args:
        shutter: share of the exposure in which the shutter opens, and closes, 0 to 1/2: weights are a trapezoid.
    Raises:
        ValueError: another share.
    """
    if not 0 <= shutter <= 0.5:
        raise ValueError(f"shutter is {shutter}: a share of 0 to 0.5")
    times = [(2 * k + 1 - count) / (2 * count) for k in range(count)]
    weights = [min(1.0, (0.5 - abs(time)) / shutter) if shutter else 1.0 for time in times]
    return times, [weight / sum(weights) for weight in weights]


class DisplacementBlur(ABC):
    """The average of displaced pictures, with its adjoint (`restore.physics.operators.Blur`).

    Both are differentiable with respect to the picture and to the displacements.

    Attributes:
        weights: of the displacements, of sum 1.
    """

    weights: Sequence[float]

    @abstractmethod
    def displacement(self, moment: int) -> Tensor:
        """Of one moment of the exposure: B x 2 x H x W (B may be 1)."""

    @abstractmethod
    def _still(self) -> Tensor:
        """Where nothing ever moves, so that the picture stays as it is to the bit: bool, B x 1 x H x W or alike."""

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W -> the same shape."""
        from kornia.geometry.transform import remap

        total = torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
        for moment, weight in enumerate(self.weights):
            places = _mirrored(self.displacement(moment)).to(total.dtype)
            right, down = places.expand(len(x), -1, -1, -1).unbind(1)
            moved = remap(x.to(total.dtype), right, down, padding_mode="border", align_corners=True)
            total = total + weight * moved
        return torch.where(self._still(), x.to(total.dtype), total).to(x.dtype)

    def adjoint(self, y: Tensor) -> Tensor:
        """B x C x H x W -> the same shape: every pixel given back to where it was taken from."""
        wide = torch.promote_types(y.dtype, torch.float32)
        height, width = y.shape[-2:]
        still = self._still()
        moving = torch.where(still, 0.0, y.to(wide))
        total = torch.zeros_like(moving).flatten(2)
        for moment, weight in enumerate(self.weights):
            places = _mirrored(self.displacement(moment)).to(wide).expand(len(y), -1, -1, -1)
            corner = places.detach().floor()
            share = places - corner
            column, row = corner.long().unbind(1)
            right, below = share.unbind(1)
            for rows, row_share in ((row, 1 - below), ((row + 1).clamp(max=height - 1), below)):
                for columns, column_share in ((column, 1 - right), ((column + 1).clamp(max=width - 1), right)):
                    given = weight * (row_share * column_share)[:, None] * moving
                    index = (rows * width + columns)[:, None].expand_as(y).flatten(2)
                    total = total.scatter_add(2, index, given.flatten(2))
        return (total.view_as(y) + torch.where(still, y.to(wide), 0.0)).to(y.dtype)


class FieldBlur(DisplacementBlur):
    """Blur along a vector at every place; b and -b are the same blur where there is no bend.

    Args:
        field: b, B x 2 x H x W, px (right, down): its length is the extent of the blur. 0 leaves a pixel as it is.
        bend: B, sagitta of the way over its chord, of 0.15 at most in size: positive is to the right of b as seen on
            a screen. The centroid stays in the middle. None: straight.
        shutter: see `exposure_times`.
        longest: length of the longest vector, px; None reads it off the field, for which a GPU is waited for.
    """

    def __init__(
        self, field: Tensor, bend: Tensor | None = None, *, shutter: float = 0.0, longest: float | None = None
    ) -> None:
        self._field = field
        if longest is None:
            longest = float(field.detach().square().sum(1).max().sqrt())
        self._times, self.weights = exposure_times(sample_count(longest), shutter)
        self._curve = None
        if bend is not None:
            self._curve = bend.to(field).view(-1, 1, 1, 1) * torch.stack((-field[:, 1], field[:, 0]), 1)
        weighted = zip(self.weights, self._times, strict=True)
        self._mean = sum(weight * 4 * time * time for weight, time in weighted)

    def displacement(self, moment: int) -> Tensor:
        time = self._times[moment]
        straight = time * self._field
        return straight if self._curve is None else straight - (4 * time * time - self._mean) * self._curve

    def _still(self) -> Tensor:
        return (self._field == 0).all(1, keepdim=True)


class PathBlur(DisplacementBlur):
    """Blur of a camera that moves along a path and rolls: a point of light at q draws the line c + R (q - c) + path.

    Without rolls it is the convolution with `restore.physics.shake.rasterised(paths)`.

    Args:
        paths: B x T x 2, px (right, down), equal times between samples; see `at_moments` for fewer of them.
        rolls: B x T, radians, from right to down; None: none.
        size: height and width of the picture, or of the part of it that is blurred.
        centre: c, B x 2, px (right, down) from the first pixel of that part; None: its middle.
    """

    def __init__(self, paths: Tensor, rolls: Tensor | None, size: Size, centre: Tensor | None = None) -> None:
        self._paths, self._size = paths, size
        rolls = paths.new_zeros(paths.shape[:2]) if rolls is None else rolls
        self._cosines, self._sines, self._rolls = rolls.cos(), rolls.sin(), rolls
        if centre is None:
            centre = paths.new_tensor([(size[1] - 1) / 2, (size[0] - 1) / 2]).expand(len(paths), 2)
        self._centre = centre
        self.weights = [1 / paths.shape[1]] * paths.shape[1]

    def displacement(self, moment: int) -> Tensor:
        path, centre = (each[:, :, None, None] for each in (self._paths[:, moment], self._centre))
        away = _grid(self._size, self._paths) - centre
        right, down = (away - path).unbind(1)
        cosine, sine = (each[:, moment, None, None] for each in (self._cosines, self._sines))
        return torch.stack((cosine * right + sine * down, cosine * down - sine * right), 1) - away

    def _still(self) -> Tensor:
        return ((self._paths == 0).all(2) & (self._rolls == 0)).all(1).view(-1, 1, 1, 1)


def at_moments(tracks: Tensor, count: int) -> Tensor:
    """Tracks B x T or B x T x n at the middles of `count` equal parts of the exposure, linear: B x count (x n)."""
    place = (torch.arange(count, dtype=tracks.dtype, device=tracks.device) + 0.5) * ((tracks.shape[1] - 1) / count)
    before = place.long()
    share = (place - before).view([1, -1] + [1] * (tracks.ndim - 2))
    return (1 - share) * tracks[:, before] + share * tracks[:, before + 1]


def draw_fields(generators: Sequence[torch.Generator]) -> Tensor:
    """Random smooth fields as amplitudes of waves, for `field_at`: B x 2 x 4 x 4, on the CPU.

    Their longest vector has the length 1 (at one of 33 x 33 places; between them it is longer by less than 3 %). Sample
    i comes from its own generator.
    """
    amplitudes = torch.stack([torch.randn(2, _WAVES, _WAVES, generator=each) for each in generators])
    wave = torch.arange(_WAVES, dtype=amplitudes.dtype)
    amplitudes = amplitudes / (1 + wave[:, None].square() + wave.square())
    longest = field_at(amplitudes, (_LOOK, _LOOK)).square().sum(1).amax((1, 2)).sqrt()
    return amplitudes / longest.clamp(min=1e-9)[:, None, None, None]


def field_at(amplitudes: Tensor, size: Size, origin: Size = (0, 0), part: Size | None = None) -> Tensor:
    """Fields of waves B x n x rows x columns over a picture of this size, in a part of it: B x n x h x w.

    sum_ij a_ij cos(pi i v) cos(pi j u), u and v from 0 to 1 over the picture.

    Args:
        origin: row and column of the part's first pixel.
        part: height and width of the part; None: the whole picture.
    """
    rows, columns = (
        _waves(first, length, whole, count, amplitudes)
        for first, length, whole, count in zip(origin, part or size, size, amplitudes.shape[-2:], strict=True)
    )
    return rows @ amplitudes @ columns.mT


def draw_camera_shakes(generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor, Tensor]:
    """Random shakes with a roll: paths B x T x 2 (`restore.physics.shake.draw_paths`), rolls B x T and centres B x 2.

    Paths have an extent of 1; rolls a mean of 0 and a range (highest less lowest) of 1; centres are in shares of
    (width, height), 0.2 to 0.8. Sample i comes from its own generator, on the CPU.
    """
    paths, others = draw_paths(generators), draw_paths(generators)
    rolls = others[..., 0] / (others[..., 0].amax(1) - others[..., 0].amin(1)).clamp(min=1e-9)[:, None]
    centres = torch.stack([0.2 + 0.6 * torch.rand(2, generator=each) for each in generators])
    return paths, rolls, centres


def _waves(first: int, length: int, whole: int, count: int, like: Tensor) -> Tensor:
    """cos(pi j u) of `count` waves j at pixels [first, first + length) of `whole`: length x count."""
    place = (torch.arange(first, first + length, dtype=like.dtype, device=like.device) + 0.5) / whole
    return (math.pi * place[:, None] * torch.arange(count, dtype=like.dtype, device=like.device)).cos()


def _grid(size: Size, like: Tensor) -> Tensor:
    """Places of pixels (right, down): 1 x 2 x H x W."""
    rows, columns = (torch.arange(side, dtype=like.dtype, device=like.device) for side in size)
    return torch.stack((columns.expand(size), rows[:, None].expand(size)))[None]


def _mirrored(displacement: Tensor) -> Tensor:
    """Where displaced pixels are taken from, within the picture: B x 2 x H x W."""
    height, width = displacement.shape[-2:]
    places = _grid((height, width), displacement) + displacement
    sides = zip(places.unbind(1), (width - 1, height - 1), strict=True)
    return torch.stack([_folded(place, last) for place, last in sides], 1)


def _folded(place: Tensor, last: int) -> Tensor:
    """Places mirrored at 0 and `last` until they lie between them."""
    if last == 0:
        return torch.zeros_like(place)
    return last - (last - place.abs().remainder(2 * last)).abs()
