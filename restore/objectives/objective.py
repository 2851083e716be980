"""The contract between the training loop and whatever learns.

The loop calls the objective itself, never a raw network (with several processes the gradients would silently
differ), once a phase, and steps that phase's optimizer:

    losses = objective(batch, phase, step, generator)      {"loss": what is minimised, …: what is only reported}
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models.spec import ModelSpec, spec_of

if TYPE_CHECKING:
    from restore.data.batches import Batch


@dataclass(frozen=True)
class Phase:
    """One optimizer's part of a step.

    Attributes:
        name: handed to the objective ("restore", "discriminate").
        parameters: what this phase changes.
        every: it takes part in steps that are multiples of this.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    every: int = 1


class Objective(nn.Module, ABC):
    """Base of all objectives; it cannot be made without the three things below.

    Attributes:
        phases: in the order they run within a step.
    """

    phases: tuple[Phase, ...]

    @abstractmethod
    def forward(self, batch: Batch, phase: str, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars by name; "loss" is minimised. `batch` is on the device, values in [0, 1]."""

    @property
    @abstractmethod
    def averaged(self) -> nn.Module:
        """The network that is averaged over the steps, validated and exported."""

    @abstractmethod
    def preview(self, batch: Batch, network: nn.Module) -> dict[str, Tensor]:
        """For validation: what `network` (an average of `averaged`) makes of a batch, the same every time.

        B x C x H x W by name, values in [0, 1]: "input", "output" and, where it is known, "target".
        """


def needs_of(network: nn.Module, given: Sequence[str]) -> ModelSpec:
    """The spec of a network that an objective is to train.

    Args:
        given: the conditions that the objective can give.
    Raises:
        ConfigError: the network says nothing of itself, or wants a condition that is not given.
    """
    spec = spec_of(network)
    for name in spec.conditions:
        if name not in given:
            what = f"the network {type(network).__name__} needs the condition {name!r}, which this objective has not"
            raise ConfigError(what, fix="Choose another objective, or a network without this condition")
    return spec
