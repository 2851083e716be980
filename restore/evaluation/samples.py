"""From files to samples: damaged pictures, their truth, and how they came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from restore.degradations.cases import Array, Case, CaseSample
from restore.errors import ConfigError, FileError
from restore.evaluation.pictures import require_scale
from restore.evaluation.protocol import EvaluationProtocol
from restore.picture import Picture


@dataclass(frozen=True)
class Source:
    """A picture to evaluate on.

    Attributes:
        name: for people; unique in its folder.
        index: its place among all pictures of the folder by name, the seed of its noise.
        truth: the clean picture.
        damaged: its really damaged partners by input name; none: a case damages the truth.
        following: the pictures after it, for cases that take several.
    """

    name: str
    index: int
    truth: Path
    damaged: Mapping[str, Path] = field(default_factory=dict)
    following: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sample(CaseSample):
    """A source, read.

    Attributes:
        source: where it comes from.
        case: how it was damaged; None for really damaged pictures.
        options: of the method, for this sample alone.
    """

    source: Source
    case: Case | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def damaged(self) -> Array:
        """The first input."""
        return next(iter(self.inputs.values()))

    @property
    def judged(self) -> str:
        """Name of the output that is judged; "" for the main one."""
        return next(iter(self.targets))

    @property
    def truth(self) -> Array:
        """Of the output that is judged."""
        return self.targets[self.judged]


def clean_sources(folder: str | Path, protocol: EvaluationProtocol, pictures: int = 1) -> list[Source]:
    """The protocol's choice among the pictures below a folder. Raises `FileError` if there is none.

    Args:
        pictures: how many consecutive ones belong to a sample.
    """
    from restore.io.paths import find_pictures

    folder = Path(folder)
    paths = list(find_pictures(folder))
    sources = [
        Source(str(path.relative_to(folder)), i, path, following=tuple(paths[i + 1 : i + pictures]))
        for i, path in enumerate(paths[: len(paths) + 1 - pictures])
    ]
    return _chosen(sources, folder, protocol)


def paired_sources(
    damaged: Mapping[str, str | Path], clean: str | Path, endings: Sequence[str], protocol: EvaluationProtocol
) -> tuple[list[Source], list[str]]:
    """(sets of pictures of equal names, one of each folder; one line for every file without a partner).

    Args:
        damaged: folder of each input by its name.
        endings: ends of the names that are left out when they are compared, of each input and of the truth.
    Raises:
        ConfigError: another number of endings. FileError: there is no folder, or nothing in it.
    """
    from restore.data.pairs import match_pairs

    if len(endings) != len(damaged) + 1:
        raise ConfigError(
            f"there are {len(endings)} ends of names for {len(damaged) + 1} pictures taken together",
            fix=f"Give one for each of {', '.join(damaged)}, and one for their truth",
        )
    partners: list[dict[Path, Path]] = []
    lines: list[str] = []
    for folder, ending in zip(damaged.values(), endings, strict=False):
        pairing = match_pairs(folder, clean, damaged_ending=ending, clean_ending=endings[-1], sizes=False)
        partners.append({truth: path for path, truth in pairing.pairs})
        lines += pairing.mismatches()
    first = Path(next(iter(damaged.values())))
    complete = [truth for truth in partners[0] if all(truth in each for each in partners)]
    sources = [
        Source(
            str(partners[0][truth].relative_to(first)), i, truth,
            {name: each[truth] for name, each in zip(damaged, partners, strict=True)},
        )
        for i, truth in enumerate(complete)
    ]  # fmt: skip
    return _chosen(sources, first, protocol), list(dict.fromkeys(lines))


def read_sample(source: Source, case: Case | None = None, limit: int = 0) -> Sample:
    """Read a source and damage it as the case says. Raises `RestoreError` naming the file."""
    from restore.files import read

    truth = read(source.truth)
    if not source.damaged:
        if case is None:
            raise ConfigError("clean pictures need a case that damages them", where=source.truth)
        pictures = [truth, *map(read, source.following[: case.pictures - 1])]
        made = case.make([_colours(each, limit) for each in pictures], source.index)
        return Sample(**vars(made), source=source, case=case, options=case.options(source.index))
    inputs, scale = {}, 1
    for name, path in source.damaged.items():
        picture = read(path)
        scale = require_scale(picture.info, truth.info)
        inputs[name] = _colours(picture, limit)
    return Sample(inputs=inputs, targets={"": _colours(truth, limit * scale)}, source=source)


def _colours(picture: Picture, limit: int) -> Array:
    side = slice(limit or None)
    return np.ascontiguousarray(picture.pixels[side, side, : picture.info.channels])


def _chosen(sources: list[Source], folder: Path, protocol: EvaluationProtocol) -> list[Source]:
    if not sources:
        raise FileError("there are no pictures to evaluate on", where=folder, fix="Name a folder of pictures")
    return sources[:: protocol.every][: protocol.first or None]
