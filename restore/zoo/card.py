"""The header of a weights file: its network (`Label`) and its facts (`WeightsCard`)."""

from __future__ import annotations

import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class DataSource(BaseModel):
    """Pictures the weights were trained on.

    Attributes:
        name: what the set is called.
        licence: under which its pictures may be used ("CC0", "CC BY 4.0").
        link: where it is from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    licence: str
    link: str = ""


class Result(BaseModel):
    """One measured figure, with the peers' figures from the same run.

    Attributes:
        set: the test pictures ("Kodak24, sigma 25, seed 0").
        metric: with its convention in the name ("psnr_rgb").
        value: of these weights.
        peers: the same metric of other methods on the same pictures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    set: str
    metric: str
    value: float
    peers: dict[str, float] = Field(default_factory=dict)


class TrainingRun(BaseModel):
    """One run that the weights went through.

    Attributes:
        steps, seconds: its length.
        machine: where it ran.
        commit: of this program when it began ("303ae0c", "303ae0c-dirty"); "" where it is not known.
        command: the command line that repeats it, from the weights of the run before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int
    seconds: float
    machine: str = ""
    commit: str = ""
    command: str = ""


class WeightsCard(BaseModel):
    """The facts of weights for users, and what makes their training repeatable.

    Attributes:
        name: of the weights ("denoise").
        task: what they restore, a key of `restore.tasks`.
        summary: one sentence for people.
        data: what they were trained on.
        steps, seconds: length of the training, all stages of its config together.
        machine: where it ran ("2 cores AMD EPYC, torch 2.14").
        command: the command line that repeats it.
        runs: every run the weights went through, those of the weights it began with first; empty: not written down.
        date: the day it ended.
        licence: of the weights.
        results: measured quality.
        dtypes: compute types measured to stay accurate with these very weights; empty for the network's own.
        sha256: of the tensors as stored (names, types, shapes, bytes), filled in by `save_weights`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    task: str
    summary: str
    data: tuple[DataSource, ...] = ()
    steps: int = 0
    seconds: float = 0.0
    machine: str = ""
    command: str = ""
    runs: tuple[TrainingRun, ...] = ()
    date: datetime.date
    licence: str
    results: tuple[Result, ...] = ()
    dtypes: tuple[str, ...] = ()
    sha256: str = ""

    def all_runs(self) -> tuple[TrainingRun, ...]:
        """`runs`; of a card from before they were written down, the one it describes."""
        own = TrainingRun(steps=self.steps, seconds=self.seconds, machine=self.machine, command=self.command)
        return self.runs or (own,)


class Label(BaseModel):
    """The text in the header of a weights file.

    Attributes:
        layout: version of this text.
        model: a key of `restore.models.MODELS`, or an import path.
        arguments: of the model's constructor.
        card: the facts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: int
    model: str
    arguments: dict[str, Any]
    card: WeightsCard
