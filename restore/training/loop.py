"""The training loop, from top to bottom.

Every step draws its batch from (seed, step), so that nothing but the step number needs to be known to go on.
The learning rate follows the share of the schedule that is done: steps of `steps`, or seconds of `budget`,
whichever is further. A run with a budget therefore ends on a finished schedule, but depends on the clock.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from restore.data.batches import Batch, prefetched
from restore.errors import ModelError
from restore.metrics.pixel import psnr
from restore.objectives.objective import Objective
from restore.training.checkpoint import load_checkpoint, save_checkpoint
from restore.training.learner import Learner
from restore.training.log import Log, image_grid, resized
from restore.training.runtime import Runtime, share
from restore.training.settings import TrainSettings
from restore.training.signals import stop_requested

Draw = Callable[[int, int, int], Batch]  # (step, first item, items) -> Batch
RISE = 0.05  # the learning rate rises over no more than this share of the schedule
CEILING = 60.0  # dB, the most that one picture counts for in the validation's mean


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


def train(
    objective: Objective,
    draw: Draw,
    settings: TrainSettings,
    folder: Path,
    *,
    validation: Sequence[Batch] = (),
    resume: bool = False,
    facts: dict[str, Any] | None = None,
    tell: Callable[[dict[str, Any]], None] = lambda entry: None,
) -> Progress:
    """Train until the schedule ends or a signal asks to stop; either way the last state is on disk.

    Args:
        draw: gives items of a step's global batch (`restore.data.batches.CropBatches`).
        folder: of checkpoints, `log.jsonl`, TensorBoard files and validation pictures.
        validation: batches to validate on every `validate_every` steps and at the end.
        resume: go on from the newest checkpoint in `folder`.
        facts: plain data kept in every checkpoint (the resolved configuration, versions).
        tell: called with each entry of the log.
    Raises:
        FileError: there is nothing to resume from.
        ModelError: gradients were not finite for `bad_steps` steps in a row; the last batch is in `bad_batch.pt`.
    """
    runtime = Runtime(settings, phases=len(objective.phases))
    size, firsts = share(settings, runtime)
    learner, progress, pending = Learner(objective, settings, runtime), Progress(), {}
    if resume:
        path, state = load_checkpoint(folder)
        learner.restore(state, path)
        progress, pending = Progress(**state["progress"]), state.get("log", {})
    log = Log(folder, tell, runtime, progress.step, pending)
    started, saved, bad, seen = time.monotonic() - progress.seconds, time.monotonic(), 0, -1
    rate = settings.learning_rate

    def save() -> None:
        if runtime.main:
            kept = asdict(progress)
            kept.pop("interrupted")
            state = learner.state() | {"progress": kept, "log": log.pending()}
            save_checkpoint(folder, progress.step, state | {"facts": _with_version(facts)})
        runtime.wait()

    def validated() -> None:
        if validation and runtime.main:
            progress.validation = validate(
                objective, learner.average.module, validation, runtime, folder, progress.step
            )
            log.event(progress, progress.validation)

    requests = ((step, first) for step in itertools.count(progress.step) for first in firsts)
    with log, runtime.own_random_state(), stop_requested() as stop, prefetched(draw, requests, size) as batches:
        while True:
            now = time.monotonic()
            progress.seconds, unsaved, stopped = runtime.largest(now - started, now - saved, float(stop.is_set()))
            done = schedule_share(progress, settings)
            progress.interrupted = bool(stopped) and done < 1
            if done >= 1 or stopped:
                break
            if unsaved > settings.save_every:
                save()
                saved = time.monotonic()
            with log.waiting():
                parts = [next(batches).to(runtime.device) for _ in firsts]
            rate = learning_rate(done, progress.step, settings)
            finite = learner.step(parts, progress.step, rate, log.add)
            progress.step += 1
            progress.skipped += not finite
            bad = 0 if finite else bad + 1
            if bad >= settings.bad_steps:
                save()
                raise _not_finite(folder, parts, bad, runtime)
            if progress.step % settings.log_every == 0:
                log.write(progress, schedule_share(progress, settings), rate)
            if progress.step % settings.validate_every == 0:
                validated()
                seen = progress.step
        if not progress.interrupted:
            if log.pending():
                log.write(progress, 1.0, rate)
            if seen != progress.step:
                validated()
        save()
    return progress


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


@torch.no_grad()
def validate(
    objective: Objective, network: torch.nn.Module, batches: Sequence[Batch], runtime: Runtime, folder: Path, step: int
) -> dict[str, float]:
    """Mean PSNR (RGB, not rounded) of the averaged network on some batches, and `step`'s pictures as a PNG."""
    gains: list[tuple[float, float]] = []
    network.eval()
    for number, batch in enumerate(batches):
        with runtime.autocast():
            shown = objective.preview(batch.to(runtime.device), network)
        if number == 0:
            image_grid(shown, folder / "validation" / f"{step:08d}.png")
        if "target" in shown:
            target = shown["target"]
            before, after = (
                psnr(resized(shown[name], target), target, ceiling=CEILING) for name in ("input", "output")
            )
            gains += zip(before.tolist(), after.tolist(), strict=True)
    if not gains:
        return {}
    before, after = (sum(column) / len(gains) for column in zip(*gains, strict=True))
    return {"psnr_input": round(before, 4), "psnr": round(after, 4)}


def _with_version(facts: dict[str, Any] | None) -> dict[str, Any]:
    return (facts or {}) | {"torch": str(torch.__version__)}


def _not_finite(folder: Path, parts: Sequence[Batch], bad: int, runtime: Runtime) -> ModelError:
    """The error, once this process's part of the last batch is on disk for whoever looks for the cause."""
    where = folder / ("bad_batch.pt" if runtime.main else f"bad_batch_{runtime.rank}.pt")
    batches = [
        {"pictures": {role: x.cpu() for role, x in part.pictures.items()},
         "seed": part.seed, "step": part.step, "first_index": part.first_index}
        for part in parts
    ]  # fmt: skip
    torch.save(batches, where)
    return ModelError(
        f"the gradient was not finite for {bad} steps in a row",
        where=folder,
        why=f"the last batch is in {where.name}",
        fix="Resume with a lower train.learning_rate, or with train.precision=fp32",
    )
