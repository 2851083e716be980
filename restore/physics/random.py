"""Random fields that are a pure function of (seed, step, index), whatever the batch they are drawn in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RowSeeds:
    """Fields of one picture whose every row is a pure function of (seed, its number): a picture may come in bands.

    Attributes:
        seed: of the picture.
        first: number of the first row drawn.
        height: of the whole picture, for what is levelled over it; None: the picture ends with the rows drawn.
    """

    seed: int
    first: int = 0
    height: int | None = None

    def generators(self, rows: int) -> Iterator[torch.Generator]:
        """One for each row from the first, on the CPU."""
        return (generator_for(self.seed, self.first + row) for row in range(rows))


Generators = torch.Generator | Sequence[torch.Generator] | RowSeeds
"""One generator for a whole batch, or one for each sample of it (all on the samples' device), or for each row of a
batch of one picture on the CPU."""

_MASK = (1 << 64) - 1


def hash_seed(seed: int, *counters: int) -> int:
    """A seed from a seed and counters, such as (step, index): 64 well mixed bits (SplitMix64, Steele et al. 2014)."""
    state = seed & _MASK
    for counter in (*counters, len(counters)):
        state = (state + 0x9E3779B97F4A7C15 * (2 * (counter & _MASK) + 1)) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def generator_for(seed: int, *counters: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for every (seed, *counters); other devices give other numbers.

    PyTorch's CPU generator takes in 32 bits of the hash, so that among 10^6 samples about 100 share a stream.
    """
    seed64 = hash_seed(seed, *counters)
    return torch.Generator(device).manual_seed(seed64 ^ (seed64 >> 32) if str(device) == "cpu" else seed64)


_WORD = 1 << 32


def hashed_field(shape: Sequence[int], origin: tuple[int, int], device: torch.device, *counters: int) -> Tensor:
    """A field C x H x W uniform in [0, 1) in which every sample is a function of (channel, row, column, counters).

    Args:
        origin: row and column of the field's first sample within the picture: fields of tiles agree where they overlap.
    """
    channels, height, width = shape
    state = torch.full((1, 1, 1), hash_seed(*counters) % _WORD if counters else 0, dtype=torch.int64, device=device)
    for axis, (first, length) in enumerate(((0, channels), (origin[0], height), (origin[1], width))):
        index = torch.arange(first, first + length, device=device)
        state = _mixed((state + index.view([-1 if each == axis else 1 for each in range(3)])) % _WORD)
    return (state >> 8).float() / (_WORD >> 8)  # 24 bits, which a float32 holds: 1 is never reached


def _mixed(x: Tensor) -> Tensor:
    """A 32-bit integer hash, elementwise."""
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) % _WORD
    return x ^ (x >> 16)


def normal(shape: Sequence[int], generators: Generators, device: torch.device) -> Tensor:
    """Standard normal field, ``shape`` with the batch first; sample i is drawn from generator i."""
    return _filled(shape, generators, device, lambda x, g: x.normal_(generator=g))


def uniform(shape: Sequence[int], generators: Generators, device: torch.device) -> Tensor:
    """Field uniform in [0, 1), ``shape`` with the batch first; sample i is drawn from generator i."""
    return _filled(shape, generators, device, lambda x, g: x.uniform_(generator=g))


def poisson(rates: Tensor, generators: Generators) -> Tensor:
    """Poisson counts of the given rates (>= 0), batch first; sample i is drawn from generator i."""
    if isinstance(generators, torch.Generator):
        return torch.poisson(rates, generator=generators)
    if isinstance(generators, RowSeeds):
        rows = zip(rates.unbind(2), generators.generators(rates.shape[2]), strict=True)
        return torch.stack([torch.poisson(row, generator=g) for row, g in rows], 2)
    _check_count(rates.shape, generators)
    return torch.stack([torch.poisson(rate, generator=g) for rate, g in zip(rates, generators, strict=True)])


def of_samples(generators: Generators, places: Sequence[int]) -> Generators:
    """The generators of some samples of a batch."""
    if isinstance(generators, torch.Generator | RowSeeds):
        return generators
    return [generators[place] for place in places]


def _filled(
    shape: Sequence[int],
    generators: Generators,
    device: torch.device,
    fill: Callable[[Tensor, torch.Generator], Tensor],
) -> Tensor:
    field = torch.empty(tuple(shape), device=device)
    if isinstance(generators, torch.Generator):
        return fill(field, generators)
    if isinstance(generators, RowSeeds):
        for row, generator in enumerate(generators.generators(field.shape[2])):
            field[:, :, row] = fill(torch.empty_like(field[:, :, row]), generator)
        return field
    _check_count(field.shape, generators)
    for sample, generator in zip(field, generators, strict=True):
        fill(sample, generator)
    return field


def _check_count(shape: Sequence[int], generators: Sequence[torch.Generator]) -> None:
    if len(generators) != shape[0]:
        raise ValueError(f"{len(generators)} generators for a batch of {shape[0]}; give one for each sample, or one")
