"""Is a folder fit to learn from: unreadable files, odd sizes, duplicates, and test pictures among them.

Likeness is found by a perceptual hash: the signs of the 63 lowest frequencies of a 32 x 32 luma thumbnail's cosine
transform ("pHash", Zauner 2010), equal up to a few bits after resizing, recompression and changes of brightness; not
after cropping. A pair of like hashes is confirmed by the thumbnails' correlation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restore.data.cache import find_sources, read_rgb, reason_without_path
from restore.errors import RestoreError

MAX_BITS = 8  # of 63 that may differ
MIN_CORRELATION = 0.97
_THUMBNAIL, _KEPT = 32, 8
_LEAST_CONTRAST = 2.0  # std of a thumbnail, of 255: flat pictures all look alike


@dataclass(frozen=True)
class Looked:
    """One readable picture."""

    path: Path
    height: int
    width: int
    thumbnail: np.ndarray  # 32 x 32 float32, luma, white 255


@dataclass(frozen=True)
class Findings:
    """What is to know about a folder before training on it.

    Attributes:
        pictures: files that can be read.
        unreadable: (path, reason).
        small: pictures with a side below the crop.
        duplicates: pairs of like pictures within the folder.
        leaks: (training picture, test picture) that are alike.
        sides: smallest and largest shorter side.
    """

    pictures: int
    unreadable: tuple[tuple[Path, str], ...]
    small: tuple[Path, ...]
    duplicates: tuple[tuple[Path, Path], ...]
    leaks: tuple[tuple[Path, Path], ...]
    sides: tuple[int, int]

    @property
    def clean(self) -> bool:
        """Nothing that would spoil training or its figures."""
        return not (self.unreadable or self.leaks or self.small)


def check_folder(
    folder: str | Path,
    *,
    test: Sequence[str | Path] = (),
    crop: int = 96,
    exclude: Sequence[str] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> Findings:
    """Read every picture below a folder and compare them with each other and with test sets.

    Args:
        test: folders of pictures that must not be among the training pictures.
        crop: side in pixels below which a picture cannot be used.
        exclude: patterns of relative paths to leave out.
        progress: called with the number of files read.
    Raises:
        FileError: a folder is none.
    """
    looked, unreadable = _look([folder], exclude, progress)
    tested, _ = _look(test, (), progress) if test else ([], [])
    sides = [min(each.height, each.width) for each in looked]
    return Findings(
        len(looked),
        tuple(unreadable),
        tuple(each.path for each in looked if min(each.height, each.width) < crop),
        tuple((looked[a].path, looked[b].path) for a, b in like(looked, looked) if a < b),
        tuple((looked[a].path, tested[b].path) for a, b in like(looked, tested)),
        (min(sides, default=0), max(sides, default=0)),
    )


def like(some: Sequence[Looked], others: Sequence[Looked]) -> list[tuple[int, int]]:
    """Indices of all pairs (one of each) that show the same picture."""
    if not some or not others:
        return []
    bits = [np.stack([perceptual_hash(each.thumbnail) for each in group]) for group in (some, others)]
    signs = [np.where(each, 1, -1).astype(np.float32) for each in bits]
    candidates = []
    for start in range(0, len(some), 1024):
        agreement = signs[0][start : start + 1024] @ signs[1].T  # bits - 2 * differing
        rows, columns = np.nonzero(agreement >= signs[0].shape[1] - 2 * MAX_BITS)
        candidates += [(start + int(a), int(b)) for a, b in zip(rows, columns, strict=True)]
    return [(a, b) for a, b in candidates if _correlation(some[a].thumbnail, others[b].thumbnail) >= MIN_CORRELATION]


def perceptual_hash(thumbnail: np.ndarray) -> np.ndarray:
    """63 bits (bool) of a 32 x 32 luma thumbnail: which low frequencies lie above their median."""
    import cv2

    low = cv2.dct(thumbnail.astype(np.float32))[:_KEPT, :_KEPT].ravel()[1:]  # without the mean
    return low > np.median(low)


def _look(
    folders: Sequence[str | Path], exclude: Sequence[str], progress: Callable[[int], None]
) -> tuple[list[Looked], list[tuple[Path, str]]]:
    import cv2

    looked: list[Looked] = []
    unreadable: list[tuple[Path, str]] = []
    sources = find_sources(folders, exclude, lambda path, reason: unreadable.append((Path(path), reason)))
    for done, source in enumerate(sources):
        try:
            pixels, _ = read_rgb(source.path)
        except (RestoreError, OSError) as error:
            unreadable.append((Path(source.path), reason_without_path(error, source.path)))
            continue
        luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32) / (257 if pixels.dtype == np.uint16 else 1)
        thumbnail = cv2.resize(luma, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
        height, width = luma.shape
        looked.append(Looked(Path(source.path), height, width, thumbnail))
        progress(done + 1)
    return looked, unreadable


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if min(one.std(), other.std()) < _LEAST_CONTRAST:
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
