"""The Python face: `restore.denoise(picture)` and, for many pictures, `restore.load("denoise")`."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import numpy as np

from restore.errors import RestoreError, UnsupportedError
from restore.inference.options import RunOptions
from restore.options import in_python
from restore.picture import MemorySink, Picture, PictureInfo, PictureSink, PictureSource
from restore.tasks import build, choose_method, task_named
from restore.version import __version__

if TYPE_CHECKING:
    from restore.engines.denoise.diagnosis import Diagnosis
    from restore.inference.engine import Condition, Engine
    from restore.inference.runner import RunReport

Pictured = Picture | np.ndarray | str | Path
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Result:
    """What came of one picture (or of several taken together). Immutable.

    Attributes:
        pictures: by output name, the main one first.
        decisions: what was measured and chosen, in words.
        warnings: what the user should know.
        provenance: how it was made: task, settings (their fingerprint), version, device, precision, tiles, seconds.
    """

    pictures: Mapping[str, Picture]
    decisions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def picture(self) -> Picture:
        """The main output."""
        return next(iter(self.pictures.values()))


def _python_names(function: Function) -> Function:
    """Errors name options as keywords, not as flags of the command line."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except RestoreError as error:
            raise error.reworded(in_python)  # noqa: B904  the same error

    return cast(Function, wrapped)


class Restorer:
    """An engine ready to restore any number of pictures. Nothing of it changes by a call.

    Attributes:
        task: what it restores.
        engine: what does it (`restore.inference.engine`).
        options: of the run.
        settings: the method's options, as far as they shape results by themselves (`Options.settings`).
    """

    def __init__(
        self,
        task: str,
        engine: Engine,
        options: RunOptions | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.task, self.engine, self.options = task, engine, options or RunOptions()
        self.settings = MappingProxyType(dict(settings or {}))

    @property
    def fingerprint(self) -> str:
        """A hash of everything that shapes the output besides the input: engine, weights, options, version."""
        facts = [__version__, self.engine.fingerprint, dict(self.settings), self.options.result_settings]
        text = json.dumps(facts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def spec(self) -> Any:
        """Needs and promises of the engine: names of inputs and outputs, window, scale (`ModelSpec`)."""
        return self.engine.spec

    @overload
    def __call__(self, *pictures: np.ndarray) -> np.ndarray: ...

    @overload
    def __call__(self, *pictures: Picture | str | Path) -> Result: ...

    def __call__(self, *pictures: Pictured) -> Result | np.ndarray:
        """Restore one picture, or one set of pictures of a task that takes several at once.

        Args:
            pictures: paths, `Picture`s, or arrays H x W or H x W x C (uint8, uint16 or float32; RGB order;
                2 and 4 channels are taken as grey + alpha and RGBA).
        Returns:
            for arrays the array of the main output (same type; H x W for H x W), else a `Result`.
        Raises:
            RestoreError: see `restore.errors`.
        """
        result = self.restore(*pictures)
        first = pictures[0]
        if not isinstance(first, np.ndarray):
            return result
        pixels = result.picture.pixels
        return pixels if first.ndim == 3 else pixels[:, :, 0]

    @_python_names
    def restore(self, *pictures: Pictured, condition: Condition | None = None) -> Result:
        """As a call, with all outputs and what was decided, for arrays too.

        Args:
            condition: what `prepare` returned, of these pictures or of others like them; None measures these.
        """
        sources = [opened(each) for each in pictures]
        try:
            return self._restored(sources, condition)
        finally:
            for source, given in zip(sources, pictures, strict=True):
                if isinstance(given, str | Path):
                    source.close()

    def frames(self, pictures: Iterable[Pictured], condition: Condition | None = None) -> Iterator[Result]:
        """Restore the frames of a sequence in order, each with its neighbours where the engine needs them.

        Args:
            condition: what `prepare` returned, which holds for all frames; None measures each.
        """
        from restore.inference.sequences import windows

        for window in windows(map(opened, pictures), self.spec.window):
            yield self._restored(window, condition)

    @_python_names
    def _restored(self, sources: Sequence[PictureSource], condition: Condition | None) -> Result:
        sinks: dict[str, MemorySink] = {}

        def create(name: str, info: PictureInfo) -> MemorySink:
            sinks[name] = MemorySink(info)
            return sinks[name]

        condition = self.prepare(sources) if condition is None else condition
        report = self.apply(condition, sources, create)
        return self._result(report, {name: sink.picture for name, sink in sinks.items()})

    def prepare(self, sources: Sequence[PictureSource], progress: Callable[[float], None] | None = None) -> Condition:
        """What is measured, chosen or learned, once, for one source of each named input."""
        from restore.inference.runner import prepare

        return prepare(self.engine, sources, self.options, progress)

    def apply(
        self,
        condition: Condition,
        sources: Sequence[PictureSource],
        create_sink: Callable[[str, PictureInfo], PictureSink],
        progress: Callable[[float], None] | None = None,
    ) -> RunReport:
        """Restore from sources into a sink for each output; memory does not grow with the pictures' height.

        Args:
            create_sink: called once for each output with its name and header (the crop's size for a crop).
            progress: called with the finished share, 0..1.
        """
        from restore.inference.memory import tune_allocator
        from restore.inference.runner import apply

        tune_allocator()
        return apply(self.engine, condition, sources, create_sink, self.options, progress)

    def run(
        self,
        sources: Sequence[PictureSource],
        create_sink: Callable[[str, PictureInfo], PictureSink],
        progress: Callable[[float], None] | None = None,
    ) -> RunReport:
        """`prepare` and `apply`."""
        return self.apply(self.prepare(sources, progress), sources, create_sink, progress)

    def _result(self, report: RunReport, pictures: dict[str, Picture]) -> Result:
        facts = report.as_dict()
        run = {name: value for name, value in facts.items() if name not in ("decisions", "warnings")}
        provenance = {"task": self.task, "settings": self.fingerprint, "version": __version__, **run}
        return Result(
            MappingProxyType(pictures), MappingProxyType(dict(report.decisions)), tuple(report.warnings),
            MappingProxyType(provenance),
        )  # fmt: skip


@_python_names
def load(task: str = "denoise", *, method: str = "auto", **options: Any) -> Restorer:
    """Prepare a task for many pictures.

    Args:
        task: "denoise", "deconv", "degrade", or one of another package.
        method: "auto" takes what the options given ask for, else the shipped network where there is one.
        options: of the method (its dataclass: `restore.engines.denoise.options`, `restore.engines.deconv.options`,
            …) and of the run (`restore.inference.options.RunOptions`: device, tile, strength, seed, …); None is
            left to the default.
    Raises:
        ConfigError: an unknown task, method or option, or a wrong value.
    """
    return loaded(task, method, {name: value for name, value in options.items() if value is not None})


def loaded(task: str, method: str, given: Mapping[str, Any]) -> Restorer:
    """As `load`; errors name options as the command line does."""
    running = {name: value for name, value in given.items() if name in RunOptions.__dataclass_fields__}
    own = {name: value for name, value in given.items() if name not in running}
    built = build(task, method, own)
    return Restorer(task, built.engine, replace(RunOptions(), **running), built.options.settings())


@overload
def denoise(picture: np.ndarray, **options: Any) -> np.ndarray: ...


@overload
def denoise(picture: Picture | str | Path, **options: Any) -> Result: ...


def denoise(picture: Pictured, **options: Any) -> Result | np.ndarray:
    """Denoise one picture; `options` as in `load`. For many pictures keep `load("denoise")`."""
    return load("denoise", **options)(picture)  # type: ignore[arg-type]


@overload
def deconvolve(picture: np.ndarray, psf: str | Path | np.ndarray, **options: Any) -> np.ndarray: ...


@overload
def deconvolve(picture: Picture | str | Path, psf: str | Path | np.ndarray, **options: Any) -> Result: ...


def deconvolve(picture: Pictured, psf: str | Path | np.ndarray, **options: Any) -> Result | np.ndarray:
    """Take a known blur out of one picture; `psf` and `options` as in `load`. For many keep `load("deconv")`."""
    return load("deconv", psf=psf, **options)(picture)  # type: ignore[arg-type]


@_python_names
def inspect(picture: PictureSource | np.ndarray | str | Path) -> Diagnosis:
    """Measure the noise of a picture, and say what `denoise` would do about it. Changes nothing.

    Args:
        picture: as `denoise` takes it: a path, a `Picture` (or another source of rows), or an array H x W or
            H x W x C (uint8, uint16 or float32; RGB order; 2 and 4 channels are taken as grey + alpha and RGBA).
    Returns:
        level and curve over intensity in 8-bit units (0..255), correlation length in px, clipped shares, and the
        weights chosen; `.facts` in words, `.summary()` as plain numbers. `.measurable` is False, and the levels zero,
        for a picture that is too small (under 24 px, or a few blocks in all).
    Raises:
        RestoreError: a file that cannot be read, samples that are not finite; see `restore.errors`.
    """
    from restore.engines.denoise.network_choice import diagnose

    source = opened(picture)
    try:
        return replace(diagnose(source), method=choose_method(task_named("denoise"), {}))
    finally:
        if isinstance(picture, str | Path):
            source.close()


def opened(picture: PictureSource | np.ndarray | str | Path) -> PictureSource:
    """A source of what a caller calls a picture."""
    if isinstance(picture, np.ndarray):
        return Picture.from_array(picture)
    if isinstance(picture, PictureSource):
        return picture
    if not isinstance(picture, str | Path):
        fix = "Give a path, a NumPy array H x W or H x W x C, or what restore.read returns; for others numpy.asarray"
        raise UnsupportedError(f"a {type(picture).__name__} is no picture", fix=fix)
    from restore.io.codecs import open_picture

    return open_picture(Path(picture))


def read(path: str | Path) -> Picture:
    """Read a picture file into memory, upright, with its depth, alpha and metadata."""
    from restore.io import read_picture

    return read_picture(Path(path))


@_python_names
def write(picture: Picture | Result | np.ndarray, path: str | Path, **options: Any) -> None:
    """Write a picture (of a `Result` the main one) atomically; `options` are the fields of
    `restore.io.options.SaveOptions` (quality, depth, …)."""
    from restore.io import write_picture
    from restore.io.options import SaveOptions

    if isinstance(picture, Result):
        picture = picture.picture
    picture = Picture.from_array(picture) if isinstance(picture, np.ndarray) else picture
    write_picture(picture, Path(path), SaveOptions(**options))
