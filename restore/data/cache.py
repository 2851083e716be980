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
from typing import Any

import numpy as np

from restore.errors import ConfigError, FileError, RestoreError
from restore.io.paths import find_pictures

LAYOUT = 3  # version of the two files


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

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def nbytes(self) -> int:
        return self.height * self.width * 3 * (2 if self.deep else 1)


@dataclass(frozen=True)
class CropCache:
    """Decoded pictures in one memory map.

    Attributes:
        entries: the pictures, in the order of their paths.
        skipped: (path, reason) of the files that could not be read.
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
    folders = [Path(folder).expanduser().resolve() for folder in folders]  # however they are spelt, the same cache
    sources = list(find_sources(folders, exclude))
    if not sources:
        raise FileError("there are no pictures here", where=", ".join(map(str, folders)), fix="Name another folder")
    wanted = {"layout": LAYOUT, "scales": list(scales), "sources": [asdict(source) for source in sources]}
    key = hashlib.sha256(json.dumps([[str(folder) for folder in folders], *exclude, *scales]).encode())
    index = Path(cache_folder).expanduser() / f"{key.hexdigest()[:16]}.json"
    kept = _open(index, wanted)
    if kept:
        return kept
    with _alone(index):  # of several processes that start together one builds, the others wait and find it built
        return _open(index, wanted) or _build(index, wanted, sources, scales, progress)


@contextmanager
def _alone(index: Path) -> Iterator[None]:
    """While this process may build the cache `index`; the lock ends with the process, however it ends."""
    from filelock import FileLock

    try:
        index.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(index.with_suffix(".lock"))
        lock.acquire()
    except OSError as error:
        raise _not_written(index, error) from error
    try:
        yield
    finally:
        lock.release()


def find_sources(folders: Sequence[str | Path], exclude: Sequence[str] = ()) -> Iterator[Source]:
    """The picture files below some folders, sorted, without those that match a pattern of `exclude`."""
    for folder in folders:
        root = Path(folder).expanduser()
        for path in find_pictures(root):
            relative = path.relative_to(root).as_posix()
            if not any(fnmatch.fnmatch(relative, pattern) for pattern in exclude):
                status = path.stat()
                yield Source(str(path), status.st_size, status.st_mtime_ns)


def read_rgb(path: str | Path) -> np.ndarray:
    """H x W x 3: upright, alpha dropped, grey repeated; uint8 for 8-bit files, else uint16 over the range found."""
    from restore.analysis.value_range import find_scale
    from restore.io import read_picture

    picture = read_picture(path)
    info, pixels = picture.info, picture.pixels[..., : picture.info.channels]
    if info.channels not in (1, 3):
        raise FileError(f"a picture of {info.channels} channels is neither grey nor RGB", where=path)
    if info.dtype != "uint8":
        unit = find_scale(picture).to_unit(pixels.astype(np.float64))
        pixels = np.clip(np.rint(unit * 65535), 0, 65535).astype(np.uint16)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _open(index: Path, wanted: dict[str, Any]) -> CropCache | None:
    """The cache on disk, None if there is none or it is of other files."""
    try:
        stored = json.loads(index.read_text())
        entries = tuple(Entry(**entry) for entry in stored["entries"])
        skipped = tuple((path, reason) for path, reason in stored["skipped"])
        pixels = np.memmap(index.with_name(stored["pixels"]), np.uint8, "r")
        whole = pixels.size >= max(entry.offset + entry.nbytes for entry in entries)
        return CropCache(entries, skipped, pixels) if whole and stored["built_from"] == wanted else None
    except (OSError, ValueError, KeyError, TypeError):
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
                    picture = read_rgb(source.path)
                except (RestoreError, OSError) as error:
                    skipped.append((source.path, str(error)))
                    continue
                for scale in scales:
                    resized = _resized(picture, scale)
                    height, width = resized.shape[:2]
                    file.write(bytes(file.tell() % 2))  # uint16 samples begin at even places
                    deep, place = resized.dtype == np.uint16, places[source.path]
                    entries.append(Entry(source.path, height, width, file.tell(), deep, place))
                    file.write(resized.data)
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


def _by_numbers(path: str) -> tuple[str, list[str | tuple[int, str]], str]:
    """Sorts frame10 after frame9: (folder, name with its numbers as numbers, path)."""
    folder, _, name = path.rpartition("/")
    parts: list[str | tuple[int, str]] = list(re.split(r"(\d+)", name))
    parts[1::2] = [(int(str(digits)), str(digits)) for digits in parts[1::2]]
    return folder, parts, path


def _not_written(index: Path, error: OSError) -> FileError:
    why, fix = error.strerror or str(error), "Free some space, or set data.cache to another folder"
    return FileError("cannot write the crop cache", where=index.parent, why=why, fix=fix)


def _resized(picture: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return picture
    import cv2

    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
