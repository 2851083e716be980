"""A file that appears under its name only when it is complete, durable and checked.

`AtomicFile` writes it; once it is complete it is a `StagedFile`, which whoever decides about it publishes or discards.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from restore.errors import FileError

PARTIAL_SUFFIX = ".partial"
_NAME_MAX = 255
NAME_CARRIED = 200
"""Bytes of an output's name that its temporary names carry."""


@dataclass(frozen=True)
class StagedFile:
    """A complete file under a temporary name. It can be pickled, to be published by another process.

    Attributes:
        path: its name in messages.
        partial: where it is.
        target: where it goes.
    """

    path: Path
    partial: Path
    target: Path

    def publish(self) -> None:
        """Give the file its name. On failure it is gone."""
        with undone_on_failure(self.discard, self.path):
            self.partial.replace(self.target)
        sync_folder(self.target.parent)

    def discard(self) -> None:
        """Remove the file, unless it was published."""
        self.partial.unlink(missing_ok=True)


class AtomicFile:
    """A temporary file beside `path`, renamed over it by `commit`, or later by `publish` if it is held.

    A symbolic link at `path` stays and its target is replaced. Until then a file that is already there is
    untouched. Raises `FileError` at once if the folder cannot be written.

    Args:
        held: `commit` makes the file complete, durable and checked, but leaves it under its temporary name: what
            belongs together is written first, and published (`staged.publish()`) when all of it is there.
        target: where the file goes if not to `path`, which is then only its name in messages.

    Attributes:
        partial: the temporary file.
        staged: the same file, as it is when `commit` has succeeded.
    """

    def __init__(self, path: Path, *, held: bool = False, target: Path | None = None) -> None:
        self.path = path
        self._held, self._committed = held, False
        self._target = Path(os.path.realpath(target or path))
        name = self._target.name
        if len(os.fsencode(name)) > _NAME_MAX:
            raise FileError("cannot write: the file name is too long", where=path, fix="Choose a shorter name")
        check_replaceable(path if target is None else target)
        self.partial = partial_path(self._target)
        self.staged = StagedFile(path, self.partial, self._target)
        try:
            handle = os.open(self.partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise write_error(error, path) from error
        self.file = os.fdopen(handle, "w+b", buffering=1 << 20)

    def commit(self, check: Callable[[Path], None]) -> None:
        """Flush to the disk, let `check` read the file back (it raises if wrong), and rename unless it is held."""
        with undone_on_failure(self.discard, self.path):
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            check(self.partial)
            with contextlib.suppress(FileNotFoundError):
                shutil.copymode(self._target, self.partial)  # what is replaced keeps its permissions
        self._committed = True
        if not self._held:
            self.staged.publish()

    def abort(self) -> None:
        """Leave no trace. Safe to call at any time; after `commit` it does nothing."""
        if not self._committed:
            self.discard()

    def discard(self) -> None:
        """Remove the temporary file, also one that was committed and is held."""
        with contextlib.suppress(OSError):
            self.file.close()  # flushing may fail again on a full disk; the file goes anyway
        self.staged.discard()


def make_folder(folder: Path) -> None:
    """A folder with those above it. Raises `FileError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(error, folder) from error


def check_replaceable(path: Path) -> None:
    """Raises `FileError` where something is, also behind a link, that is no file: a device is a rename from lost."""
    try:
        mode = path.stat().st_mode
    except OSError:  # nothing is there, or a link to nothing
        return
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise FileError(f"cannot write: {kind} has this name", where=path, fix="Name a file")


def check_writable(path: Path) -> None:
    """Make the folder of a file that is written later, and see whether a file can be: before long work, not after it.

    Raises `FileError`.
    """
    make_folder(path.parent)
    AtomicFile(path).discard()


def partial_path(target: Path) -> Path:
    """A new temporary name beside a file or folder that is to be written."""
    stem = os.fsdecode(os.fsencode(target.name)[:NAME_CARRIED])
    return target.with_name(f".{stem}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")


@contextlib.contextmanager
def undone_on_failure(undo: Callable[[], None], path: Path) -> Iterator[None]:
    """Call `undo` where the block raises anything; an `OSError` is raised on as `write_error` of `path`."""
    try:
        yield
    except BaseException as error:
        undo()
        if isinstance(error, OSError):
            raise write_error(error, path) from error
        raise


def write_error(error: OSError, path: Path) -> FileError:
    """The user's version of an operating system error while writing `path`."""
    fixes = {
        "ENOSPC": "Free some space on the disk, or write elsewhere",
        "EDQUOT": "Free some of your quota, or write elsewhere",
        "EFBIG": "Raise the file size limit, or write elsewhere",
        "ENOENT": "Create the folder first",
        "ENOTDIR": "Choose a folder that is one",
        "EACCES": "Check the permissions of the folder, or write elsewhere",
        "EPERM": "Check the permissions of the folder, or write elsewhere",
        "EROFS": "Write to a disk that is not read-only",
        "ENAMETOOLONG": "Choose a shorter name",
    }
    import errno

    fix = fixes.get(errno.errorcode.get(error.errno or 0, ""), "Check the disk and try again")
    return FileError("cannot write this file", where=path, why=error.strerror or str(error), fix=fix)


def sync_folder(folder: Path) -> None:
    """Make the new name itself durable, on systems where folders can be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
