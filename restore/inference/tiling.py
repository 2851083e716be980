"""Tile geometry in pure integers: where tiles start, what of each is kept, and how neighbours are joined.

One geometry serves both modes:

* EXACT: neighbouring tiles share `2 * halo` pixels and are cut hard in the middle of what they share, so
  every kept pixel has at least `halo` pixels of real context. With `halo >= radius` and aligned origins
  the tiled result equals the untiled one.
* BLEND: the same overlap, but over `ramp` pixels around the middle the weight goes linearly from one tile
  to the next; the pixels outside the ramp (next to a tile's edge) are thrown away. Weights sum to one by
  construction, so no weight buffer exists.

Coordinates are those of the picture, virtually padded right and below to the next multiple of `multiple`
(and to `min_size`). All tiles of a plan have one shape; every origin is a multiple of `multiple`; the last
tile is shifted inward. At the picture's border the network's own border treatment applies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


def ceil_to(value: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is >= value."""
    return -(-value // multiple) * multiple


def border_index(index: int, size: int) -> int:
    """The picture coordinate that stands at `index` of the padded axis: reflection, then replication.

    Reflection without repeating the edge sample reaches `size - 1` samples beyond it; further out the
    last reflected sample is repeated (reflection alone is undefined there).
    """
    if index < size:
        return index
    return max(2 * (size - 1) - index, 0)


@dataclass(frozen=True)
class Span:
    """One tile along one axis.

    Attributes:
        origin: first coordinate of the tile, a multiple of the plan's `multiple`.
        start, stop: coordinates this tile contributes to.
        lead, trail: of those, how many at the start (end) are blended with the previous (next) tile.
    """

    origin: int
    start: int
    stop: int
    lead: int = 0
    trail: int = 0

    def weights(self, scale: int = 1) -> list[float]:
        """Weight of each output coordinate of [start, stop) * scale: half-pixel linear ramps, 1 between."""
        lead, trail = self.lead * scale, self.trail * scale
        rise = [(k + 0.5) / lead for k in range(lead)]
        fall = [1 - (k + 0.5) / trail for k in range(trail)]
        return rise + [1.0] * ((self.stop - self.start) * scale - lead - trail) + fall


@dataclass(frozen=True)
class Axis:
    """All tiles along one axis."""

    size: int  # true size in pixels
    padded: int  # virtually padded size
    tile: int  # side of every tile
    spans: tuple[Span, ...]


def plan_axis(
    size: int,
    core: int,
    halo: int,
    *,
    multiple: int = 1,
    min_size: int = 1,
    ramp: int = 0,
    start: int = 0,
    stop: int | None = None,
    lead: int = 0,
) -> Axis:
    """Cover [start, stop) of an axis with tiles.

    Args:
        size: length of the axis in pixels, >= 1.
        core: wanted advance from tile to tile, >= `least_core`; rounded up to `multiple`.
        halo: context on each side of a kept pixel; rounded up to `multiple`.
        multiple, min_size: requirements of the network.
        ramp: width of the blend between neighbours, <= 2 * halo; 0 cuts hard.
        start, stop: part of the axis that is wanted (a crop, or what is left after a change of tile size).
        lead: pixels at `start` to be blended with something already there (carried over), <= halo.
    """
    stop = size if stop is None else stop
    if not 0 <= start < stop <= size:
        raise ValueError(f"[{start}, {stop}) is not a part of an axis of {size}")
    if ramp and core < least_core(ramp, multiple):
        raise ValueError(f"a core of {core} is too small for ramps of {ramp}: they would meet")
    if ramp > 2 * halo:
        raise ValueError(f"a ramp of {ramp} does not fit into an overlap of {2 * halo}")
    core, halo = ceil_to(max(core, 1), multiple), ceil_to(halo, multiple)
    padded = ceil_to(max(size, min_size), multiple)
    tile = min(core + 2 * halo, padded)
    last = padded - tile

    here, begin, rise = min(max(0, (start - halo) // multiple * multiple), last), start, lead
    spans = []
    while here < last:
        after = min(here + tile - 2 * halo, last)
        seam = max((after + here + tile) // 2, begin + rise + ramp // 2)  # the middle, unless ramps would meet
        end = seam + ramp - ramp // 2
        if stop <= end:
            break
        spans.append(Span(here, begin, end, rise, ramp))
        here, begin, rise = after, seam - ramp // 2, ramp
    spans.append(Span(here, begin, stop, rise))
    return Axis(size, padded, tile, tuple(spans))


def least_core(ramp: int, multiple: int) -> int:
    """The smallest core with which the ramps at both ends of a tile cannot meet."""
    return 2 * ramp + multiple if ramp else 1


@dataclass(frozen=True)
class TilePlan:
    """Tiles over a picture: rows x columns of spans."""

    rows: Axis
    cols: Axis

    def __iter__(self) -> Iterator[tuple[Span, Span]]:
        return ((row, col) for row in self.rows.spans for col in self.cols.spans)

    @property
    def tiles(self) -> int:
        return len(self.rows.spans) * len(self.cols.spans)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every tile."""
        return self.rows.tile, self.cols.tile

    @property
    def overhead(self) -> float:
        """Pixels computed per pixel wanted, >= 1 up to padding."""
        wanted = _length(self.rows) * _length(self.cols)
        return self.tiles * self.rows.tile * self.cols.tile / wanted


def _length(axis: Axis) -> int:
    return axis.spans[-1].stop - axis.spans[0].start
