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
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from restore.data.batches import Batch, prefetched
from restore.errors import ModelError
from restore.objectives.objective import Objective, Phase
from restore.physics.random import generator_for
from restore.training.checkpoint import load_checkpoint, save_checkpoint
from restore.training.log import Log, image_grid, psnr
from restore.training.runtime import Runtime, share
from restore.training.settings import TrainSettings
from restore.training.signals import stop_requested

Draw = Callable[[int, int, int], Batch]  # (step, first item, items) -> Batch


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
        validation: batches to look at every `validate_every` steps and at the end.
        resume: go on from the newest checkpoint in `folder`.
        facts: plain data kept in every checkpoint (the resolved configuration, versions).
        tell: called with each entry of the log.
    Raises:
        ModelError: gradients were not finite for too many steps in a row; the batch is in `bad_batch.pt`.
    """
    runtime = Runtime(settings)
    size, firsts = share(settings, runtime)
    objective.to(device=runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizers = {phase.name: _optimizer(phase, settings) for phase in objective.phases}
    average = AveragedModel(objective.averaged, multi_avg_fn=get_ema_multi_avg_fn(settings.ema), use_buffers=True)
    progress = Progress()
    if resume:
        path, state = load_checkpoint(folder)
        _restore(state, path, objective, average, optimizers)
        progress = Progress(**state["progress"], interrupted=False)
    wrapped = runtime.prepare(objective.train())
    log = Log(folder, tell, quiet=not runtime.main)
    started, saved, bad = time.monotonic() - progress.seconds, time.monotonic(), 0

    def save() -> None:
        if runtime.main:
            save_checkpoint(folder, progress.step, _state(progress, objective, average, optimizers, facts or {}))
        runtime.wait()

    requests = ((step, first) for step in itertools.count(progress.step) for first in firsts)
    with log, stop_requested() as stop, prefetched(draw, requests, size) as batches:
        while True:
            progress.seconds, stopped = runtime.largest(time.monotonic() - started, float(stop.is_set()))
            done = schedule_share(progress, settings)
            progress.interrupted = bool(stopped) and done < 1
            if done >= 1 or stopped:
                break
            with log.timing("data"):
                parts = [next(batches).to(runtime.device) for _ in firsts]
            rate = learning_rate(done, progress.step, settings)
            generator = generator_for(settings.seed, progress.step, runtime.rank, device=runtime.device)
            finite = True
            for phase in objective.phases:
                if progress.step % phase.every == 0:
                    losses = _backward(wrapped, objective, phase, parts, progress.step, generator, runtime)
                    norm = torch.nn.utils.clip_grad_norm_(phase.parameters, settings.clip or math.inf)
                    finite = finite and bool(norm.isfinite())
                    if finite:
                        _take_step(optimizers[phase.name], rate)
                        log.add(phase.name, losses, norm)
                    objective.zero_grad()
            if finite:
                average.update_parameters(objective.averaged)
            bad = 0 if finite else bad + 1
            progress.skipped += not finite
            progress.step += 1
            if bad > settings.bad_steps:
                raise _not_finite(folder, parts, progress.step, bad)
            if progress.step % settings.log_every == 0:
                log.write(progress, done, rate, settings)
            if validation and runtime.main and progress.step % settings.validate_every == 0:
                progress.validation = validate(objective, average.module, validation, runtime, folder, progress.step)
                log.event(progress, progress.validation)
            if runtime.largest(time.monotonic() - saved)[0] > settings.save_every:
                save()
                saved = time.monotonic()
        seen = progress.step % settings.validate_every == 0
        if validation and runtime.main and not (progress.interrupted or seen):
            progress.validation = validate(objective, average.module, validation, runtime, folder, progress.step)
            log.event(progress, progress.validation)
        save()
    return progress


def schedule_share(progress: Progress, settings: TrainSettings) -> float:
    """How much of the schedule is done, 0 to 1 and beyond."""
    by_clock = progress.seconds / settings.budget if settings.budget else 0.0
    return max(progress.step / settings.steps, by_clock)


def learning_rate(done: float, step: int, settings: TrainSettings) -> float:
    """Linear rise over `warmup` steps, then half a cosine over the schedule (Loshchilov, Hutter, ICLR 2017)."""
    low, high = settings.final_learning_rate, settings.learning_rate
    cosine = low + (high - low) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
    return cosine * min(1.0, (step + 1) / max(1, settings.warmup))


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
            before, after = psnr(shown["input"], shown["target"]), psnr(shown["output"], shown["target"])
            gains += zip(before.tolist(), after.tolist(), strict=True)
    network.train()
    if not gains:
        return {}
    before, after = (sum(column) / len(gains) for column in zip(*gains, strict=True))
    return {"psnr_input": round(before, 4), "psnr": round(after, 4)}


def _backward(
    wrapped: torch.nn.Module,
    objective: Objective,
    phase: Phase,
    parts: Sequence[Batch],
    step: int,
    generator: torch.Generator,
    runtime: Runtime,
) -> dict[str, Tensor]:
    """Gradients of a phase, averaged over the parts of the batch and all processes; its losses, detached."""
    if len(objective.phases) > 1:
        _only(objective, phase)
    totals: dict[str, Tensor] = {}
    for number, part in enumerate(parts):
        with runtime.accumulating(wrapped, more=number + 1 < len(parts)):
            with runtime.autocast():
                losses = wrapped(part, phase.name, step, generator)
            (losses["loss"] / len(parts)).backward()
        for name, value in losses.items():
            totals[name] = totals.get(name, 0) + value.detach() / len(parts)
    return totals


def _only(objective: Objective, phase: Phase) -> None:
    """Gradients for this phase's parameters alone (frozen networks are in no phase and stay so)."""
    mine = {id(parameter) for parameter in phase.parameters}
    for parameter in itertools.chain.from_iterable(each.parameters for each in objective.phases):
        parameter.requires_grad_(id(parameter) in mine)


def _optimizer(phase: Phase, settings: TrainSettings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        list(phase.parameters), settings.learning_rate, settings.betas, weight_decay=settings.weight_decay
    )


def _take_step(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


def _state(
    progress: Progress,
    objective: Objective,
    average: AveragedModel,
    optimizers: dict[str, torch.optim.Optimizer],
    facts: dict[str, Any],
) -> dict[str, Any]:
    """All that a run is made of: batches follow from the step; torch's own random state serves dropout."""
    kept = asdict(progress)
    kept.pop("interrupted")
    return {
        "progress": kept,
        "objective": objective.state_dict(),
        "average": average.state_dict(),
        "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
        "rng": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "facts": facts | {"torch": str(torch.__version__)},
    }


def _restore(
    state: dict[str, Any],
    path: Path,
    objective: Objective,
    average: AveragedModel,
    optimizers: dict[str, torch.optim.Optimizer],
) -> None:
    try:
        objective.load_state_dict(state["objective"])
        average.load_state_dict(state["average"])
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
    except (KeyError, RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0]
        fix = "Resume with the same model and objective, or start anew from its weights with --init-from"
        raise ModelError("the checkpoint is of another run", where=path, why=why, fix=fix) from error
    torch.set_rng_state(state["rng"])
    if state["rng_cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["rng_cuda"])


def _not_finite(folder: Path, parts: Sequence[Batch], step: int, bad: int) -> ModelError:
    where = folder / "bad_batch.pt"
    torch.save({"step": step - 1, "clean": [part.clean.cpu() for part in parts]}, where)
    return ModelError(
        f"the gradient was not finite for {bad} steps in a row",
        where=folder,
        why=f"the last batch is in {where.name}",
        fix="Resume with a lower train.learning_rate, or train.precision=fp32",
    )
