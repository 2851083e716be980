"""How far a training run is, and the learning rate that goes with it.

The rate follows the share of the schedule that is done: steps of `steps`, or seconds of `budget`, whichever is further.
A run with a budget therefore ends on a finished schedule, but depends on the clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from restore.training.settings import TrainSettings

RISE = 0.05  # the learning rate rises over no more than this share of the schedule


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: steps done.
        seconds: of training, over all resumptions.
        skipped: steps whose gradient was not finite.
        interrupted: a signal ended the run before its schedule.
        validation: the figures of the last validation.
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    interrupted: bool = False
    validation: dict[str, float] = field(default_factory=dict)


def schedule_share(progress: Progress, settings: TrainSettings) -> float:
    """How much of the schedule is done, 0 to 1 and beyond."""
    by_clock = progress.seconds / settings.budget if settings.budget else 0.0
    return max(progress.step / settings.steps, by_clock)


def learning_rate(done: float, step: int, settings: TrainSettings) -> float:
    """Linear rise, then half a cosine over the schedule (Loshchilov, Hutter, ICLR 2017).

    The rise takes `warmup` steps, or the first twentieth of the schedule where that is shorter.
    """
    low, high = settings.final_learning_rate, settings.learning_rate
    cosine = low + (high - low) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
    return cosine * min(1.0, max((step + 1) / max(1, settings.warmup), done / RISE))
