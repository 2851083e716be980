"""Damaged pictures and their truth, found by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from restore.data.cache import CropCache
from restore.errors import ConfigError
from restore.io.paths import find_pictures


@dataclass(frozen=True)
class Pairing:
    """What was matched between two folders, and what was not.

    Attributes:
        pairs: (damaged, clean) files.
        only_damaged, only_clean: files without a partner.
        different_size: pairs whose sizes do not go together, with both as (height, width); they are not in `pairs`.
        ambiguous: files whose name, without its ending, is that of another in the same folder.
    """

    pairs: tuple[tuple[Path, Path], ...]
    only_damaged: tuple[Path, ...]
    only_clean: tuple[Path, ...]
    different_size: tuple[tuple[Path, tuple[int, int], Path, tuple[int, int]], ...]
    ambiguous: tuple[Path, ...]

    def mismatches(self) -> list[str]:
        """One line for everything that is not a pair."""
        sizes = (
            f"{damaged} is {a[1]} x {a[0]}, {clean} is {b[1]} x {b[0]}" for damaged, a, clean, b in self.different_size
        )
        return [
            *(f"{path}: no clean partner" for path in self.only_damaged),
            *(f"{path}: no damaged partner" for path in self.only_clean),
            *(f"{path}: another file has the same name but for its ending" for path in self.ambiguous),
            *sizes,
        ]


def match_pairs(
    damaged: str | Path,
    clean: str | Path,
    *,
    damaged_ending: str = "",
    clean_ending: str = "",
    sizes: bool = True,
    scale: float = 1.0,
) -> Pairing:
    """Match the pictures of two folders (or of one, by endings) by their path without its type.

    Args:
        damaged_ending, clean_ending: ends of the names left out when they are compared ("_real", "_mean"); files
            without them are not looked at.
        sizes: also compare sizes, from the headers.
        scale: side of a damaged picture over that of its clean one; rounded up or down where that is no whole number.
    Raises:
        FileError: a folder is none.
        RestoreError: a header cannot be read.
    """
    left, ambiguous_left = _by_name(Path(damaged).expanduser(), damaged_ending)
    right, ambiguous_right = _by_name(Path(clean).expanduser(), clean_ending)
    pairs = [(left[name], right[name]) for name in left if name in right]
    different = [_compared(*pair) for pair in pairs] if sizes else []
    wrong = [entry for entry in different if not _fits(entry[1], entry[3], scale)]
    refused = {entry[0] for entry in wrong}
    return Pairing(
        tuple(pair for pair in pairs if pair[0] not in refused),
        tuple(path for name, path in left.items() if name not in right),
        tuple(path for name, path in right.items() if name not in left),
        tuple(wrong),
        (*ambiguous_left, *ambiguous_right),
    )


def align_caches(
    main: CropCache, others: Mapping[str, tuple[CropCache, Sequence[tuple[Path, Path]]]]
) -> tuple[CropCache, dict[str, CropCache]]:
    """The main pictures that have a counterpart in all other caches, and each cache with those counterparts alone, in
    the order of the main ones.

    Args:
        others: by role: a cache, and its (damaged, clean) files.
    Raises:
        ConfigError: no picture is left.
    """
    partners = {role: {str(clean): str(damaged) for damaged, clean in pairs} for role, (_, pairs) in others.items()}
    numbers = {role: _numbers_by_path(cache) for role, (cache, _) in others.items()}
    own = _numbers_by_path(main)
    kept = [path for path in own if all(partners[role].get(path) in numbers[role] for role in others)]
    if not kept:
        raise ConfigError("no damaged picture has a clean partner", fix="See: restore data pairs DAMAGED CLEAN")

    def of(role: str, cache: CropCache) -> CropCache:
        return cache.only([number for path in kept for number in numbers[role][partners[role][path]]])

    aligned = {role: of(role, cache) for role, (cache, _) in others.items()}
    return main.only([number for path in kept for number in own[path]]), aligned


def _numbers_by_path(cache: CropCache) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for number, entry in enumerate(cache.entries):
        numbers.setdefault(entry.path, []).append(number)
    return numbers


def _by_name(folder: Path, ending: str) -> tuple[dict[str, Path], list[Path]]:
    """Files by their relative path without type and ending; the first of a name wins, the others are returned."""
    files: dict[str, Path] = {}
    ambiguous = []
    for path in find_pictures(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if not name.endswith(ending):
            continue
        if files.setdefault(name.removesuffix(ending), path) != path:
            ambiguous.append(path)
    return files, ambiguous


def _fits(damaged: tuple[int, int], clean: tuple[int, int], scale: float) -> bool:
    return all(abs(a - b * scale) < 1 for a, b in zip(damaged, clean, strict=True))


def _compared(damaged: Path, clean: Path) -> tuple[Path, tuple[int, int], Path, tuple[int, int]]:
    from restore.io.codecs import probe

    a, b = probe(damaged), probe(clean)
    return damaged, (a.height, a.width), clean, (b.height, b.width)
