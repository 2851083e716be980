"""Batches as pure functions of (seed, step): no sampler has a state, so resuming is exact by construction.

The items of a global batch are numbered; each process and each gradient accumulation takes a range of the
numbers. The same global batch is drawn however it is divided.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from restore.data.cache import CropCache, Entry
from restore.degradations.degradation import CLEAN, Role
from restore.errors import ConfigError
from restore.physics.color import LUMA

MAIN = "clean"


@dataclass(frozen=True)
class Batch:
    """Crops to learn from.

    Attributes:
        pictures: by role (`restore.degradations.degradation.Role`), "clean" among them: B x C x P x P, or
            B x T x C x P x P for roles of several frames, P times the role's scale; uint8 or uint16 on the CPU as
            drawn, float in [0, 1] after `to`.
        seed, step: what the batch was drawn from.
        first_index: number of its first item in the global batch; item b is `first_index + b`.
    """

    pictures: Mapping[str, Tensor]
    seed: int
    step: int
    first_index: int

    @property
    def clean(self) -> Tensor:
        """The pictures of the main role."""
        return self.pictures[MAIN]

    def to(self, device: torch.device) -> Batch:
        """On the device as float32 in [0, 1], channels last; bytes travel, floats do not."""

        def moved(x: Tensor) -> Tensor:
            white = 65535 if x.dtype is torch.uint16 else 255
            x = x.to(device, non_blocking=True).float().div_(white)
            return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()

        return replace(self, pictures={role: moved(x) for role, x in self.pictures.items()})


class CropBatches:
    """Random square crops of caches, in all eight orientations, any place of any picture equally likely.

    Args:
        caches: by role; "clean" is the main one, counterparts have their pictures in the same order.
        crop: side of the clean crops in pixels; smaller pictures are left out.
        channels: 3, or 1 for luma (ITU-R BT.601).
        seed: another seed, other crops.
        roles: what each role wants; those of `caches` without an entry are plain counterparts.
    Raises:
        ConfigError: no picture is large enough, channels is neither 1 nor 3, or the crop does not divide as a role's
            scale needs it.
    """

    def __init__(
        self,
        caches: Mapping[str, CropCache],
        crop: int,
        channels: int = 3,
        seed: int = 0,
        roles: Mapping[str, Role] = CLEAN,
    ) -> None:
        if channels not in (1, 3):
            raise ConfigError(f"batches of {channels} channels are not known", fix="Give 1 (grey) or 3 (RGB)")
        self.crop, self.channels, self.seed = crop, channels, seed
        self.roles = {role: roles.get(role, Role()) for role in caches}
        self._caches = dict(caches)
        self._step = _common_step([role.scale for role in self.roles.values()])
        if crop % self._step:
            raise ConfigError(f"data.crop is {crop}", fix=f"The scales of the roles need a multiple of {self._step}")
        self._places = {role: self._places_of(role) for role in caches if role == MAIN or self.roles[role].independent}

    def __call__(self, step: int, first: int, count: int) -> Batch:
        """Items `first` … `first + count - 1` of the global batch of `step`."""
        items = [self._item(step, index) for index in range(first, first + count)]
        return Batch({role: _stacked([item[role] for item in items]) for role in self._caches}, self.seed, step, first)

    def _item(self, step: int, index: int) -> dict[str, np.ndarray]:
        """Role -> P x P x C, or T x P x P x C."""
        rng = np.random.default_rng((self.seed, step, index))
        number, top, left = self._places[MAIN].draw(rng)
        orientation = int(rng.integers(8))
        cut = {}
        for position, (role, how) in enumerate(self.roles.items()):
            if how.independent:
                own = np.random.default_rng((self.seed, step, index, position))
                place = (*self._places[role].draw(own), int(own.integers(8)))
            else:
                place = number, top, left, orientation
            cut[role] = self._cut(role, *place)
        return cut

    def _cut(self, role: str, number: int, top: int, left: int, orientation: int) -> np.ndarray:
        how, cache = self.roles[role], self._caches[role]
        side, y, x = (round(value * how.scale) for value in (self.crop, top, left))
        frames = [
            _oriented(to_channels(cache.picture(entry)[y : y + side, x : x + side], self.channels), orientation)
            for entry in cache.entries[number : number + how.frames]
        ]
        return frames[0] if how.frames == 1 else np.stack(frames)

    def _places_of(self, role: str) -> _Places:
        how, cache = self.roles[role], self._caches[role]
        side = round(self.crop * how.scale) if how.independent else self.crop
        starts = [
            number for number, entry in enumerate(cache.entries)
            if min(entry.height, entry.width) >= side and _goes_on(cache.entries, number, how.frames)
        ]  # fmt: skip
        if not starts:
            largest = max((min(entry.height, entry.width) for entry in cache.entries), default=0)
            wanted = f" with {how.frames} frames of one size in a row" if how.frames > 1 else ""
            raise ConfigError(
                f"no picture{wanted} is as large as data.crop, {side} px", fix=f"Set data.crop to {largest} or less"
            )
        return _Places(cache.entries, starts, side, self._step)


class _Places:
    """All places of crops of a side in some pictures, on a grid of `step` px; each equally likely."""

    def __init__(self, entries: Sequence[Entry], starts: Sequence[int], side: int, step: int) -> None:
        self._starts, self._step = starts, step
        self._columns = [(entries[number].width - side) // step + 1 for number in starts]
        rows = [(entries[number].height - side) // step + 1 for number in starts]
        counts = [down * across for down, across in zip(rows, self._columns, strict=True)]
        self._ends = np.cumsum(counts, dtype=np.int64)  # picture i owns the places up to ends[i]

    def draw(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """(number of the entry, top, left)."""
        place = int(rng.integers(self._ends[-1]))
        which = int(np.searchsorted(self._ends, place, side="right"))
        place -= int(self._ends[which - 1]) if which else 0
        row, column = divmod(place, self._columns[which])
        return self._starts[which], row * self._step, column * self._step


def _common_step(scales: Sequence[float]) -> int:
    """The grid of places, in px of the clean pictures, that is whole pixels at every scale."""
    return math.lcm(*(Fraction(scale).limit_denominator(64).denominator for scale in scales))


def _goes_on(entries: Sequence[Entry], number: int, frames: int) -> bool:
    """Whether so many pictures of one folder and size follow each other from an entry on."""
    if number + frames > len(entries):
        return False
    first, last = entries[number], entries[number + frames - 1]
    same = all((each.height, each.width) == (first.height, first.width) for each in entries[number : number + frames])
    return same and first.path.rpartition("/")[0] == last.path.rpartition("/")[0]


def _stacked(crops: Sequence[np.ndarray]) -> Tensor:
    """(T x) P x P x C each -> B x (T x) C x P x P, a view with the channels last; deep if one of them is."""
    deep = any(crop.dtype == np.uint16 for crop in crops)
    same = [crop.astype(np.uint16) * 257 if deep and crop.dtype == np.uint8 else crop for crop in crops]
    return torch.from_numpy(np.stack(same)).movedim(-1, -3)


def to_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """H x W x 3 of whole numbers as it is, or as H x W x 1 luma, rounded."""
    if channels == 3:
        return pixels
    return np.rint(pixels @ np.array(LUMA, np.float32)).astype(pixels.dtype)[..., None]


def _oriented(pixels: np.ndarray, which: int) -> np.ndarray:
    """One of the eight orientations of a square, `which` from 0 to 7."""
    turned = np.rot90(pixels, which % 4)
    return np.ascontiguousarray(turned[:, ::-1] if which >= 4 else turned)


def validation_batches(
    caches: Mapping[str, CropCache],
    channels: int = 3,
    *,
    side: int = 256,
    size: int = 4,
    multiple_of: int = 8,
    roles: Mapping[str, Role] = CLEAN,
) -> list[Batch]:
    """The centre crops of the caches' pictures, in batches of one shape: the same every time.

    Pictures smaller than `side` give the largest square that is a multiple of `multiple_of`.
    """
    how = {role: roles.get(role, Role()) for role in caches}
    step = math.lcm(multiple_of, _common_step([role.scale for role in how.values()]))
    entries, frames = caches[MAIN].entries, how[MAIN].frames
    by_side: dict[int, list[int]] = {}
    for number, entry in enumerate(entries):
        if _goes_on(entries, number, frames):
            by_side.setdefault(min(side, entry.height, entry.width) // step * step, []).append(number)

    def centres(role: str, numbers: Sequence[int], fitting: int) -> Tensor:
        cache, own = caches[role], round(fitting * how[role].scale)
        found = []
        for number in numbers:
            if how[role].independent:  # the next picture of its own that is large enough
                number = next(
                    (n % len(cache.entries) for n in range(number + 1, number + 1 + len(cache.entries))
                     if min(cache.entries[n % len(cache.entries)].height, cache.entries[n % len(cache.entries)].width)
                     >= own), number % len(cache.entries),
                )  # fmt: skip
            group = cache.entries[number : number + how[role].frames]
            crops = [to_channels(_centre(cache.picture(entry), own), channels) for entry in group]
            found.append(crops[0] if how[role].frames == 1 else np.stack(crops))
        return _stacked(found)

    batches = []
    for fitting, numbers in by_side.items():
        for start in range(0, len(numbers) if fitting else 0, size):
            group = numbers[start : start + size]
            batches.append(Batch({role: centres(role, group, fitting) for role in caches}, 0, 0, group[0]))
    return batches


def _centre(pixels: np.ndarray, side: int) -> np.ndarray:
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return pixels[top : top + side, left : left + side]


def hold_out(cache: CropCache, count: int) -> tuple[list[int], list[int]]:
    """Split a cache by file: numbers of the entries (to learn from, to validate on).

    `count` files, spread evenly over the sorted paths, are kept back; of those only the largest size is used.
    Raises `ConfigError` if nothing would be left to learn from.
    """
    paths = sorted({entry.path for entry in cache.entries})
    if count >= len(paths):
        raise ConfigError(f"data.held_out is {count}, there are {len(paths)} pictures", fix="Hold out fewer")
    kept_back = {paths[(2 * i + 1) * len(paths) // (2 * count)] for i in range(count)}
    largest: dict[str, int] = {}
    for number, entry in enumerate(cache.entries):
        best = largest.get(entry.path)
        if entry.path in kept_back and (best is None or entry.height > cache.entries[best].height):
            largest[entry.path] = number
    learning = [number for number, entry in enumerate(cache.entries) if entry.path not in kept_back]
    return learning, sorted(largest.values())


@contextmanager
def prefetched(
    draw: Callable[[int, int, int], Batch], requests: Iterator[tuple[int, int]], count: int
) -> Iterator[Iterator[Batch]]:
    """A batch of `count` items for each (step, first) of `requests`, the next one drawn while this one is used."""
    with ThreadPoolExecutor(1, "batches") as thread:

        def ahead() -> Iterator[Batch]:
            waiting = deque([thread.submit(draw, *next(requests), count)])
            for step, first in requests:
                waiting.append(thread.submit(draw, step, first, count))
                yield waiting.popleft().result()
            yield waiting.popleft().result()

        yield ahead()
