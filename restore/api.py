"""The Python API: `restore.denoise(picture)` and, for many pictures, `restore.load("denoise")`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from restore.errors import ConfigError, RestoreError, nearest
from restore.files import Result, frames_of, opened
from restore.inference.options import RunOptions
from restore.options import in_python, python_names
from restore.picture import MemorySink, Picture, PictureInfo, PictureSink, PictureSource
from restore.tasks import build, choose_method, task_named
from restore.version import __version__

if TYPE_CHECKING:
    from restore.engines.denoise.diagnosis import Diagnosis
    from restore.inference.engine import Condition, Engine
    from restore.inference.records import FileRecord
    from restore.inference.runner import RunReport

Pictured = Picture | np.ndarray | str | Path


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

    @property
    def heals_sites(self) -> bool:
        """Whether sequences lose the hot sites of their sensor first (`hot_pixels="auto"`)."""
        from restore.inference.runner import changes_nothing

        return self.settings.get("hot_pixels") == "auto" and not changes_nothing(self.spec, self.options)

    @property
    def averages_frames(self) -> bool:
        """Whether frames of clips are averaged where they show the same, once denoised (`temporal="auto"`)."""
        from restore.inference.runner import changes_nothing

        return self.settings.get("temporal") == "auto" and not changes_nothing(self.spec, self.options)

    @property
    def strength(self) -> float:
        """How far results are from their inputs, 0 to 1 (`strength`)."""
        return self.options.strength

    def with_strength(self, strength: float) -> Restorer:
        """The same with another strength."""
        return Restorer(self.task, self.engine, replace(self.options, strength=strength), self.settings)

    @overload
    def __call__(self, *pictures: np.ndarray, **named: np.ndarray) -> np.ndarray: ...

    @overload
    def __call__(self, *pictures: Picture | str | Path, **named: Picture | str | Path) -> Result: ...

    def __call__(self, *pictures: Pictured, **named: Pictured) -> Result | np.ndarray:
        """Restore one picture, or one set of pictures of a task that takes several at once.

        Args:
            pictures: paths, `Picture`s, or arrays H x W or H x W x C (uint8, uint16 or float32; RGB order;
                2 and 4 channels are taken as grey + alpha and RGBA), in the order of `spec.inputs`.
            named: the same by the inputs' names: `between(start=a, end=b)`.
        Returns:
            for arrays the array of the main output (same type; H x W for H x W), else a `Result`. Its other outputs
            are in the `Result` that `restore` gives for arrays too. Where no output is the main one (all have
            an ending), a `Result` for arrays as well.
        Raises:
            RestoreError: see `restore.errors`.
        """
        given = self._in_order(pictures, named)
        result, first = self.restore(*given), given[0]
        if not isinstance(first, np.ndarray) or self.spec.outputs[0].ending:
            return result
        pixels = result.picture.pixels
        return pixels if first.ndim == 3 else pixels[:, :, 0]

    @python_names
    def restore(self, *pictures: Pictured, condition: Condition | None = None, **named: Pictured) -> Result:
        """As a call, with all outputs (`Result.pictures` by name) and what was decided, for arrays too.

        Args:
            condition: what `prepare` returned, of these pictures or of others like them; None measures these.
        """
        given = self._in_order(pictures, named)
        sources: list[PictureSource] = []
        try:
            sources += map(opened, given)
            return self._restored(sources, condition)
        finally:
            for source, each in zip(sources, given, strict=False):
                if isinstance(each, str | Path):
                    source.close()

    @python_names
    def _in_order(self, pictures: Sequence[Pictured], named: Mapping[str, Pictured]) -> list[Pictured]:
        """Pictures given by place and by name, in the order of the named inputs. Raises `ConfigError`."""
        inputs = self.spec.inputs
        for name in named:
            if name not in inputs:
                fix = f"{nearest(name, inputs)}They are {', '.join(inputs)}"
                raise ConfigError(f"{self.task} has no input {name!r}", fix=fix)
            if name in inputs[: len(pictures)]:
                raise ConfigError(f"the input {name!r} is given twice, by place and by name", fix="Give it once")
        missing = [name for name in inputs[len(pictures) :] if name not in named]
        if missing and (named or not pictures):
            raise ConfigError(f"{self.task} needs the input {missing[0]!r}", fix=f"It takes {', '.join(inputs)}")
        return [*pictures, *(named[name] for name in inputs if name in named)]

    def frames(self, pictures: Iterable[Pictured] | str | Path, condition: Condition | None = None) -> Iterator[Result]:
        """Restore the frames of a sequence in order, each with its neighbours where the engine needs them.

        Args:
            pictures: of the frames; or the path of a TIFF stack, or of a folder of numbered frames. Of a path the hot
                sites of the sensor are found first (`hot_pixels`), of others nothing is known before its turn.
            condition: what `prepare` returned, which holds for all frames; None measures each.
        """
        from restore.inference.sequences import windows

        if isinstance(pictures, str | Path):
            yield from self._frames_of(Path(pictures), condition)
            return
        for window in windows(map(python_names(opened), pictures), self.spec.window):
            yield self._restored(window, condition)

    @python_names
    def clip(
        self,
        source: str | Path,
        target: str | Path,
        *,
        overwrite: bool = False,
        resume: bool = False,
        measure: Literal["auto", "each", "once"] = "auto",
        progress: Callable[[float], None] | None = None,
        **options: Any,
    ) -> FileRecord:
        """Restore a clip, or a folder of numbered frames, into a clip or a folder of numbered frames.

        Args:
            source, target: a clip (`.mp4`, `.mkv`, …), or the folder of its frames.
            resume: go on from the segments that a stopped run of the same work left beside the target.
            measure: each frame, or once for each shot ("auto").
            progress: called with the finished share, 0..1.
            options: fields of `restore.io.options.ReadOptions` (start, end, count, salvage, …) and `SaveOptions`
                (codec, crf, fps, depth, …).
        Returns:
            what was done: `decisions`, `warnings`, and of `outputs` size and hash.
        Raises:
            RestoreError: nothing is under the target's name then.
        """
        from restore.inference.one_job import restore_clip

        batch = {"overwrite": overwrite, "measure": measure}
        return restore_clip(self, source, target, batch, options, resume=resume, progress=progress)

    def _frames_of(self, path: Path, condition: Condition | None) -> Iterator[Result]:
        """Restore the frames of a file or folder. Raises errors with the names of Python's options."""
        from restore.analysis.hot_sites import healed
        from restore.inference.sequences import windows

        try:
            with closing(frames_of(path)) as opened_frames:
                frames, found = healed(opened_frames) if self.heals_sites else (opened_frames, {})
                for window in windows(frames, self.spec.window):
                    result = self._restored(window, condition)
                    yield replace(result, decisions=MappingProxyType({**result.decisions, **found}))
        except RestoreError as error:
            raise error.reworded(in_python)  # noqa: B904  the same error

    @python_names
    def _restored(self, sources: Sequence[PictureSource], condition: Condition | None) -> Result:
        sinks: dict[str, MemorySink] = {}

        def create(name: str, info: PictureInfo) -> MemorySink:
            sinks[name] = MemorySink(info)
            return sinks[name]

        condition = self.prepare(sources) if condition is None else condition
        report = self.apply(condition, sources, create)
        return self._result(report, {name: sink.picture for name, sink in sinks.items()})

    def output_headers(self, info: PictureInfo) -> dict[str, PictureInfo]:
        """The header of each output of a picture like `info`, by its name: of the crop's size for a crop."""
        from restore.inference.runner import output_headers

        return output_headers(self.spec, info, self.options)

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
            MappingProxyType({output.name: output.ending for output in self.spec.outputs}),
        )  # fmt: skip


@python_names
def load(task: str = "denoise", *, method: str = "auto", **options: Any) -> Restorer:
    """Prepare a task for many pictures.

    Args:
        task: "denoise", "deconv", "deblur", "upscale", "degrade", or one of another package.
        method: "auto" takes what the options given ask for, else the shipped network where there is one.
        options: of the method (its dataclass: `restore.engines.denoise.options`, `restore.engines.deconv.options`,
            …) and of the run (`restore.inference.options.RunOptions`: device, tile, strength, seed, …); None is
            left to the default.
    Raises:
        ConfigError: an unknown task, method or option, a wrong value, a device that is not there.
    """
    restorer = loaded(task, method, {name: value for name, value in options.items() if value is not None})
    for output in restorer.spec.outputs:
        if isinstance(options.get(output.name), str | Path):
            raise ConfigError(
                f"{output.name} is an output of the result, and nothing is written here",
                fix=f"Give {output.name}=True, and restore.write(result, path, output={output.name!r})",
            )
    return restorer


def loaded(task: str, method: str, given: Mapping[str, Any]) -> Restorer:
    """As `load`; errors name options as the command line does."""
    from restore.inference.precision import choose_dtype, resolve_device

    running = {name: value for name, value in given.items() if name in RunOptions.__dataclass_fields__}
    own = {name: value for name, value in given.items() if name not in running}
    options = replace(RunOptions(), **running)
    built = build(task, method, own)
    device = resolve_device(options.device)
    choose_dtype(options.precision, built.engine.spec, device)  # refused now, not once for every picture
    return Restorer(task, built.engine, options, built.options.settings())


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


@overload
def deblur(picture: np.ndarray, **options: Any) -> np.ndarray: ...


@overload
def deblur(picture: Picture | str | Path, **options: Any) -> Result: ...


def deblur(picture: Pictured, **options: Any) -> Result | np.ndarray:
    """Take an unknown blur out of one picture; `options` as in `load`. For many pictures keep `load("deblur")`.

    Several answers, and where they disagree: `load("deblur", all_heads=True, uncertainty=True).restore(picture)`.
    """
    return load("deblur", **options)(picture)  # type: ignore[arg-type]


@overload
def upscale(picture: np.ndarray, **options: Any) -> np.ndarray: ...


@overload
def upscale(picture: Picture | str | Path, **options: Any) -> Result: ...


def upscale(picture: Pictured, **options: Any) -> Result | np.ndarray:
    """Enlarge one picture, 4 times as wide and high unless `scale` or `size` say otherwise; `options` as in `load`.

    For many pictures keep `load("upscale")`.
    """
    return load("upscale", **options)(picture)  # type: ignore[arg-type]


@python_names
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
    source = opened(picture)
    try:
        return diagnosed(source)
    finally:
        if isinstance(picture, str | Path):
            source.close()


def diagnosed(source: PictureSource) -> Diagnosis:
    """What `inspect` gives of an open picture; errors name options as the command line has them."""
    import torch

    from restore.engines.denoise.network_choice import DiagnosingDenoiser, by_network, diagnose

    method = choose_method(task_named("denoise"), {})
    engine = by_network() if method == "network" else None
    if isinstance(engine, DiagnosingDenoiser):
        return engine.diagnose(source, torch.device("cpu"))
    return replace(diagnose(source), method=method)
