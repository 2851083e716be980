"""Learning from clean pictures: damage them, restore them, compare.

Pairs that were damaged elsewhere (`batch.noisy`) are taken as they are; all others are damaged here, on the
device, by `restore.physics.noise`, as a pure function of (seed, step, item).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from restore.losses.pixel import charbonnier_loss
from restore.objectives.objective import Objective, Phase
from restore.physics.noise import NoiseRecipe, degrade

if TYPE_CHECKING:
    from restore.data.batches import Batch

Loss = Callable[[Tensor, Tensor], Tensor]


class Supervised(Objective):
    """One network, one phase ("restore"), a weighted sum of losses.

    Args:
        network: B x (C + K) x H x W -> B x C x H x W; its K = `condition_channels` last inputs (0 or 1) are the
            noise-level map, in units of [0, 1].
        losses: name -> (weight, loss(output, target)); by default Charbonnier alone. Modules among them move
            with the objective but are never trained.
        noise: how clean pictures are damaged.
    """

    def __init__(
        self,
        network: nn.Module,
        losses: Mapping[str, tuple[float, Loss]] | None = None,
        noise: NoiseRecipe | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.losses = dict(losses or {"charbonnier": (1.0, charbonnier_loss)})
        self.loss_modules = nn.ModuleList(loss for _, loss in self.losses.values() if isinstance(loss, nn.Module))
        self.loss_modules.requires_grad_(False)
        self.noise = noise or NoiseRecipe()
        self.phases = (Phase("restore", list(network.parameters())),)

    @property
    def averaged(self) -> nn.Module:
        return self.network

    def forward(self, batch: Batch, phase: str, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        noisy, level = self.damaged(batch)
        output = restored(self.network, noisy, level)
        parts = {name: loss(output, batch.clean) for name, (_, loss) in self.losses.items()}
        total = torch.stack([weight * parts[name] for name, (weight, _) in self.losses.items()]).sum()
        return {"loss": total} | (parts if len(parts) > 1 else {})

    @torch.no_grad()
    def damaged(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(the damaged pictures B x C x H x W, their noise-level map B x 1 x H x W).

        The level of pairs is the root mean square of what separates them.
        """
        if batch.noisy is not None:
            level = (batch.noisy - batch.clean).square().mean((1, 2, 3), keepdim=True).sqrt()
            return batch.noisy, level.expand_as(batch.clean[:, :1])
        with torch.autocast(batch.clean.device.type, enabled=False):
            done = degrade(batch.clean, self.noise, batch.seed, batch.step, batch.first_index)
        return done.noisy, done.level_map

    def preview(self, batch: Batch, network: nn.Module) -> dict[str, Tensor]:
        noisy, level = self.damaged(batch)
        output = restored(network, noisy, level).float()
        return {name: x.clamp(0, 1) for name, x in (("input", noisy), ("output", output), ("target", batch.clean))}


def restored(network: nn.Module, noisy: Tensor, level: Tensor) -> Tensor:
    """B x C x H x W through the network, with the level map where it has an input for one."""
    if getattr(network, "condition_channels", 0):
        noisy = torch.cat([noisy, level], dim=1)
    return network(noisy.contiguous(memory_format=torch.channels_last))
