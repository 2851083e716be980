"""Learning against a discriminator: what `Supervised` minimises, and to be taken for a clean picture.

Two phases: "discriminate" changes the discriminator, "restore" the network. The weight of the adversarial part
belongs to the network's total alone.

    discriminate:  D(C(clean), C(output)) [+ R1 at the clean pictures, every n-th step]
    restore:       sum of weight x loss(output, clean)  +  adversarial_weight x ramp(step) x G(C(output))

Goodfellow et al., NeurIPS 2014; lazy R1: Mescheder et al., ICML 2018, as in StyleGAN2 (Karras et al., CVPR 2020).
The discriminator sees values of [0, 1], at the working precision; the losses are computed in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from restore.errors import ConfigError, nearest
from restore.losses.adversarial import ADVERSARIAL, discriminator_loss, generator_loss, gradient_penalty, r1_penalty
from restore.objectives.objective import Phase
from restore.objectives.supervised import Loss, Supervised
from restore.physics.noise import NoiseRecipe

if TYPE_CHECKING:
    from restore.data.batches import Batch


class Adversarial(Supervised):
    """A network and its discriminator.

    Args:
        network, losses, noise, grey_every: as of `Supervised`.
        discriminator: B x C x H x W -> logits of any shape, one or more a picture.
        kind: of the adversarial loss, one of `restore.losses.adversarial.ADVERSARIAL`. "wgan" comes with its
            gradient penalty.
        adversarial_weight: of the adversarial part in the network's total.
        start, ramp: steps in which it has no weight, and steps in which the weight then rises; the discriminator
            learns from the first step on.
        every: the network takes part in each n-th step only, the discriminator in all.
        r1: gamma of the R1 penalty; 0: none.
        r1_every: steps from one R1 penalty to the next (each counts as many times).
    """

    def __init__(
        self,
        network: nn.Module,
        discriminator: nn.Module,
        losses: Mapping[str, tuple[float, Loss]] | None = None,
        noise: NoiseRecipe | None = None,
        grey_every: int = 0,
        *,
        kind: str = "vanilla",
        adversarial_weight: float = 0.01,
        start: int = 0,
        ramp: int = 1000,
        every: int = 1,
        r1: float = 0.0,
        r1_every: int = 16,
    ) -> None:
        if kind not in ADVERSARIAL:
            known = f"{nearest(kind, ADVERSARIAL)}Known: {', '.join(ADVERSARIAL)}"
            raise ConfigError(f"no adversarial loss is called {kind!r}", fix=known)
        if every < 1 or r1_every < 1 or min(start, ramp, r1, adversarial_weight) < 0:
            fix = "every and r1_every are 1 or more; start, ramp, r1 and adversarial_weight 0 or more"
            raise ConfigError("objective.arguments describe no adversarial training", fix=fix)
        super().__init__(network, losses, noise, grey_every)
        self.discriminator = discriminator
        self.kind, self.weight, self.start, self.ramp = kind, adversarial_weight, start, ramp
        self.r1, self.r1_every = r1, r1_every
        self.phases = (
            Phase("discriminate", list(discriminator.parameters())),
            Phase("restore", list(network.parameters()), every),
        )

    def forward(self, batch: Batch, phase: str, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        clean, noisy, level = self.damaged(batch)
        if phase == "discriminate":
            with torch.no_grad():
                output = self.restored(self.network, noisy, level)
            return self._discriminate(clean, output, step, generator)
        output = self.restored(self.network, noisy, level)
        total, parts = self.compared(output, clean)
        real = self.discriminator(clean) if self.kind == "relativistic" else None
        fooled = generator_loss(self.kind, self.discriminator(output), real)
        return {"loss": total + self.weight * self.ramped(step) * fooled, "adversarial": fooled} | parts

    def ramped(self, step: int) -> float:
        """Share of the adversarial weight at a step: 0 before `start`, 1 from `start + ramp` on."""
        return min(1.0, max(0.0, (step - self.start) / max(1, self.ramp)))

    def _discriminate(self, clean: Tensor, output: Tensor, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        real, fake = self.discriminator(clean), self.discriminator(output)
        told = {"loss": discriminator_loss(self.kind, real, fake)}
        told |= {"real": real.float().mean(), "fake": fake.float().mean()}
        if self.kind == "wgan":
            told["penalty"] = gradient_penalty(self.discriminator, clean, output.float(), generator)
            told["loss"] = told["loss"] + told["penalty"]
        if self.r1 and step % self.r1_every == 0:
            told["r1"] = r1_penalty(self.discriminator, clean, self.r1)
            told["loss"] = told["loss"] + self.r1_every * told["r1"]
        return told
