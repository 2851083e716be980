"""The ledger of a folder run: one JSON line per finished job, appended and synced once its outputs are safe.

A run may be killed at any instant: a torn last line is ignored when the ledger is read, and outputs
without a line are simply done again. A job counts as done only while every output still has its recorded
size and hash. Opening the ledger locks its folder against a second run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

from restore.closing import Closing
from restore.errors import ExitCode, FileError
from restore.io.atomic import NAME_CARRIED, PARTIAL_SUFFIX
from restore.io.hashes import combined_sha256, file_sha256

LEDGER_NAME = "restore-ledger.jsonl"
_LEFTOVER = re.compile(rf"\.(.+?)(?:\.[0-9a-f]{{8}}{re.escape(PARTIAL_SUFFIX)}(?:\.\w+)?)+", re.DOTALL)
Status = Literal["ok", "failed", "skipped"]


class LedgerError(FileError):
    """The ledger cannot be opened: nothing was started."""

    exit_code = ExitCode.NOTHING_RAN


@dataclass(frozen=True)
class Written:
    """One output that was written: where (as the ledger calls it), the hash and the number of its bytes."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class OutputFiles:
    """Where one output is.

    Attributes:
        path: the file, or the folder of `frames`.
        frames: names of a sequence's files in the folder, in order; what else the folder holds does not count.
    """

    path: Path
    frames: tuple[str, ...] = ()

    def written(self, name: str) -> Written:
        """Hash what is there, as `name`. Raises `OSError` if it is not."""
        if not self.frames:
            return Written(name, file_sha256(self.path), self.path.stat().st_size)
        files = [self.path / frame for frame in self.frames]
        hashes = map(file_sha256, files)
        sha256 = combined_sha256(zip(self.frames, hashes, strict=True))
        return Written(name, sha256, sum(file.stat().st_size for file in files))


@dataclass(frozen=True)
class FileRecord:
    """What became of one job; one line of the ledger, one entry of `--json`.

    Attributes:
        status: "ok", "failed", or "skipped" (not a picture, or already done by an earlier run).
        inputs: paths relative to the run's folders, as the user would write them.
        outputs: what was written, by the outputs' names, the main one first.
        input_sha256: of the files' bytes, of each input.
        decisions, run, warnings: what was measured and chosen, warnings; device, precision and tiles in `run`.
        key: see `work_key`; None if the input could not even be read.
        error: {"code", "line"} of a failure.
        reason: of a skip.
    """

    status: Status
    inputs: tuple[str, ...]
    outputs: dict[str, Written] = field(default_factory=dict)
    key: str | None = None
    input_sha256: tuple[str, ...] = ()
    seconds: float = 0.0
    decisions: dict[str, str] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: dict[str, str] | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, without empty fields."""
        return {name: value for name, value in asdict(self).items() if value not in (None, {}, (), "")}


def work_key(input_sha256: Sequence[str], settings: str, outputs: Mapping[str, str]) -> str:
    """Names one piece of work: these input bytes, with these settings, to outputs of these names and paths.

    For a file changed in place it is the *result's* hash that goes in: what an earlier run left there is
    then recognised as finished, and never restored twice.
    """
    facts = json.dumps([list(input_sha256), settings, sorted(outputs.items())])
    return hashlib.sha256(facts.encode()).hexdigest()


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
    """

    def __init__(self, folder: Path, *, resume: bool = False, run: dict[str, Any] | None = None) -> None:
        self.path, self.resume = folder / LEDGER_NAME, resume
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
        except OSError as error:
            raise LedgerError(
                "the ledger cannot be written", where=self.path, why=error.strerror or str(error),
                fix="Choose an output folder you may write to",
            ) from error  # fmt: skip
        try:
            _lock(self._file, self.path)
            self._done = _read_done(self.path) if resume else {}
            self._leftovers = find_leftovers(folder) if resume else {}
            self._repair_end()
            self._append({"start": {"pid": os.getpid(), "time": _now(), **(run or {})}})
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Release the folder."""
        self._file.close()

    def is_done(self, key: str, outputs: Mapping[str, OutputFiles]) -> bool:
        """Whether this work was finished and every one of its outputs is still there, byte for byte."""
        digest = self._done.get(bytes.fromhex(key))
        if digest is None:
            return False
        try:
            there = {name: files.written("") for name, files in outputs.items()}
        except OSError:
            return False
        return digest == _digest({name: (one.bytes, one.sha256) for name, one in there.items()})

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


def read_ledger(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a ledger, in order; torn or foreign lines are left out."""
    with path.open("rb") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    yield entry


def _read_done(path: Path) -> dict[bytes, bytes]:
    """work key -> digest of the outputs, for what was finished; 32 + 16 bytes a job, whatever its lines hold."""
    done: dict[bytes, bytes] = {}
    for entry in read_ledger(path):
        if entry.get("status") == "ok":
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):  # a line of another layout
                outputs = {name: (one["bytes"], one["sha256"]) for name, one in entry["outputs"].items()}
                done[bytes.fromhex(entry["key"])] = _digest(outputs)
    return done


def _digest(outputs: Mapping[str, tuple[int, str]]) -> bytes:
    facts = json.dumps(sorted((name, *fact) for name, fact in outputs.items()))
    return hashlib.blake2b(facts.encode(), digest_size=16).digest()


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
