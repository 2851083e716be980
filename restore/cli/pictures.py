"""What every picture task does on the command line: plan, load, run, report."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from restore.cli.console import Bar, JsonReport, describe, log_to_user, one_line, put, say
from restore.cli.options import FileOptions, MachineOptions, ReportOptions
from restore.cli.plan import NothingToDoError, Plan, TooFewPathsError, plan_work
from restore.errors import ConfigError, ExitCode, RestoreError
from restore.inference.options import RunOptions
from restore.io.clip.names import is_clip
from restore.io.options import ReadOptions, SaveOptions
from restore.options import ExtraOutput, FromInputs, OptionalPath, flag, kinds_of
from restore.tasks import Task, choose_method, options_class

if TYPE_CHECKING:
    from pathlib import Path

    from restore.api import Restorer
    from restore.inference.batch import BatchOptions, Summary
    from restore.inference.batch_job import Job
    from restore.inference.inputs import Contents
    from restore.inference.ledger import Ledger
    from restore.inference.records import FileRecord


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        name, task: of `restore.tasks`.
        method: a name, or "auto".
        given: options of the method that the user gave.
    """

    name: str
    task: Task
    method: str
    given: Mapping[str, Any]
    files: FileOptions
    reading: ReadOptions
    running: RunOptions
    machine: MachineOptions
    report: ReportOptions
    saving: SaveOptions

    def check(self) -> None:
        """Refuse options that contradict each other."""
        if self.task.subcommand and self.method not in self.task.methods:
            from restore.cli.options import hint

            what = f"there is no {self.task.subcommand} {self.method!r}"
            what = what if self.method else f"no {self.task.subcommand} was named"
            raise ConfigError(what, fix=hint(self.method, list(self.task.methods)))
        if self.files.in_place and not self.task.in_place:
            raise ConfigError(f"{self.name} does not replace its inputs", fix="Name an output")
        if self.files.in_place and self.running.crop:
            raise ConfigError("--crop and --in-place would throw the rest of the picture away", fix="Name an output")
        if self.files.in_place and self.reading.salvage:
            what = "--salvage and --in-place would replace a damaged file by the part of it that can be read"
            raise ConfigError(what, fix="Name an output")
        if self.files.overwrite and self.files.resume:
            raise ConfigError(
                "--overwrite and --resume contradict each other", fix="--resume does only what is missing"
            )

    @property
    def chosen(self) -> str:
        """The method that is used, `auto` resolved."""
        return choose_method(self.task, self.given) if self.method == "auto" else self.method

    @property
    def chosen_in_words(self) -> str:
        """The method, as far as it can be said before the pictures are measured."""
        chosen = self.chosen
        return "method chosen per picture" if self.task.methods[chosen].per_picture else chosen

    def extra_paths(self) -> dict[str, str]:
        """Where extra outputs go that were given with a path."""
        kinds = self._kinds()
        return {
            name: value for name, value in self.given.items()
            if isinstance(kinds.get(name), ExtraOutput) and isinstance(value, str)
        }  # fmt: skip

    def named_paths(self) -> list[str]:
        """What the method's options may name on the disk: a PSF, weights, pictures to learn from."""
        extra = self.extra_paths()
        return [value for name, value in self.given.items() if isinstance(value, str) and name not in extra]

    def load(self, plan: Plan) -> Restorer:
        """What does the work. An option that takes pictures to learn from takes the inputs where none are named."""
        import torch

        from restore.api import loaded
        from restore.cli.machine import usable_cores

        torch.set_num_threads(self.machine.threads or usable_cores())
        given = dict(self.given)
        for name, kind in self._kinds().items():
            if isinstance(kind, FromInputs) and given.get(name, True) is True:
                given[name] = [str(path) for path in plan.inputs]
        run = {name: getattr(self.running, name) for name in RunOptions.__dataclass_fields__}
        return loaded(self.name, self.chosen, given | run)

    @contextmanager
    def explaining_swallowed_paths(self) -> Iterator[None]:
        """Errors about paths that are missing say which word an option before it took for its value."""
        try:
            yield
        except (TooFewPathsError, NothingToDoError) as error:
            for name, kind in self._kinds().items():
                word, option = self.given.get(name), flag(name)
                if isinstance(kind, OptionalPath) and isinstance(word, str):
                    learns = isinstance(kind, FromInputs)
                    taken = "what to learn from" if learns else "where its output goes"
                    use = "learn from it" if learns else "write there"
                    raise type(error)(
                        error.what, where=error.where, why=f"{word}, the word after {option}, was taken as {taken}",
                        fix=f"To work on it, put {option} last; to {use}, write {option}={word} and name a picture",
                    ) from error  # fmt: skip
            raise

    def _kinds(self) -> Mapping[str, Any]:
        if self.chosen not in self.task.methods:
            return {}
        return kinds_of(options_class(self.task.methods[self.chosen]))


def restore_pictures(paths: tuple[str, ...], request: Request) -> int:
    """Put files through a task and report; returns the exit code."""
    json = JsonReport(request.name) if request.report.json else None
    try:
        request.check()
        files, task = request.files, request.task
        example = f"restore {request.name} {request.method + ' ' if task.subcommand else ''}in.png"
        with request.explaining_swallowed_paths():
            plan = plan_work(
                paths, task.ending, inputs=task.inputs, in_place=files.in_place, compare=files.compare,
                frames_dir=files.frames_dir, replaces=task.in_place and not request.running.crop, example=example,
            )  # fmt: skip
        if files.frames_dir and not any(path.is_dir() or is_clip(path) for path in plan.inputs):
            raise ConfigError(
                f"--frames-dir is for clips and folders of numbered frames, and {plan.inputs[0]} is neither",
                fix="Name one, or leave --frames-dir out",
            )
        with log_to_user(request.report.quiet):
            restorer = request.load(plan)
        plan = plan.writing(restorer.spec.outputs, request.extra_paths(), request.named_paths())
        plan, total = plan.checked()
        options = _batch_options(plan, request)
        if files.dry_run:
            code, facts = _dry_run(request, plan, restorer, options, json), {}
        else:
            summary = _run(request, plan, restorer, total, options, json)
            code, facts = summary.exit_code, {"summary": summary.as_dict()}
    except BaseException as error:
        if json:
            json.finish(**describe(error))
        raise
    if json:
        json.finish(**facts, exit_code=int(code))
    return code


def _run(
    request: Request, plan: Plan, restorer: Restorer, total: int, options: BatchOptions, json: JsonReport | None
) -> Summary:
    from restore.inference.batch import run_batch

    report = request.report
    with ExitStack() as stack:
        stack.enter_context(log_to_user(report.quiet))
        ledger = _open_ledger(plan, restorer, resume=request.files.resume)
        stack.enter_context(ledger or nullcontext())
        bar = stack.enter_context(Bar(quiet=report.quiet))
        reporter = Reporter(bar, report, json, total=0 if plan.single else total)
        summary = run_batch(plan.jobs(), restorer, options, ledger=ledger, watcher=reporter)
    if not plan.single and summary.exit_code == ExitCode.NOTHING_RAN:
        where = " and ".join(map(one_line, plan.inputs))
        inside = " (the results' folder in it is left out)" if plan.out and _holds(plan.inputs, plan.out) else ""
        say(f"restore: error: there are no pictures in {where}{inside}. Name a folder of pictures")
    if not plan.single or summary.interrupted:
        _report_summary(summary, report, resumable=ledger is not None)
    return summary


def _holds(folders: Iterable[Path], path: Path) -> bool:
    return any(folder.resolve() in path.resolve().parents for folder in folders)


def _batch_options(plan: Plan, request: Request) -> BatchOptions:
    from restore.inference.batch import BatchOptions
    from restore.report.compare import write_comparison

    files = request.files
    return BatchOptions(
        read=request.reading,
        save=request.saving,
        overwrite=files.overwrite,
        workers=request.machine.workers,
        measure=files.measure,  # type: ignore[arg-type]
        compare=partial(write_comparison, crop=request.running.crop),
    )


def _open_ledger(plan: Plan, restorer: Restorer, *, resume: bool) -> Ledger | None:
    """The ledger of a folder run. A single file, or inputs in place without a common folder, have none."""
    from restore.inference.ledger import Ledger

    if not resume and (plan.single or plan.folder is None):
        return None
    if plan.folder is None:
        raise ConfigError("--resume needs one folder to keep its ledger in", fix="Give the folders one at a time")
    return Ledger(plan.folder, resume=resume, run={"task": restorer.task, "settings": restorer.fingerprint})


class Reporter:
    """Reports to the user what happens, as it happens (a `restore.inference.batch.Watcher`)."""

    def __init__(self, bar: Bar, report: ReportOptions, json: JsonReport | None, *, total: int) -> None:
        self._bar, self._report, self._json = bar, report, json
        self._single, self._total, self._count = total == 0, total, 0

    def started(self, job: Job, frames: int = 0) -> None:
        count = "" if self._single else f"{self._count + 1}/{self._total} "
        self._bar.start(f"{count}{one_line(job.source)}", frames)

    def progress(self, done: float) -> None:
        self._bar.update(done)

    def finished(self, job: Job, record: FileRecord, error: Exception | None) -> None:
        self._count += not job.skip
        if record.reason and not job.skip:
            self.started(job)  # shows how far a resumed run has got
        if self._json:
            facts = {name: value for name, value in record.as_dict().items() if name != "inputs"}
            self._json.add(facts | paths_of(job))
        if record.status == "failed" and record.error is not None:
            self._report_failure(record.error["line"], error)
        elif self._report.quiet:
            return
        elif record.status == "ok":
            self._report_success(job, record)
        elif self._report.verbose or self._single:
            say(f"{one_line(job.source)}: skipped, {record.reason}")

    def _report_failure(self, line: str, error: Exception | None) -> None:
        ours = isinstance(error, RestoreError)
        if error is not None and (self._report.debug or (self._report.verbose and not ours)):
            say("".join(traceback.format_exception(error)).rstrip())
        say(f"restore: error: {line}")

    def _report_success(self, job: Job, record: FileRecord) -> None:
        from restore.inference.inputs import names_its_source

        if self._single or self._report.verbose:
            for name, value in (record.decisions | _run_facts(record.run)).items():
                say(f"  {name}: {value}")
        for warning in record.warnings:
            about = "" if names_its_source(job, warning) else f"{one_line(job.source)}: "
            say(f"restore: warning: {about}{one_line(warning)}")
        say(f"{one_line(job.source)} -> {one_line(job.target)} ({record.seconds:.1f} s)")


def _run_facts(run: Mapping[str, Any]) -> dict[str, str]:
    """Tiles and device of a run, in words."""
    facts = {}
    if run.get("tiles"):
        high, wide = run["tile"]
        facts["tiles"] = f"{run['tiles']} of {wide} x {high} px ({run['mode']}, halo {run['halo']})"
    if run.get("device"):
        facts["device"] = f"{run['device']}, {run['precision']}"
    return facts


def _report_summary(summary: Summary, report: ReportOptions, *, resumable: bool) -> None:
    if not report.quiet:
        counts = {
            "done": summary.ok, "of them damaged": summary.salvaged, "done before": summary.kept,
            "not pictures": summary.skipped, "failed": len(summary.failures),
        }  # fmt: skip
        say(", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "done"))
        for path, _ in summary.failures:
            say(f"  failed: {one_line(path)}")
    if summary.interrupted:
        hint = "; the same command with --resume does the rest" if resumable else ""
        say(f"restore: interrupted{hint}")


def _dry_run(request: Request, plan: Plan, restorer: Restorer, options: BatchOptions, json: JsonReport | None) -> int:
    """Print input -> outputs, size and method of every file, and what would be refused; write nothing."""
    from restore.inference.failures import explain
    from restore.inference.headers import crop_box
    from restore.inference.history import History
    from restore.inference.worker import Worker

    refused, worker = False, Worker(restorer, options)
    history = History(plan.folder) if request.files.resume and plan.folder is not None else None
    for job in plan.jobs():
        entry: dict[str, Any] = {**paths_of(job), **_written_besides(job), "status": "planned"}
        try:
            if job.skip:
                entry |= {"status": "skipped", "reason": job.skip}
            else:
                if job.problem is not None:
                    raise job.problem
                contents = worker.look(job, history)
                if contents is None:
                    entry |= {"status": "skipped", "reason": "already done"}
                else:
                    crop_box(restorer.options.crop, contents.info)
                    entry |= {"size": _size(contents, restorer, job), "method": request.chosen_in_words}
        except Exception as error:
            refused, entry["status"], entry["reason"] = True, "refused", str(explain(error, job.source))
        if json:
            json.add(entry)
        else:
            put(_plan_line(entry))
    return ExitCode.SOME_FAILED if refused else ExitCode.OK


def _size(contents: Contents, restorer: Restorer, job: Job) -> str:
    """Sides of the (first) picture, of what becomes of it where that is another size, and its samples."""
    info, noun = contents.info, "frames" if job.in_time else "pages"
    pages = f"{contents.frames} {noun} of " if contents.frames > 1 else ""
    height, width = restorer.spec.output_size(info.height, info.width)
    same = (height, width) == (info.height, info.width) or restorer.options.crop is not None
    becomes = "" if same else f" -> {width} x {height}"
    return f"{pages}{info.width} x {info.height}{becomes}, {info.samples} x {info.bits} bit"


def paths_of(job: Job) -> dict[str, Any]:
    """Where a job's main input and output are, and all of them where there are several."""
    paths: dict[str, Any] = {"input": str(job.source), "output": str(job.target)}
    if len(job.sources) > 1:
        paths["inputs"] = [str(path) for path in job.sources]
    return paths


def _written_besides(job: Job) -> dict[str, Any]:
    """Where outputs go beside the main one, as far as there are any."""
    outputs = {name: str(path) for name, path in job.targets.items()}
    facts: dict[str, Any] = {"outputs": outputs} if len(outputs) > 1 else {}
    return facts | ({"compare": str(job.compare)} if job.compare else {})


def _plan_line(entry: Mapping[str, Any]) -> str:
    if entry["status"] == "planned":
        read = " + ".join(map(one_line, entry.get("inputs", [entry["input"]])))
        written = [*entry.get("outputs", {"": entry["output"]}).values(), *filter(None, [entry.get("compare")])]
        return f"{read} -> {', '.join(map(one_line, written))}  ({entry['size']}, {entry['method']})"
    return f"{one_line(entry['input'])}: {entry['status']}: {entry['reason']}"
