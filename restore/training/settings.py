"""The settings of a training run, as plain data: no import here needs more than Python itself.

`restore.training.config` reads them from YAML and `key=value` words, and checks them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from restore.errors import ConfigError, brief
from restore.evaluation.protocol import EvaluationProtocol

_MOST = 1e12  # of anything that is counted
_PLAIN_NAME = re.compile(r"\w[\w .+-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Which network, and its arguments: a name of `restore.models.MODELS`, "my_pkg.my_file:MyNet", or a file beside
    the config, "my_net.py:MyNet"."""

    name: str = "plain_unet"
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """How it learns."""

    name: str = "supervised"
    """Of `restore.objectives.OBJECTIVES`, or "my_pkg.my_file:MyObjective" or "my_file.py:MyObjective" for a class or
    function of one's own: (network, losses=…, degradation=…, its arguments) -> Objective."""
    losses: dict[str, float | dict[str, Any]] | None = None
    """Weight of each loss of `restore.losses.table.LOSSES`, or its options with `weight` among them; by default the
    objective's own."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the objective."""


@dataclass(frozen=True, kw_only=True)
class DegradationSettings:
    """What damages the clean pictures."""

    name: str = ""
    """Of `restore.degradations.DEGRADATIONS`, or "my_file.py:MyDamage" for one's own; "": the objective's own, or none
    where it learns from damaged pictures."""
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What it learns from."""

    train: tuple[str, ...] = ()
    """Folders of pictures, searched with all folders below."""
    exclude: tuple[str, ...] = ()
    """Patterns of paths below those folders to leave out ("bsds_*")."""
    validation: tuple[str, ...] = ()
    """Folders of pictures to validate on; if there are none, `held_out` pictures of `train` are kept back."""
    held_out: int = 8
    crop: int = 96
    """Side of the square crops in pixels."""
    scales: tuple[float, ...] = (1.0,)
    """Sizes at which each picture is used; 0.5 is half its width and height."""
    roles: dict[str, str] = field(default_factory=dict)
    """Folder of each further role that the degradation knows: counterparts of the one folder in `train`, matched by
    name ("picture": the damaged ones), or pictures of their own."""
    validation_roles: dict[str, str] = field(default_factory=dict)
    """The same for the folder in `validation`; independent pictures are those of `validation` unless named."""
    cache: str = ""
    """Folder of the decoded pictures; by default below the user's folder of this program."""
    unreadable: float = 0.01
    """Share of the pictures of a folder that may be unreadable; they are left out and named. Beyond, nothing starts."""

    def __post_init__(self) -> None:
        if not 0 <= self.unreadable <= 1:
            raise ConfigError(f"data.unreadable is {self.unreadable}", fix="Give a share from 0 to 1, for example 0.01")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How it is trained."""

    steps: int = 100_000
    budget: float | None = None
    """Seconds of training after which the schedule has ended ("2h", "90m"); None: `steps` alone decide."""
    batch: int = 16
    """Crops of one step, all processes and accumulations together."""
    accumulate: int = 1
    """Parts a process divides its share of the batch into, to save memory."""
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-6
    warmup: int = 200
    """Steps in which the learning rate rises from 0; no more than a twentieth of the schedule."""
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    ema: float = 0.999
    """Decay of the moving average of the weights, lower in the first steps; 0 keeps no average."""
    clip: float = 1.0
    """Largest norm of the gradient; 0: not clipped."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Type of the forward pass; `auto` is bf16 where the device gains from it."""
    bad_steps: int = 20
    """Steps in a row whose gradient is not finite before training stops; each of them is skipped."""
    seed: int = 0
    device: str = "auto"
    log_every: int = 50
    validate_every: int = 1000
    save_every: float = 300.0
    """Seconds between checkpoints."""

    def __post_init__(self) -> None:
        for name in (
            "steps", "batch", "accumulate", "log_every", "validate_every", "learning_rate", "save_every", "bad_steps",
        ):  # fmt: skip
            if not 0 < getattr(self, name) <= _MOST:
                what = f"train.{name} is {brief(getattr(self, name))}"
                raise ConfigError(what, fix=f"Give a number above 0, at most {_MOST:g}")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"train.ema is {self.ema}", fix="Give 0 (no average) up to 1, for example 0.999")


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """One of several runs that follow each other, each from the averaged weights of the one before, with a schedule of
    its own."""

    share: float = 1.0
    """Of `train.steps` and `train.budget`, relative to the other stages."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What differs, by dotted names: {train.learning_rate: 3e-4, objective.losses: {l2: 1.0}}."""

    def __post_init__(self) -> None:
        if not self.share > 0:
            raise ConfigError(f"stages: a share is {self.share}", fix="Give a number above 0")
        refused = {"train.steps", "train.budget", "name", "task", "weights", "begin", "stages"} & set(self.settings)
        if refused:
            fix = "Stages divide train.steps and train.budget by their shares; the rest is the same for all"
            raise ConfigError(f"stages: {min(refused)} cannot differ between stages", fix=fix)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A training run, or several in stages."""

    name: str
    """Of what is trained ("denoise"): of its folder and its weights file."""
    weights: str = "none"
    """Name of the shipped weights that this makes (restore/zoo/NAME.safetensors); none: of none."""
    begin: str = ""
    """Weights to begin with, a name of the zoo or a file: of the same network, or of a denoiser for the U-Nets of a
    network that takes one; "": none, the first weights are drawn."""
    stages: tuple[StageSettings, ...] = ()
    """Runs that follow each other; none: a single one."""
    task: str = "denoise"
    summary: str = ""
    """One sentence for people, for the weights' card."""
    model: ModelSettings = field(default_factory=ModelSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    degradation: DegradationSettings = field(default_factory=DegradationSettings)
    data: DataSettings = field(default_factory=DataSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    evaluation: EvaluationProtocol = field(default_factory=EvaluationProtocol)
    """The protocol of `restore eval`."""

    def __post_init__(self) -> None:
        for setting, value in (("name", self.name), ("weights", self.weights)):
            if not _PLAIN_NAME.fullmatch(value):
                fix = "Give a name without a folder; --out says where it goes"
                raise ConfigError(f"{setting} is {brief(value)}, which is no plain file name", fix=fix)
