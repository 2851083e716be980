"""One job from its files to its files: read, restored, written under temporary names, put in place together.

A worker knows no ledger, no summary and no other job; a recorder (`restore.inference.batch`) keeps what it did.
Worker, job and what comes back can be pickled if the restorer can, so that other processes may do the work.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from restore.errors import FileError
from restore.inference.batch_job import BatchOptions, Job, Progress, Report, Restores
from restore.inference.clips import clip_sink
from restore.inference.failures import explain
from restore.inference.history import History
from restore.inference.inputs import (
    Contents,
    Inputs,
    check_outputs,
    check_written_by_us,
    inspect,
    notes_of,
    read_headers,
)
from restore.inference.memory import return_memory
from restore.inference.records import FileRecord, OutputFiles, Written, work_key
from restore.inference.sequences import restore_sequence
from restore.io.atomic import AtomicFile, StagedFile
from restore.io.clip.names import names_clip
from restore.io.clip.reader import ClipFile
from restore.io.clip.sink import ClipSink
from restore.io.codecs import create, create_stack, open_picture, target_info
from restore.io.frame_folder import FolderSink, StagedFolder
from restore.io.options import ReadOptions
from restore.picture import FrameSink, MemorySink, PictureInfo, PictureSink, PictureSource

BIG = 128 << 20
"""Decoded bytes above which a picture is not decoded ahead of its turn."""
_COMPARE = " comparison"
"""What the comparison is called among the staged outputs: nothing that an output can be called."""


@dataclass(frozen=True)
class Done:
    """What became of a job.

    Attributes:
        error: what the failure in the record was.
        staged: the outputs, complete under temporary names: to be published once the record is kept, or discarded.
    """

    job: Job
    record: FileRecord
    error: Exception | None = None
    staged: tuple[StagedFile | StagedFolder, ...] = ()


@dataclass(eq=False)
class Work:
    """A job on its way through the steps, with what is known about it so far."""

    job: Job
    seconds: float = 0.0
    inputs: Inputs | None = None
    input_sha256: tuple[str, ...] = ()
    key: str | None = None
    contents: Contents | None = None
    big: bool = False
    sources: list[PictureSource] = field(default_factory=list)
    memory: dict[str, MemorySink] = field(default_factory=dict)
    staged: dict[str, AtomicFile | FolderSink | ClipSink] = field(default_factory=dict)
    resumed: bool = False  # what an earlier run left of a clip is used
    lost: dict[str, None] = field(default_factory=dict)  # notes: what the outputs' formats do not hold
    report: Report | None = None
    record: FileRecord | None = None  # set when nothing is left to do

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Count the seconds of a step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started

    def keep(self) -> None:
        """An earlier run did it: leave everything as it is."""
        self.release()
        self.record = FileRecord("skipped", self.job.names, key=self.key, reason="already done")

    def finish(self, error: Exception | None = None) -> Done:
        """What became of it; the staged outputs are from then on the caller's to publish or discard."""
        self.release()
        if error is not None or self.record is None:
            error = error or RuntimeError("no result")
            return Done(self.job, self.failure(error), error)
        staged = tuple(out.staged for out in self.staged.values())
        self.staged = {}
        return Done(self.job, self.record, staged=staged)

    def failure(self, error: Exception) -> FileRecord:
        """The record of a job that this stopped."""
        known = explain(error, self.job.source)
        return FileRecord(
            "failed", self.job.names, key=self.key, input_sha256=self.input_sha256,
            seconds=round(self.seconds, 3), error={"code": known.code, "line": str(known)},
        )  # fmt: skip

    def release(self) -> None:
        """Close the inputs and let go of all pixels."""
        for source in self.sources:
            source.close()
        self.sources, self.memory = [], {}
        if self.inputs is not None:
            self.inputs.close()

    def close(self) -> None:
        """Release, and remove what was written and did not become a result. Safe to call twice."""
        self.release()
        for out in self.staged.values():
            out.discard()
        self.staged = {}


class Worker:
    """Does jobs with one restorer: all at once (`do`), or in steps that a pipeline overlaps."""

    def __init__(self, restorer: Restores, options: BatchOptions) -> None:
        self.restorer, self.options = restorer, options
        self.settings = settings_hash(restorer.fingerprint, options)
        self._of_folder: Any = None

    def do(self, job: Job, history: History | None = None, progress: Progress | None = None) -> Done:
        """A whole job; only what is no `Exception` (an interrupt) leaves it, and then nothing half-written stays."""
        work = Work(job)
        try:
            self.identify(work, history)
            self.decode(work)
            self.compute(work, progress)
            self.encode(work)
            return work.finish()
        except Exception as error:
            return work.finish(error)
        finally:
            work.close()

    def look(self, job: Job, history: History | None = None) -> Contents | None:
        """What a job holds and would write, without doing it; None if an earlier run did it. Raises as it would."""
        if history is None:
            check_outputs(job, replace=self.options.overwrite)
            return inspect(job, self.restorer, self.options)
        work = Work(job)
        try:
            self.identify(work, history)
            return work.contents if work.record is None else None
        finally:
            work.close()

    def identify(self, work: Work, history: History | None = None) -> None:
        """Open the sources, read their headers and hash them; or refuse, or skip what an earlier run did."""
        job = work.job
        with work.clock():
            if job.skip:
                work.record = FileRecord("skipped", job.names, reason=job.skip)
                return
            if job.problem is not None:
                raise job.problem
            check_outputs(job, replace=self.options.overwrite or history is not None)
            work.inputs = Inputs(job, self.options.read, hashed=True)
            work.contents = read_headers(work.inputs, job, self.restorer, self.options)
            work.input_sha256 = work.inputs.sha256()
            work.key = work_key(work.input_sha256, self.settings, job.outputs)
            work.resumed = history is not None
            if history is None:
                return
            compared = job.in_place or job.compare is None or job.compare.exists()
            if compared and history.is_done(work.key, work.contents.outputs, in_place=job.in_place):
                work.keep()
            elif not self.options.overwrite:
                check_written_by_us(job, work.contents, history)

    def decode(self, work: Work) -> None:
        """Read ordinary pictures into memory; big ones and sequences are read while they are restored."""
        if work.record is not None or work.inputs is None or work.contents is None:
            return
        with work.clock():
            contents = work.contents
            sizes = [*(info.nbytes for info in contents.infos), *contents.nbytes.values()]
            work.big = contents.sequence or max(sizes) > BIG
            if not work.big:
                work.sources = work.inputs.pictures()
                work.inputs.close()
            work.inputs.check_unchanged()

    def compute(self, work: Work, progress: Progress | None = None) -> None:
        """The device's part: into memory, or straight into files for a big picture or a sequence."""
        if work.record is not None or work.inputs is None or work.contents is None:
            return
        with work.clock():
            if work.contents.sequence:
                self._restore_sequence(work, work.inputs, work.contents, progress)
            else:
                work.sources = work.sources or work.inputs.pictures()
                frames = work.sources * self.restorer.spec.window  # a single picture is its own neighbour
                condition = self._condition(work.sources, progress)
                work.report = self.restorer.apply(condition, frames, self._sinks(work), progress)
            if work.big:
                work.inputs.check_unchanged()

    def encode(self, work: Work) -> None:
        """Write what is in memory, under temporary names; when all outputs are complete, say what was done."""
        if work.record is not None:
            return
        with work.clock():
            for name, sink in work.memory.items():
                self._write(work, name, sink)
            written = {name: self._written(work, name) for name in work.job.targets}
            compare, notes = self._compare(work)
        work.record = self._success(work, written, compare, notes)

    def _condition(self, sources: Sequence[PictureSource], progress: Progress | None) -> Any:
        """What is measured of the sources; or what was, if it holds for the whole folder."""
        if self._of_folder is not None:
            return self._of_folder
        condition = self.restorer.prepare(sources, progress)
        if getattr(condition, "scope", "picture") == "folder":
            self._of_folder = condition
        return condition

    # --- the parts ---------------------------------------------------------------------------------------------

    def _sinks(self, work: Work) -> Callable[[str, PictureInfo], PictureSink]:
        def in_memory(name: str, info: PictureInfo) -> PictureSink:
            target = target_info(info, work.job.targets[name], self.options.save)
            work.memory[name] = MemorySink(_noted(work, info, target))
            return work.memory[name]

        return (lambda name, info: self._into_file(work, name, info)) if work.big else in_memory

    def _into_file(self, work: Work, name: str, info: PictureInfo) -> PictureSink:
        target, save = work.job.targets[name], self.options.save
        written = _noted(work, info, target_info(info, target, save))
        return create(target, written, save, self._staged_file(work, name))

    def _write(self, work: Work, name: str, memory: MemorySink) -> None:
        sink = self._into_file(work, name, memory.info)
        try:
            sink.write_rows(memory.picture.pixels)
            sink.commit()
        finally:
            sink.abort()

    def _restore_sequence(self, work: Work, inputs: Inputs, contents: Contents, progress: Progress | None) -> None:
        """All frames into each output, which appears only if every one succeeded."""
        job = work.job
        sinks = {name: self._frame_sink(work, name, contents) for name in job.targets}
        clips = [sink for sink in sinks.values() if isinstance(sink, ClipSink)]
        first = min((sink.done for sink in clips), default=0) if len(clips) == len(sinks) else 0
        for clip in clips:
            clip.begin_at(first)
            work.lost |= dict.fromkeys(clip.notes)

        def next_frame(name: str, info: PictureInfo) -> PictureSink:
            sink = sinks[name].next_frame(info)
            if not isinstance(sinks[name], ClipSink):
                _noted(work, info, sink.info)
            return sink

        try:
            work.report = restore_sequence(
                inputs.frames(), contents.frames, self.restorer, next_frame,
                first=first, once=self.options.measures_once(job), in_time=job.in_time, progress=progress,
            )  # fmt: skip
            if clips:
                return_memory()  # the join opens an encoder again
            for sink in sinks.values():
                sink.commit()
        finally:
            for sink in sinks.values():
                sink.abort()

    def _frame_sink(self, work: Work, name: str, contents: Contents) -> FrameSink:
        target, save = work.job.targets[name], self.options.save
        frames = contents.outputs[name].frames
        if not frames and work.inputs is not None and names_clip(target):
            source, info = work.inputs.frames()[0], self.restorer.output_headers(contents.info)[name]
            _make_folder(target.parent)
            sink = clip_sink(
                source, info, target, save, contents.frames, f"{work.key} {name}", resume=work.resumed
            )  # fmt: skip
            work.staged[name] = sink
            return sink
        if not frames:
            file = self._staged_file(work, name)
            return create_stack(target, contents.nbytes[name], save, file, pages=contents.frames)
        _make_folder(target.parent)
        sink = FolderSink(target, frames, save, overwrite=True, held=True)  # whether it may be was checked
        work.staged[name] = sink
        return sink

    def _staged_file(self, work: Work, name: str) -> AtomicFile:
        target = work.job.targets[name]
        _make_folder(target.parent)
        work.staged[name] = file = AtomicFile(target, held=True)
        return file

    def _written(self, work: Work, name: str) -> Written:
        frames = outputs_of(work)[name].frames
        return OutputFiles(work.staged[name].partial, frames).written(work.job.outputs[name])

    def _success(
        self, work: Work, written: dict[str, Written], compare: Written | None, extra: tuple[str, ...]
    ) -> FileRecord:
        report, job = work.report, work.job
        if report is None:
            raise RuntimeError("nothing was restored")
        key = work.key
        if job.in_place:
            key = work_key((written[job.main].sha256, *work.input_sha256[1:]), self.settings, job.outputs)
        facts = report.as_dict()
        notes = notes_of(job, work.sources)
        notes += work.contents.notes if work.contents is not None else ()
        return FileRecord(
            "ok", job.names, written, compare, key, work.input_sha256, round(work.seconds, 3), dict(report.decisions),
            {name: value for name, value in facts.items() if name not in ("decisions", "warnings", "seconds")},
            tuple(dict.fromkeys((*notes, *report.warnings, *work.lost, *extra))), in_place=job.in_place,
        )  # fmt: skip

    def _compare(self, work: Work) -> tuple[Written | None, tuple[str, ...]]:
        """Write the before/after picture, of a sequence's first frame; its failure is a warning, the result is safe."""
        compare, job, target = self.options.compare, work.job, work.job.compare
        if compare is None or target is None or work.inputs is None:
            return None, ()
        path, frames = work.staged[job.main].partial, outputs_of(work)[job.main].frames
        try:
            work.staged[_COMPARE] = file = AtomicFile(target, held=True)
            before = work.sources[0] if work.sources else work.inputs.frames()[0].frame(0)
            if isinstance(work.staged[job.main], ClipSink):
                after = ClipFile(path).frame(0)
            else:
                after = open_picture(path / frames[0] if frames else path, ReadOptions(frames="first"))
            with closing(before), closing(after):
                compare(before, after, file)
        except Exception as error:
            if _COMPARE in work.staged:
                work.staged.pop(_COMPARE).discard()
            return None, (f"no comparison was written: {explain(error, target)}",)
        return OutputFiles(file.partial).written(job.compare_name), ()


def outputs_of(work: Work) -> dict[str, OutputFiles]:
    """Where the outputs of an identified job will be."""
    return work.contents.outputs if work.contents is not None else {}


def settings_hash(fingerprint: str, options: BatchOptions) -> str:
    """Hash of everything but the input that shapes an output file's bytes."""
    read = options.read
    window = [read.start, read.end, read.count] if (read.start, read.end, read.count) != (None, None, None) else []
    facts = [fingerprint, asdict(options.save), read.frames, read.salvage, options.measure, *window]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _noted(work: Work, info: PictureInfo, target: PictureInfo) -> PictureInfo:
    """The target of an output like `info`; what its format does not hold is noted with the work."""
    work.lost |= dict.fromkeys(note for note in target.notes if note not in info.notes)
    return target


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            "the output folder cannot be made", where=folder, why=error.strerror or str(error),
            fix="Choose another output",
        ) from error  # fmt: skip
