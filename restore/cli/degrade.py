"""`restore degrade`: noise and compression on purpose, to make test cases."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from restore.cli.options import HIDE, FileOptions, Flag, ReportOptions, RunOptions, hint, number, one_of
from restore.cli.pictures import Request, restore_pictures
from restore.errors import ConfigError

if TYPE_CHECKING:
    from restore.engines.degrade import Degrader
    from restore.physics.noise import NoiseRecipe

PRESETS = ("raw", "dslr", "phone", "smoothed")

# kind -> its options, with what they are when they are not given (None: drawn for each picture)
OPTIONS: dict[str, dict[str, Any]] = {
    "gaussian": {"sigma": 25.0},
    "poisson": {"photons": 30.0},
    "speckle": {"sigma": 25.0},
    "salt-pepper": {"share": 0.05},
    "correlated": {"sigma": 15.0, "blur": 0.8, "dependence": 0.0},
    "camera": {"preset": None, "iso": None},
    "jpeg": {"quality": 30},
    "resize": {"sigma": 15.0, "factor": 1.7},
    "random": {},
    "none": {},
}


@dataclass(frozen=True)
class DegradedFiles(FileOptions):
    """What happens to files."""

    quality: Annotated[int, number("--quality", int, 1, 100), HIDE] = 0
    """jpeg: quality of the damage (30). Other kinds: quality of JPEG and WebP files (95)."""


@dataclass(frozen=True)
class Degrade:
    """Add noise to pictures, to make test cases: gaussian, poisson, speckle, salt-pepper, correlated, camera, jpeg,
    resize, random (one of them, drawn for each picture) or none."""

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="KIND IN... [OUT]", help_behavior_hint="")] = ()
    """The kind; then pictures or folders, the last of two or more the output."""
    sigma: Annotated[float | None, number("--sigma", float, 0, 255, "LEVEL"), HIDE] = None
    """gaussian (25), correlated, resize (15): std in 8-bit units (0..255); speckle (25): std at white."""
    photons: Annotated[float | None, number("--photons", float, 0.01, 1e6, "COUNT"), HIDE] = None
    """poisson: photons at white (30); fewer are noisier."""
    share: Annotated[float | None, number("--share", float, 1e-6, 1, "SHARE"), HIDE] = None
    """salt-pepper: share of the samples hit (0.05)."""
    blur: Annotated[float | None, number("--blur", float, 0, 3, "PIXELS"), HIDE] = None
    """correlated: std of the Gaussian that correlates the noise (0.8); 0 is white."""
    dependence: Annotated[float | None, number("--dependence", float, 0, 1, "SHARE"), HIDE] = None
    """correlated: how much the variance follows the brightness (0)."""
    factor: Annotated[float | None, number("--factor", float, 1, 8, "FACTOR"), HIDE] = None
    """resize: how much larger the noise is made (1.7)."""
    preset: Annotated[str | None, one_of("--preset", *PRESETS), HIDE] = None
    """camera: which kind of camera; by default one of them."""
    iso: Annotated[float | None, number("--iso", float, 25, 1e6, "ISO"), HIDE] = None
    """camera: its sensitivity; by default one the preset is used at."""
    jpeg: Annotated[int | None, number("--jpeg", int, 1, 100, "QUALITY"), HIDE] = None
    """Any kind but jpeg: compress with this quality after the noise."""
    subsampling: Annotated[str | None, one_of("--subsampling", "420", "444"), HIDE] = None
    """Of that compression and of jpeg: chroma at half (420) or full resolution."""
    clip: Flag = False
    """End values at black and white even in float files; other files always do."""
    unclipped: Flag = False
    """Keep values below black and above white, or refuse: takes a .tif and --depth float."""
    seed: Annotated[int, number("--seed", int, 0, 2**63 - 1)] = 0
    """With the pixels of a picture, determines its noise."""
    threads: Annotated[int | None, number("--threads", int, 1, 4096), HIDE] = None
    """CPU threads; by default the physical cores this process may use."""
    workers: Annotated[int, number("--workers", int, 0, 64)] = 2
    """Files decoded ahead and encoded behind at once; 0 and 1: one after the other."""
    files: DegradedFiles = field(default_factory=DegradedFiles)
    report: ReportOptions = field(default_factory=ReportOptions)

    def run(self) -> int:
        kind, paths = self.paths[0] if self.paths else "", self.paths[1:]
        files = replace(self.files, quality=100 if kind == "jpeg" else self.files.quality or 95)
        running = RunOptions(seed=self.seed, threads=self.threads, workers=self.workers)
        return restore_pictures(paths, _Request("degrade", {"method": kind}, files, running, self.report, self))


@dataclass(frozen=True)
class _Request(Request):
    options: Degrade

    @property
    def done(self) -> str:
        return "degraded"

    def check(self) -> None:
        super().check()
        options, kind = self.options, self.method["method"]
        if kind not in OPTIONS:
            what = f"there is no kind of damage {kind!r}" if kind else "no kind of damage was named"
            raise ConfigError(what, fix=hint(kind, list(OPTIONS)))
        if len(options.paths) == 1:
            raise ConfigError("no picture was named", fix=f"For example: restore degrade {kind} in.png noisy.png")
        if self.files.in_place:
            raise ConfigError("degrade does not replace its inputs with worse ones", fix="Name an output")
        if options.clip and options.unclipped:
            raise ConfigError("--clip and --unclipped contradict each other", fix="Leave one of them out")
        for name in {name for known in OPTIONS.values() for name in known} - {"quality"}:
            if getattr(options, name) is not None and name not in OPTIONS[kind]:
                raise _misplaced(name, kind, [other for other, known in OPTIONS.items() if name in known])
        if options.jpeg and kind == "jpeg":
            raise _misplaced("jpeg", kind, ["the other kinds"], "; the quality of this one is --quality")
        if options.subsampling and kind != "jpeg" and not options.jpeg:
            raise _misplaced("subsampling", kind, ["jpeg"], ", or add --jpeg QUALITY")

    def load(self) -> Degrader:
        import torch

        from restore.cli.machine import usable_cores
        from restore.engines.degrade import Degrader
        from restore.inference.memory import tune_allocator

        torch.set_num_threads(self.running.threads or usable_cores())
        tune_allocator()
        clip = True if self.options.clip else False if self.options.unclipped else None
        return Degrader(recipe_of(self.method["method"], self.options), clip=clip, seed=self.options.seed)


def _misplaced(name: str, kind: str, owners: list[str], more: str = "") -> ConfigError:
    return ConfigError(f"--{name} does not go with {kind}", fix=f"It belongs to {' or '.join(owners)}{more}")


def recipe_of(kind: str, options: Degrade) -> NoiseRecipe:
    """The recipe of a kind, with the options given and the defaults of the others."""
    from restore.physics.noise import KINDS, NoiseRecipe

    given = {name: getattr(options, name, None) for name in OPTIONS[kind]} | {"quality": options.files.quality or None}
    values = {name: default if given[name] is None else given[name] for name, default in OPTIONS[kind].items()}
    fields: dict[str, Any] = {"clipped": 0.0} if kind == "random" else {"clipped": 0.0, "roundness": (1.0, 1.0)}
    for name, value in values.items():
        if value is not None and name not in ("preset", "iso"):
            unit = 255 if (kind, name) == ("speckle", "sigma") else 1
            fields[_FIELDS.get((kind, name), name)] = (value / unit, value / unit)
    if values.get("preset"):
        fields["cameras"] = (values["preset"],)
    if values.get("iso"):
        fields["iso"] = (values["iso"], values["iso"])
    if kind != "random":
        fields["camera_jpeg"] = 0.0
    if options.jpeg:
        quality = (options.jpeg, options.jpeg)
        fields |= {"jpeg": 1.0, "camera_jpeg": 1.0, "quality": quality, "camera_quality": quality}
    if kind != "random" or options.subsampling:
        fields["subsampled"] = float(options.subsampling != "444")
    drawn = KINDS[1:] if kind == "random" else (kind.replace("-", "_"),)
    return NoiseRecipe(dict.fromkeys(drawn, 1.0), **fields)


# (kind, option) -> field of `NoiseRecipe`, where it is named otherwise
_FIELDS = {
    ("speckle", "sigma"): "speckle",
    ("salt-pepper", "share"): "impulses",
    ("correlated", "sigma"): "coarse_sigma",
    ("resize", "sigma"): "coarse_sigma",
}
