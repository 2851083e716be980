"""What every picture task does on the command line: plan, load, run, tell."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from restore.cli.console import Bar, JsonReport, describe, put, say, shown, telling_log
from restore.cli.options import FileOptions, ReportOptions, RunOptions
from restore.cli.plan import Plan, plan_work
from restore.errors import ConfigError, ExitCode, RestoreError
from restore.tasks import TASKS

if TYPE_CHECKING:
    import torch

    from restore.api import Restorer
    from restore.engines.degrade import Degrader
    from restore.inference.batch import BatchOptions, Job, Summary
    from restore.inference.ledger import FileRecord, Ledger


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        task: name of the task in `restore.tasks`.
        method: what the task's engine takes, as `restore.load` names it; None is left to the engine.
    """

    task: str
    method: Mapping[str, Any]
    files: FileOptions
    running: RunOptions
    report: ReportOptions

    @property
    def done(self) -> str:
        """Ending of default output names."""
        return TASKS[self.task].done

    def check(self) -> None:
        """Refuse options that contradict each other."""
        if self.files.in_place and self.running.crop:
            raise ConfigError("--crop and --in-place would throw the rest of the picture away", fix="Name an output")
        if self.files.overwrite and self.files.resume:
            raise ConfigError(
                "--overwrite and --resume contradict each other", fix="--resume does only what is missing"
            )

    def load(self) -> Restorer | Degrader:
        """What does the work."""
        return _load(self)


def restore_pictures(paths: tuple[str, ...], request: Request) -> int:
    """Put files through a task and tell the user; returns the exit code."""
    json = JsonReport(request.task) if request.report.json else None
    try:
        request.check()
        files = request.files
        plan = plan_work(paths, request.done, in_place=files.in_place, compare=files.compare)
        total = plan.check()
        options = _batch_options(plan, request)
        if files.dry_run:
            code, facts = _dry_run(request, plan, options, json), {}
        else:
            summary = _run(request, plan, total, options, json)
            code, facts = summary.exit_code, {"summary": summary.as_dict()}
    except BaseException as error:
        if json:
            json.finish(**describe(error))
        raise
    if json:
        json.finish(**facts, exit_code=int(code))
    return code


def _run(request: Request, plan: Plan, total: int, options: BatchOptions, json: JsonReport | None) -> Summary:
    from restore.inference.batch import run_batch

    report = request.report
    with telling_log(report.quiet):
        restorer = request.load()
    with ExitStack() as stack:
        ledger = _open_ledger(plan, restorer, resume=request.files.resume)
        stack.enter_context(ledger or nullcontext())
        bar = stack.enter_context(Bar(quiet=report.quiet))
        teller = Teller(bar, report, json, total=0 if plan.single else total)
        summary = run_batch(plan.jobs(), restorer, options, ledger=ledger, watcher=teller)
    if not plan.single or summary.interrupted:
        _tell_summary(summary, report, resumable=ledger is not None)
    return summary


def _load(request: Request) -> Restorer:
    import torch

    import restore
    from restore.cli.machine import usable_cores
    from restore.inference.precision import choose_dtype, resolve_device

    running = request.running
    torch.set_num_threads(running.threads or usable_cores())
    device = resolve_device(running.device)
    restorer = restore.load(
        request.task,
        **request.method,
        device=running.device,
        tile=running.tile,
        precision=running.precision,
        strength=running.strength,
        seed=running.seed,
        max_memory=_bytes(running.max_memory, device),
        crop=running.crop,
    )
    choose_dtype(running.precision, restorer.engine.spec, device)  # refuse now rather than once for every file
    return restorer


def _bytes(limit: int | float | None, device: torch.device) -> int | None:
    """`--max-memory` in bytes; a share is of what is free now on the device (or in the container)."""
    if not isinstance(limit, float):
        return limit
    import torch

    from restore.inference.memory import available_memory

    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
    return int(free * limit)


def _batch_options(plan: Plan, request: Request) -> BatchOptions:
    from restore.inference.batch import BatchOptions
    from restore.io.codecs import ReadOptions, SaveOptions
    from restore.report.compare import write_comparison

    files, running = request.files, request.running
    return BatchOptions(
        read=ReadOptions(max_pixels=files.max_pixels, frames=files.frames, salvage=files.salvage),
        save=SaveOptions(quality=files.quality, strip_metadata=files.strip_metadata, depth=files.depth),
        overwrite=files.overwrite or (files.resume and plan.has_ledger),
        workers=running.workers,
        compare=partial(write_comparison, crop=running.crop),
    )


def _open_ledger(plan: Plan, restorer: Restorer | Degrader, *, resume: bool) -> Ledger | None:
    """The ledger of a folder run. A single file, or inputs in place without a common folder, have none."""
    from restore.inference.ledger import Ledger

    if not resume and (plan.single or plan.folder is None):
        return None
    if plan.folder is None:
        raise ConfigError("--resume needs one folder to keep its ledger in", fix="Give the folders one at a time")
    return Ledger(plan.folder, resume=resume, run={"task": restorer.task, "settings": restorer.fingerprint})


class Teller:
    """Tells the user what happens, as it happens (a `restore.inference.batch.Watcher`)."""

    def __init__(self, bar: Bar, report: ReportOptions, json: JsonReport | None, *, total: int) -> None:
        self._bar, self._report, self._json = bar, report, json
        self._single, self._total, self._count = total == 0, total, 0

    def started(self, job: Job) -> None:
        count = "" if self._single else f"{self._count + 1}/{self._total} "
        self._bar.start(f"{count}{shown(job.source)}")

    def progress(self, done: float) -> None:
        self._bar.update(done)

    def finished(self, job: Job, record: FileRecord, error: Exception | None) -> None:
        self._count += not job.skip
        if record.reason and not job.skip:
            self.started(job)  # shows how far a resumed run has looked
        if self._json:
            self._json.add(record.as_dict() | {"input": str(job.source), "output": str(job.target)})
        if record.status == "failed" and record.error is not None:
            self._tell_failure(record.error["line"], error)
        elif self._report.quiet:
            return
        elif record.status == "ok":
            self._tell_success(job, record)
        elif self._report.verbose or self._single:
            say(f"{shown(job.source)}: skipped, {record.reason}")

    def _tell_failure(self, line: str, error: Exception | None) -> None:
        ours = isinstance(error, RestoreError)
        if error is not None and (self._report.debug or (self._report.verbose and not ours)):
            say("".join(traceback.format_exception(error)).rstrip())
        say(f"restore: error: {line}")

    def _tell_success(self, job: Job, record: FileRecord) -> None:
        if self._single or self._report.verbose:
            for name, value in (record.decisions | _run_facts(record.run)).items():
                say(f"  {name}: {value}")
        for warning in record.warnings:
            say(f"restore: warning: {shown(job.source)}: {warning}")
        say(f"{shown(job.source)} -> {shown(job.target)} ({record.seconds:.1f} s)")


def _run_facts(run: Mapping[str, Any]) -> dict[str, str]:
    """Tiles and device of a run, in words."""
    facts = {}
    if run.get("tiles"):
        high, wide = run["tile"]
        facts["tiles"] = f"{run['tiles']} of {wide} x {high} px ({run['mode']}, halo {run['halo']})"
    if run.get("device"):
        facts["device"] = f"{run['device']}, {run['precision']}"
    return facts


def _tell_summary(summary: Summary, report: ReportOptions, *, resumable: bool) -> None:
    if not report.quiet:
        counts = {
            "done": summary.ok, "of them damaged": summary.salvaged, "done before": summary.kept,
            "not pictures": summary.skipped, "failed": len(summary.failures),
        }  # fmt: skip
        say(", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "done"))
        for path, _ in summary.failures:
            say(f"  failed: {shown(path)}")
    if summary.interrupted:
        hint = "; the same command with --resume does the rest" if resumable else ""
        say(f"restore: interrupted{hint}")


def _dry_run(request: Request, plan: Plan, options: BatchOptions, json: JsonReport | None) -> int:
    """Print input -> output, size and method of every file, and what would be refused; write nothing."""
    from restore.inference.batch import check_outputs, explain
    from restore.inference.stacks import inspect

    refused = False
    for job in plan.jobs():
        entry: dict[str, Any] = {"input": str(job.source), "output": str(job.target), "status": "planned"}
        try:
            if job.skip:
                entry |= {"status": "skipped", "reason": job.skip}
            else:
                check_outputs(job, replace=options.overwrite)
                found = inspect(job.source, job.target, options.read, options.save)
                info, pages = found.info, f"{found.frames} pages of " if found.frames > 1 else ""
                size = f"{pages}{info.width} x {info.height}, {info.samples} x {info.bits} bit"
                entry |= {"size": size, "method": method_of(request)}
        except Exception as error:
            refused, entry["status"], entry["reason"] = True, "refused", str(explain(error, job.source))
        if json:
            json.add(entry)
        else:
            put(_plan_line(entry))
    return ExitCode.SOME_FAILED if refused else ExitCode.OK


def method_of(request: Request) -> str:
    """The method that will be used, `auto` resolved."""
    method = request.method
    if method["method"] != "auto":
        return method["method"]
    task = TASKS[request.task]
    return "network" if task.weights or method.get("weights") else task.fallback


def _plan_line(entry: Mapping[str, Any]) -> str:
    if entry["status"] == "planned":
        return f"{shown(entry['input'])} -> {shown(entry['output'])}  ({entry['size']}, {entry['method']})"
    return f"{shown(entry['input'])}: {entry['status']}: {entry['reason']}"
