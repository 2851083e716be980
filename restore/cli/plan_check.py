"""What a plan would destroy: outputs that meet, outputs that are inputs. Found before anything starts."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from restore.errors import ConfigError, FileError
from restore.io.clip.names import names_clip
from restore.io.paths import same_file

if TYPE_CHECKING:
    from restore.cli.plan import Plan
    from restore.inference.batch_job import Job


def find_problems(plan: Plan) -> tuple[int, dict[Path, FileError]]:
    """Count a plan's jobs, and say which of them cannot be done, by their (first) source.

    Those are jobs with an output that another one shares, or that is something the run reads. Names of files and
    folders are compared as a case-insensitive, Unicode normalising file system would. Memory holds the names of one
    folder (and those above it) at a time, the names of folders, and the problems; of folders that meet, all names.
    """
    targets = _Targets(plan)
    count = targets.search()
    if targets.meeting:  # their files are far apart in the plan
        targets = _Targets(plan, frozenset(targets.meeting))
        targets.search()
    return count, targets.problems


def check_clip_names(plan: Plan) -> None:
    """Refuse a folder's results in a new folder that is called like a clip. Raises `ConfigError`."""
    folder = next((path for path in plan.inputs if path.is_dir()), None)
    if folder is None or plan.frames_dir or plan.out is None or not names_clip(plan.out) or plan.out.exists():
        return
    raise ConfigError(
        f"{plan.out} names a clip, and {folder} is a folder",
        fix="Add --frames-dir if it holds the numbered frames of one, or name an output folder",
    )


class _Targets:
    """Who writes where.

    Attributes:
        problems: of jobs, by their (first) source.
        meeting: folders, as they are compared, that the plan spells in several ways.
    """

    def __init__(self, plan: Plan, kept: frozenset[Path] = frozenset()) -> None:
        self.problems: dict[Path, FileError] = {}
        self.meeting: set[Path] = set()
        self._plan, self._kept = plan, kept
        self._reads = _Reads(plan)
        self._spelled: dict[Path, Path] = {}
        self._taken: dict[Path, dict[str, Path]] = {}

    def search(self) -> int:
        """Go over all jobs once; returns how many there are."""
        count = 0
        for job in self._plan.jobs():
            count += not job.skip
            self._check(job)
        return count

    def _check(self, job: Job) -> None:
        own = set()
        for target in job.written:
            if not (job.in_place and target == job.source) and (problem := self._reads.refusal(target, job)):
                self.problems.setdefault(job.source, problem)
            home, key = self._place(target, job)
            taken = self._names_in(home)
            if (home, key) in own:
                self.problems.setdefault(
                    job.source, _shared(target, "two outputs of one picture would be written here")
                )
            elif (other := taken.get(key)) == job.source:
                self.problems.setdefault(job.source, FileError("is named twice", where=job.source, fix="Name it once"))
            elif other is not None:
                what = f"two pictures would be written here, {_distinct(other, job.source)}"
                for source in (other, job.source):
                    self.problems.setdefault(source, _shared(target, what))
            own.add((home, key))
            taken[key] = job.source

    def _place(self, target: Path, job: Job) -> tuple[Path, str]:
        """Folder and name of a target, as they are compared: what lies in place already has met nothing."""
        home = target.parent.resolve() if self._plan.single else target.parent
        if job.in_place:
            return home, str(target)
        compared = Path(_compared(str(home)))
        if self._spelled.setdefault(compared, home) != home:
            self.meeting.add(compared)
        return compared, _compared(target.name)

    def _names_in(self, home: Path) -> dict[str, Path]:
        if home not in self._taken:
            above = {home, *home.parents, *self._kept}
            self._taken = {
                place: names for place, names in self._taken.items() if place in above or not self._plan.is_tree
            }
            self._taken[home] = {}
        return self._taken[home]


def _compared(name: str) -> str:
    """A name as file systems compare it that know neither case nor Unicode forms."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _distinct(one: Path, other: Path) -> str:
    """Two paths; where they look the same, with the characters that differ spelled out."""
    texts = str(one), str(other)
    alike = unicodedata.normalize("NFC", texts[0]) == unicodedata.normalize("NFC", texts[1])
    return " and ".join(text.encode("ascii", "backslashreplace").decode() if alike else text for text in texts)


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
