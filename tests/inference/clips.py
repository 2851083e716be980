"""Small sequences in files, and jobs and a toy restorer for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from restore.inference.batch import BatchOptions, Job, run_batch
from restore.io import read_picture
from restore.io.codecs import ReadOptions
from restore.models.spec import ModelSpec
from tests import corpus

from .toys import Computes, job

ALL = ReadOptions(frames="all")


def clip(count: int, seed: int = 0, size: tuple[int, int] = (12, 16)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *size), np.uint8)


def as_stack(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, photometric="minisblack")
    return path


def as_folder(folder: Path, array: np.ndarray, numbers: list[int] | None = None) -> Path:
    folder.mkdir(parents=True)
    for number, frame in zip(numbers or range(8, 8 + len(array)), array, strict=True):
        (folder / f"f_{number}.png").write_bytes(corpus.encoded("png", frame[:, :, None]))
    return folder


def frames_of(path: Path) -> np.ndarray:
    """What a stack or folder of frames named f_8, f_9, … holds."""
    if path.is_file():
        return np.asarray(tifffile.imread(path))
    numbers = sorted(int(file.stem[2:]) for file in path.iterdir())
    return np.stack([read_picture(path / f"f_{number}.png").pixels[:, :, 0] for number in numbers])


def sequence(source: Path, target: Path, **options) -> Job:
    return job(source, target, sequence=source.is_dir(), **options)


def run(jobs, restorer, ledger=None, **options):
    settings = BatchOptions(**({"read": ALL, "workers": 1} | options))
    return run_batch(jobs if isinstance(jobs, list) else [jobs], restorer, settings, ledger=ledger)


def averaging(size: int) -> Computes:
    """The mean of a window, rounded down."""
    spec = ModelSpec("toy", window=size)
    return Computes(lambda arrays: {"result": (sum(a.astype(int) for a in arrays) // size).astype(np.uint8)}, spec)


def averaged(array: np.ndarray, size: int) -> np.ndarray:
    half, indices = size // 2, np.arange(len(array))
    around = [array[np.clip(indices + offset, 0, len(array) - 1)].astype(int) for offset in range(-half, half + 1)]
    return (sum(around) // size).astype(np.uint8)


KINDS = pytest.mark.parametrize("kind", ["stack", "folder"])


def made(kind: str, path: Path, array: np.ndarray) -> tuple[Path, Path]:
    """The sequence, and where its result goes."""
    if kind == "stack":
        return as_stack(path.with_suffix(".tif"), array), path.with_name("out.tif")
    return as_folder(path, array), path.with_name("out")
