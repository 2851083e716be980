"""The training loop, from top to bottom: `train` is a run, `train_step` one step of it.

Every step draws its batch from (seed, step), so that nothing but the step number needs to be known to go on.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restore.data.batches import Batch, prefetched
from restore.errors import ModelError
from restore.interrupts import stop_requested
from restore.objectives.objective import Objective
from restore.training.checkpoint import load_checkpoint, save_checkpoint
from restore.training.learner import Learner
from restore.training.log import Log, Notify
from restore.training.runtime import Runtime, share
from restore.training.schedule import Progress, learning_rate, schedule_share
from restore.training.settings import TrainSettings
from restore.training.validation import validate

Draw = Callable[[int, int, int], Batch]  # (step, first item, items) -> Batch


def train(
    objective: Objective,
    draw: Draw,
    settings: TrainSettings,
    folder: Path,
    *,
    validation: Sequence[Batch] = (),
    resume: bool = False,
    facts: dict[str, Any] | None = None,
    notify: Notify = lambda entry: None,
) -> Progress:
    """Train until the schedule ends or a signal asks to stop; either way the last state is on disk.

    Args:
        draw: gives items of a step's global batch (`restore.data.batches.CropBatches`).
        folder: of checkpoints, `log.jsonl`, TensorBoard files and validation pictures.
        validation: batches to validate on every `validate_every` steps and at the end.
        resume: go on from the newest checkpoint in `folder`.
        facts: plain data kept in every checkpoint (the resolved configuration, versions).
        notify: called with each entry of the log.
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
    log = Log(folder, notify, runtime, progress.step, pending)
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
            finite = train_step(learner, parts, progress.step, rate, log.add)
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


def train_step(
    learner: Learner, parts: Sequence[Batch], step: int, rate: float, report: Callable[[dict[str, Tensor]], None]
) -> bool:
    """One step on this process's `parts` of the batch: all phases whose turn it is, then the average.

    Args:
        report: called for each phase with its losses and the norm of its gradient.
    Returns:
        False if a gradient was not finite: that phase and those after it are left out, the buffers are put back.
    """
    learner.begin(step)
    for phase in learner.objective.phases:
        if not phase.takes_part(step):
            continue
        learner.enable_gradients_for(phase)
        means: dict[str, Tensor] = {}  # over the parts of the batch
        for number, part in enumerate(parts):
            with learner.accumulating(more=number + 1 < len(parts)):
                with learner.autocast():
                    losses = learner(part, phase.name, step)  # forward
                (losses["loss"] / len(parts)).backward()
            for name, value in losses.items():
                means[name] = means.get(name, 0) + value.detach() / len(parts)
        norm = torch.nn.utils.clip_grad_norm_(phase.parameters, learner.settings.clip or math.inf)
        if not norm.isfinite():
            learner.undo()
            return False
        learner.update(phase, rate)
        report(learner.named(phase, means | {"gradient_norm": norm}))
        learner.objective.zero_grad()
    learner.update_average()
    return True


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
