"""Where a training runs: device, precision, and how many processes share it.

One process is plain torch. Several (`torchrun`, `accelerate launch`) are Hugging Face accelerate's business:
process group, device of each process, gradients averaged over them; nothing else of it is used.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.inference.precision import gains_from, resolve_device
from restore.training.settings import TrainSettings


class Runtime:
    """One process's place in a training.

    Args:
        phases: of the objective; an objective of several leaves some of its parameters out of each.

    Attributes:
        device: of this process.
        rank, world: this process's number, and how many there are.
        dtype: of the forward pass.
    """

    def __init__(self, settings: TrainSettings, phases: int = 1) -> None:
        self._accelerator: Any = None
        self.rank, self.world = 0, 1
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            self._accelerator = _accelerator(settings.device, phases)
            self.rank, self.world = self._accelerator.process_index, self._accelerator.num_processes
            self.device: torch.device = self._accelerator.device
        else:
            self.device = resolve_device(settings.device)
        low = settings.precision == "bf16" or (settings.precision == "auto" and gains_from(torch.bfloat16, self.device))
        self.dtype = torch.bfloat16 if low else torch.float32

    @property
    def main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def prepare(self, objective: nn.Module) -> nn.Module:
        """What is called in its stead, so that the gradients of all processes are averaged."""
        return objective if self._accelerator is None else self._accelerator.prepare_model(objective)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The forward pass in the run's precision."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def accumulating(self, wrapped: nn.Module, more: bool) -> contextlib.AbstractContextManager[Any]:
        """While `more` parts of the batch follow, gradients stay in the process."""
        return self._accelerator.no_sync(wrapped) if more and self._accelerator else contextlib.nullcontext()

    def own_random_state(self) -> contextlib.AbstractContextManager[Any]:
        """torch's global random state, of the CPU and of this device, is put back afterwards."""
        return torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])

    def largest(self, *values: float) -> list[float]:
        """The largest of each value over all processes: what they must agree on."""
        return list(values) if self._accelerator is None else self._gathered(values).amax(0).tolist()

    def mean(self, values: Sequence[float]) -> list[float]:
        """The mean of each value over all processes."""
        return list(values) if self._accelerator is None else self._gathered(values).mean(0).tolist()

    def _gathered(self, values: Sequence[float]) -> Tensor:
        """Processes x values."""
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        return self._accelerator.gather(torch.tensor([list(values)], dtype=dtype, device=self.device))

    def wait(self) -> None:
        """Until all processes are here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()


def share(settings: TrainSettings, runtime: Runtime) -> tuple[int, list[int]]:
    """(items of each part, number of each part's first item) of this process in a global batch.

    Raises `ConfigError` if the batch does not divide evenly: the mean of means would not be the mean.
    """
    parts = runtime.world * settings.accumulate
    if settings.batch % parts:
        raise ConfigError(
            f"train.batch {settings.batch} does not divide into {runtime.world} processes x "
            f"train.accumulate {settings.accumulate}",
            fix=f"Make it a multiple of {parts}",
        )
    size = settings.batch // parts
    mine = runtime.rank * settings.accumulate
    return size, [(mine + part) * size for part in range(settings.accumulate)]


def _accelerator(device: str, phases: int) -> Any:
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError as error:
        fix = "pip install accelerate, or start a single process"
        raise ConfigError("training with several processes needs accelerate", why=str(error), fix=fix) from error
    handlers: list[Any] = [DistributedDataParallelKwargs(find_unused_parameters=phases > 1)]
    return Accelerator(cpu=device == "cpu", mixed_precision="no", kwargs_handlers=handlers)
