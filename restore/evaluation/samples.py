"""From files to samples: a damaged picture, its truth, and how it came about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from restore.errors import FileError
from restore.evaluation.pictures import require_alike, unit_of
from restore.evaluation.protocol import Case, EvaluationProtocol
from restore.picture import Picture

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Source:
    """A picture to evaluate on.

    Attributes:
        name: for people; unique in its folder.
        index: its place among all pictures of the folder by name, the seed of its noise.
        truth: the clean picture.
        damaged: its really damaged partner; None: the protocol damages the truth.
    """

    name: str
    index: int
    truth: Path
    damaged: Path | None = None


@dataclass(frozen=True)
class Sample:
    """A source, read: arrays H x W x C, uint8 or uint16 or float32 (white = 1)."""

    source: Source
    case: Case
    damaged: Array
    truth: Array

    @property
    def sigma(self) -> float:
        """The true level of the noise for methods that must be told, 8-bit units; 0 where it is not known."""
        if self.source.damaged is not None:
            return 0.0
        if self.case.noise != "poisson":
            return self.case.level
        return 255 * float((unit_of(self.damaged) - unit_of(self.truth)).std())


def clean_sources(folder: str | Path, protocol: EvaluationProtocol) -> list[Source]:
    """The protocol's choice among the pictures below a folder. Raises `FileError` if there is none."""
    from restore.io.paths import find_pictures

    folder = Path(folder)
    found = [Source(str(path.relative_to(folder)), i, path) for i, path in enumerate(find_pictures(folder))]
    return _chosen(found, folder, protocol)


def paired_sources(
    damaged: str | Path, clean: str | Path, endings: tuple[str, str], protocol: EvaluationProtocol
) -> tuple[list[Source], list[str]]:
    """(pairs of two folders, or of one by the ends of the names; one line for every file without a partner)."""
    from restore.data.pairs import match_pairs

    damaged = Path(damaged)
    pairing = match_pairs(damaged, clean, damaged_ending=endings[0], clean_ending=endings[1], sizes=False)
    found = [Source(str(a.relative_to(damaged)), i, b, a) for i, (a, b) in enumerate(pairing.pairs)]
    return _chosen(found, damaged, protocol), pairing.mismatches()


def read_sample(source: Source, case: Case, limit: int = 0) -> Sample:
    """Read a source and damage it if the case says so. Raises `RestoreError` naming the file."""
    from restore.api import read

    truth = read(source.truth)
    pixels = _colours(truth, limit)
    if source.damaged is None:
        return Sample(source, case, damage(pixels, case, source.index), pixels)
    partner = read(source.damaged)
    require_alike(partner.info, truth.info)
    return Sample(source, case, _colours(partner, limit), pixels)


def damage(clean: Array, case: Case, index: int) -> Array:
    """A clean picture H x W x C as the case has it: uint8 where clipped, else float32 with white = 1.

    In 8-bit units, with rng = numpy.random.default_rng(index): x + level * rng.standard_normal(x.shape), or
    rng.poisson(x / 255 * level) / level * 255; clipped is rint, then 0..255. Without noise the picture stays as it is.
    """
    x = clean * (255.0 / (1.0 if clean.dtype == np.float32 else np.iinfo(clean.dtype).max))
    rng = np.random.default_rng(index)
    if case.noise == "poisson":
        noisy = rng.poisson(x.clip(min=0) / 255 * case.level) / case.level * 255
    elif case.noise == "none":
        noisy = x
    else:
        noise = rng.standard_normal(x.shape)
        noisy = x + case.level * (_boxed(noise) if case.noise == "box" else noise)
    if case.noise == "none" and not case.jpeg:
        return clean
    if not case.clipped:
        return (noisy / 255).astype(np.float32)
    codes = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return _through_jpeg(codes, case.jpeg) if case.jpeg else codes


def _boxed(noise: Array) -> Array:
    """Through a 3 x 3 box (around the edges), std kept."""
    rolled = [np.roll(noise, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return np.sum(rolled, 0) / 3


def _through_jpeg(codes: Array, quality: int) -> Array:
    """libjpeg's arithmetic by our own operator: the same with every codec's version."""
    import torch

    from restore.io.tensors import to_stored
    from restore.physics.jpeg import jpeg
    from restore.picture import ValueScale

    return to_stored(jpeg(unit_of(codes), torch.tensor([float(quality)]))[0], ValueScale(), "uint8").numpy()


def _colours(picture: Picture, limit: int) -> Array:
    side = slice(limit or None)
    return np.ascontiguousarray(picture.pixels[side, side, : picture.info.channels])


def _chosen(found: list[Source], folder: Path, protocol: EvaluationProtocol) -> list[Source]:
    if not found:
        raise FileError("there are no pictures to evaluate on", where=folder, fix="Name a folder of pictures")
    return found[:: protocol.every][: protocol.first or None]
