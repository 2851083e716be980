"""Stacks of pages, for the tests that read and write them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from restore.io.codecs import ReadOptions, SaveOptions, create_stack, open_frames
from restore.picture import Metadata, Picture
from tests import corpus


def pages(count: int, samples: int = 1, dtype: str = "uint8", height: int = 9, width: int = 11) -> list[np.ndarray]:
    return [corpus.pattern(height, width, samples, dtype, seed=seed) for seed in range(count)]


def read(path: Path, **options) -> list[np.ndarray]:
    found = []
    for source in open_frames(path, ReadOptions(**options)):
        found.append(source.read_rows(0, source.info.height).copy())
        source.close()
    return found


def write(path: Path, arrays: list[np.ndarray], metadata: list[Metadata] | None = None, **options) -> None:
    save = SaveOptions(**options)
    stack = create_stack(path, sum(array.nbytes for array in arrays), save)
    for index, array in enumerate(arrays):
        info = Picture.from_array(array, alpha=False).info
        info = replace(info, metadata=metadata[index] if metadata else Metadata())
        page = stack.next_frame(info)
        for row in range(0, len(array), 4):
            page.write_rows(array[row : row + 4])
        page.commit()
        page.abort()  # says nothing after a commit
    stack.commit()
    stack.abort()


def same(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, np.atleast_3d(b)) for a, b in pairs)
