"""The Python face: `restore.denoise(picture)` and, for many pictures, `restore.load("denoise")`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from restore.errors import ConfigError
from restore.picture import MemorySink, Picture, PictureInfo, PictureSink, PictureSource
from restore.tasks import build_engine

if TYPE_CHECKING:
    from restore.engines.diagnosis import Diagnosis
    from restore.inference.runner import RunOptions, RunReport

Method = Literal[
    "auto",
    "zero-shot",
    "classical",
    "network",
    "self-supervised",
    "wiener",
    "rl",
    "rl-tv",
    "hyper-laplacian",
    "pnp",
    "infwide",
]
Preset = Literal["fast", "quality"]


class Restorer:
    """An engine ready to restore any number of pictures.

    Attributes:
        task: what it restores.
        fingerprint: a hash of everything that shapes the output besides the input: engine, weights, options
            and program version.
        last_report: what was measured, chosen and warned about for the most recent picture.
    """

    def __init__(self, task: str, engine: Any, options: RunOptions) -> None:
        self.task, self.engine, self.options = task, engine, options
        self.fingerprint = _fingerprint(engine.fingerprint, options)
        self.last_report: RunReport | None = None

    @overload
    def __call__(self, picture: np.ndarray) -> np.ndarray: ...

    @overload
    def __call__(self, picture: Picture | str | Path) -> Picture: ...

    def __call__(self, picture: Picture | np.ndarray | str | Path) -> Picture | np.ndarray:
        """Restore one picture.

        Args:
            picture: a path, a `Picture`, or an array H x W or H x W x C (uint8, uint16 or float32; RGB order;
                2 and 4 channels are taken as grey + alpha and RGBA).
        Returns:
            an array for an array (same shape and type), else a `Picture`.
        Raises:
            RestoreError: see `restore.errors`.
        """
        if isinstance(picture, np.ndarray):
            return self._in_memory(Picture.from_array(picture)).numpy().reshape(picture.shape)
        if isinstance(picture, str | Path):
            from restore.io.codecs import open_picture

            source = open_picture(Path(picture))
            try:
                return self._in_memory(source)
            finally:
                source.close()
        return self._in_memory(picture)

    def _in_memory(self, source: PictureSource) -> Picture:
        sinks: list[MemorySink] = []

        def create(info: PictureInfo) -> MemorySink:
            sinks.append(MemorySink(info))
            return sinks[0]

        self.run(source, create)
        return sinks[0].picture

    def run(
        self,
        source: PictureSource,
        create_sink: Callable[[PictureInfo], PictureSink],
        progress: Callable[[float], None] | None = None,
    ) -> RunReport:
        """Restore from a source into a sink; memory does not grow with the picture's height.

        Args:
            create_sink: called once with the result's header (the crop's size for a crop).
            progress: called with the finished share, 0..1.
        """
        from restore.inference.memory import tune_allocator
        from restore.inference.runner import run

        tune_allocator()
        self.last_report = run(self.engine, [source], lambda _name, info: create_sink(info), self.options, progress)
        return self.last_report


def load(
    task: str = "denoise",
    *,
    method: Method = "auto",
    preset: Preset | None = None,
    pd: int | None = None,
    algorithm: str | None = None,
    weights: str | Path | None = None,
    model: str | None = None,
    fit: str | Path | Sequence[str | Path] | None = None,
    budget: float | None = None,
    learner: str | None = None,
    psf: str | Path | np.ndarray | None = None,
    boundary: str | None = None,
    iterations: int | None = None,
    centre: bool | None = None,
    flip: bool | None = None,
    linear: bool | None = None,
    psf_size: int | None = None,
    save_psf: str | Path | None = None,
    **options: Any,
) -> Restorer:
    """Prepare a task for many pictures.

    Args:
        task: "denoise" or "deconv".
        method: "auto" takes the shipped network, or zero-shot where there is none.
        preset, pd: of the zero-shot method; see `restore.engines.zero_shot.ZeroShotEngine`.
        algorithm: of the classical method: "nlm", "wavelet", "opencv-nlm".
        weights: a weights file or the name of shipped weights; selects the network method.
        model: the network of weights that are not of this program, "my_pkg.my_file:MyNet" or "my_net.py:MyNet".
        fit, budget, learner: of the self-supervised method: noisy pictures or folders of them to learn from now, how
            many seconds at most, and by what; see `restore.engines.self_supervised.by_fit`.
        psf, boundary, iterations, centre, flip, linear, psf_size, save_psf: of deconvolution; see
            `restore.engines.deconvolve.DeconvolutionEngine`.
        options: fields of `restore.inference.runner.RunOptions` (device, tile, strength, sigma, seed, …).
    Raises:
        ConfigError: an unknown task, method or option.
    """
    from restore.inference.runner import RunOptions

    known = RunOptions.__dataclass_fields__
    for name in options:
        if name not in known:
            raise ConfigError(f"unknown option {name!r}", fix=f"Use {', '.join(known)}")
    engine = build_engine(
        task, method, preset=preset, pd=pd, algorithm=algorithm, weights=weights, model=model, fit=fit,
        budget=budget, learner=learner, psf=psf, boundary=boundary, iterations=iterations, centre=centre, flip=flip,
        linear=linear, psf_size=psf_size, save_psf=save_psf,
    )  # fmt: skip
    return Restorer(task, engine, replace(RunOptions(), **options))


@overload
def denoise(picture: np.ndarray, **options: Any) -> np.ndarray: ...


@overload
def denoise(picture: Picture | str | Path, **options: Any) -> Picture: ...


def denoise(picture: Picture | np.ndarray | str | Path, **options: Any) -> Picture | np.ndarray:
    """Denoise one picture; `options` as in `load`. For many pictures keep `load("denoise")`."""
    return load("denoise", **options)(picture)


@overload
def deconvolve(picture: np.ndarray, psf: str | Path | np.ndarray, **options: Any) -> np.ndarray: ...


@overload
def deconvolve(picture: Picture | str | Path, psf: str | Path | np.ndarray, **options: Any) -> Picture: ...


def deconvolve(
    picture: Picture | np.ndarray | str | Path, psf: str | Path | np.ndarray, **options: Any
) -> Picture | np.ndarray:
    """Take a known blur out of one picture; `psf` and `options` as in `load`. For many keep `load("deconv")`."""
    return load("deconv", psf=psf, **options)(picture)


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
    from restore.engines.denoise import diagnose
    from restore.io.codecs import open_picture

    if isinstance(picture, np.ndarray):
        return diagnose(Picture.from_array(picture))
    if not isinstance(picture, str | Path):
        return diagnose(picture)
    source = open_picture(Path(picture))
    try:
        return diagnose(source)
    finally:
        source.close()


def read(path: str | Path) -> Picture:
    """Read a picture file into memory, upright, with its depth, alpha and metadata."""
    from restore.io.codecs import open_picture

    source = open_picture(Path(path))
    if isinstance(source, Picture):
        return source
    try:
        return Picture(source.info, source.read_rows(0, source.info.height))
    finally:
        source.close()


def write(picture: Picture | np.ndarray, path: str | Path, **options: Any) -> None:
    """Write a picture atomically; `options` are the fields of `restore.io.SaveOptions` (quality, depth, …)."""
    from restore.io.codecs import SaveOptions, create, target_info

    picture = Picture.from_array(picture) if isinstance(picture, np.ndarray) else picture
    save = SaveOptions(**options)
    sink = create(Path(path), target_info(picture.info, Path(path), save), save)
    try:
        sink.write_rows(picture.pixels)
        sink.commit()
    finally:
        sink.abort()


def _fingerprint(engine: str, options: RunOptions) -> str:
    """Hash of what shapes the pixels: the engine, the options but for memory and device, the version."""
    from restore import __version__

    shaping = {name: value for name, value in asdict(options).items() if name not in ("device", "tile", "max_memory")}
    text = json.dumps([__version__, engine, shaping], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
