"""Many files through one restorer: isolated from each other, recorded in the ledger, resumable.

Ordinary pictures overlap: they are decoded ahead of the device stage and encoded behind it. Big ones are
opened only when it is their turn and go straight into their file, so that memory stays bounded. So do stacks,
frame by frame.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from restore.errors import FileError, LimitError, RestoreError
from restore.inference.ledger import FileRecord, Ledger, file_sha256, staged_name, work_key
from restore.inference.pipeline import Outcome, Stages, run_pipeline
from restore.inference.stacks import Contents, StackReport, inspect, restore_frames
from restore.inference.work import BatchOptions, Job, Report, Restores, Summary, Watcher
from restore.io.codecs import SALVAGED, ReadOptions, create, create_stack, open_frames, open_picture, target_info
from restore.io.paths import check_output
from restore.picture import MemorySink, Picture, PictureInfo, PictureSink, PictureSource

BIG = 128 << 20
"""Decoded bytes above which a picture is not decoded ahead of its turn."""


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
    batch = _Batch(restorer, options or BatchOptions(), ledger, watcher)
    started = time.perf_counter()
    try:
        run_pipeline(map(_Work, jobs), batch.stages, batch.done, workers=batch.options.workers)
    except KeyboardInterrupt:
        batch.summary.interrupted = True
    batch.summary.seconds = time.perf_counter() - started
    return batch.summary


@dataclass
class _Work:
    """A job on its way through the stages, with what is known about it so far."""

    job: Job
    seconds: float = 0.0
    input_sha256: str | None = None
    key: str | None = None
    contents: Contents | None = None
    big: bool = False
    source: PictureSource | None = None
    memory: MemorySink | None = None
    report: Report | None = None
    staged: Path | None = None
    record: FileRecord | None = None  # set when nothing is left to do

    @contextmanager
    def clock(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started


class _Batch:
    def __init__(
        self, restorer: Restores, options: BatchOptions, ledger: Ledger | None, watcher: Watcher | None
    ) -> None:
        self.restorer, self.options, self.ledger, self.watcher = restorer, options, ledger, watcher
        self.summary = Summary()
        self.stages: Stages[_Work, _Work, _Work, _Work] = Stages(self.decode, self.compute, self.encode)
        self.settings = settings_hash(restorer.fingerprint, options)

    def decode(self, work: _Work) -> _Work:
        """Read one file, unless it is to be skipped, refused, or is already done."""
        job = work.job
        with work.clock():
            if job.skip:
                work.record = FileRecord("skipped", job.name, reason=job.skip)
                return work
            check_outputs(job, replace=self.options.overwrite)
            work.contents = inspect(job.source, job.target, self.options.read, self.options.save)
            before = job.source.stat()
            work.input_sha256 = file_sha256(job.source)
            work.key = work_key(work.input_sha256, self.settings, job.output)
            if self.ledger is not None and self.ledger.is_done(work.key, job.target):
                work.record = FileRecord("skipped", job.name, job.output, work.key, reason="already done")
                return work
            if self.ledger is not None:
                self.ledger.clear_leftovers(job.target)
            work.big = work.contents.info.nbytes > BIG or work.contents.frames > 1
            if not work.big:
                work.source = open_picture(job.source, self.options.read)
            after = job.source.stat()
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise FileError("the file changed while it was read", fix="Run it again when it is complete")
            return work

    def compute(self, work: _Work) -> _Work:
        """The device stage: into memory, or straight into the file for a big picture or a stack."""
        if work.record is not None:
            return work
        if self.watcher:
            self.watcher.started(work.job)
        with work.clock():
            if work.contents is not None and work.contents.frames > 1:
                work.report = self._restore_stack(work, work.contents)
                return work
            if work.source is None:
                work.source = open_picture(work.job.source, self.options.read)
            sink = self._into_file if work.big else self._into_memory
            progress = self.watcher.progress if self.watcher else None
            work.report = self.restorer.run(work.source, lambda info: sink(work, info), progress)
        return work

    def _restore_stack(self, work: _Work, contents: Contents) -> StackReport:
        """All frames into one file, which appears only if every one succeeded."""
        job, options = work.job, self.options
        stack = create_stack(self._place(work), contents.nbytes, options.save)
        try:
            with closing(open_frames(job.source, options.read)) as frames:
                report = restore_frames(
                    frames, contents.frames, self.restorer,
                    lambda info: stack.next_page(target_info(info, stack.path, options.save)),
                    self.watcher.progress if self.watcher else None,
                )  # fmt: skip
            stack.commit()
        except BaseException:
            stack.abort()
            raise
        return report

    def encode(self, work: _Work) -> _Work:
        """Write what is in memory; then say what was done."""
        if work.record is not None:
            return work
        with work.clock():
            if work.memory is not None:
                self._write(work, work.memory.picture)
            extra = self._compare(work)
        work.record = self._success(work, extra)
        return work

    def _success(self, work: _Work, extra: tuple[str, ...]) -> FileRecord:
        assert work.report is not None
        output = work.staged or work.job.target
        sha256 = file_sha256(output)
        key = work_key(sha256, self.settings, work.job.output) if work.job.in_place else work.key
        facts = work.report.as_dict()
        notes = work.source.info.notes if work.source and not isinstance(work.report, StackReport) else ()
        return FileRecord(
            "ok", work.job.name, work.job.output, key, work.input_sha256, sha256, output.stat().st_size,
            round(work.seconds, 3), dict(work.report.decisions),
            {name: value for name, value in facts.items() if name not in ("decisions", "warnings", "seconds")},
            (*notes, *work.report.warnings, *extra),
        )  # fmt: skip

    def done(self, outcome: Outcome[_Work, _Work]) -> None:
        """Record and count one file."""
        work, error = outcome.item, outcome.error
        if work.source is not None:
            work.source.close()
        try:
            record, error = self._settle(work, error)
        finally:
            if work.staged is not None:  # gone already if it became the result
                work.staged.unlink(missing_ok=True)
        self._count(work.job, record)
        if self.watcher:
            self.watcher.finished(work.job, record, error)

    def _settle(self, work: _Work, error: Exception | None) -> tuple[FileRecord, Exception | None]:
        """Write the ledger's line; a result in place becomes visible only after it was recorded."""
        record = work.record
        if error is not None or record is None:
            record = _failure(work, error or RuntimeError("no result"))
        if self.ledger is not None and record.status != "skipped":
            self.ledger.add(record)
        if work.staged is not None and record.status == "ok":
            try:
                _replace(work.staged, work.job.target)
            except OSError as problem:
                error, record = problem, _failure(work, problem)
        return record, error

    def _count(self, job: Job, record: FileRecord) -> None:
        if record.status == "ok":
            self.summary.ok += 1
            self.summary.salvaged += any(note.startswith(SALVAGED) for note in record.warnings)
        elif record.status == "skipped":
            self.summary.kept += record.key is not None
            self.summary.skipped += record.key is None
        elif record.error is not None:
            self.summary.failures.append((str(job.source), record.error["line"]))

    def _into_memory(self, work: _Work, info: PictureInfo) -> PictureSink:
        work.memory = MemorySink(target_info(info, work.job.target, self.options.save))
        return work.memory

    def _into_file(self, work: _Work, info: PictureInfo) -> PictureSink:
        target = self._place(work)
        return create(target, target_info(info, target, self.options.save), self.options.save)

    def _place(self, work: _Work) -> Path:
        """Where the result is written: under its name, or staged beside it if it replaces its input."""
        target = work.job.target
        if work.job.in_place:
            target = work.staged = staged_name(target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(
                "the output folder cannot be made", where=target.parent, why=error.strerror or str(error),
                fix="Choose another output",
            ) from error  # fmt: skip
        return target

    def _write(self, work: _Work, picture: Picture) -> None:
        sink = self._into_file(work, picture.info)
        try:
            sink.write_rows(picture.pixels)
            sink.commit()
        except BaseException:
            sink.abort()
            raise

    def _compare(self, work: _Work) -> tuple[str, ...]:
        """Write the before/after picture, of a stack's first frame; its failure is a warning, the result is safe."""
        compare, target = self.options.compare, work.job.compare
        if compare is None or target is None:
            return ()
        try:
            if work.source is None:  # closed when the file is done
                work.source = open_picture(work.job.source, replace(self.options.read, frames="first"))
            after = open_picture(work.staged or work.job.target, ReadOptions(frames="first"))
            try:
                compare(work.source, after, target)
            finally:
                after.close()
        except Exception as error:
            return (f"no comparison was written: {explain(error, target)}",)
        return ()


def settings_hash(fingerprint: str, options: BatchOptions) -> str:
    """Hash of everything but the input that shapes an output file's bytes."""
    read = options.read
    facts = [fingerprint, asdict(options.save), read.frames, read.salvage]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def explain(error: BaseException, where: Path) -> RestoreError:
    """Any exception as one of ours: what went wrong with this file, and what to do."""
    if isinstance(error, RestoreError):
        return error.at(where)
    if isinstance(error, MemoryError):
        return LimitError("out of memory", where=where, why=str(error), fix="Use --workers 1 or a smaller --tile")
    if isinstance(error, OSError):
        return FileError(
            "reading or writing failed", where=error.filename or where, why=error.strerror or str(error),
            fix="Check the disk and try again",
        )  # fmt: skip
    return RestoreError(
        f"unexpected {type(error).__name__}", where=where, why=str(error),
        fix="This is a bug: please report it with the output of -v",
    )  # fmt: skip


def check_outputs(job: Job, *, replace: bool) -> None:
    """Raise `FileError` if a job's outputs would destroy something they may not."""
    check_output(job.source, job.target, in_place=job.in_place, overwrite=replace)
    if job.compare is not None:
        check_output(job.source, job.compare, overwrite=replace)


def _failure(work: _Work, error: Exception) -> FileRecord:
    known = explain(error, work.job.source)
    return FileRecord(
        "failed", work.job.name, work.job.output, work.key, work.input_sha256,
        seconds=round(work.seconds, 3), error={"code": known.code, "line": str(known)},
    )  # fmt: skip


def _replace(staged: Path, target: Path) -> None:
    shutil.copymode(target, staged)
    staged.replace(os.path.realpath(target))
