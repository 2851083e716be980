"""Toy restorers, small files and jobs for the tests of batches and sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from restore.inference.batch import Job
from restore.inference.history import read_ledger
from restore.inference.ledger import LEDGER_NAME
from restore.inference.options import RunOptions
from restore.inference.runner import output_headers
from restore.models.spec import ModelSpec, Output


@dataclass
class Report:
    decisions: dict[str, str] = field(default_factory=lambda: {"method": "negative"})
    warnings: tuple[str, ...] = ("nothing to worry about",)

    def as_dict(self):
        return {"decisions": self.decisions, "warnings": self.warnings, "tiles": 1}


@dataclass(frozen=True)
class Measured:
    """A condition: the mean of what was measured."""

    mean: float
    scope: str = "picture"


class Negative:
    """A restorer that inverts integer samples, counts its calls, and fails on request."""

    spec = ModelSpec("toy")
    heals_sites = False
    averages_frames = False
    strength = 1.0

    def __init__(self, fingerprint="negative-1", fails=None):
        self.fingerprint, self.fails, self.calls = fingerprint, fails or {}, []

    def run(self, sources, create_sink, progress=None):
        return self.apply(self.prepare(sources), sources, create_sink, progress)

    def output_headers(self, info):
        return output_headers(self.spec, info, RunOptions())

    def prepare(self, sources, progress=None):
        return None

    def apply(self, condition, sources, create_sink, progress=None):
        (source,) = sources
        self.calls.append(source.info.path.name)
        if source.info.path.name in self.fails:
            raise self.fails[source.info.path.name]
        sink = create_sink("result", source.info)
        try:
            for top in range(0, source.info.height, 8):
                rows = source.read_rows(top, min(top + 8, source.info.height))
                sink.write_rows(np.iinfo(rows.dtype).max - rows)
                if progress:
                    progress(top / source.info.height)
            sink.commit()
        except BaseException:
            sink.abort()
            raise
        return Report()


def all_rows(source):
    return source.read_rows(0, source.info.height)


class Computes:
    """A restorer for any inputs and outputs: a function of all arrays gives an array for each output.

    Attributes:
        prepared: the pictures that were measured, one list a call; `applied`: (scope, mean) of what was applied.
        fails: output name -> what is raised instead of committing it, once.
    """

    heals_sites = False
    averages_frames = False
    strength = 1.0

    def __init__(
        self,
        function: Callable[[list[np.ndarray]], dict[str, np.ndarray]],
        spec: ModelSpec,
        fails: dict[str, BaseException] | None = None,
    ):
        self.function, self.spec, self.fails = function, spec, fails or {}
        self.fingerprint = "computes"
        self.prepared: list[list[np.ndarray]] = []
        self.applied: list[Measured] = []
        self.calls: list[tuple[str, ...]] = []

    def output_headers(self, info):
        return output_headers(self.spec, info, RunOptions())

    def prepare(self, sources, progress=None):
        assert len(sources) == len(self.spec.inputs)
        self.prepared.append([all_rows(source).copy() for source in sources])
        return Measured(float(self.prepared[-1][0].mean()))

    def apply(self, condition, sources, create_sink, progress=None):
        assert len(sources) == self.spec.pictures
        self.applied.append(condition)
        self.calls.append(tuple(source.info.path.name for source in sources))
        results = self.function([all_rows(source) for source in sources])
        for output in self.spec.outputs:
            pixels = results[output.name]
            info = replace(
                sources[0].info, height=pixels.shape[0], width=pixels.shape[1], channels=pixels.shape[2], alpha=False
            )
            sink = create_sink(output.name, info)
            try:
                sink.write_rows(pixels)
                if output.name in self.fails:
                    raise self.fails.pop(output.name)
                sink.commit()
            finally:
                sink.abort()
        return Report({"mean": f"{condition.mean:.3f}"})

    def run(self, sources, create_sink, progress=None):
        wanted = sources[len(sources) // 2 :][:1] if self.spec.window > 1 else sources
        return self.apply(self.prepare(wanted), sources, create_sink, progress)


MAP = Output("map", "map", channels=1, mixes=False)
TWO_OUTPUTS = ModelSpec("toy", outputs=(Output(), MAP))


def negative_and_map(arrays):
    """Two outputs: the negative, and its first channel halved."""
    return {"result": 255 - arrays[0], "map": arrays[0][:, :, :1] // 2}


def two_outputs(**options):
    return Computes(negative_and_map, TWO_OUTPUTS, **options)


def job(source: Path, target: Path, *, extra: dict[str, Path] | None = None, **options) -> Job:
    """A job of one input, called by the names of its files."""
    targets = {"result": target, **(extra or {})}
    return Job((source,), targets, (source.name,), {name: path.name for name, path in targets.items()}, **options)


def write_picture(path: Path, seed: int, shape=(16, 20, 3)):
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())


def contents(folder: Path):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LEDGER_NAME}


def records(out: Path):
    return [entry for entry in read_ledger(out / LEDGER_NAME) if "status" in entry]
