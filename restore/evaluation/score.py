"""Files beside their truth, or alone: what `restore score` reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from restore.errors import ConfigError, RestoreError
from restore.evaluation.pictures import data_range, require_alike, to_unit_picture
from restore.evaluation.protocol import EvaluationProtocol
from restore.evaluation.run import scores_of
from restore.files import read


@dataclass(frozen=True)
class Scored:
    """A picture's numbers.

    Attributes:
        scores: metric's full name -> value.
        range: the values that were taken for black and white, where they are not the file's; "" if they are.
        problems: why some or all are missing, one line each.
    """

    picture: str
    scores: dict[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    range: str = ""


def find_pairs(
    a: str | Path, b: str | Path | None, endings: tuple[str, str]
) -> tuple[list[tuple[Path, Path | None]], list[str]]:
    """((picture, truth or None) …, one line for every file without a partner) of two files or two folders.

    Raises:
        ConfigError: a file and a folder. FileError: a folder is none.
    """
    from restore.data.pairs import match_pairs
    from restore.io.paths import find_pictures

    a, b = Path(a), None if b is None else Path(b)
    if b is None:
        return [(path, None) for path in (find_pictures(a) if a.is_dir() else [a])], []
    if a.is_dir() != b.is_dir():
        raise ConfigError("one is a folder, the other is not", where=a, fix="Give two files or two folders")
    if not a.is_dir():
        return [(a, b)], []
    matches = match_pairs(a, b, damaged_ending=endings[0], clean_ending=endings[1], sizes=False)
    return list(matches.pairs), matches.mismatches()


def score(
    pairs: Sequence[tuple[Path, Path | None]], names: Sequence[str], protocol: EvaluationProtocol
) -> Iterator[Scored]:
    """Numbers picture by picture; what cannot be read or compared is listed in `problems`.

    Args:
        names: of the metrics.
        protocol: its border and rounding count.
    """
    for picture, truth in pairs:
        try:
            x, y = read(picture), None if truth is None else read(truth)
            scale = None if y is None else data_range(y)
            if y is not None:
                require_alike(x.info, y.info)
            a, b = to_unit_picture(x, scale), None if y is None else to_unit_picture(y, scale)
        except RestoreError as error:
            yield Scored(str(picture), problems=(str(error.at(picture)),))
            continue
        scores, failed = scores_of(names, a, b, protocol)
        problems = tuple(str(error.at(picture)) for error in failed)
        yield Scored(str(picture), scores, problems, scale.note if scale else "")
