"""What a plan would destroy: outputs that meet, outputs that are inputs. Found before anything starts."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from restore.errors import FileError
from restore.io.paths import same_file

if TYPE_CHECKING:
    from restore.cli.plan import Plan
    from restore.inference.batch_job import Job


def find_problems(plan: Plan) -> tuple[int, dict[Path, FileError]]:
    """Count a plan's jobs, and say which of them cannot be done, by their (first) source.

    Those are jobs with an output that another one shares, or that is something the run reads. Names are compared as a
    case-insensitive, Unicode normalising file system would. Memory holds the names of one folder (and those above it)
    at a time, and the problems.
    """
    count, problems = 0, {}
    taken: dict[Path, dict[str, Path]] = {}
    reads = _Reads(plan)
    for job in plan.jobs():
        count += not job.skip
        own = set()
        for target in job.written:
            if not (job.in_place and target == job.source) and (problem := reads.refusal(target, job)):
                problems.setdefault(job.source, problem)
            home = target.parent.resolve() if plan.single else target.parent
            if home not in taken:
                taken = {above: names for above, names in taken.items() if above in home.parents or not plan.is_tree}
                taken[home] = {}
            key = str(target) if job.in_place else unicodedata.normalize("NFC", target.name).casefold()
            if (home, key) in own:
                problems.setdefault(job.source, _shared(target, "two outputs of one picture would be written here"))
            elif (other := taken[home].get(key)) == job.source:
                problems.setdefault(job.source, FileError("is named twice", where=job.source, fix="Name it once"))
            elif other is not None:
                for source in (other, job.source):
                    what = f"two pictures would be written here, {other} and {job.source}"
                    problems.setdefault(source, _shared(target, what))
            own.add((home, key))
            taken[home][key] = job.source
    return count, problems


def _shared(target: Path, what: str) -> FileError:
    return FileError(what, where=target, fix="Rename one of them, or do them in two runs")


class _Reads:
    """What a run reads, by paths without links: the inputs, and what options name."""

    def __init__(self, plan: Plan) -> None:
        self._may_replace = plan.may_replace
        self._out = None if plan.out is None or plan.single else _real(plan.out)
        self._inputs = {_real(path) for path in plan.inputs}
        self._options = {_real(path) for path in plan.option_paths}

    def refusal(self, target: Path, job: Job) -> FileError | None:
        """Why this output of a job may not be written, if so."""
        real = _real(target)
        if real in self._inputs or any(same_file(source, target) for source in job.sources):
            own = self._may_replace and not job.in_place and target == job.target and same_file(job.source, target)
            fix = "Name another output" + (", or give --in-place instead of an output" if own else "")
            return FileError("is the input itself: writing would replace it", where=target, fix=fix)
        if real in self._options:
            what = "is what another option names: writing would replace it"
            return FileError(what, where=target, fix="Name another output")
        if job.in_place:
            into = real != _real(target.parent) / target.name
        else:
            into = any(self._is_input(real, root) for root in self._inputs)
        if not into:
            return None
        what = f"is a link, to {real}" if target.is_symlink() else "lies among the inputs"
        return FileError(f"{what}: an input could be replaced", where=target, fix="Remove it, or name another output")

    def _is_input(self, real: Path, root: Path) -> bool:
        """Whether a file may be an input below a folder: the results' folder may lie there too."""
        if root not in real.parents:
            return False
        return not (self._out is not None and root in self._out.parents and self._out in (real, *real.parents))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
