"""From the paths on the command line to jobs: what is read, where each result goes, what is refused."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from restore.errors import ConfigError, ExitCode, FileError
from restore.inference.ledger import LEDGER_NAME
from restore.io.paths import WRITABLE, Skipped, default_output, find_pictures

if TYPE_CHECKING:
    from restore.inference.batch import Job


class NothingToDoError(FileError):
    """Not one readable input."""

    exit_code = ExitCode.NOTHING_RAN


@dataclass(frozen=True)
class Plan:
    """What to do; the files of folders are listed only as they are asked for.

    Attributes:
        inputs: files and folders, as typed.
        out: the output: a file for a single file, else a folder; None changes the inputs in place.
        compare: write before/after pictures too.
    """

    inputs: tuple[Path, ...]
    out: Path | None
    compare: bool = False

    @cached_property
    def single(self) -> bool:
        """Whether one file was named, rather than a folder or several."""
        return len(self.inputs) == 1 and not self.inputs[0].is_dir()

    @cached_property
    def folder(self) -> Path | None:
        """The folder that holds all outputs and the ledger; None if inputs in place share none."""
        if self.out is not None:
            return self.out.parent if self.single else self.out
        homes = {path if path.is_dir() else path.parent for path in self.inputs}
        return homes.pop() if len(homes) == 1 else None

    @property
    def has_ledger(self) -> bool:
        """Whether an earlier run left a ledger, so that outputs found there are taken for its work."""
        return self.folder is not None and (self.folder / LEDGER_NAME).exists()

    def check(self) -> int:
        """Count the pictures and refuse outputs that two of them would share.

        Names are compared as a case-insensitive, Unicode normalising file system would. Memory holds the
        names of one folder (and those above it) at a time.
        """
        count, taken = 0, {}
        for job in self.jobs():
            if job.skip:
                continue
            count += 1
            home = job.target.parent
            if home not in taken:
                taken = {above: names for above, names in taken.items() if above in home.parents or not self._tree}
                taken[home] = {}
            for target in filter(None, (job.target, job.compare)):
                key = str(target) if job.in_place else unicodedata.normalize("NFC", target.name).casefold()
                if key in taken[home]:
                    raise FileError(
                        f"two pictures would be written here, {taken[home][key]} and {job.source}", where=target,
                        fix="Rename one of them, or do them in two runs",
                    )  # fmt: skip
                taken[home][key] = job.source
        return count

    def jobs(self) -> Iterator[Job]:
        """All jobs, in order, lazily."""
        from restore.inference.batch import Job

        for source, target in self._pairs():
            if isinstance(source, Skipped):
                yield Job(source.path, source.path, str(source.path), "", skip=source.reason)
                continue
            yield Job(
                source, target, _relative(source, self.inputs[0]), _relative(target, self.folder),
                in_place=self.out is None,
                compare=target.with_name(f"{target.stem}_compare.png") if self.compare else None,
            )  # fmt: skip

    @property
    def _tree(self) -> bool:
        """Whether outputs come folder by folder."""
        return len(self.inputs) == 1

    def _pairs(self) -> Iterator[tuple[Path | Skipped, Path]]:
        for path in self.inputs:
            if path.is_dir():
                yield from self._of_folder(path)
            elif self.out is None:
                yield path, path
            else:
                yield path, self.out if self.single else self.out / _writable(path).name

    def _of_folder(self, root: Path) -> Iterator[tuple[Path | Skipped, Path]]:
        skipped: list[Skipped] = []
        home = None if self.out is None else self.out if self._tree else self.out / root.resolve().name
        inside = self.out is not None and root.resolve() in self.out.resolve().parents
        for source in find_pictures(root, skipped.append):
            yield from _told(skipped)
            if inside and self.out in source.parents:
                continue  # results of an earlier run
            yield source, source if home is None else home / _writable(source).relative_to(root)
        yield from _told(skipped)


def _told(skipped: list[Skipped]) -> Iterator[tuple[Skipped, Path]]:
    """What was skipped since the last time, but for clutter and our own ledger."""
    while skipped:
        entry = skipped.pop(0)
        if entry.path.name != LEDGER_NAME and not entry.clutter:
            yield entry, entry.path


def plan_work(paths: tuple[str, ...], done: str, *, in_place: bool, compare: bool) -> Plan:
    """What the paths of a command line mean; the last of two or more is the output.

    Args:
        done: ending of default output names ("denoised").
    Raises:
        ConfigError: the paths make no sense together. NothingToDoError: none of the inputs exists.
    """
    if not paths:
        raise ConfigError("no picture was named", fix="Name a picture or a folder, for example: restore denoise in.png")
    names = paths if in_place or len(paths) == 1 else paths[:-1]
    inputs = tuple(map(Path, names))
    if not any(path.exists() for path in inputs):
        raise NothingToDoError("there is no such file or folder", where=inputs[0], fix="Check the path")
    out = None if in_place else _output(inputs, paths[-1] if len(paths) > 1 else None, done)
    plan = Plan(inputs, out, compare)
    if plan.out is not None and not plan.single and plan.out.is_file():
        raise ConfigError(
            f"{plan.out} is a file", why="the last path is the output, a folder for several inputs",
            fix="Name a folder last, or use --in-place",
        )  # fmt: skip
    return plan


def _output(inputs: tuple[Path, ...], given: str | None, done: str) -> Path:
    first = inputs[0]
    if given is None:
        if not first.is_dir():
            return default_output(first, done)
        named = first if first.name not in ("", "..") else first.resolve()
        return named.with_name(f"{named.name}_{done}")
    out = Path(given)
    into_folder = out.is_dir() or given.endswith(("/", os.sep))
    if len(inputs) == 1 and not first.is_dir() and into_folder:
        return out / _writable(first).name
    return out


def _writable(path: Path) -> Path:
    """The name a picture's result has elsewhere: its own, but `.png` for formats that are only read."""
    return path if path.suffix.lower() in WRITABLE else path.with_suffix(".png")


def _relative(path: Path, folder: Path | None) -> str:
    """The path seen from a folder; as it is if it is not below it (or the folder itself is a file)."""
    return (path.relative_to(folder) if folder and path.is_relative_to(folder) and path != folder else path).as_posix()
