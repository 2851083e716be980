"""From a run's checkpoint to a weights file that says what it is."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from restore.training.run import trained_network
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

    Args:
        data: the pictures it learned from, with their licences.
        results: measured figures.
        command: the command line that repeats the training.
        licence: of the weights.
    """
    from restore.zoo.card import WeightsCard
    from restore.zoo.weights import save_weights

    network, progress, _ = trained_network(folder, settings)
    card = WeightsCard(
        name=settings.name, task=settings.task, summary=settings.summary, data=tuple(data), results=tuple(results),
        steps=progress.step, seconds=round(progress.seconds, 1), machine=machine(), command=command,
        date=datetime.datetime.now(datetime.UTC).date(), licence=licence,
    )  # fmt: skip
    return save_weights(path, network, settings.model.name, settings.model.arguments, card, half=True)


def machine() -> str:
    """What it was trained on, in a few words."""
    if torch.cuda.is_available():
        chip = torch.cuda.get_device_name()
    else:
        chip = f"{torch.get_num_threads()} of {os.cpu_count()} cores {_processor()}"
    return f"{chip}, torch {torch.__version__}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
