"""Many jobs through one restorer: isolated from each other, recorded in the ledger, resumable.

Ordinary pictures overlap: they are decoded ahead of the device stage and encoded behind it. Big ones are read
only when it is their turn and go straight into their files, so that memory stays bounded. So do sequences, frame
by frame.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from restore.errors import ExitCode, FileError
from restore.inference.batch_job import BatchOptions, Job, Restores
from restore.inference.ledger import Ledger
from restore.inference.pipeline import Outcome, Stages, run_pipeline
from restore.inference.records import FileRecord
from restore.inference.worker import Done, Work, Worker
from restore.io.header import SALVAGED


class Watcher(Protocol):
    """Is notified of what happens, always from the calling thread."""

    def started(self, job: Job, frames: int = 0) -> None:
        """A job begins; `frames` of a sequence, 0 for a picture."""

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


def run_batch(
    jobs: Iterable[Job],
    restorer: Restores,
    options: BatchOptions | None = None,
    *,
    ledger: Ledger | None = None,
    watcher: Watcher | None = None,
) -> Summary:
    """Do all jobs; whatever happens to one never changes another.

    Args:
        jobs: taken lazily, so that a folder of any size costs no memory.
        ledger: where to record results, and what to skip; without one nothing is skipped.
    Returns:
        The summary; an interrupt (Ctrl-C) ends the batch early and is noted there, not raised.
    Raises:
        FileError: the ledger cannot be written.
    """
    options = options or BatchOptions()
    recorder = Recorder(ledger, watcher)
    batch = _Batch(Worker(restorer, options), recorder)
    started = time.perf_counter()
    try:
        run_pipeline(batch.begin(jobs), batch.stages, batch.done, workers=options.workers)
    except KeyboardInterrupt:
        recorder.summary.interrupted = True
    finally:
        batch.close()
    recorder.summary.seconds = time.perf_counter() - started
    return recorder.summary


class Recorder:
    """Keeps what became of jobs: in the ledger, in the summary, and for the watcher. It lives in one process."""

    def __init__(self, ledger: Ledger | None = None, watcher: Watcher | None = None) -> None:
        self.ledger, self.watcher = ledger, watcher
        self.summary = Summary()

    def record(self, done: Done) -> None:
        """Write the ledger's line, let the outputs appear under their names only then, and count the job."""
        try:
            record, error = self._write_record(done)
        finally:
            for file in done.staged:  # gone already what became an output
                file.discard()
        self._count(done.job, record)
        if self.watcher:
            self.watcher.finished(done.job, record, error)

    def _write_record(self, done: Done) -> tuple[FileRecord, Exception | None]:
        self._add(done.record)
        try:
            for file in done.staged:
                file.publish()
        except (OSError, FileError) as problem:
            failed = Work(done.job, done.record.seconds).failure(problem)
            self._add(failed)
            return failed, problem
        return done.record, done.error

    def _add(self, record: FileRecord) -> None:
        if self.ledger is not None and record.status != "skipped":
            self.ledger.add(record)

    def _count(self, job: Job, record: FileRecord) -> None:
        if record.status == "ok":
            self.summary.ok += 1
            self.summary.salvaged += any(SALVAGED in note for note in record.warnings)
        elif record.status == "skipped":
            self.summary.kept += record.key is not None
            self.summary.skipped += record.key is None
        elif record.error is not None:
            self.summary.failures.append((str(job.source), record.error["line"]))


class _Batch:
    """The worker's steps as stages of a pipeline, with the recorder at its end."""

    def __init__(self, worker: Worker, recorder: Recorder) -> None:
        self.worker, self.recorder = worker, recorder
        self.stages: Stages[Work, Work, Work, Work] = Stages(self.decode, self.compute, self.encode)
        self._begun: set[Work] = set()

    def begin(self, jobs: Iterable[Job]) -> Iterator[Work]:
        """What the pipeline takes, remembered until it is done."""
        for job in jobs:
            work = Work(job)
            self._begun.add(work)
            yield work

    def decode(self, work: Work) -> Work:
        ledger = self.recorder.ledger
        self.worker.identify(work, ledger.history if ledger is not None else None)
        if ledger is not None and work.record is None:
            for target in work.job.written:
                ledger.clear_leftovers(target)
        self.worker.decode(work)
        return work

    def compute(self, work: Work) -> Work:
        watcher = self.recorder.watcher
        if watcher and work.record is None:
            sequence = work.contents is not None and work.contents.sequence
            watcher.started(work.job, work.contents.frames if sequence else 0)  # type: ignore[union-attr]
        self.worker.compute(work, watcher.progress if watcher else None)
        return work

    def encode(self, work: Work) -> Work:
        self.worker.encode(work)
        return work

    def done(self, outcome: Outcome[Work, Work]) -> None:
        work = outcome.item
        try:
            self.recorder.record(work.finish(outcome.error))
        finally:
            work.close()
            self._begun.discard(work)

    def close(self) -> None:
        """Release what an early end left on its way."""
        for work in self._begun:
            work.close()
