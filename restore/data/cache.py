"""The crop cache: every picture of some folders decoded once, into one flat file that is memory-mapped.

A random crop then costs a copy of a few rows; nothing is decoded while a network waits. The cache is two
files, `<key>.json` (what is where) and `<key>.bin` (pixels, H x W x 3, one picture after the other; uint8, of deeper
sources uint16). It is rebuilt when a picture is added, removed or changed (size and time of modification), and safe to
delete.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from restore.errors import ConfigError, FileError, RestoreError, SeveralPicturesError
from restore.io.atomic import check_writable
from restore.io.paths import Skipped, find_pictures
from restore.io.regular_file import open_regular, read_regular
from restore.naming import expanded
from restore.picture import ValueScale

LAYOUT = 4  # version of the two files
_PAGES_APART = (
    "Write its pages as files first, from Python: for i, page in enumerate(restore.read_frames(path)): "
    "restore.write(page, f'{i}.tif')"
)
MAX_INDEX, MAX_PIXELS = 1 << 30, 1 << 44
"""Bytes of the two files."""


@dataclass(frozen=True)
class Source:
    """A picture's file as it was when the cache was built."""

    path: str
    size: int
    modified_ns: int


@dataclass(frozen=True)
class Entry:
    """One picture of the cache: `height` x `width` x 3 samples at byte `offset`, from the file `path`."""

    path: str
    height: int
    width: int
    offset: int
    deep: bool = False
    """uint16 samples, else uint8."""
    file: int = 0
    """Place of the file among all files by folder and, within it, by the numbers in their names: frames that follow
    each other in a clip have places that do."""
    black: float = 0.0
    white: float = 1.0
    """Of the stored samples (counted from black), in units of the file's white."""

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def nbytes(self) -> int:
        return self.height * self.width * 3 * (2 if self.deep else 1)

    def lies_in(self, size: int) -> bool:
        """Whether it can be read from `size` bytes."""
        numbers = (self.height, self.width, self.offset, self.file)
        if not isinstance(self.path, str) or any(type(number) is not int for number in numbers):
            return False
        even = self.offset % (2 if self.deep else 1) == 0
        return even and min(self.height, self.width) > 0 and 0 <= self.offset <= size - self.nbytes


@dataclass(frozen=True)
class CropCache:
    """Decoded pictures in one memory map.

    Attributes:
        entries: the pictures, in the order of their paths.
        skipped: (path, reason) of what could not be read, or not even reached.
        pixels: the flat map of bytes behind all entries.
    """

    entries: tuple[Entry, ...]
    skipped: tuple[tuple[str, str], ...]
    pixels: np.ndarray

    def picture(self, entry: Entry) -> np.ndarray:
        """H x W x 3 uint8 or uint16, RGB: a view into the map, read when it is touched."""
        flat = self.pixels[entry.offset : entry.offset + entry.nbytes].view(np.uint16 if entry.deep else np.uint8)
        return flat.reshape(entry.height, entry.width, 3)

    def only(self, numbers: Sequence[int]) -> CropCache:
        """The same map with some of its pictures."""
        return replace(self, entries=tuple(self.entries[number] for number in numbers))


def open_cache(
    folders: Sequence[str | Path],
    cache_folder: str | Path,
    *,
    exclude: Sequence[str] = (),
    scales: Sequence[float] = (1.0,),
    progress: Callable[[int, int], None] | None = None,
) -> CropCache:
    """The cache of all pictures below `folders`, built if it is not there or no longer true.

    Args:
        cache_folder: where the two files live; made if needed.
        exclude: patterns of paths relative to their folder to leave out ("bsds_*").
        scales: each picture is stored at each of these sizes (1 is as it is, 0.5 half of it by area averaging).
        progress: called with (files done, files).
    Raises:
        FileError: a folder is none, holds no readable picture, or the cache cannot be written.
        ConfigError: a scale is not in (0, 1].
    """
    if not scales or not all(0 < scale <= 1 for scale in scales):
        raise ConfigError(f"data.scales is {list(scales)}", fix="Give numbers above 0 up to 1, for example [1.0, 0.5]")
    folders = [expanded(folder).resolve() for folder in folders]  # however they are spelt, the same cache
    lost: list[tuple[str, str]] = []
    sources = list(find_sources(folders, exclude, lambda *entry: lost.append(entry)))
    if not sources:
        why = ": ".join(lost[0]) if lost else ""
        where, fix = ", ".join(map(str, folders)), "Name another folder"
        raise FileError("there are no pictures here", where=where, why=why, fix=fix)
    wanted = {"layout": LAYOUT, "scales": list(scales), "sources": [asdict(source) for source in sources]}
    key = hashlib.sha256(json.dumps([[str(folder) for folder in folders], *exclude, *scales]).encode())
    index = expanded(cache_folder) / f"{key.hexdigest()[:16]}.json"
    kept = _open(index, wanted)
    if not kept:
        with _alone(index):  # of several processes that start together one builds, the others wait and find it built
            kept = _open(index, wanted) or _build(index, wanted, sources, scales, progress)
    return replace(kept, skipped=(*lost, *kept.skipped))


@contextmanager
def _alone(index: Path) -> Iterator[None]:
    """While this process may build the cache `index`; the lock ends with the process, however it ends."""
    from filelock import FileLock

    lock = FileLock(index.with_suffix(".lock"))
    try:
        check_writable(index)  # a lock would be waited for where no file can be made
        lock.acquire()
    except (OSError, FileError) as error:
        raise _not_written(index, error) from error
    try:
        yield
    finally:
        lock.release()


def find_sources(
    folders: Sequence[str | Path], exclude: Sequence[str] = (), lost: Callable[[str, str], None] = lambda *_: None
) -> Iterator[Source]:
    """The picture files below some folders, sorted, without those that match a pattern of `exclude`.

    Args:
        lost: called with (path, reason) for what cannot be reached: a folder that cannot be listed, a dangling link.
    """

    for folder in folders:
        yield from _sources_below(expanded(folder), exclude, lost)


def _sources_below(root: Path, exclude: Sequence[str], lost: Callable[[str, str], None]) -> Iterator[Source]:
    def wanted(path: Path) -> bool:
        relative = path.relative_to(root).as_posix()
        return not any(fnmatch.fnmatch(relative, pattern) for pattern in exclude)

    def skipped(entry: Skipped) -> None:
        if entry.lost and wanted(entry.path):
            lost(str(entry.path), entry.reason)

    for path in filter(wanted, find_pictures(root, skipped)):
        try:
            status = path.stat()
        except OSError as error:  # gone since it was listed
            lost(str(path), f"cannot be reached: {error.strerror}")
        else:
            yield Source(str(path), status.st_size, status.st_mtime_ns)


def read_rgb(path: str | Path) -> tuple[np.ndarray, ValueScale]:
    """H x W x 3: upright, alpha dropped, grey repeated; uint8 for 8-bit files, else uint16 over the range found.

    And that range, in units of the file's white.
    """
    from restore.analysis.colours import ColourView
    from restore.analysis.value_range import find_scale
    from restore.io import read_picture

    try:
        picture = read_picture(path)
    except SeveralPicturesError as error:
        raise SeveralPicturesError(error.what, where=error.where, fix=_PAGES_APART) from error
    info, view = picture.info, ColourView(picture)
    pixels, scale = view.read_rows(0, info.height), ValueScale.nominal(info)
    if info.channels not in (1, 3):
        raise FileError(f"a picture of {info.channels} channels is neither grey nor RGB", where=path)
    if info.dtype != "uint8":
        scale = find_scale(view)
        pixels = np.clip(np.rint(scale.to_unit(pixels.astype(np.float64)) * 65535), 0, 65535).astype(np.uint16)
    pixels = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
    return pixels, ValueScale(scale.black / info.white, scale.white / info.white)


def _open(index: Path, wanted: dict[str, Any]) -> CropCache | None:
    """The cache on disk; None if there is none, it is of other files, or anything about it is not as it was written."""
    try:
        stored = json.loads(read_regular(index, MAX_INDEX))
        if stored["built_from"] != wanted or not re.fullmatch(rf"{index.stem}\.[0-9a-f]{{8}}\.bin", stored["pixels"]):
            return None
        entries = tuple(Entry(**entry) for entry in stored["entries"])
        skipped = tuple((str(path), str(reason)) for path, reason in stored["skipped"])
        with open_regular(index.with_name(stored["pixels"]), MAX_PIXELS) as file:
            pixels = np.memmap(file, np.uint8, "r")
        whole = entries and all(entry.lies_in(pixels.size) for entry in entries)
        return CropCache(entries, skipped, pixels) if whole else None
    except (RestoreError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _build(
    index: Path,
    wanted: dict[str, Any],
    sources: Sequence[Source],
    scales: Sequence[float],
    progress: Callable[[int, int], None] | None,
) -> CropCache:
    """Decode everything into new files, then let the index name them; a reader sees the old cache or the new."""
    entries: list[Entry] = []
    skipped: list[tuple[str, str]] = []
    places = {path: place for place, path in enumerate(sorted((each.path for each in sources), key=_by_numbers))}
    pixels = index.with_name(f"{index.stem}.{secrets.token_hex(4)}.bin")
    try:
        with pixels.open("wb") as file:
            for done, source in enumerate(sources):
                try:
                    picture, scale = read_rgb(source.path)
                except (RestoreError, OSError) as error:
                    skipped.append((source.path, reason_without_path(error, source.path)))
                else:
                    place = places[source.path]
                    entries += [_stored(file, _resized(picture, size), source.path, place, scale) for size in scales]
                if progress is not None:
                    progress(done + 1, len(sources))
            file.flush()
            os.fsync(file.fileno())
        if not entries:
            raise FileError("no picture here can be read", where=skipped[0][0], why=skipped[0][1])
        stored = {"entries": [asdict(e) for e in entries], "skipped": skipped, "pixels": pixels.name}
        partial = index.with_suffix(f".{secrets.token_hex(4)}.partial")
        partial.write_text(json.dumps(stored | {"built_from": wanted}))
        partial.replace(index)
    except BaseException as error:
        pixels.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _not_written(index, error) from error
        raise
    for old in index.parent.glob(f"{index.stem}.*.bin"):
        if old != pixels:
            old.unlink(missing_ok=True)
    return CropCache(tuple(entries), tuple(skipped), np.memmap(pixels, np.uint8, "r"))


def _stored(file: IO[bytes], picture: np.ndarray, path: str, place: int, scale: ValueScale) -> Entry:
    """Append a picture to the pixels."""
    file.write(bytes(file.tell() % 2))  # uint16 samples begin at even places
    height, width = picture.shape[:2]
    entry = Entry(path, height, width, file.tell(), picture.dtype == np.uint16, place, scale.black, scale.white)
    file.write(picture.data)
    return entry


def reason_without_path(error: Exception, path: str | Path) -> str:
    """What was wrong with a file, without its path."""
    return str(error).removeprefix(f"{path}: ")


def _by_numbers(path: str) -> tuple[str, list[str | tuple[int, str]], str]:
    """Sorts frame10 after frame9: (folder, name with its numbers as numbers, path)."""
    folder, _, name = path.rpartition("/")
    parts: list[str | tuple[int, str]] = list(re.split(r"(\d+)", name))
    parts[1::2] = [(int(str(digits)), str(digits)) for digits in parts[1::2]]
    return folder, parts, path


def _not_written(index: Path, error: OSError | FileError) -> FileError:
    why = (error.why or str(error)) if isinstance(error, FileError) else (error.strerror or str(error))
    fix = "Free some space, or set data.cache to another folder"
    return FileError("cannot write the crop cache", where=index.parent, why=why, fix=fix)


def _resized(picture: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return picture
    import cv2

    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
