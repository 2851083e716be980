"""The colours of a picture as they are computed with: what holds no picture is filled from its surroundings.

Transparent pixels (the colour under alpha = 0 is undefined), missing data (`restore.analysis.missing`), and, for those
who ask, single samples that stand out (`restore.analysis.impulses`). What was filled is returned as it was stored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from restore.analysis import missing
from restore.analysis.impulses import find_impulses, neighbours_median
from restore.analysis.missing import Missing, find_missing
from restore.picture import PictureInfo, PictureSource

_RADII = (4, 16)  # px: from how far around a pixel is filled, from the nearest first
_MARGIN = max(missing.REACH, _RADII[-1] + 1)
_SAMPLED = 1 << 16  # samples whose median fills what is far from everything


@dataclass(frozen=True)
class Kept:
    """What an engine leaves as it is, beside what holds no picture.

    Attributes:
        flat: areas filled with one colour.
        impulses: least difference, in stored units, of single samples from their neighbours; None: none is kept.
        remove: those are replaced by their neighbours' median instead.
        margin: px around what holds no picture (transparent pixels, too) that stay as they are as well.
    """

    flat: bool = False
    impulses: float | None = None
    remove: bool = False
    margin: int = 0


class ColourView:
    """The colour samples of a picture, gaps filled.

    The fill depends on what is near, never on where the reading starts, so tiles agree; what is far from everything
    known has the picture's median.

    Args:
        source: the picture, with or without alpha.
        kept: what else is left as it is.
    """

    def __init__(self, source: PictureSource, kept: Kept | None = None) -> None:
        self.source = source
        self.kept = kept or Kept()
        self.info: PictureInfo = replace(source.info, alpha=False)
        self._rows, self._first = None, 0

    @classmethod
    def of(cls, source: PictureSource) -> ColourView:
        """The source itself where it is such a view already."""
        return source if isinstance(source, cls) else cls(source)

    def again(self) -> ColourView:
        """The same, to be read beside this one."""
        view = ColourView(self.source, self.kept)
        if "missing" in self.__dict__:  # it was looked for
            view.__dict__["missing"] = self.missing
        return view

    @cached_property
    def missing(self) -> Missing:
        return find_missing(self.source)

    @property
    def gaps(self) -> Missing:
        """What is missing, filled areas left out where they are not kept (then integers need not be looked through)."""
        if self.kept.flat:
            return self.missing
        looked_at = self.info.dtype == "float32" or self.info.nodata is not None
        return replace(self.missing, fills=()) if looked_at else Missing()

    @property
    def whole(self) -> bool:
        """Whether there is nothing to fill or to keep."""
        gaps = self.gaps
        none = not (gaps.nan or gaps.values or gaps.fills)
        return none and not self.source.info.alpha and self.kept.impulses is None

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop): (stop - start) x W x C, gaps filled."""
        if self.whole or start == stop:
            return self.source.read_rows(start, stop)[..., : self.info.channels]
        stored, inside = self._around(start, stop)
        return self._filled(stored)[inside]

    def read_both(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows [start, stop) as stored, alpha included, and their colours, gaps filled."""
        stored, inside = self._around(start, stop)
        return stored[inside], self._without_gaps(stored)[inside]

    def read_known(self, start: int, stop: int, *, filled: bool = False) -> np.ndarray | None:
        """Where these rows hold what may be measured, (stop - start) x W; None: everywhere.

        Args:
            filled: whether areas filled with one colour may be, too.
        """
        if not self.source.info.alpha and self.missing == Missing():
            return None
        stored, inside = self._around(start, stop)
        masks = self._absent(stored), None if filled else self.missing.flat(self._colours(stored))
        unknown = [mask for mask in masks if mask is not None]
        return ~np.any(unknown, axis=0)[inside] if unknown else None

    def read_kept(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray] | None:
        """(colours as stored, mask): what of these rows is returned as it is, both (stop - start) x W x C.

        None: nothing. Of transparency the alpha of the result decides.
        """
        if self.whole:
            return None
        stored, inside = self._around(start, stop)
        colours = self._colours(stored)
        absent = self._absent(stored) if self.kept.margin else self.gaps.absent(colours)
        mask = np.zeros(colours.shape, bool)
        for each in (absent, self.gaps.flat(colours)):
            if each is not None:
                mask |= _widened(each, self.kept.margin)[..., None]
        if self.kept.impulses is not None and not self.kept.remove:
            mask[find_impulses(self._without_gaps(stored), self.kept.impulses)] = True
        return colours[inside], mask[inside]

    def close(self) -> None:
        self.source.close()

    @cached_property
    def _median(self) -> np.ndarray:
        """Of each channel, of what is known."""
        info = self.source.info
        step = max(1, info.pixels // _SAMPLED)
        parts = []
        for start in range(0, info.height, 256):
            stored = self.source.read_rows(start, min(start + 256, info.height))
            colours, absent = self._colours(stored), self._absent(stored)
            known = colours.reshape(-1, info.channels)
            parts.append((known if absent is None else known[~absent.reshape(-1)])[::step])
        known = np.concatenate(parts)
        return np.median(known, axis=0) if len(known) else np.zeros(info.channels)

    def _colours(self, stored: np.ndarray) -> np.ndarray:
        return stored[..., : self.info.channels]

    def _around(self, start: int, stop: int) -> tuple[np.ndarray, slice]:
        """Stored rows with a margin on either side, and where those that were asked for are in them."""
        margin = _MARGIN + self.kept.margin
        first, last = max(0, start - margin), min(self.info.height, stop + margin)
        kept = self._rows
        if kept is None or not self._first <= first <= self._first + len(kept):
            kept, self._first = self.source.read_rows(first, last), first
        elif self._first + len(kept) < last:  # every row is read once while bands go down
            kept = kept[first - self._first :]
            kept, self._first = np.concatenate([kept, self.source.read_rows(first + len(kept), last)]), first
        self._rows = kept
        rows = kept[first - self._first : last - self._first]
        return rows, slice(start - first, stop - first)

    def _absent(self, stored: np.ndarray) -> np.ndarray | None:
        """Where pixels hold no picture, H x W; None: nowhere."""
        absent = self.gaps.absent(self._colours(stored))
        if not self.source.info.alpha:
            return absent
        transparent = stored[..., -1] == 0
        return transparent if absent is None else absent | transparent

    def _without_gaps(self, stored: np.ndarray) -> np.ndarray:
        absent = self._absent(stored)
        colours = self._colours(stored)
        flat = self.gaps.flat(colours)
        if flat is not None:
            absent = flat if absent is None else absent | flat
        return colours if absent is None or not absent.any() else _filled_in(colours, absent, self._median)

    def _filled(self, stored: np.ndarray) -> np.ndarray:
        colours = self._without_gaps(stored)
        if self.kept.impulses is None:
            return colours
        where = find_impulses(colours, self.kept.impulses)
        if len(where[0]):
            colours = colours.copy()
            colours[where] = neighbours_median(colours, where)
        return colours


def _widened(mask: np.ndarray, margin: int) -> np.ndarray:
    """H x W, and what is up to `margin` px away along both axes."""
    import cv2

    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * margin + 1,) * 2, np.uint8)) > 0 if margin else mask


def _filled_in(colours: np.ndarray, absent: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Where pixels are absent, the mean of those that are known around them; `far` where there are none."""
    import cv2

    rounded = np.rint if colours.dtype.kind == "u" else np.asarray
    filled = colours.copy()
    filled[absent] = rounded(far)
    todo, known = absent.copy(), (~absent).astype(np.float64)
    for radius in _RADII:
        size = (2 * radius + 1, 2 * radius + 1)

        def box_sum(plane: np.ndarray, size: tuple[int, int] = size) -> np.ndarray:
            return cv2.boxFilter(plane, cv2.CV_64F, size, normalize=False, borderType=cv2.BORDER_CONSTANT)

        weight = box_sum(known)
        here = todo & (weight > 0.5)
        for channel in range(colours.shape[-1]):
            sums = box_sum(np.where(absent, 0.0, colours[..., channel]))
            filled[..., channel][here] = rounded(sums[here] / weight[here])
        todo &= ~here
    return filled
