"""The one way in for a file that somebody hands over: a regular file, of a bounded size, whose claims are checked
before they are believed, and whose errors name it.

    with open_regular(path, 1 << 20, refusal=ConfigError, fix="Name a config") as file: …

A pipe, a socket or a device, also behind a link, is refused without being opened, so that nothing hangs.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from restore.errors import FileError, LimitError, RestoreError

MAX_MEMBERS = 20_000
"""Members of an archive."""


def open_regular(
    path: Path, limit: int, *, fix: str = "Name a file", refusal: type[RestoreError] = FileError, raise_limit: str = ""
) -> BufferedReader:
    """Open a file for reading.

    Args:
        limit: of its size in bytes.
        fix: what to do about a path that is no file.
        refusal: class of the error of what is not there, no file or not readable.
        raise_limit: what to do about a file above the limit; "": nothing, it is refused as no file of its kind.
    Raises:
        RestoreError: `refusal`, or `LimitError` for a file above the limit (`refusal` without `raise_limit`).
    """
    try:
        _check_kind(path.stat(), path, fix, refusal)
        file = path.open("rb")
    except FileNotFoundError as error:
        why = "there is no such file"
        raise refusal("cannot read this file", where=path, why=why, fix="Check the path") from error
    except (OSError, ValueError) as error:
        why, advice = _reason(error), "Check the path and permissions"
        raise refusal("cannot read this file", where=path, why=why, fix=advice) from error
    try:
        status = os.fstat(file.fileno())
        _check_kind(status, path, fix, refusal)
        if status.st_size > limit:
            what = f"is {status.st_size:,} bytes, more than the limit of {limit:,}"
            raise LimitError(what, where=path, fix=raise_limit) if raise_limit else refusal(what, where=path, fix=fix)
    except BaseException:
        file.close()
        raise
    return file


def read_regular(path: Path, limit: int, *, fix: str = "Name a file", refusal: type[RestoreError] = FileError) -> bytes:
    """The bytes of a file of no more than `limit`. Raises as `open_regular`."""
    with (
        open_regular(path, limit, fix=fix, refusal=refusal) as file,
        foreign_errors(path, "cannot read this file", refusal, fix),
    ):
        return file.read(limit)


def _check_kind(status: os.stat_result, path: Path, fix: str, refusal: type[RestoreError]) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise refusal(f"cannot read this: it is {kind}, not a file", where=path, fix=fix)


@contextmanager
def foreign_errors(path: Path | str | None, what: str, refusal: type[RestoreError], fix: str) -> Iterator[None]:
    """Whatever a parser raises on damaged or hostile bytes, as one error that names the file: `what` failed, and why.

    Parsers raise nearly every exception there is on such input, so all of them are caught, here alone.
    """
    try:
        yield
    except RestoreError as error:
        raise (error if path is None else error.at(path)) from error.__cause__
    except MemoryError as error:
        why = "it asks for more memory than there is"
        raise refusal(what, where=path, why=why, fix=fix) from error
    except Exception as error:
        raise refusal(what, where=path, why=_reason(error), fix=fix) from error


def _reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__


def checked_members(archive: zipfile.ZipFile, limit: int) -> list[zipfile.ZipInfo]:
    """The members of an archive, once what they claim to unpack to is within `limit` bytes (zipfile gives no more than
    they claim). Raises `FileError` without a path."""
    members = archive.infolist()
    total = sum(each.file_size for each in members)
    if len(members) > MAX_MEMBERS or total > limit:
        why = f"{len(members)} members of {total:,} bytes, and {limit:,} are the most"
        raise FileError("the archive would unpack to more than is read", why=why, fix="Take the file from its maker")
    return members
