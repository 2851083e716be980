"""What a batch is given: jobs, options, and the contract of the restorer that does them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from restore.errors import FileError
from restore.io.atomic import AtomicFile
from restore.io.clip.names import is_clip, names_clip
from restore.io.options import ReadOptions, SaveOptions
from restore.models.spec import ModelSpec
from restore.picture import PictureInfo, PictureSink, PictureSource

CreateSink = Callable[[str, PictureInfo], PictureSink]
"""Makes the sink of an output, by the output's name, for a picture with this header."""
Progress = Callable[[float], None]
"""Is called with the finished share, 0..1."""


class Report(Protocol):
    """What a restorer reports of one picture."""

    decisions: dict[str, str]

    @property
    def warnings(self) -> Sequence[str]: ...

    def as_dict(self) -> dict[str, Any]: ...


class Restores(Protocol):
    """What a batch needs of a restorer (`restore.api.Restorer` is one).

    `sources` are `spec.pictures` many: the named inputs in order, or the frames of a window, the wanted one in the
    middle. The fingerprint names everything that shapes the output besides the input: engine, weights, options,
    version.
    """

    @property
    def fingerprint(self) -> str: ...

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def heals_sites(self) -> bool:
        """Whether sequences lose the hot sites of their sensor first (`restore.analysis.hot_sites`)."""
        ...

    @property
    def averages_frames(self) -> bool:
        """Whether frames that follow each other in time are averaged where they show the same, once restored."""
        ...

    @property
    def strength(self) -> float:
        """0: the results are the inputs; 1: what the engine gives; between them, both mixed."""
        ...

    def with_strength(self, strength: float) -> Restores:
        """The same with another strength."""
        ...

    def output_headers(self, info: PictureInfo) -> dict[str, PictureInfo]:
        """The header of each output of a picture like `info`, by its name, and no larger than what is restored of it.

        Raises `UnsupportedError` if what is to be restored is not inside the picture.
        """
        ...

    def prepare(self, sources: Sequence[PictureSource], progress: Progress | None = None) -> Any:
        """A condition, from one picture for each named input; it may be applied to other pictures of their kind."""
        ...

    def apply(
        self,
        condition: Any,
        sources: Sequence[PictureSource],
        create_sink: CreateSink,
        progress: Progress | None = None,
    ) -> Report:
        """Restore into the sinks it makes, one an output; each is committed, or aborted on any error."""
        ...

    def run(
        self, sources: Sequence[PictureSource], create_sink: CreateSink, progress: Progress | None = None
    ) -> Report:
        """Prepare from these sources, and apply to them."""
        ...


@dataclass(frozen=True)
class Job:
    """One piece of work: what is read at once, and what is written of it.

    Attributes:
        sources: a file for each named input; where it is a `sequence`, possibly a folder of numbered frames.
        targets: where each output goes, by its name, the main output first.
        names, outputs: the same two as the ledger and messages call them (relative to the run's folders).
        in_place: the main output replaces the first source, which is its target.
        compare: where to put a before/after picture of the first input and the main output, if anywhere.
        skip: why it is left alone (not a picture), "" if it is not.
        problem: why it cannot be done and fails, if so.
        sequence: sources may be folders, each one sequence of frames; frames are written as pictures, each output into
            a folder, unless its target names a clip.
    """

    sources: tuple[Path, ...]
    targets: dict[str, Path]
    names: tuple[str, ...]
    outputs: dict[str, str]
    in_place: bool = False
    compare: Path | None = None
    skip: str = ""
    problem: FileError | None = None
    sequence: bool = False

    @property
    def source(self) -> Path:
        """The first input."""
        return self.sources[0]

    @property
    def main(self) -> str:
        """Name of the main output."""
        return next(iter(self.targets))

    @property
    def target(self) -> Path:
        """Where the main output goes; the source itself for a job that writes nothing."""
        return next(iter(self.targets.values()), self.source)

    @property
    def written(self) -> tuple[Path, ...]:
        """All files and folders that are written."""
        return (*self.targets.values(), *([self.compare] if self.compare else ()))

    @property
    def compare_name(self) -> str:
        """The before/after picture as the ledger calls it: it lies beside the main output."""
        name = self.compare.name if self.compare else ""
        return Path(self.outputs[self.main]).with_name(name).as_posix()

    def replaces_source(self, name: str) -> bool:
        """Whether this output takes the first source's place."""
        return self.in_place and name == self.main

    @cached_property
    def into_folders(self) -> bool:
        """Whether frames are written as pictures, each output into a folder."""
        return self.sequence and self.in_time and not names_clip(self.target)

    @cached_property
    def in_time(self) -> bool:
        """Whether the sources are frames that follow each other in time: of a clip, or numbered ones of a folder."""
        return (self.sequence and self.source.is_dir()) or is_clip(self.source)


@dataclass(frozen=True)
class BatchOptions:
    """What a batch does with files; what is done to pixels is the restorer's.

    Attributes:
        overwrite: existing outputs may be replaced, whoever wrote them.
        workers: see `run_pipeline`.
        measure: how often a sequence is measured: "each" frame by itself, "once" for all of them, or "auto": pages
            of a stack each, clips and numbered frames once.
        compare: writes a comparison (before, after, file) for jobs with a `compare`.
    """

    read: ReadOptions = field(default_factory=ReadOptions)
    save: SaveOptions = field(default_factory=SaveOptions)
    overwrite: bool = False
    workers: int = 2
    measure: Literal["auto", "each", "once"] = "auto"
    compare: Callable[[PictureSource, PictureSource, AtomicFile], None] | None = None

    def measures_once(self, job: Job) -> bool:
        """Whether the frames of this job share one measurement."""
        return self.measure == "once" or (self.measure == "auto" and job.in_time)
