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
from restore.objectives.objective import Objective, Phase, needs_of
from restore.physics.color import to_luma
from restore.physics.level import level_map, noise_curve
from restore.physics.noise import NoiseRecipe, degrade

if TYPE_CHECKING:
    from restore.data.batches import Batch

Loss = Callable[[Tensor, Tensor], Tensor]


class Supervised(Objective):
    """One network, one phase ("restore"), a weighted sum of losses.

    Args:
        network: B x C x H x W -> the same; if its spec names the condition `noise_level`, it is given the map,
            B x 1 x H x W in units of [0, 1].
        losses: name -> (weight, loss(output, target)); by default Charbonnier alone. Modules among them move
            with the objective but are never trained.
        noise: how clean pictures are damaged.
        grey_every: every n-th item of a batch is shown in grey (luma, the same noise in all channels), so that a
            colour network learns grey pictures too; 0: none.
    """

    def __init__(
        self,
        network: nn.Module,
        losses: Mapping[str, tuple[float, Loss]] | None = None,
        noise: NoiseRecipe | None = None,
        grey_every: int = 0,
    ) -> None:
        super().__init__()
        self.takes_level = "noise_level" in needs_of(network, ["noise_level"]).conditions
        self.network = network
        self.losses = dict(losses or {"charbonnier": (1.0, charbonnier_loss)})
        self.loss_modules = nn.ModuleList(loss for _, loss in self.losses.values() if isinstance(loss, nn.Module))
        self.loss_modules.requires_grad_(False)
        self.noise = noise or NoiseRecipe()
        self.grey_every = grey_every
        self.phases = (Phase("restore", list(network.parameters())),)

    @property
    def averaged(self) -> nn.Module:
        return self.network

    def forward(self, batch: Batch, phase: str, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        clean, noisy, level = self.damaged(batch)
        total, parts = self.compared(self.restored(self.network, noisy, level), clean)
        return {"loss": total} | parts

    def compared(self, output: Tensor, clean: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(weighted sum of the losses, each loss by name where there are several)."""
        parts = {name: loss(output, clean) for name, (_, loss) in self.losses.items()}
        total = torch.stack([weight * parts[name] for name, (weight, _) in self.losses.items()]).sum()
        return total, parts if len(parts) > 1 else {}

    @torch.no_grad()
    def damaged(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """(clean, damaged: B x C x H x W each, noise-level map B x 1 x H x W) of a batch."""
        clean = batch.clean
        with torch.autocast(clean.device.type, enabled=False):
            if batch.noisy is not None:
                curve = noise_curve(batch.noisy - clean, clean)
                return clean, batch.noisy, level_map(batch.noisy, curve)
            grey = [i for i in range(len(clean)) if self.grey_every and (batch.first_index + i) % self.grey_every == 0]
            done = degrade(clean, self.noise, batch.seed, batch.step, batch.first_index)
            noisy, level = done.noisy, done.level_map
            clean = clean.clone() if grey else clean
            for i in grey:
                luma = to_luma(clean[i : i + 1])
                one = degrade(luma, self.noise, batch.seed, batch.step, batch.first_index + i)
                clean[i], noisy[i], level[i] = luma[0], one.noisy[0], one.level_map[0]
        return clean, noisy, level

    def preview(self, batch: Batch, network: nn.Module) -> dict[str, Tensor]:
        clean, noisy, level = self.damaged(batch)
        output = self.restored(network, noisy, level).float()
        return {name: x.clamp(0, 1) for name, x in (("input", noisy), ("output", output), ("target", clean))}

    def restored(self, network: nn.Module, noisy: Tensor, level: Tensor) -> Tensor:
        """B x C x H x W through the network (or an average of it), with the level map where it takes one."""
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        return network(noisy, noise_level=level) if self.takes_level else network(noisy)
