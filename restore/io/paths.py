"""Which files are pictures, and where results go. Everything is decided before any work starts."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from restore.errors import FileError
from restore.io.atomic import PARTIAL_SUFFIX, check_replaceable
from restore.io.clip import names as clips

WRITABLE = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".bmp": "bmp",
    ".avif": "avif",
}
"""Extensions that can be written, and the format each means."""
READABLE = {*WRITABLE, ".jpe", ".jfif", ".apng", ".gif", ".heic", ".heif", ".hif"}
"""Extensions that a folder is searched for. A single named file may have any: its content decides."""

_SYSTEM_NAMES = {"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r", "__macosx"}
_RESERVED = re.compile(r"^(con|prn|aux|nul|com[1-9]|lpt[1-9])(\.|$)", re.I)
_NAME_MAX = 255
_UNREACHABLE = "cannot be reached"


@dataclass(frozen=True)
class Skipped:
    """A file left out of a folder run, and why."""

    path: Path
    reason: str
    clutter: bool = False
    """Hidden, system and temporary files: to be expected, hardly worth reporting."""
    lost: bool = False
    """It may hold pictures, and cannot be read: not what the user expects."""


def find_pictures(folder: str | os.PathLike[str], on_skip: Callable[[Skipped], None] | None = None) -> Iterator[Path]:
    """Pictures below `folder`, sorted by name folder by folder, listed as they are asked for.

    Only names and types are read, so pipes and devices cannot hang it, and a link back up the
    tree is not followed twice. Everything else than a picture is passed to `on_skip`.
    Raises `FileError` at once if `folder` is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileError("cannot list this: it is not a folder", where=folder, fix="Name an existing folder")
    above = [status for parent in folder.resolve().parents if (status := _identity(parent))]
    return _walk(folder, on_skip or (lambda skipped: None), tuple(above))


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def list_pictures(folder: str | os.PathLike[str], on_skip: Callable[[Skipped], None] | None = None) -> Iterator[Path]:
    """Pictures in one folder, sorted by name; everything else, folders too, is passed to `on_skip`.

    Raises `FileError` if `folder` is none or cannot be listed.
    """
    folder, on_skip = Path(folder), on_skip or (lambda skipped: None)
    if not folder.is_dir():
        raise FileError("cannot list this: it is not a folder", where=folder, fix="Name an existing folder")
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths: memory for 100,000 files
    except OSError as error:
        raise FileError("cannot list this folder", where=folder, why=error.strerror or "", fix="Check it") from error
    for path, reason in _entries(folder, names, on_skip):
        if reason == "":
            yield path
        else:
            on_skip(Skipped(path, reason or "a folder", lost=(reason or "").startswith(_UNREACHABLE)))


def _entries(folder: Path, names: list[str], on_skip: Callable[[Skipped], None]) -> Iterator[tuple[Path, str | None]]:
    """The entries of a folder that are no clutter, with why each is no picture (see `_skip_reason`)."""
    for name in names:
        path = folder / name
        if name.startswith(".") or name.lower() in _SYSTEM_NAMES or name.endswith(PARTIAL_SUFFIX):
            on_skip(Skipped(path, "a hidden, system or temporary file", clutter=True))
        else:
            yield path, _skip_reason(path)


def _walk(folder: Path, on_skip: Callable[[Skipped], None], above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    try:
        status = folder.stat()
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths: memory for 100,000 files
    except OSError as error:
        on_skip(Skipped(folder, f"cannot list this folder: {error.strerror}", lost=True))
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        on_skip(Skipped(folder, "a link back to a folder above it"))
        return
    for path, reason in _entries(folder, names, on_skip):
        if reason == "":
            yield path
        elif reason is None:
            yield from _walk(path, on_skip, (*above, here))
        else:
            on_skip(Skipped(path, reason, lost=reason.startswith(_UNREACHABLE)))


def _skip_reason(path: Path) -> str | None:
    """Why `path` is not a picture file: "" if it is one, None for a folder."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"{_UNREACHABLE}: {error.strerror}"
    if stat.S_ISDIR(mode):
        return None
    if not stat.S_ISREG(mode):
        return "a pipe, socket or device, not a file"
    if path.suffix.lower() in clips.READABLE:
        return "a clip: name it itself"
    return "" if path.suffix.lower() in READABLE else "not a picture's extension"


def default_output(path: str | os.PathLike[str], suffix: str) -> Path:
    """`photo.jpg` -> `photo_<suffix>.jpg` beside it; formats that are only read as in `written_name`."""
    path = Path(path)
    return path.with_name(f"{path.stem}_{suffix}{Path(written_name(path.name)).suffix}")


def written_name(name: str) -> str:
    """The name a result has elsewhere: its own, but `.png` (clips: `.mkv`) for formats that are only read."""
    path = Path(name)
    if path.suffix.lower() in clips.READABLE:
        return clips.written_clip(name)
    return name if path.suffix.lower() in WRITABLE else path.with_suffix(".png").name


def check_output(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    in_place: bool = False,
    overwrite: bool = False,
) -> None:
    """Refuse an output that would destroy something or whose name is not portable.

    Raises `FileError` if `target` is the source itself (by path, link or inode) without `in_place`,
    exists without `overwrite`, is no file, or has a reserved or too long name.
    """
    source, target = Path(source), Path(target)
    check_name(target)
    if same_file(source, target):
        if not in_place:
            raise FileError(
                "is the input itself: writing would replace it",
                where=target,
                fix="Name another output",
            )
        return
    check_replaceable(target)
    if not overwrite and (target.exists() or target.is_symlink()):
        raise FileError("exists already", where=target, fix="Add --overwrite to replace it, or name another output")


def check_name(path: Path) -> None:
    """Raises `FileError` for names that Windows reserves or no file system takes."""
    if _RESERVED.match(path.name) or (os.name == "nt" and re.search(r'[<>:"|?*\x00-\x1f]|[ .]$', path.name)):
        raise FileError("cannot write: Windows reserves this name", where=path, fix="Choose another name")
    if not path.name or "\0" in path.name:
        raise FileError("cannot write: this is not a file name", where=path, fix="Name a file")
    if len(os.fsencode(path.name)) > _NAME_MAX:
        raise FileError(f"cannot write: the name is over {_NAME_MAX} bytes", where=path, fix="Choose a shorter name")


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths are one file: equal, linked (symbolic or hard), or through `..`."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)
