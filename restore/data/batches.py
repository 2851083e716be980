"""Batches as pure functions of (seed, step): no sampler has a state, so resuming is exact by construction.

The items of a global batch are numbered; each process and each gradient accumulation takes a range of the
numbers. The same global batch is drawn however it is divided.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from restore.data.cache import CropCache, Entry
from restore.errors import ConfigError
from restore.physics.color import LUMA


@dataclass(frozen=True)
class Batch:
    """Crops to learn from.

    Attributes:
        clean: B x C x P x P; uint8 on the CPU as drawn, float in [0, 1] after `to`.
        noisy: the damaged partner of `clean` in data sets of pairs, else None (the objective damages).
        seed, step: what the batch was drawn from.
        first_index: number of its first item in the global batch; item b is `first_index + b`.
    """

    clean: Tensor
    seed: int
    step: int
    first_index: int
    noisy: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """On the device as float32 in [0, 1], channels last; bytes travel, floats do not."""

        def moved(x: Tensor) -> Tensor:
            x = x.to(device, non_blocking=True).float().div_(255)
            return x.contiguous(memory_format=torch.channels_last)

        return replace(self, clean=moved(self.clean), noisy=None if self.noisy is None else moved(self.noisy))


class CropBatches:
    """Random square crops of a cache, in all eight orientations, any place of any picture equally likely.

    Args:
        cache: of clean pictures.
        crop: side of the crops in pixels; smaller pictures are left out.
        channels: 3, or 1 for luma (ITU-R BT.601).
        seed: another seed, other crops.
        noisy: the damaged partner of each picture of `cache`, in the same order (`restore.data.pairs`).
    Raises:
        ConfigError: no picture is large enough, or channels is neither 1 nor 3.
    """

    def __init__(
        self, cache: CropCache, crop: int, channels: int = 3, seed: int = 0, noisy: CropCache | None = None
    ) -> None:
        if channels not in (1, 3):
            raise ConfigError(f"batches of {channels} channels are not known", fix="Give 1 (grey) or 3 (RGB)")
        self.crop, self.channels, self.seed = crop, channels, seed
        self._cache, self._noisy = cache, noisy
        large = [number for number, entry in enumerate(cache.entries) if min(entry.height, entry.width) >= crop]
        self._entries = [cache.entries[number] for number in large]
        self._partners = [noisy.entries[number] for number in large] if noisy else []
        if not self._entries:
            largest = max((min(entry.height, entry.width) for entry in cache.entries), default=0)
            raise ConfigError(
                f"no picture is as large as data.crop, {crop} px", fix=f"Set data.crop to {largest} or less"
            )
        places = [(entry.height - crop + 1) * (entry.width - crop + 1) for entry in self._entries]
        self._ends = np.cumsum(places, dtype=np.int64)  # picture i owns the places up to ends[i]

    def __call__(self, step: int, first: int, count: int) -> Batch:
        """Items `first` … `first + count - 1` of the global batch of `step`."""
        crops = [self._item(step, index) for index in range(first, first + count)]
        clean = _stacked([clean for clean, _ in crops])
        noisy = _stacked([noisy for _, noisy in crops if noisy is not None]) if self._noisy else None
        return Batch(clean, self.seed, step, first, noisy)

    def _item(self, step: int, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """(clean, its damaged partner if there is one), P x P x C uint8 each."""
        rng = np.random.default_rng((self.seed, step, index))
        place = int(rng.integers(self._ends[-1]))
        number = int(np.searchsorted(self._ends, place, side="right"))
        place -= int(self._ends[number - 1]) if number else 0
        top, left = divmod(place, self._entries[number].width - self.crop + 1)
        orientation = int(rng.integers(8))

        def cut(cache: CropCache, entry: Entry) -> np.ndarray:
            pixels = cache.picture(entry)[top : top + self.crop, left : left + self.crop]
            return _oriented(to_channels(pixels, self.channels), orientation)

        noisy = cut(self._noisy, self._partners[number]) if self._noisy else None
        return cut(self._cache, self._entries[number]), noisy


def _stacked(crops: Sequence[np.ndarray]) -> Tensor:
    """P x P x C each -> B x C x P x P, a view with the channels last."""
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)


def to_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """H x W x 3 uint8 as it is, or as H x W x 1 luma rounded to uint8."""
    if channels == 3:
        return pixels
    return np.rint(pixels @ np.array(LUMA, np.float32)).astype(np.uint8)[..., None]


def _oriented(pixels: np.ndarray, which: int) -> np.ndarray:
    """One of the eight orientations of a square, `which` from 0 to 7."""
    turned = np.rot90(pixels, which % 4)
    return np.ascontiguousarray(turned[:, ::-1] if which >= 4 else turned)


def validation_batches(
    cache: CropCache,
    channels: int = 3,
    *,
    noisy: CropCache | None = None,
    side: int = 256,
    size: int = 4,
    multiple_of: int = 8,
) -> list[Batch]:
    """The centre crops of a cache's pictures, in batches of one shape: the same every time.

    Pictures smaller than `side` give the largest square that is a multiple of `multiple_of`.
    """
    by_side: dict[int, list[int]] = {}
    for number, entry in enumerate(cache.entries):
        fitting = min(side, entry.height, entry.width) // multiple_of * multiple_of
        by_side.setdefault(fitting, []).append(number)

    def centres(source: CropCache, numbers: Sequence[int], fitting: int) -> Tensor:
        pictures = (source.picture(source.entries[number]) for number in numbers)
        return _stacked([to_channels(_centre(picture, fitting), channels) for picture in pictures])

    batches = []
    for fitting, numbers in by_side.items():
        for start in range(0, len(numbers) if fitting else 0, size):
            group = numbers[start : start + size]
            damaged = centres(noisy, group, fitting) if noisy else None
            batches.append(Batch(centres(cache, group, fitting), 0, 0, group[0], damaged))
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
