"""Hot and dead sites of a sensor: single samples that stand out from their neighbours in every frame of a sequence.

A star or a bead that stays where it is is wider than a sample: what surrounds it is lifted, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restore.analysis.colours import ColourView
from restore.analysis.impulses import find_impulses, least_step, neighbours_median
from restore.analysis.noise import estimate_noise
from restore.analysis.sample import known_crops
from restore.analysis.value_range import bands, find_scale
from restore.errors import RestoreError, counted
from restore.picture import FrameSource, PictureInfo, PictureSource

LEAST_FRAMES = 4
"""Frames of a sequence from which on a site is judged: in fewer, things may stand still by chance."""
_MOST = 0.01  # of the samples; more of them are a pattern
_LIFTED = 0.06  # of a site's excess, that its neighbours exceed those further out by; PSFs of half a sample lift more
_REACH = 2  # px, around a site: further out than its neighbours


@dataclass(frozen=True)
class HotSites:
    """Sites (row, column, channel), by rows, of frames of one size."""

    where: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.where[0])

    @property
    def note(self) -> str:
        """What is said to the user."""
        return f"{counted(len(self), 'site')} of the sensor, replaced by the neighbours' median in every frame"

    def between(self, start: int, stop: int) -> tuple[np.ndarray, ...]:
        """Those in rows [start, stop)."""
        part = slice(*np.searchsorted(self.where[0], (start, stop)))
        return tuple(index[part] for index in self.where)


class Healed:
    """A picture with the median of their neighbours at some sites."""

    def __init__(self, source: PictureSource, sites: HotSites) -> None:
        self.info: PictureInfo = source.info
        self._view, self._sites = ColourView(source), sites

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        first, last = max(0, start - 1), min(self.info.height, stop + 1)
        stored, filled = self._view.read_both(first, last)
        y, x, channel = self._sites.between(start, stop)
        rows = stored[start - first : stop - first].copy()
        rows[y - start, x, channel] = neighbours_median(filled, (y - first, x, channel))
        return rows

    def close(self) -> None:
        self._view.close()


class HealedFrames:
    """A sequence whose frames are `Healed`."""

    def __init__(self, frames: FrameSource, sites: HotSites) -> None:
        self._frames, self._sites = frames, sites

    @property
    def info(self) -> PictureInfo:
        return self._frames.info

    @property
    def count(self) -> int | None:
        return self._frames.count

    def time(self, index: int) -> float | None:
        return self._frames.time(index)

    def where(self, index: int) -> str | Path:
        return self._frames.where(index)

    def __iter__(self) -> Iterator[PictureSource]:
        return (Healed(source, self._sites) for source in self._frames)

    def frame(self, index: int) -> PictureSource:
        return Healed(self._frames.frame(index), self._sites)

    def close(self) -> None:
        self._frames.close()


def healed(frames: FrameSource) -> tuple[FrameSource, dict[str, str]]:
    """A sequence without its sensor's hot sites, and what is said of them; the same sequence where there are none.

    Raises:
        RestoreError: a frame that cannot be read, or holds infinite samples; it is named.
    """
    sites = find_hot_sites(frames)
    return (HealedFrames(frames, sites), {"hot pixels": sites.note}) if len(sites) else (frames, {})


def find_hot_sites(frames: FrameSource) -> HotSites:
    """The samples that stand out (`restore.analysis.impulses`) to the same side in every frame; none in few frames.

    Each frame is read once, by itself, until no site is left. How far samples must stand out is measured on the first.
    """
    if frames.count is not None and frames.count < LEAST_FRAMES:
        return _NONE
    sites: _Sites | None = None
    index = 0
    try:
        for source in frames:
            try:
                sites = _Sites(source) if sites is None else sites
                sites.look_at(source)
            finally:
                source.close()
            index += 1
            if not len(sites.places):
                break
            del source  # before the next is decoded
    except RestoreError as error:
        raise error.at(frames.where(index)) from error.__cause__
    return sites.found() if sites is not None and index >= LEAST_FRAMES else _NONE


_NONE = HotSites((np.zeros(0, np.int64),) * 3)


class _Sites:
    """The sites that stood out in all frames so far.

    Attributes:
        places: flat indices into a frame's colours, positive; below zero (-1 - index) those that are too dark.
    """

    def __init__(self, first: PictureSource) -> None:
        view = ColourView(first)
        scale = find_scale(view)
        self._step = least_step(estimate_noise(known_crops(view, scale)).sigma) * scale.white
        self._info, self._begun = view.info, False
        self.places = np.zeros(0, np.int64)
        self._excess = self._lifted = np.zeros(0)

    def look_at(self, source: PictureSource) -> None:
        """Forget the sites that do not stand out here; all, if the frames differ in size or type, or are tiny."""
        view = ColourView(source)
        if _kind(view.info) != _kind(self._info) or min(view.info.height, view.info.width) <= 2 * _REACH:
            self._keep(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
            return
        parts = [self._found_in(view, start, stop) for start, stop in bands(view.info)]
        self._keep(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def found(self) -> HotSites:
        single = self._lifted <= _LIFTED * self._excess
        index = np.sort(np.where(self.places < 0, -1 - self.places, self.places)[single])
        info = self._info
        y, x, channel = np.unravel_index(index, (info.height, info.width, info.channels))
        return HotSites((y, x, channel))

    def _keep(self, places: np.ndarray, excess: np.ndarray, lifted: np.ndarray) -> None:
        if not self._begun:
            many = len(places) > _MOST * self._info.pixels * self._info.channels
            chosen = slice(0, 0 if many else None)
            self.places, self._excess, self._lifted = places[chosen], excess[chosen], lifted[chosen]
            self._begun = True
            return
        self.places, before, now = np.intersect1d(self.places, places, assume_unique=True, return_indices=True)
        self._excess = self._excess[before] + excess[now]
        self._lifted = self._lifted[before] + lifted[now]

    def _found_in(self, view: ColourView, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places in rows [start, stop), how far they stand out, and how far their neighbours do."""
        first, last = max(0, start - _REACH), min(view.info.height, stop + _REACH)
        rows = view.read_rows(first, last)
        y, x, channel = find_impulses(rows, self._step)
        inside = (y >= start - first) & (y < stop - first)
        where = y[inside], x[inside], channel[inside]
        near = neighbours_median(rows, where)
        excess = rows[where] - near
        sign = np.sign(excess)
        lifted = sign * (near - neighbours_median(rows, where, _REACH))
        index = np.ravel_multi_index((where[0] + first, *where[1:]), (view.info.height, *rows.shape[1:]))
        return np.where(sign < 0, -1 - index, index), sign * excess, lifted


def _kind(info: PictureInfo) -> tuple[object, ...]:
    return info.height, info.width, info.channels, info.dtype
