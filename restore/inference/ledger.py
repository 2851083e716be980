"""The ledger of a folder run: one JSON line per finished job, appended and synced once its outputs are complete.

A job's outputs get their names only after its line is safe. A run may be killed at any instant: a torn last line is
ignored when the ledger is read, and outputs without a line are simply done again. What earlier runs wrote is a
`restore.inference.history.History`. Opening the ledger locks its folder against a second run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from restore.closing import Closing
from restore.errors import ExitCode, FileError
from restore.inference.history import History, read_ledger
from restore.inference.records import LEDGER_NAME, FileRecord
from restore.io.atomic import NAME_CARRIED, PARTIAL_SUFFIX

_MAX_BYTES = 1 << 30
_BEGINNING = b'{"start": '
_LEFTOVER = re.compile(rf"\.(.+?)(?:\.[0-9a-f]{{8}}{re.escape(PARTIAL_SUFFIX)}(?:\.\w+)?)+", re.DOTALL)


class LedgerError(FileError):
    """The ledger cannot be opened: nothing was started."""

    exit_code = ExitCode.NOTHING_RAN


def find_leftovers(folder: Path) -> dict[Path, list[Path]]:
    """Half-written files and folders of killed runs below a folder, by the output they were to become."""
    leftovers: dict[Path, list[Path]] = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            match = _LEFTOVER.fullmatch(name)
            if match:
                leftovers.setdefault(Path(parent, match[1]), []).append(Path(parent, name))
        folders[:] = [name for name in folders if not _LEFTOVER.fullmatch(name)]
    return leftovers


def _short(target: Path) -> Path:
    """The output's name as far as temporary names carry it."""
    return target.with_name(os.fsdecode(os.fsencode(target.name)[:NAME_CARRIED]))


class Ledger(Closing):
    """The open, locked ledger of an output folder. Use as a context manager.

    Args:
        folder: made if missing.
        resume: read what earlier runs did; without it every file counts as not done.
        run: facts about this run (settings, version), written as its first line.

    Attributes:
        history: what earlier runs wrote, if this one resumes.
    """

    def __init__(self, folder: Path, *, resume: bool = False, run: dict[str, Any] | None = None) -> None:
        self.path, self.resume, self._made, self._finished = folder / LEDGER_NAME, resume, False, False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._made = not self.path.exists()
            self._file = _open_own(self.path)
        except OSError as error:
            raise LedgerError(
                "the ledger cannot be written", where=self.path, why=error.strerror or str(error),
                fix="Choose an output folder you may write to, or move what bears its name away",
            ) from error  # fmt: skip
        try:
            _lock(self._file, self.path)
            self.history = History(folder) if resume else None
            self._leftovers = find_leftovers(folder) if resume else {}
            self._repair_end()
            self._append({"start": {"pid": os.getpid(), "time": _now(), **(run or {})}})
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Release the folder; of a run that finished nothing no new ledger stays."""
        if self._made and not self._finished and not self._file.closed:
            self.path.unlink(missing_ok=True)
        self._file.close()

    def clear_leftovers(self, target: Path) -> None:
        """Remove what a killed run left half-written of this output."""
        for leftover in self._leftovers.pop(_short(target), ()):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)

    def add(self, record: FileRecord) -> None:
        """Append a line and force it to the disk. Raises `FileError` if that fails."""
        self._append({"time": _now(), **record.as_dict()})
        self._finished = self._finished or record.status == "ok"

    def _append(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry, ensure_ascii=True) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise FileError(
                "the ledger cannot be written", where=self.path, why=error.strerror or str(error),
                fix="Make room, then run the same command again with --resume",
            ) from error  # fmt: skip

    def _repair_end(self) -> None:
        """Close a line torn by a kill, so that ours does not continue it."""
        if self._file.seek(0, os.SEEK_END) == 0:
            return
        self._file.seek(-1, os.SEEK_END)
        if self._file.read(1) != b"\n":
            self._file.write(b"\n")


def _open_own(path: Path) -> BinaryIO:
    """The ledger, open to read and append. Raises `OSError` for what only bears its name, and leaves it as it is."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC"):
        flags |= getattr(os, flag, 0)
    if path.is_symlink():
        raise OSError("it is a link")
    file = os.fdopen(os.open(path, flags, 0o666), "a+b")
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        problem = "it is no regular file"
    elif status.st_nlink > 1:
        problem = "it has a second name, a hard link, and would change there as well"
    elif status.st_size > _MAX_BYTES:
        problem = f"it is larger than {_MAX_BYTES >> 30} GiB"
    elif status.st_size and not _begins_as_ours(file):
        problem = "it is no ledger of this program"
    else:
        return file
    file.close()
    raise OSError(problem)


def _begins_as_ours(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(len(_BEGINNING)) == _BEGINNING


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _lock(file: BinaryIO, path: Path) -> None:
    """Lock the open ledger until it is closed (the system does it for a killed process)."""
    try:
        _lock_file(file)
    except (BlockingIOError, PermissionError) as error:
        runs = [entry["start"] for entry in read_ledger(path) if isinstance(entry.get("start"), dict)]
        holder = f"process {runs[-1].get('pid')}" if runs else "another process"
        raise LedgerError(
            "another run is writing to this folder", where=path.parent, why=holder,
            fix="Wait for it to end, or choose another output folder",
        ) from error  # fmt: skip
    except OSError:
        return  # a filesystem without locks (some network shares): nothing to hold on to


if os.name == "nt":
    import msvcrt

    def _lock_file(file: BinaryIO) -> None:
        file.seek(1 << 40)  # far behind the text: Windows locks keep others from reading the range
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _lock_file(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
