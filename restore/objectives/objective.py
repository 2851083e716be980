"""The contract between the training loop and whatever learns.

The loop calls the objective itself, never a raw network (with several processes the gradients would silently
differ), once a phase, and steps that phase's optimizer:

    losses = objective(batch, phase, step)      {"loss": what is minimised, …: what is only reported}

All that is random in it is a function of the batch's seed and step and an item's number, `batch.first_index + item`
(`restore.physics.random.generator_for`), however the batch is divided; dropout alone draws from torch's global state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from restore.degradations.degradation import Degradation, Role, Sample
from restore.degradations.given import Undamaged
from restore.errors import ConfigError
from restore.losses.table import LOSSES
from restore.models.spec import ModelSpec, spec_of

if TYPE_CHECKING:
    from restore.data.batches import Batch


@dataclass(frozen=True)
class Phase:
    """One optimizer's part of a step.

    Attributes:
        name: handed to the objective ("restore", "discriminate").
        parameters: what this phase changes.
        every: it takes part in steps that are multiples of this,
        start: from this step on.
        learning_rate: of its optimizer over that of the settings.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    every: int = 1
    learning_rate: float = 1.0
    start: int = 0

    def takes_part(self, step: int) -> bool:
        """Whether it has a turn in a step."""
        return step >= self.start and step % self.every == 0


class Objective(nn.Module, ABC):
    """Base of all objectives; it cannot be made without the three things below.

    Attributes:
        phases: in the order they run within a step.
        from_scratch: whether its network may begin with weights that were drawn, not trained.
        loss_table: the losses that `losses` of a config may name.
        several_heads: whether its network may have several heads.
    """

    phases: tuple[Phase, ...]
    from_scratch: bool = True
    loss_table: ClassVar[Mapping[str, str]] = LOSSES
    several_heads: ClassVar[bool] = False

    @abstractmethod
    def forward(self, batch: Batch, phase: str, step: int) -> dict[str, Tensor]:
        """Scalars by name; "loss" is minimised. `batch` is on the device, values in [0, 1]; `step` is what ramps and
        rare parts go by."""

    @property
    @abstractmethod
    def averaged(self) -> nn.Module:
        """The network that is averaged over the steps, validated and exported."""

    @abstractmethod
    def preview(self, batch: Batch, network: nn.Module) -> dict[str, Tensor]:
        """For validation: what `network` (an average of `averaged`) makes of a batch, the same every time.

        B x C x H x W by name, values in [0, 1]: "input", "output" and, where it is known, "target". The input may be
        of another size than the two others.
        """

    @property
    def degradation(self) -> Degradation | None:
        """What damages its pictures; None if the objective takes them as they are."""
        return None

    @property
    def roles(self) -> Mapping[str, Role]:
        """What a batch must hold."""
        return (self.degradation or Undamaged()).roles

    def damaged(self, batch: Batch) -> Sample:
        """What the batch is damaged into, the same for the same (seed, step, item)."""
        degradation = self.degradation or Undamaged()
        return degradation.draw(batch.pictures, batch.seed, batch.step, batch.first_index)


def needs_of(network: nn.Module, given: Sequence[str], heads: bool = False) -> ModelSpec:
    """The spec of a network that an objective is to train.

    Args:
        given: the conditions that the objective can give.
        heads: it can train networks of several heads.
    Raises:
        ConfigError: the network says nothing of itself, wants a condition that is not given, or has several heads.
    """
    spec = spec_of(network)
    if spec.heads > 1 and not heads:
        what = f"the network {type(network).__name__} has {spec.heads} heads, this objective trains one"
        raise ConfigError(what, fix="Use objective.name: multi_output")
    for name in spec.conditions:
        if name not in given:
            what = f"the network {type(network).__name__} needs the condition {name!r}, which this objective has not"
            raise ConfigError(what, fix="Choose another objective, or a network without this condition")
    return spec


def stacked_inputs(sample: Sample, spec: ModelSpec) -> Tensor:
    """What a network is shown: its named inputs, or the frames of its window, along the channels, channels last."""
    parts = [sample.inputs[name] for name in spec.inputs]
    parts = [x.flatten(1, 2) if x.ndim == 5 else x for x in parts]
    x = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
    return x.contiguous(memory_format=torch.channels_last)


def main_input(sample: Sample, spec: ModelSpec) -> Tensor:
    """The first input, of a window the frame in the middle: B x C x H x W."""
    x = sample.inputs[spec.inputs[0]]
    return x[:, x.shape[1] // 2] if x.ndim == 5 else x
