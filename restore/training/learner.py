"""What learns, with all its state: an objective, an optimizer for each of its phases, and the moving average."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from restore.data.batches import Batch
from restore.errors import ModelError
from restore.objectives.objective import Objective, Phase
from restore.physics.random import hash_seed
from restore.training.runtime import Runtime
from restore.training.settings import TrainSettings


class Learner:
    """An objective on its device with what changes it. `restore.training.loop.train_step` makes the steps.

    Attributes:
        objective: what learns; called only through the runtime's wrapping (`learner(batch, phase, step)`).
        average: the moving average of `objective.averaged`; its buffers are those of the last step.
        optimizers: AdamW (Loshchilov, Hutter, ICLR 2019) by phase.
    """

    def __init__(self, objective: Objective, settings: TrainSettings, runtime: Runtime) -> None:
        self.settings, self._runtime = settings, runtime
        self.objective = objective.to(device=runtime.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizers = {
            phase.name: torch.optim.AdamW(list(phase.parameters), settings.learning_rate, settings.betas,
                                          weight_decay=settings.weight_decay)
            for phase in objective.phases
        }  # fmt: skip
        self.average = AveragedModel(objective.averaged, multi_avg_fn=moving_average(settings.ema))
        self._wrapped: Any = None
        self._buffers: list[tuple[Tensor, Tensor]] = []  # with what they held at the begin of the step

    def __call__(self, batch: Batch, phase: str, step: int) -> dict[str, Tensor]:
        return self._wrapped(batch, phase, step)

    def begin(self, step: int) -> None:
        """Get ready for a step: seed dropout (`train` gives the caller's state back), keep the buffers."""
        if self._wrapped is None:
            self._wrapped = self._runtime.prepare(self.objective.train())
        torch.manual_seed(hash_seed(self.settings.seed, step, self._runtime.rank))
        self._buffers = [(buffer, buffer.clone()) for buffer in self.objective.buffers()]

    def enable_gradients_for(self, phase: Phase) -> None:
        """Gradients for this phase's parameters alone (frozen networks are in no phase and stay so)."""
        if len(self.objective.phases) == 1:
            return
        mine = {id(parameter) for parameter in phase.parameters}
        for parameter in itertools.chain.from_iterable(each.parameters for each in self.objective.phases):
            parameter.requires_grad_(id(parameter) in mine)

    def accumulating(self, more: bool) -> AbstractContextManager[Any]:
        """While `more` parts of the batch follow, gradients stay in the process."""
        return self._runtime.accumulating(self._wrapped, more)

    def autocast(self) -> AbstractContextManager[Any]:
        """The forward pass in the run's precision."""
        return self._runtime.autocast()

    def update(self, phase: Phase, rate: float) -> None:
        """Step the phase's optimizer at its share of a learning rate."""
        for group in self.optimizers[phase.name].param_groups:
            group["lr"] = rate * phase.learning_rate
        self.optimizers[phase.name].step()

    def undo(self) -> None:
        """Drop the gradients and put the buffers back to what they held at the begin of the step."""
        self.objective.zero_grad()
        for buffer, before in self._buffers:
            buffer.copy_(before)

    def update_average(self) -> None:
        self.average.update_parameters(self.objective.averaged)

    def named(self, phase: Phase, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """With the phase before each name where there are several phases."""
        several = len(self.objective.phases) > 1
        return {f"{phase.name}_{name}": value for name, value in values.items()} if several else values

    def state(self) -> dict[str, Any]:
        """All that is learned. Batches, noise and dropout follow from the seed and the step."""
        return {
            "objective": self.objective.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
        }

    def restore(self, state: dict[str, Any], path: Path) -> None:
        """Take over a `state` read from `path`; what the settings say of the optimizers holds from now on.

        Raises `ModelError` if it is of another model or objective.
        """
        try:
            self.objective.load_state_dict(state["objective"])
            self.average.load_state_dict(state["average"])
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
                for group in optimizer.param_groups:
                    group |= {"betas": self.settings.betas, "weight_decay": self.settings.weight_decay}
        except Exception as error:  # a damaged or foreign checkpoint may hold anything
            why = " ".join(str(error).split())[:300]
            fix = "Resume with the same model and objective, or start anew from its weights with --init-from"
            raise ModelError("the checkpoint is of another run", where=path, why=why, fix=fix) from error


def moving_average(decay: float) -> Callable[..., None]:
    """For `AveragedModel`: exponential, with a decay that starts low, min(decay, (1 + n) / (10 + n)) after n steps,
    so that a short run is not averaged with the weights it began with."""

    @torch.no_grad()
    def update(averages: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        n = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averages, current, count)

    return update
