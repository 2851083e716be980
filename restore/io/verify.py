"""Written files are read back before they get their name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from restore.errors import FileError, RestoreError
from restore.io import tiff
from restore.io.formats import read_header
from restore.io.options import ReadOptions
from restore.picture import Metadata, PictureInfo

COLOUR_ONLY = ("webp", "avif")  # grey is written as RGB


def check_written(partial_file: Path, target: PictureInfo) -> None:
    """Read the header of what was written; size, samples and depth must be as promised."""
    with _reading_back(target.path), partial_file.open("rb") as file:
        actual = read_header(file, ReadOptions(max_pixels=target.pixels)).info
    _check_same(actual, target, target.path)


def check_pages(partial_file: Path, targets: list[PictureInfo], where: Path) -> None:
    """Read the headers of a written stack; its pages must be as promised, and as many."""
    with _reading_back(where), partial_file.open("rb") as file:
        headers = tiff.read_frames(file, ReadOptions())
        pages = [replace(header.info, metadata=Metadata(), notes=()) for header in headers]
    if len(pages) != len(targets):
        raise _wrong(f"{len(pages)} pages instead of {len(targets)}", where)
    for actual, target in zip(pages, targets, strict=True):
        _check_same(actual, target, where)


@contextmanager
def _reading_back(where: Path | None) -> Iterator[None]:
    try:
        yield
    except (RestoreError, ValueError, OSError) as error:
        raise FileError("did not survive writing: it cannot be read back", where=where, why=str(error)) from error


def _check_same(actual: PictureInfo, target: PictureInfo, where: Path | None) -> None:
    facts = ["height", "width", "dtype"] + (["channels", "alpha"] if target.format not in COLOUR_ONLY else [])
    wrong = [key for key in facts if getattr(actual, key) != getattr(target, key)]
    if wrong:
        why = ", ".join(f"{key} {getattr(actual, key)} instead of {getattr(target, key)}" for key in wrong)
        raise _wrong(why, where)


def _wrong(why: str, where: Path | None) -> FileError:
    return FileError("was written wrong and is discarded", where=where, why=why, fix="Report this")
