"""A file that appears under its name only when it is complete, durable and checked."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from restore.errors import FileError

PARTIAL_SUFFIX = ".partial"
_NAME_MAX = 255


class AtomicFile:
    """A temporary file beside `path`, renamed over it by `commit`.

    A symbolic link at `path` stays and its target is replaced. Until `commit` a file that is already
    there is untouched. Raises `FileError` at once if the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._target = Path(os.path.realpath(path))
        name = self._target.name
        if len(os.fsencode(name)) > _NAME_MAX:
            raise FileError("cannot write: the file name is too long", where=path, fix="Choose a shorter name")
        if self._target.is_dir():
            raise FileError("cannot write: a folder has this name", where=path, fix="Name a file")
        stem = os.fsdecode(os.fsencode(name)[:200])
        self.partial = self._target.with_name(f".{stem}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
        try:
            handle = os.open(self.partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise write_error(error, path) from error
        self.file = os.fdopen(handle, "w+b", buffering=1 << 20)

    def commit(self, check: Callable[[Path], None]) -> None:
        """Flush to the disk, let `check` read the file back (it raises if wrong), and rename."""
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            check(self.partial)
            self.partial.replace(self._target)
        except OSError as error:
            self.abort()
            raise write_error(error, self.path) from error
        except BaseException:
            self.abort()
            raise
        _sync_folder(self._target.parent)

    def abort(self) -> None:
        """Leave no trace. Safe to call at any time, also after `commit`."""
        with contextlib.suppress(OSError):
            self.file.close()  # flushing may fail again on a full disk; the file goes anyway
        with contextlib.suppress(FileNotFoundError):
            self.partial.unlink()


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


def _sync_folder(folder: Path) -> None:
    """Make the new name itself durable, on systems where folders can be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
