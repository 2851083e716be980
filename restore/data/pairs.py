"""Damaged pictures and their truth, found by name."""

from __future__ import annotations

from collections.abc import Sequence
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
        different_size: pairs whose sizes differ, with both as (height, width); they are not in `pairs`.
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
    damaged: str | Path, clean: str | Path, *, damaged_ending: str = "", clean_ending: str = "", sizes: bool = True
) -> Pairing:
    """Match the pictures of two folders (or of one, by endings) by their path without its type.

    Args:
        damaged_ending, clean_ending: ends of the names left out when they are compared ("_real", "_mean"); files
            without them are not looked at.
        sizes: also compare sizes, from the headers.
    Raises:
        FileError: a folder is none.
        RestoreError: a header cannot be read.
    """
    left, ambiguous_left = _by_name(Path(damaged).expanduser(), damaged_ending)
    right, ambiguous_right = _by_name(Path(clean).expanduser(), clean_ending)
    pairs = [(left[name], right[name]) for name in left if name in right]
    different = [_compared(*pair) for pair in pairs] if sizes else []
    wrong = [entry for entry in different if entry[1] != entry[3]]
    refused = {entry[0] for entry in wrong}
    return Pairing(
        tuple(pair for pair in pairs if pair[0] not in refused),
        tuple(path for name, path in left.items() if name not in right),
        tuple(path for name, path in right.items() if name not in left),
        tuple(wrong),
        (*ambiguous_left, *ambiguous_right),
    )


def pair_caches(noisy: CropCache, clean: CropCache, pairs: Sequence[tuple[Path, Path]]) -> tuple[CropCache, CropCache]:
    """Both caches with the paired pictures alone, one behind the other in the same order.

    Raises `ConfigError` if no pair is left.
    """

    left, right = _numbers_by_path(noisy), _numbers_by_path(clean)
    kept = [(str(a), str(b)) for a, b in pairs if str(a) in left and str(b) in right]
    if not kept:
        raise ConfigError("no damaged picture has a clean partner", fix="See: restore data pairs DAMAGED CLEAN")
    return (
        noisy.only([number for a, _ in kept for number in left[a]]),
        clean.only([number for _, b in kept for number in right[b]]),
    )


def _numbers_by_path(cache: CropCache) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, entry in enumerate(cache.entries):
        found.setdefault(entry.path, []).append(number)
    return found


def _by_name(folder: Path, ending: str) -> tuple[dict[str, Path], list[Path]]:
    """Files by their relative path without type and ending; the first of a name wins, the others are returned."""
    found: dict[str, Path] = {}
    ambiguous = []
    for path in find_pictures(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if not name.endswith(ending):
            continue
        if found.setdefault(name.removesuffix(ending), path) != path:
            ambiguous.append(path)
    return found, ambiguous


def _compared(damaged: Path, clean: Path) -> tuple[Path, tuple[int, int], Path, tuple[int, int]]:
    from restore.io.codecs import probe

    a, b = probe(damaged), probe(clean)
    return damaged, (a.height, a.width), clean, (b.height, b.width)
