"""The stages of a config, one run after the other; each of them can be stopped and resumed at any moment.

    stages = load_stages("deconv/wiener_unet_low_light", ["data.train=[photos]"])
    progress = train_stages(stages, Path("runs/deconv_low_light"))

A single run lives in the folder itself, several in `stage1`, `stage2`, … below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from restore.data.sources import Cached, LeftOut
from restore.training.checkpoint import checkpoints, load_checkpoint
from restore.training.log import Notify
from restore.training.loop import Progress, schedule_share
from restore.training.run import run, run_of, trained_network
from restore.training.settings import Settings


def train_stages(
    stages: Sequence[Settings],
    folder: Path,
    *,
    resume: bool = False,
    command: str = "",
    notify: Notify = lambda entry: None,
    cached: Cached | None = None,
    left_out: LeftOut = lambda line: None,
) -> Progress:
    """Train all stages that are not finished; how far the last one is that ran.

    Args:
        stages: of `restore.training.config.load_stages`.
        resume: go on where the last call stopped.
        command, notify, cached, left_out: as of `restore.training.run.run`.
    """
    folders = stage_folders(stages, folder)
    current = max((number for number, each in enumerate(folders) if checkpoints(each)), default=0) if resume else 0
    handed: dict[str, Any] = {}
    if current < len(stages) - 1 and resume and _finished(stages[current], folders[current]):
        handed = _handed_on(stages[current], folders[current])
        current, resume = current + 1, False
    while True:
        progress = run(
            stages[current], folders[current], resume=resume, command=command, notify=notify, cached=cached,
            left_out=left_out, **handed,
        )  # fmt: skip
        if progress.interrupted or current == len(stages) - 1:
            return progress
        handed = _handed_on(stages[current], folders[current])
        current, resume = current + 1, False


def stage_folders(stages: Sequence[Settings], folder: Path) -> list[Path]:
    """Where the checkpoints of each stage lie."""
    return [folder] if len(stages) == 1 else [folder / f"stage{number + 1}" for number in range(len(stages))]


def finished(stages: Sequence[Settings], folder: Path) -> bool:
    """Whether the last stage has reached the end of its schedule."""
    return _finished(stages[-1], stage_folders(stages, folder)[-1])


def _finished(settings: Settings, folder: Path) -> bool:
    if not checkpoints(folder):
        return False
    return schedule_share(Progress(**load_checkpoint(folder)[1]["progress"]), settings.train) >= 1


def _handed_on(settings: Settings, folder: Path) -> dict[str, Any]:
    """What the next stage begins with: averaged weights, and the runs behind them."""
    network, progress, facts = trained_network(folder, settings)
    runs = [*facts["stages"], run_of(progress, facts)]
    return {"init_from": network, "stages": runs, "before": facts["before"]}
