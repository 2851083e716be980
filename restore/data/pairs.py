"""Damaged pictures and their truth, found by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from restore.data.cache import CropCache, find_sources, reason_without_path
from restore.errors import ConfigError, RestoreError
from restore.naming import expanded


@dataclass(frozen=True)
class Pairing:
    """What was matched between two folders, and what was not.

    Attributes:
        pairs: (damaged, clean) files.
        only_damaged, only_clean: files without a partner.
        different_size: pairs whose sizes do not go together, with both as (height, width); they are not in `pairs`.
        ambiguous: files whose name, without its ending, is that of another in the same folder.
        unreadable: (file, reason) of what cannot be read or reached, with the pairs that it would have been in.
    """

    pairs: tuple[tuple[Path, Path], ...]
    only_damaged: tuple[Path, ...]
    only_clean: tuple[Path, ...]
    different_size: tuple[tuple[Path, tuple[int, int], Path, tuple[int, int]], ...]
    ambiguous: tuple[Path, ...]
    unreadable: tuple[tuple[Path, str], ...] = ()

    def mismatches(self) -> list[str]:
        """One line for everything that is not a pair, or cannot be read."""
        return [*self.unpaired(), *(f"{path}: {reason}" for path, reason in self.unreadable)]

    def unpaired(self) -> list[str]:
        """One line for every readable file that is not of a pair."""
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
    """
    unreadable: list[tuple[Path, str]] = []
    left, ambiguous_left = _by_name(expanded(damaged), damaged_ending, unreadable)
    right, ambiguous_right = _by_name(expanded(clean), clean_ending, unreadable)
    pairs = [(left[name], right[name]) for name in left if name in right]
    different: list[tuple[Path, tuple[int, int], Path, tuple[int, int]]] = []
    if sizes:
        measured = [(a, _size(a, unreadable), b, _size(b, unreadable)) for a, b in pairs]
        different = [(a, of_a, b, of_b) for a, of_a, b, of_b in measured if of_a and of_b]
        pairs = [(a, b) for a, _, b, _ in different]
    wrong = [entry for entry in different if not _fits(entry[1], entry[3], scale)]
    refused = {entry[0] for entry in wrong}
    return Pairing(
        tuple(pair for pair in pairs if pair[0] not in refused),
        tuple(path for name, path in left.items() if name not in right),
        tuple(path for name, path in right.items() if name not in left),
        tuple(wrong),
        (*ambiguous_left, *ambiguous_right),
        tuple(unreadable),
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


def _by_name(folder: Path, ending: str, unreachable: list[tuple[Path, str]]) -> tuple[dict[str, Path], list[Path]]:
    """Files by their relative path without type and ending; the first of a name wins, the others are returned."""
    files: dict[str, Path] = {}
    ambiguous = []
    for source in find_sources([folder], lost=lambda path, reason: unreachable.append((Path(path), reason))):
        path = Path(source.path)
        name = path.relative_to(folder).with_suffix("").as_posix()
        if not name.endswith(ending):
            continue
        if files.setdefault(name.removesuffix(ending), path) != path:
            ambiguous.append(path)
    return files, ambiguous


def _fits(damaged: tuple[int, int], clean: tuple[int, int], scale: float) -> bool:
    return all(abs(a - b * scale) < 1 for a, b in zip(damaged, clean, strict=True))


def _size(path: Path, unreadable: list[tuple[Path, str]]) -> tuple[int, int] | None:
    """(height, width), from the header; None for a file that has none, which is noted."""
    from restore.io.codecs import probe

    try:
        info = probe(path)
    except RestoreError as error:
        unreadable.append((path, reason_without_path(error, path)))
        return None
    return info.height, info.width
