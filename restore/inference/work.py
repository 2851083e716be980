"""What a batch is given, and what it tells: jobs, options, the restorer's contract, the watcher, the summary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from restore.errors import ExitCode
from restore.inference.ledger import FileRecord
from restore.io.options import ReadOptions, SaveOptions
from restore.picture import PictureInfo, PictureSink, PictureSource


class Report(Protocol):
    """What a restorer tells about one picture."""

    decisions: dict[str, str]

    @property
    def warnings(self) -> Sequence[str]: ...

    def as_dict(self) -> dict[str, Any]: ...


class Restores(Protocol):
    """What a batch needs of a restorer (`restore.api.Restorer` is one). The fingerprint names everything that
    shapes the output besides the input: engine, weights, options, version."""

    @property
    def fingerprint(self) -> str: ...

    def run(
        self,
        source: PictureSource,
        create_sink: Callable[[PictureInfo], PictureSink],
        progress: Callable[[float], None] | None = None,
    ) -> Report:
        """Restore into the sink it makes; the sink is committed, or aborted on any error."""
        ...


@dataclass(frozen=True)
class Job:
    """One file to do.

    Attributes:
        source, target: where it is and where its result goes.
        name, output: the same two as the ledger and messages call them (relative to the run's folders).
        in_place: the result replaces the source, which is the target.
        compare: where to put a before/after picture, if anywhere.
        skip: why it is left alone (not a picture), "" if it is not.
    """

    source: Path
    target: Path
    name: str
    output: str
    in_place: bool = False
    compare: Path | None = None
    skip: str = ""


@dataclass(frozen=True)
class BatchOptions:
    """What a batch does with files; what is done to pixels is the restorer's.

    Attributes:
        overwrite: existing outputs may be replaced (a resumed run needs it for what changed).
        workers: see `run_pipeline`.
        compare: writes a comparison (before, after, path) for jobs that want one.
    """

    read: ReadOptions = field(default_factory=ReadOptions)
    save: SaveOptions = field(default_factory=SaveOptions)
    overwrite: bool = False
    workers: int = 2
    compare: Callable[[PictureSource, PictureSource, Path], None] | None = None


class Watcher(Protocol):
    """Is told what happens, always from the calling thread."""

    def started(self, job: Job) -> None: ...

    def progress(self, done: float) -> None: ...

    def finished(self, job: Job, record: FileRecord, error: Exception | None) -> None: ...


@dataclass
class Summary:
    """What became of a batch.

    Attributes:
        salvaged: those of the finished files that were damaged and are incomplete.
        kept: files an earlier run had already done.
        skipped: entries that are no pictures.
        failures: (file, error line) of each failure.
        interrupted: stopped by Ctrl-C or SIGTERM; what is missing is done by `--resume`.
    """

    ok: int = 0
    salvaged: int = 0
    kept: int = 0
    skipped: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def exit_code(self) -> ExitCode:
        if self.interrupted:
            return ExitCode.INTERRUPTED
        if self.failures or self.salvaged:
            return ExitCode.SOME_FAILED
        return ExitCode.OK if self.ok or self.kept else ExitCode.NOTHING_RAN

    def as_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return {
            "ok": self.ok, "salvaged": self.salvaged, "kept": self.kept, "skipped": self.skipped,
            "failed": len(self.failures), "failures": dict(self.failures), "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3), "exit_code": int(self.exit_code),
        }  # fmt: skip
