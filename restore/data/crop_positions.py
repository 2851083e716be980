"""Where crops lie: the windows of frames that a cache holds, and the places of squares within them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from restore.data.cache import CropCache, Entry
from restore.degradations.degradation import Role
from restore.errors import ConfigError

MAIN = "clean"
Windows = Mapping[int, tuple[int, ...]]  # number of its first entry -> numbers of its entries, in their order


class CropSources:
    """The caches of a batch's roles, and what can be cut from them.

    Counterparts have their pictures in the order of the main ones; those of fewer frames than others show the middle of
    the window.

    Attributes:
        windows: of the main role and its counterparts.
        step: grid of places, in px of the main pictures, that is whole pixels at every scale.
    """

    def __init__(self, caches: Mapping[str, CropCache], roles: Mapping[str, Role]) -> None:
        self.caches = dict(caches)
        self.roles = {role: roles.get(role, Role()) for role in caches}
        self.step = math.lcm(*(role.ratio.denominator for role in self.roles.values()))
        self._together = {role: how for role, how in self.roles.items() if role == MAIN or not how.independent}
        self.windows = _windows(caches[MAIN].entries, max(how.frames for how in self._together.values()))
        self.own = {
            role: _windows(caches[role].entries, how.frames)
            for role, how in self.roles.items()
            if role not in self._together
        }

    def side(self, role: str, side: int) -> int:
        """Of a role's crops, where those of the main pictures have `side`."""
        return int(side * self.roles[role].ratio)

    def common_size(self, start: int) -> tuple[int, int]:
        """(height, width) in px of the main pictures that a window and its counterparts all cover."""
        first = [(self.caches[role].entries[start], how.ratio) for role, how in self._together.items()]
        height = min(int(entry.height / ratio) for entry, ratio in first)
        return height, min(int(entry.width / ratio) for entry, ratio in first)

    def numbers(self, role: str, start: int) -> tuple[int, ...]:
        """The entries that a role shows of the window that begins with `start`."""
        if role in self.own:
            return self.own[role][start]
        window, frames = self.windows[start], self.roles[role].frames
        before = (len(window) - frames) // 2
        return window[before : before + frames]

    def places(self, role: str, crop: int) -> CropPositions:
        """All places of crops: of the main role and its counterparts, or of one that is independent.

        Raises `ConfigError` if nothing is large enough.
        """
        side = self.side(role, crop) if role in self.own else crop
        windows, step = (self.own[role], 1) if role in self.own else (self.windows, self.step)
        entries = self.caches[role].entries
        rooms = {start: (entries[start].height, entries[start].width) if role in self.own else self.common_size(start)
                 for start in windows}  # fmt: skip
        fitting = {start: room for start, room in rooms.items() if min(room) >= side}
        if not fitting:
            raise _too_large(role, crop, max(map(min, rooms.values()), default=0), self.roles[role].ratio, self.step)
        return CropPositions(fitting, side, step)

    def crop(self, role: str, start: int, side: int, top: int, left: int) -> list[np.ndarray]:
        """P x P x 3 of each frame. Side and place are in px of the main pictures, of independent roles in their own."""
        ratio = 1 if role in self.own else self.roles[role].ratio
        side, y, x = (int(value * ratio) for value in (side, top, left))
        cache = self.caches[role]
        entries = [cache.entries[number] for number in self.numbers(role, start)]
        crops = [cache.picture(entry)[y : y + side, x : x + side] for entry in entries]
        main = entries[0] if role in self.own else self.caches[MAIN].entries[start]
        return [_on_scale_of(main, entry, crop) for entry, crop in zip(entries, crops, strict=True)]


class CropPositions:
    """All places of squares of a side in some pictures, on a grid of `step` px; each equally likely."""

    def __init__(self, rooms: Mapping[int, tuple[int, int]], side: int, step: int) -> None:
        self.side = side
        self._starts, self._step = list(rooms), step
        self._columns = [(width - side) // step + 1 for _, width in rooms.values()]
        rows = [(height - side) // step + 1 for height, _ in rooms.values()]
        counts = [down * across for down, across in zip(rows, self._columns, strict=True)]
        self._ends = np.cumsum(counts, dtype=np.int64)  # picture i owns the places up to ends[i]

    def draw(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """(first entry of a window, top, left)."""
        place = int(rng.integers(self._ends[-1]))
        which = int(np.searchsorted(self._ends, place, side="right"))
        place -= int(self._ends[which - 1]) if which else 0
        row, column = divmod(place, self._columns[which])
        return self._starts[which], row * self._step, column * self._step


def _on_scale_of(main: Entry, entry: Entry, pixels: np.ndarray) -> np.ndarray:
    """Samples of a picture as they are on another's scale, so that pictures taken together stay comparable."""
    if (entry.black, entry.white) == (main.black, main.white):
        return pixels
    unit = pixels / (65535 if entry.deep else 255)
    unit = (unit * entry.white + entry.black - main.black) / main.white
    return np.clip(np.rint(unit * 65535), 0, 65535).astype(np.uint16)


def _windows(entries: Sequence[Entry], frames: int) -> Windows:
    """All windows of files that follow each other in one folder, at one size.

    Raises `ConfigError` if there is none.
    """
    if frames == 1:
        return {number: (number,) for number in range(len(entries))}
    series: dict[tuple[str, int], list[int]] = {}  # (folder, which of the sizes each file is stored at) -> entries
    sizes: dict[str, int] = {}
    for number, entry in enumerate(entries):
        sizes[entry.path] = sizes.get(entry.path, -1) + 1
        series.setdefault((entry.folder, sizes[entry.path]), []).append(number)
    windows = {}
    for numbers in series.values():
        numbers.sort(key=lambda number: entries[number].file)
        for at in range(len(numbers) - frames + 1):
            window = tuple(numbers[at : at + frames])
            if _is_consecutive([entries[number] for number in window]):
                windows[window[0]] = window
    if not windows:
        fix = "Name folders that hold the frames of one clip each"
        raise ConfigError(f"no folder holds {frames} frames of one size in a row", fix=fix)
    return windows


def _is_consecutive(window: Sequence[Entry]) -> bool:
    first = window[0]
    return all(
        (entry.file, entry.height, entry.width) == (first.file + i, first.height, first.width)
        for i, entry in enumerate(window)
    )


def _too_large(role: str, crop: int, largest: int, ratio: Fraction, step: int) -> ConfigError:
    whose = "" if role == MAIN else f" of the role {role!r}"
    least = int(largest / (1 if role == MAIN else ratio)) // step * step
    return ConfigError(
        f"no picture{whose} is as large as data.crop, {crop} px", fix=f"Set data.crop to {least} or less"
    )
