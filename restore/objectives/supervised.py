"""Learning from clean pictures: damage them, restore them, compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from restore.degradations.degradation import Degradation, Sample
from restore.degradations.noise import NoiseDegradation
from restore.errors import ConfigError
from restore.losses.pixel import charbonnier_loss
from restore.objectives.objective import Objective, Phase, main_input, needs_of, stacked_inputs

if TYPE_CHECKING:
    from restore.data.batches import Batch

Loss = Callable[[Tensor, Tensor], Tensor]


class Supervised(Objective):
    """One network, one phase ("restore"), a weighted sum of losses over all outputs whose truth is known.

    Args:
        network: what its spec says; conditions come from the degradation.
        losses: name -> (weight, loss(output, target)); by default Charbonnier alone. Modules among them move
            with the objective but are never trained.
        degradation: how clean pictures are damaged; by default noise.
    """

    def __init__(
        self,
        network: nn.Module,
        losses: Mapping[str, tuple[float, Loss]] | None = None,
        degradation: Degradation | None = None,
    ) -> None:
        super().__init__()
        self._degradation = degradation or NoiseDegradation()
        self.spec = needs_of(network, self._degradation.conditions, self.several_heads)
        self.network = network
        self.losses = dict(losses or {"charbonnier": (1.0, charbonnier_loss)})
        self.loss_modules = nn.ModuleList(loss for _, loss in self.losses.values() if isinstance(loss, nn.Module))
        self.loss_modules.requires_grad_(False)
        self.phases = (Phase("restore", list(network.parameters())),)

    @property
    def averaged(self) -> nn.Module:
        return self.network

    @property
    def degradation(self) -> Degradation:
        return self._degradation

    def forward(self, batch: Batch, phase: str, step: int) -> dict[str, Tensor]:
        sample = self.damaged(batch)
        total, parts = self.compared(self.restored(self.network, sample), sample)
        return {"loss": total} | parts

    def compared(self, outputs: Mapping[str, Tensor], sample: Sample) -> tuple[Tensor, dict[str, Tensor]]:
        """(weighted sum of the losses, each loss by name where there are several).

        Raises `ConfigError` if no output's truth is known.
        """
        parts = self.parts(outputs, sample)
        total = torch.stack([weight * parts[name] for name, (weight, _) in self.losses.items()]).sum()
        return total, parts if len(parts) > 1 else {}

    def parts(self, outputs: Mapping[str, Tensor], sample: Sample) -> dict[str, Tensor]:
        """Each loss by name, without its weight. Raises as `compared`."""
        pairs = [(outputs[name], sample.targets[name]) for name in outputs if name in sample.targets]
        if not pairs:
            what = f"there is no truth for the outputs {', '.join(outputs)}"
            raise ConfigError(what, fix="Choose a degradation with these targets, or a self-supervised objective")
        return {
            name: torch.stack([loss(output, target) for output, target in pairs]).sum()
            for name, (_, loss) in self.losses.items()
        }

    def restored(self, network: Callable[..., Tensor], sample: Sample) -> dict[str, Tensor]:
        """The outputs of the network (or of an average of it), by name."""
        x = stacked_inputs(sample, self.spec)
        y = network(x, **{name: sample.conditions[name] for name in self.spec.conditions})
        channels = main_input(sample, self.spec).shape[1]
        sizes = [output.channels_of(channels) for output in self.spec.outputs]
        names = [output.name for output in self.spec.outputs]
        return dict(zip(names, y.split(sizes, 1), strict=True))

    def shown(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """The picture that a validation judges: B x C x H x W, float32."""
        return outputs[self.spec.outputs[0].name].float()

    def preview(self, batch: Batch, network: nn.Module) -> dict[str, Tensor]:
        sample = self.damaged(batch)
        main = self.spec.outputs[0].name
        shown = {"input": main_input(sample, self.spec), "output": self.shown(self.restored(network, sample))}
        shown |= {"target": sample.targets[main]} if main in sample.targets else {}
        return {name: x.clamp(0, 1) for name, x in shown.items()}
