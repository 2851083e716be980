"""One piece of work for a caller in Python: done, put in place, and its record given back; what stops it is raised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restore.errors import ConfigError, brief, nearest
from restore.inference.batch_job import BatchOptions, Job, Progress, Restores
from restore.inference.history import History
from restore.inference.records import FileRecord
from restore.inference.worker import Worker
from restore.io.clip.names import container_of, means_clip, names_clip
from restore.io.options import ReadOptions, SaveOptions
from restore.io.paths import READABLE

_MEASURES = ("auto", "each", "once")


def restore_clip(
    restorer: Restores,
    source: str | Path,
    target: str | Path,
    batch: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> FileRecord:
    """Restore a clip, or a folder of numbered frames, into a clip or a folder of numbered frames.

    Args:
        batch: fields of `BatchOptions`; options: of `ReadOptions` and `SaveOptions`, by their names.
    Raises:
        ConfigError: what is no path, no option or no value of one. RestoreError: what stopped it.
    """
    source, target = _path(source, "source"), _path(target, "target")
    if (measure := batch.get("measure", "auto")) not in _MEASURES:
        fix = f"{nearest(str(measure), _MEASURES)}It is {', '.join(_MEASURES)}"
        raise ConfigError(f"measure cannot be {brief(measure)}", fix=fix)
    chosen = clip_options(options, **batch)
    if means_clip(target) or target.suffix.lower() in READABLE:
        container_of(target)
    job = job_for(restorer, source, target, sequence=source.is_dir() or not names_clip(target))
    return do_job(restorer, job, chosen, resume=resume, progress=progress)


def _path(value: Any, name: str) -> Path:
    if isinstance(value, str | Path):
        return Path(value)
    raise ConfigError(f"{name} is a {type(value).__name__} and no path", fix="Give a str or a pathlib.Path")


def clip_options(given: Mapping[str, Any], **batch: Any) -> BatchOptions:
    """Fields of `ReadOptions` and `SaveOptions` by their names, with fields of `BatchOptions`. Raises `ConfigError`."""
    read = {name: value for name, value in given.items() if name in ReadOptions.__dataclass_fields__}
    save = {name: value for name, value in given.items() if name not in read}
    known = [*ReadOptions.__dataclass_fields__, *SaveOptions.__dataclass_fields__]
    for name in save:
        if name not in known:
            raise ConfigError(f"there is no option {name}", fix=f"{nearest(name, known)}They are {', '.join(known)}")
    return BatchOptions(ReadOptions(**read), SaveOptions(**save), **batch)


def job_for(restorer: Restores, source: Path, target: Path, *, sequence: bool) -> Job:
    """The job of one file (or folder of frames) to the main output at `target`, others beside it by their endings."""
    targets = {}
    for output in restorer.spec.outputs:
        named = f"{target.stem}_{output.ending}{target.suffix}" if output.ending else target.name
        targets[output.name] = target.with_name(named)
    outputs = {name: path.name for name, path in targets.items()}
    return Job((source,), targets, (str(source),), outputs, sequence=sequence)


def do_job(
    restorer: Restores, job: Job, options: BatchOptions, *, resume: bool = False, progress: Progress | None = None
) -> FileRecord:
    """Do a job.

    Args:
        resume: go on from what a run that was stopped left of a clip.
    Raises:
        RestoreError: what stopped it; nothing is under the final names then.
    """
    done = Worker(restorer, options).do(job, History(job.target.parent) if resume else None, progress)
    try:
        if done.error is not None:
            raise done.error
        for file in done.staged:
            file.publish()
    finally:
        for file in done.staged:  # gone already what became an output
            file.discard()
    return done.record
