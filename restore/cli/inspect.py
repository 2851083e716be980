"""`restore inspect`: what is known about the noise of pictures, and what `restore denoise` would do about it."""

from __future__ import annotations

import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from restore.cli.console import Bar, JsonReport, describe, one_line, put, say
from restore.cli.flags import HIDE, flag_class
from restore.cli.options import Flag, ReportOptions, reads
from restore.cli.plan import Plan, plan_work
from restore.errors import ConfigError, FileError, RestoreError
from restore.io.options import ReadOptions
from restore.options import OneOf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from restore.api import Diagnosis
    from restore.inference.batch import Job, Summary
    from restore.picture import PictureSource

ENDING = "noise"
"""Ending of the reports' names in a folder: photo_noise.png."""


@dataclass(frozen=True)
class InspectReading(ReadOptions):
    """How files are read."""

    frames: Annotated[Literal["one", "first"], OneOf("one", "first")] = "one"  # type: ignore[assignment]
    """Animations and multipage files: `one` refuses them, `first` takes their first picture."""


if not TYPE_CHECKING:
    InspectReading = flag_class(InspectReading)


@dataclass(frozen=True)
class InspectReport(ReportOptions):
    """What is printed."""

    quiet: Annotated[bool, arg(aliases=["-q"], help_behavior_hint="")] = False
    """Print only errors, beside the result."""
    verbose: Annotated[bool, arg(aliases=["-v"], help_behavior_hint="")] = False
    """Print more: the whole curves, files that are no pictures, tracebacks of unexpected errors."""


@dataclass(frozen=True)
class Inspect:
    """Measure the noise of pictures or folders, and say how `restore denoise` would treat them."""

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="IN...", help_behavior_hint="")] = ()
    """Pictures or folders."""
    report: Annotated[str | None, reads("FILE.png|FOLDER/", str), HIDE] = None
    """Also draw what was measured: a PNG for one picture; for several a folder, photo_noise.png for photo.jpg."""
    overwrite: Flag = False
    """Replace drawn reports that exist."""
    reading: InspectReading = field(default_factory=InspectReading)
    printing: InspectReport = field(default_factory=InspectReport)

    def run(self) -> int:
        json = JsonReport("inspect") if self.printing.json else None
        try:
            plan = self._plan()
            summary = self._inspect(plan, json)
        except BaseException as error:
            if json:
                json.finish(**describe(error))
            raise
        if json:
            json.finish(summary=summary.as_dict(), exit_code=int(summary.exit_code))
        return summary.exit_code

    def _plan(self) -> Plan:
        """The inputs, and as output the file or folder of the drawn reports."""
        if not self.paths:
            raise ConfigError(
                "no picture was named", fix="Name a picture or a folder, for example: restore inspect in.png"
            )
        plan = plan_work(self.paths, ENDING, in_place=True, compare=False)
        if self.report is None:
            return plan
        out, is_picture = Path(self.report), Path(self.report).suffix.lower() == ".png"
        into_folder = out.is_dir() or self.report.endswith("/")
        if plan.single and not into_folder and not is_picture:
            raise ConfigError(
                f"--report cannot be {self.report!r}", fix="Name a .png file, or a folder with / at its end"
            )
        if not plan.single and (out.is_file() or (is_picture and not into_folder)):
            raise ConfigError(f"--report {self.report} is one file for several pictures", fix="Name a folder")
        return replace(plan, out=out / plan.inputs[0].name if plan.single and into_folder else out)

    def _inspect(self, plan: Plan, json: JsonReport | None) -> Summary:
        import torch

        from restore.cli.machine import usable_cores
        from restore.inference.batch import Summary

        torch.set_num_threads(usable_cores())
        summary, started = Summary(), time.perf_counter()
        drawn: dict[Path, Path] = {}
        try:
            with Bar(quiet=self.printing.quiet) as bar:
                for job in plan.jobs():
                    bar.start(one_line(job.source))
                    self._inspect_file(job, self._report_of(job, plan), drawn, summary, json)
        except KeyboardInterrupt:
            summary.interrupted = True
        summary.seconds = time.perf_counter() - started
        self._report_end(summary, plan)
        return summary

    def _report_of(self, job: Job, plan: Plan) -> Path | None:
        if self.report is None or job.skip or job.problem is not None:
            return None
        named = plan.single and not Path(self.report).is_dir() and not self.report.endswith("/")
        return job.target if named else job.target.with_name(f"{job.source.stem}_{ENDING}.png")

    def _inspect_file(
        self, job: Job, report: Path | None, drawn: dict[Path, Path], summary: Summary, json: JsonReport | None
    ) -> None:
        """Report, draw and count one file; its errors do not stop the others."""
        from restore.inference.worker import explain
        from restore.io.codecs import SALVAGED

        entry: dict[str, Any] = {"status": "skipped", "input": str(job.source), "reason": job.skip}
        if job.skip:
            summary.skipped += 1
            if self.printing.verbose:
                say(f"{one_line(job.source)}: skipped, {job.skip}")
        else:
            try:
                if job.problem is not None:
                    raise job.problem
                with self._opened(job.source) as source:
                    diagnosis, notes = self._diagnose(job, source, report, drawn), source.info.notes
                entry = {"status": "ok", "input": str(job.source), **diagnosis.summary(), "warnings": list(notes)}
                summary.ok += 1
                summary.salvaged += any(note.startswith(SALVAGED) for note in notes)
                self._report(job, diagnosis, report, json)
            except Exception as error:
                known = explain(error, job.source)
                summary.failures.append((str(job.source), str(known)))
                entry = {
                    "status": "failed",
                    "input": str(job.source),
                    "error": {"code": known.code, "line": str(known)},
                }
                self._report_failure(known, error)
        if report is not None and entry["status"] == "ok":
            entry["report"] = str(report)
        if json:
            json.add(entry)

    @contextmanager
    def _opened(self, path: Path) -> Iterator[PictureSource]:
        from restore.io.codecs import ReadOptions, open_picture

        reading = self.reading
        options = ReadOptions(max_pixels=reading.max_pixels, frames=reading.frames, salvage=reading.salvage)
        source = open_picture(path, options)
        try:
            yield source
        finally:
            source.close()

    def _diagnose(self, job: Job, source: PictureSource, report: Path | None, drawn: dict[Path, Path]) -> Diagnosis:
        from restore.api import diagnosed
        from restore.io.paths import check_output
        from restore.report.diagnosis import write_diagnosis

        if report is None:
            return diagnosed(source)
        if report in drawn:
            raise FileError(
                f"two reports would be written here, of {drawn[report]} and {job.source}", where=report,
                fix="Rename one of them, or inspect them in two runs",
            )  # fmt: skip
        drawn[report] = job.source
        check_output(job.source, report, overwrite=self.overwrite)
        diagnosis = diagnosed(source)
        write_diagnosis(source, diagnosis, report)
        return diagnosis

    def _report(self, job: Job, diagnosis: Diagnosis, report: Path | None, json: JsonReport | None) -> None:
        if not self.printing.quiet:
            for note in diagnosis.info.notes:
                say(f"restore: warning: {one_line(job.source)}: {note}")
            if report is not None:
                say(f"{one_line(job.source)} -> {one_line(report)}")
        if json:
            return
        put(one_line(job.source))
        facts = diagnosis.facts | (_more(diagnosis) if self.printing.verbose else {})
        for name, value in facts.items():
            put(f"  {name}: {value}")

    def _report_failure(self, known: RestoreError, error: Exception) -> None:
        printing = self.printing
        if printing.debug or (printing.verbose and not isinstance(error, RestoreError)):
            say("".join(traceback.format_exception(error)).rstrip())
        say(f"restore: error: {known}")

    def _report_end(self, summary: Summary, plan: Plan) -> None:
        if not self.printing.quiet and (not plan.single or summary.interrupted):
            counts = {"inspected": summary.ok, "not pictures": summary.skipped, "failed": len(summary.failures)}
            say(", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "inspected"))
        if summary.interrupted:
            say("restore: interrupted")


def _more(diagnosis: Diagnosis) -> dict[str, str]:
    """The curves in full."""
    curve = ", ".join(f"{level:.1f} at {intensity:.0f}" for intensity, level in diagnosis.curve)
    lags = ", ".join(f"{round(value, 2) + 0.0:.2f}" for value in diagnosis.level.noise.autocorrelation())
    return {"levels": curve, "autocorrelation at 0 to 7 px": lags}
