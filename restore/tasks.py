"""The one place that wires engines to tasks. Imports nothing heavy: factories are named, not imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from restore.errors import ConfigError

if TYPE_CHECKING:
    from restore.inference.engine import Engine


@dataclass(frozen=True)
class Task:
    """What can be asked of the program.

    Attributes:
        done: ending of default output names ("denoised").
        methods: method -> "module:factory" taking the keyword arguments listed with it.
        weights: whether weights of the method "network" are shipped.
        fallback: the method that "auto" means without shipped weights.
    """

    done: str
    methods: Mapping[str, tuple[str, tuple[str, ...]]]
    fallback: str
    weights: bool = False


_PSF = ("psf", "boundary", "centre", "flip", "linear", "psf_size", "save_psf")

TASKS: dict[str, Task] = {
    "denoise": Task(
        done="denoised",
        methods={
            "zero-shot": ("restore.engines.zero_shot:ZeroShotEngine", ("preset", "pd")),
            "classical": ("restore.engines.classical:ClassicalEngine", ("algorithm",)),
            "network": ("restore.engines.denoise:by_network", ("weights", "model")),
            "self-supervised": ("restore.engines.self_supervised:by_fit", ("fit", "budget", "learner")),
        },
        fallback="zero-shot",
        weights=True,
    ),
    "deconv": Task(
        done="deblurred",
        methods={
            "measured": ("restore.engines.deconvolve:automatic", _PSF),
            "infwide": ("restore.engines.deconvolve:by_network", (*_PSF, "weights")),
            "wiener": ("restore.engines.deconvolve:by_wiener", _PSF),
            "rl": ("restore.engines.deconvolve:by_rl", (*_PSF, "iterations")),
            "rl-tv": ("restore.engines.deconvolve:by_rl_tv", (*_PSF, "iterations")),
            "pnp": ("restore.engines.deconvolve:by_pnp", (*_PSF, "weights")),
            "hyper-laplacian": ("restore.engines.deconvolve:by_hyper_laplacian", _PSF),
        },
        fallback="measured",
    ),
}


def build_engine(task: str, method: str = "auto", **options: Any) -> Engine:
    """The engine that answers `task` by `method`.

    Args:
        options: what the method takes (see `TASKS`); options that are None are not passed on.
    Raises:
        ConfigError: an unknown task or method, or an option the method does not take.
    """
    entry = _entry(task)
    given = {name: value for name, value in options.items() if value is not None}
    if method == "auto":
        method = _automatic(entry, given)
    if method not in entry.methods:
        raise ConfigError(f"unknown method {method!r} for {task}", fix=f"Use auto, {', '.join(entry.methods)}")
    path, takes = entry.methods[method]
    for name in given:
        if name not in takes:
            owners = [other for other, (_, names) in entry.methods.items() if name in names]
            raise ConfigError(
                f"--{name} does not go with --method {method}",
                fix=f"It belongs to --method {' or '.join(owners)}" if owners else "Leave it out",
            )
    module, factory = path.split(":")
    return getattr(import_module(module), factory)(**given)


def _automatic(entry: Task, given: Mapping[str, Any]) -> str:
    """The network where there are weights, unless the options say that another method is meant."""
    if "network" not in entry.methods:
        return entry.fallback
    _, takes = entry.methods["network"]
    _, fallback_takes = entry.methods[entry.fallback]
    meant = any(name in fallback_takes and name not in takes for name in given)
    return "network" if (entry.weights and not meant) or "weights" in given else entry.fallback


def _entry(task: str) -> Task:
    if task not in TASKS:
        raise ConfigError(f"unknown task {task!r}", fix=f"Use {', '.join(TASKS)}")
    return TASKS[task]
