"""A short training at test time: a network goes on learning from the pictures at hand until held-out data say stop."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

_RISE = 0.05  # of the steps, in which the learning rate rises


@dataclass(frozen=True)
class FitSettings:
    """How long and how fast.

    Attributes:
        steps: at most.
        validate_every: steps between validations.
        patience: validations without a better result before it stops.
        learning_rate: at most; it falls to 0.
        average: weight of the past in the moving average of the network.
        clip: largest norm of a gradient; None: any.
        budget: seconds after which it ends, and the result depends on the machine's speed; None: steps and validations
            alone decide.
    """

    steps: int = 400
    validate_every: int = 50
    patience: int = 3
    learning_rate: float = 1e-4
    average: float = 0.99
    clip: float | None = None
    budget: float | None = None


class Fit(NamedTuple):
    """What came out.

    Attributes:
        network: the best one that was validated, the first among them, in eval mode.
        steps: after which it was.
        error: its held-out error.
        total_steps: taken in all.
        seconds: they took.
        interrupted: whether it was asked to stop before it was done.
    """

    network: nn.Module
    steps: int
    error: float
    total_steps: int
    seconds: float
    interrupted: bool = False


def fit(
    network: nn.Module,
    parameters: Iterable[nn.Parameter],
    loss: Callable[[int], Tensor],
    validate: Callable[[nn.Module], float],
    settings: FitSettings,
    report: Callable[[str], None] = lambda line: None,
    progress: Callable[[float], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Fit:
    """Train a network in place and return the moving average of it that did best on held-out data.

    Args:
        network: in training mode, on the device it learns on.
        parameters: those that learn.
        loss: what to minimise at a step (0, 1, …): a function of the step and the network's state alone.
        validate: the held-out error of a network; of the very first too, so that learning cannot make it worse.
        report: is given a line now and then.
        progress: is given the finished share of the steps, 0..1.
        stopped: is asked before every step whether that is enough.
    """
    started = time.monotonic()
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.average))
    parameters = list(parameters)
    optimizer = torch.optim.Adam(parameters, settings.learning_rate)
    best = Fit(copy.deepcopy(network), 0, validate(network), 0, 0.0)
    report(f"before learning: held-out error {best.error:.3g}")
    step, stale, interrupted = 0, 0, False
    while stale < settings.patience:
        interrupted = stopped()
        done = max(step / settings.steps, (time.monotonic() - started) / (settings.budget or math.inf))
        if done >= 1 or interrupted:
            break
        if progress:
            progress(done)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (done + 1 / settings.steps) / _RISE) * (1 - done)
        value = loss(step)
        if not torch.isfinite(value):
            break  # what was good before is kept
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        if settings.clip is not None:
            nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimizer.step()
        averaged.update_parameters(network)
        step += 1
        if step % settings.validate_every == 0:
            error = validate(averaged.module)
            report(f"step {step} of {settings.steps}: held-out error {error:.3g}")
            stale = 0 if error < best.error else stale + 1
            if error < best.error:
                best = Fit(copy.deepcopy(averaged.module), step, error, 0, 0.0)
    return best._replace(
        network=best.network.eval(), total_steps=step, seconds=time.monotonic() - started, interrupted=interrupted
    )
