"""From the paths on the command line to jobs: what is read, where each result goes, what is refused."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from restore.cli.plan_check import check_clip_names, find_problems
from restore.errors import ConfigError, ExitCode, FileError, counted
from restore.inference.history import History
from restore.inference.records import LEDGER_NAME
from restore.io.clip.names import is_clip, names_clip
from restore.io.paths import Skipped, default_output, find_pictures, written_name
from restore.models.spec import RESULT, Output
from restore.options import flag

if TYPE_CHECKING:
    from restore.inference.batch_job import Job


class NothingToDoError(FileError):
    """Not one readable input."""

    exit_code = ExitCode.NOTHING_RAN


class TooFewPathsError(ConfigError):
    """Fewer paths than the task takes."""


class Group(NamedTuple):
    """What is read together.

    Attributes:
        sources: one path for each named input, fewer if there is a problem.
        target: where the main output goes.
        skip, problem: as of a `Job`.
    """

    sources: tuple[Path, ...]
    target: Path
    skip: str = ""
    problem: FileError | None = None


@dataclass(frozen=True)
class Plan:
    """What to do; the files of folders are listed only as they are asked for.

    Attributes:
        inputs: files and folders, as typed: any number of them for a task with one input, else one for each.
        out: the output: a file for a single file, else a folder; None changes the (first) inputs in place.
        compare: write before/after pictures too.
        names: the task's named inputs.
        outputs: what is written of each, the main output first.
        extra_paths: where an output goes that does not get its name from the main one.
        frames_dir: every folder is one sequence of numbered frames, and so is every result but a clip.
        named: the output was named, not derived.
        replaces: results may replace the (first) inputs, if the user asks for that.
        option_paths: what the method's options name: files that are read, or written by the method itself.
        problems: why pictures cannot be done, by their (first) source.
    """

    inputs: tuple[Path, ...]
    out: Path | None
    compare: bool = False
    names: tuple[str, ...] = ("picture",)
    outputs: tuple[Output, ...] = (RESULT,)
    extra_paths: Mapping[str, Path] = field(default_factory=dict)
    frames_dir: bool = False
    named: bool = True
    replaces: bool = True
    option_paths: tuple[Path, ...] = ()
    problems: Mapping[Path, FileError] = field(default_factory=dict)

    @cached_property
    def single(self) -> bool:
        """Whether the paths are one piece of work, rather than a folder or several."""
        return (len(self.inputs) == 1 or self.together) and not self.is_listed(self.inputs[0])

    @cached_property
    def folder(self) -> Path | None:
        """The folder that holds all outputs and the ledger; None if inputs in place share none."""
        if self.out is not None:
            return self.out.parent if self.single else self.out
        inputs = self.inputs[:1] if self.together else self.inputs
        homes = {path if self.is_listed(path) else path.parent for path in inputs}
        return homes.pop() if len(homes) == 1 else None

    @property
    def may_replace(self) -> bool:
        """Whether --in-place is possible."""
        return self.replaces and not self.outputs[0].ending

    def writing(
        self, outputs: tuple[Output, ...], extra_paths: Mapping[str, str], option_paths: Iterable[str] = ()
    ) -> Plan:
        """The same plan, with what the loaded task writes, and where if that was said. Raises `ConfigError`."""
        paths = {name: Path(path) for name, path in extra_paths.items()}
        plan = replace(self, outputs=outputs, extra_paths=paths, option_paths=tuple(map(Path, option_paths)))
        _check_outputs(plan)
        return plan

    def checked(self) -> tuple[Plan, int]:
        """The same plan, knowing which of its pictures cannot be done, and the number of its jobs.

        Raises `FileError` where that is the only picture.
        """
        total, problems = find_problems(self)
        if problems and self.single:
            raise next(iter(problems.values()))
        return replace(self, problems=problems), total

    def jobs(self) -> Iterator[Job]:
        """All jobs, in order, lazily."""
        from restore.inference.batch_job import Job

        for group in self._groups():
            sources, target, skip, problem = group
            problem = problem or self.problems.get(sources[0])
            if skip or problem:
                yield Job(sources, {}, tuple(map(str, sources)), {}, skip=skip, problem=problem)
                continue
            sequence = self.frames_dir and (sources[0].is_dir() or is_clip(sources[0]))
            is_folder = sequence and not names_clip(target)
            targets = self._targets(target, is_folder=is_folder)
            main = next(iter(targets.values()))
            yield Job(
                sources, targets, tuple(map(self._relative_input, sources, range(len(sources)))),
                {name: _relative(path, self.folder) for name, path in targets.items()},
                in_place=self.out is None,
                compare=_named(main, "compare", is_folder=is_folder, suffix=".png") if self.compare else None,
                sequence=sequence,
            )  # fmt: skip

    def _targets(self, target: Path, *, is_folder: bool) -> dict[str, Path]:
        """Where each output goes, if the main one goes to `target`."""
        return {
            output.name: self.extra_paths.get(output.name)
            or (_named(target, output.ending, is_folder=is_folder) if output.ending else target)
            for output in self.outputs
        }

    def _relative_input(self, source: Path, index: int) -> str:
        return _relative(source, self.inputs[index if self.together else 0])

    @property
    def together(self) -> bool:
        """Whether the inputs are the named inputs of one task, rather than one after another."""
        return len(self.names) > 1

    @property
    def is_tree(self) -> bool:
        """Whether outputs come folder by folder."""
        return not self.single and (len(self.inputs) == 1 or self.together)

    def is_listed(self, path: Path) -> bool:
        """Whether a path stands for the pictures in it."""
        return path.is_dir() and not self.frames_dir

    def _groups(self) -> Iterator[Group]:
        if self.together:
            if self.single:
                yield Group(self.inputs, self.out or self.inputs[0])
            else:
                yield from self._pairs()
            return
        for path in self.inputs:
            if self.is_listed(path):
                yield from self._of_folder(path)
            elif self.out is None:
                yield Group((path,), path)
            else:
                name = self._result_name(path)
                yield Group((path,), self.out if self.single else self.out / name)

    def _result_name(self, path: Path) -> str:
        if path.is_dir():
            return path.resolve().name
        return path.stem if self.frames_dir and is_clip(path) else written_name(path.name)

    def _of_folder(self, root: Path) -> Iterator[Group]:
        home = None if self.out is None else self.out if self.is_tree else self.out / root.resolve().name
        for source in self._listed(root):
            if isinstance(source, Skipped):
                yield _left_out(source)
            elif self.out is None and (link := _through_link(source, root)):
                yield link
            else:
                yield Group((source,), self._target_below(home, source, root))

    def _pairs(self) -> Iterator[Group]:
        """The pictures of several folders, by their names below them without extension.

        Memory holds all names. What lacks its counterpart, or has two, is a problem.
        """
        names_below: list[dict[Path, list[Path]]] = []
        for root in self.inputs:
            by_name: dict[Path, list[Path]] = {}
            for source in self._listed(root):
                if isinstance(source, Skipped):
                    yield _left_out(source)
                else:
                    by_name.setdefault(source.relative_to(root).with_suffix(""), []).append(source)
            names_below.append(by_name)
        for name in dict.fromkeys(name for by_name in names_below for name in by_name):
            there = [by_name.get(name, []) for by_name in names_below]
            sources = tuple(source for paths in there for source in paths)
            missing = [str(root) for root, paths in zip(self.inputs, there, strict=True) if not paths]
            if missing:
                problem = _unpaired(sources, f"has no counterpart in {' and '.join(missing)}")
                yield Group(sources, sources[0], problem=problem)
            elif len(sources) > len(self.inputs):
                doubled = ", ".join(str(path) for paths in there if len(paths) > 1 for path in paths)
                problem = _unpaired(sources, f"cannot be paired: one name for {doubled}")
                yield Group(sources, sources[0], problem=problem)
            else:
                yield Group(sources, self._target_below(self.out, sources[0], self.inputs[0]))

    def _listed(self, root: Path) -> Iterator[Path | Skipped]:
        """The pictures below a folder, but for results of an earlier run, and what is none."""
        skipped: list[Skipped] = []
        inside = self.out is not None and root.resolve() in self.out.resolve().parents
        history = History(root)
        for source in find_pictures(root, skipped.append):
            yield from _reportable(skipped)
            if inside and self.out in source.parents:
                continue
            if history.is_result(source.relative_to(root).as_posix(), source):
                yield Skipped(source, "a comparison or an extra output of an earlier run")
            else:
                yield source
        yield from _reportable(skipped)

    @staticmethod
    def _target_below(home: Path | None, source: Path, root: Path) -> Path:
        """Where the result of a picture below a root goes."""
        return source if home is None else (home / source.relative_to(root)).with_name(written_name(source.name))


def _left_out(entry: Skipped) -> Group:
    """What is no picture is skipped; what could not even be looked at fails."""
    if not entry.lost:
        return Group((entry.path,), entry.path, skip=entry.reason)
    problem = FileError(entry.reason, where=entry.path, fix="Make it readable, or move it away")
    return Group((entry.path,), entry.path, problem=problem)


def _through_link(source: Path, root: Path) -> Group | None:
    """What becomes of a picture that is to change in place and is reached through a link; None without one."""
    real, home = Path(os.path.realpath(source)), Path(os.path.realpath(root))
    if real == home / source.relative_to(root):
        return None
    if home in real.parents:
        return Group((source,), source, skip=f"a link to {real}, which is in this folder itself")
    problem = FileError(
        f"a link leads out of {root}, to {real}", where=source, why="in place changes only what lies in the folder",
        fix="Name the file itself, or another output folder",
    )  # fmt: skip
    return Group((source,), source, problem=problem)


def _unpaired(sources: tuple[Path, ...], why: str) -> FileError:
    return FileError(why, where=sources[0], fix="Give each picture its counterpart, or move it away")


def _reportable(skipped: list[Skipped]) -> Iterator[Skipped]:
    """What was skipped since the last time, but for clutter and our own ledger."""
    while skipped:
        entry = skipped.pop(0)
        if entry.path.name != LEDGER_NAME and not entry.clutter:
            yield entry


def plan_work(
    paths: tuple[str, ...],
    ending: str,
    *,
    inputs: tuple[str, ...] = ("picture",),
    outputs: tuple[Output, ...] = (RESULT,),
    extra_paths: Mapping[str, str] | None = None,
    in_place: bool,
    compare: bool,
    frames_dir: bool = False,
    replaces: bool = True,
    example: str = "restore denoise in.png",
) -> Plan:
    """What the paths of a command line mean; the last one is the output, if there are more than inputs.

    Args:
        ending: of default output names ("denoised").
        inputs: the task's named inputs; several take one path each, all files or all folders.
        outputs: what is written, the main output first; none named "" gives every output its ending.
        extra_paths: given paths of outputs, by their names, for a single piece of work.
        frames_dir: every folder is one sequence of numbered frames.
        replaces: the task's results may replace its inputs.
        example: of a command line that makes sense, for the error where no picture was named.
    Raises:
        ConfigError: the paths make no sense together. NothingToDoError: none of the inputs exists.
    """
    if not paths:
        raise TooFewPathsError("no picture was named", fix=f"Name a picture or a folder, for example: {example}")
    if len(inputs) > 1:
        _check_number(paths, inputs, in_place=in_place)
        names = paths[: len(inputs)]
    else:
        names = paths if in_place or len(paths) == 1 else paths[:-1]
    sources = tuple(map(Path, names))
    _check_inputs(sources, inputs)
    given = paths[len(names)] if len(paths) > len(names) else None
    out = None if in_place else _output(sources, given, ending, together=len(inputs) > 1, frames_dir=frames_dir)
    plan = Plan(
        sources, out, compare, inputs, outputs, {name: Path(path) for name, path in (extra_paths or {}).items()},
        frames_dir, given is not None, replaces and not frames_dir,
    )  # fmt: skip
    _check_outputs(plan)
    check_clip_names(plan)
    return plan


def _check_number(paths: tuple[str, ...], inputs: tuple[str, ...], *, in_place: bool) -> None:
    if len(paths) not in ((len(inputs),) if in_place else (len(inputs), len(inputs) + 1)):
        output = "" if in_place else " and an output"
        kind = TooFewPathsError if len(paths) < len(inputs) else ConfigError
        raise kind(
            f"{counted(len(paths), 'path')} {'was' if len(paths) == 1 else 'were'} named, and this needs "
            f"{len(inputs)} pictures ({', '.join(inputs)}){output}",
            fix="Name one path for each" + ("" if in_place else ", and the output last"),
        )


def _check_inputs(sources: tuple[Path, ...], inputs: tuple[str, ...]) -> None:
    there = [path.exists() for path in sources]
    if not (any(there) if len(inputs) == 1 else all(there)):
        raise NothingToDoError(
            "there is no such file or folder", where=sources[there.index(False)], fix="Check the path"
        )
    if len(inputs) > 1 and len({path.is_dir() for path in sources}) > 1:
        raise ConfigError(
            f"{' and '.join(map(str, sources))} are files and folders", fix="Name files only, or folders only"

        )  # fmt: skip


def _check_outputs(plan: Plan) -> None:
    if plan.out is not None and not plan.single and plan.out.is_file():
        raise ConfigError(
            f"{plan.out} is a file", why="the last path is the output, a folder for several inputs",
            fix="Name a folder last" + (", or use --in-place" if plan.may_replace and len(plan.names) == 1 else ""),
        )  # fmt: skip
    if plan.out is None and plan.outputs[0].ending:
        raise ConfigError("none of the results replaces the picture", fix="Leave --in-place out, and name an output")
    if plan.out is None and plan.frames_dir:
        raise ConfigError("frames in a folder are not replaced in place", fix="Name an output folder")
    if plan.extra_paths and not plan.single:
        raise ConfigError(
            f"{', '.join(f'{flag(name)} {path}' for name, path in plan.extra_paths.items())} is for one picture",
            fix="Give the option without a path: each file is then written beside its result",
        )
    for name, path in plan.extra_paths.items():
        if not plan.named and path.exists():  # `--spread photo.png out.png` took the photo for the path
            raise ConfigError(
                f"{flag(name)} {path}: the word after {flag(name)} is where its output goes, and {path} exists",
                fix=f"Put a bare {flag(name)} last; to write over {path}, name the main output too",
            )
    unknown = plan.extra_paths.keys() - {output.name for output in plan.outputs}
    if unknown:
        raise ConfigError(f"there is no output {', '.join(sorted(unknown))}", fix="Leave its path out")


def _output(inputs: tuple[Path, ...], given: str | None, ending: str, *, together: bool, frames_dir: bool) -> Path:
    first = inputs[0]
    if given is None:
        if first.is_dir():
            named = first if first.name not in ("", "..") else first.resolve()
            return named.with_name(f"{named.name}_{ending}")
        return first.with_name(f"{first.stem}_{ending}") if frames_dir else default_output(first, ending)
    out = Path(given)
    into_folder = out.is_dir() or given.endswith(("/", os.sep))
    if (len(inputs) == 1 or together) and not first.is_dir() and into_folder and not frames_dir:
        return out / written_name(first.name)
    return out


def _named(path: Path, ending: str, *, is_folder: bool, suffix: str | None = None) -> Path:
    """The path of a file (or folder) that goes with another one: `photo.png` -> `photo_<ending>.png`."""
    name = path.name if is_folder else path.stem
    if suffix is None:
        suffix = "" if is_folder else Path(written_name(path.name)).suffix
    return path.with_name(f"{name}_{ending}{suffix}")


def _relative(path: Path, folder: Path | None) -> str:
    """The path seen from a folder; as it is if it is not below it (or the folder itself is a file)."""
    return (path.relative_to(folder) if folder and path.is_relative_to(folder) and path != folder else path).as_posix()
