"""From a run's checkpoint to a weights file that says what it is."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from restore.training.run import run_of, trained_network
from restore.training.settings import Settings

if TYPE_CHECKING:
    from restore.zoo.card import DataSource, Result, WeightsCard


def export(
    folder: Path,
    settings: Settings,
    path: Path,
    *,
    data: Sequence[DataSource] = (),
    results: Sequence[Result] = (),
    command: str = "",
    licence: str = "Apache-2.0",
) -> WeightsCard:
    """Write the averaged weights of the newest checkpoint in `folder` to `path` (.safetensors, float16) with a card.

    The card lists every run that led here: those of the weights it began with, the earlier stages, and this one.

    Args:
        data: the pictures it learned from, with their licences.
        results: measured figures.
        command: the command line that repeats the training; "": as it was given to the run.
        licence: of the weights.
    """
    from restore.zoo.card import TrainingRun, WeightsCard
    from restore.zoo.weights import save_weights

    network, progress, facts = trained_network(folder, settings)
    own = run_of(progress, facts | ({"command": command} if command else {}))
    stages = [TrainingRun(**each) for each in (*facts.get("stages", ()), own)]
    before = [TrainingRun(**each) for each in facts.get("before", ())]
    card = WeightsCard(
        name=settings.name, task=settings.task, summary=settings.summary, data=tuple(data), results=tuple(results),
        steps=sum(each.steps for each in stages), seconds=round(sum(each.seconds for each in stages), 1),
        machine=stages[-1].machine, command=stages[-1].command, runs=(*before, *stages),
        date=datetime.datetime.now(datetime.UTC).date(), licence=licence,
    )  # fmt: skip
    return save_weights(path, network, settings.model.name, settings.model.arguments, card, half=True)
