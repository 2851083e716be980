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

import numpy as np
import torch
from torch import Tensor

from restore.data.cache import CropCache, Entry
from restore.data.crop_positions import MAIN, CropSources
from restore.degradations.degradation import CLEAN, Role
from restore.errors import ConfigError
from restore.physics.color import LUMA


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
        self._sources = CropSources(caches, roles)
        if crop % self._sources.step:
            fix = f"The scales of the roles need a multiple of {self._sources.step}"
            raise ConfigError(f"data.crop is {crop}", fix=fix)
        self._places = {role: self._sources.places(role, crop) for role in (MAIN, *self._sources.own)}
        self._own_stream = {role: 1 + number for number, role in enumerate(sorted(caches))}

    def __call__(self, step: int, first: int, count: int) -> Batch:
        """Items `first` … `first + count - 1` of the global batch of `step`."""
        items = [self._item(step, index) for index in range(first, first + count)]
        pictures = {role: _stacked([item[role] for item in items]) for role in self._sources.roles}
        return Batch(pictures, self.seed, step, first)

    def _item(self, step: int, index: int) -> dict[str, np.ndarray]:
        """Role -> P x P x C, or T x P x P x C."""
        common = self._place(MAIN, np.random.default_rng((self.seed, step, index)))
        cut = {}
        for role in self._sources.roles:
            stream = (self.seed, step, index, self._own_stream[role])
            own = role in self._sources.own
            start, top, left, orientation = self._place(role, np.random.default_rng(stream)) if own else common
            side = self._places[role if own else MAIN].side
            crops = self._sources.crop(role, start, side, top, left)
            cut[role] = _as_item([_oriented(to_channels(crop, self.channels), orientation) for crop in crops])
        return cut

    def _place(self, role: str, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """(first entry of the window, top, left, orientation)."""
        return (*self._places[role].draw(rng), int(rng.integers(8)))


def _as_item(crops: Sequence[np.ndarray]) -> np.ndarray:
    """The one frame alone, or several along a new first axis."""
    return crops[0] if len(crops) == 1 else np.stack(crops)


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

    Pictures smaller than `side` give the largest square that is a multiple of `multiple_of`; both are sides of the
    clean pictures. Of an independent role each shows the next of its pictures that is large enough.
    """
    if not caches[MAIN].entries:
        return []
    sources = CropSources(caches, roles)
    step = math.lcm(multiple_of, sources.step)
    by_side: dict[int, list[int]] = {}
    for start in sources.windows:
        by_side.setdefault(min(side, *sources.common_size(start)) // step * step, []).append(start)
    batches = []
    for fitting, starts in by_side.items():
        for at in range(0, len(starts) if fitting else 0, size):
            group = starts[at : at + size]
            pictures = {
                role: _stacked([_centre(sources, role, start, fitting, channels) for start in group])
                for role in sources.roles
            }
            batches.append(Batch(pictures, 0, 0, group[0]))
    return batches


def _centre(sources: CropSources, role: str, start: int, side: int, channels: int) -> np.ndarray:
    room, step = sources.common_size(start), sources.step
    if role in sources.own:
        entries, side, step = sources.caches[role].entries, sources.side(role, side), 1
        after = sorted(sources.own[role], key=lambda number: (number <= start, number))
        large = (n for n in after if min(entries[n].height, entries[n].width) >= side)
        number = next(large, None)
        if number is None:
            fix = "Hold out or name larger pictures"
            raise ConfigError(f"no picture of the role {role!r} has {side} px, as validation needs", fix=fix)
        start, room = number, (entries[number].height, entries[number].width)
    top, left = ((length - side) // 2 // step * step for length in room)
    return _as_item([to_channels(crop, channels) for crop in sources.crop(role, start, side, top, left)])


def hold_out(cache: CropCache, count: int, frames: int = 1) -> tuple[list[int], list[int]]:
    """Split a cache by file, or by folder where frames of clips are shown: numbers of the entries (to learn from, to
    validate on).

    `count` files, spread evenly over the sorted paths, are kept back; of those only the largest size is used. Of a
    folder that is kept back `frames` files in its middle are used.
    Raises `ConfigError` if nothing would be left to learn from.
    """

    def unit(entry: Entry) -> str:
        return entry.path if frames == 1 else entry.folder

    units = sorted({unit(entry) for entry in cache.entries})
    if count >= len(units):
        what = "pictures" if frames == 1 else "folders of frames"
        raise ConfigError(f"data.held_out is {count}, there are {len(units)} {what}", fix="Hold out fewer")
    kept_back = {units[(2 * i + 1) * len(units) // (2 * count)] for i in range(count)}
    largest: dict[str, Entry] = {}
    for entry in cache.entries:
        best = largest.get(unit(entry))
        if unit(entry) in kept_back and (best is None or entry.height > best.height):
            largest[unit(entry)] = entry
    held = []
    for name, best in largest.items():
        alike = [n for n, each in enumerate(cache.entries)
                 if unit(each) == name and (each.height, each.width) == (best.height, best.width)]  # fmt: skip
        middle = max(0, len(alike) - frames) // 2
        held += sorted(alike, key=lambda number: cache.entries[number].file)[middle : middle + frames]
    learning = [number for number, entry in enumerate(cache.entries) if unit(entry) not in kept_back]
    return learning, sorted(held)


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
