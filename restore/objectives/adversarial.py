"""Learning against a discriminator: what `Supervised` minimises, and to be taken for a clean picture.

Two phases: "discriminate" changes the discriminator, "restore" the network, each with the buffers of its
normalisation, and not those of the other. The weight of the adversarial part belongs to the network's total alone.

    discriminate:  D(C(clean), C(output)) [+ R1 at the clean pictures, every n-th step]
    restore:       sum of weight x loss(output, clean)  +  adversarial_weight x ramp(step) x G(C(output))

Reported are, beside the losses as they are, what each adds to the network's total ("l1_weighted") and, in every
`SLOPES_EVERY`-th step, the norm of its gradient at an output picture ("l1_slope"; the adversarial part at its full
weight): what the network is really pulled by. And the share of logits by which the discriminator is right ("accuracy").

Goodfellow et al., NeurIPS 2014; lazy R1: Mescheder et al., ICML 2018, as in StyleGAN2 (Karras et al., CVPR 2020).
The discriminator sees values of [0, 1], at the working precision; the losses are computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call

from restore.degradations.degradation import Degradation, Sample
from restore.errors import ConfigError, nearest
from restore.losses.adversarial import ADVERSARIAL, discriminator_loss, generator_loss, gradient_penalty, r1_penalty
from restore.objectives.objective import Phase
from restore.objectives.supervised import Loss, Supervised
from restore.physics.filters import sharpened
from restore.physics.random import generator_for

if TYPE_CHECKING:
    from restore.data.batches import Batch

SLOPES_EVERY = 1000
_POINTS, _SHIFT = 0x9E, 0x51F7  # keep the draws of the penalty and of the jitter apart from those of the damage


class Adversarial(Supervised):
    """A network and its discriminator.

    Args:
        network, losses, degradation: as of `Supervised`; the main output is what the discriminator sees.
        discriminator: B x C x H x W -> logits of any shape, one or more a picture.
        kind: of the adversarial loss, one of `restore.losses.adversarial.ADVERSARIAL`. "wgan" comes with its
            gradient penalty.
        adversarial_weight: of the adversarial part in the network's total.
        start, ramp: steps in which it has no weight, and steps in which the weight then rises; the discriminator
            learns from the first step on.
        alone: steps in which the discriminator learns alone, before the network takes part.
        every: the network takes part in each n-th step only, the discriminator in all.
        discriminator_rate: learning rate of the discriminator over that of the settings.
        r1: gamma of the R1 penalty, on the slope of a picture's mean logit; 0: none.
        r1_every: steps from one R1 penalty to the next (each counts as many times).
        real_label: what the discriminator of "vanilla" is to say of clean pictures; 0.9 keeps it from being sure.
        jitter: losses and discriminator see both pictures from a random place on, this many pixels down and right at
            most, another in every step: else what a network's strided layers reward at their own places becomes a
            regular pattern, most of all behind a sub-pixel convolution.
        sharpen_target: the losses see the clean picture sharpened (`restore.physics.filters.sharpened`), the
            discriminator as it is: Real-ESRGAN's way to crisper results. Crops of 26 px or more.
        from_scratch: begin with a network that has learned nothing all the same. It is refused else: such a network
            ends in artefacts.
    """

    def __init__(
        self,
        network: nn.Module,
        discriminator: nn.Module,
        losses: Mapping[str, tuple[float, Loss]] | None = None,
        degradation: Degradation | None = None,
        *,
        kind: str = "vanilla",
        adversarial_weight: float = 0.01,
        start: int = 0,
        ramp: int = 1000,
        alone: int = 0,
        every: int = 1,
        discriminator_rate: float = 1.0,
        r1: float = 0.0,
        r1_every: int = 16,
        real_label: float = 1.0,
        jitter: int = 0,
        sharpen_target: bool = False,
        from_scratch: bool = False,
    ) -> None:
        if kind not in ADVERSARIAL:
            known = f"{nearest(kind, ADVERSARIAL)}Known: {', '.join(ADVERSARIAL)}"
            raise ConfigError(f"no adversarial loss is called {kind!r}", fix=known)
        least = {
            "every": (every, 1), "r1_every": (r1_every, 1), "jitter": (jitter, 0),
            "start": (start, 0), "ramp": (ramp, 0), "alone": (alone, 0), "r1": (r1, 0),
            "adversarial_weight": (adversarial_weight, 0), "discriminator_rate": (discriminator_rate, 0),
        }  # fmt: skip
        for name, (value, low) in least.items():
            if value < low:
                raise ConfigError(f"objective.arguments.{name} is {value}", fix=f"Give {low} or more")
        if not 0.5 < real_label <= 1 or (real_label != 1 and kind != "vanilla"):
            fix = "Give a number above 0.5 up to 1, below 1 with kind: vanilla only"
            raise ConfigError(f"objective.arguments.real_label is {real_label} with kind: {kind}", fix=fix)
        super().__init__(network, losses, degradation)
        self.discriminator = discriminator
        self.kind, self.weight, self.start, self.ramp = kind, adversarial_weight, start, ramp
        self.r1, self.r1_every, self.real_label = r1, r1_every, real_label
        self.jitter, self.sharpen_target, self.from_scratch = jitter, sharpen_target, from_scratch
        self.phases = (
            Phase("discriminate", list(discriminator.parameters()), learning_rate=discriminator_rate),
            Phase("restore", list(network.parameters()), every, start=alone),
        )

    def forward(self, batch: Batch, phase: str, step: int) -> dict[str, Tensor]:
        sample, main = self.damaged(batch), self.spec.outputs[0].name
        clean = self.truth(sample)
        if phase == "discriminate":
            with torch.no_grad():
                output = self.restored(_unchanged(self.network), sample)[main]
            clean, output = (self._shifted(x, batch) for x in (clean, output))
            return self._discriminate(clean, output, batch, step)
        targets = sample.targets | ({main: _sharpened(clean)} if self.sharpen_target else {})
        sample = replace(sample, targets={name: self._shifted(x, batch) for name, x in targets.items()})
        outputs = {name: self._shifted(x, batch) for name, x in self.restored(self.network, sample).items()}
        parts = self.parts(outputs, sample)
        judge = _unchanged(self.discriminator)
        real = judge(self._shifted(clean, batch)) if self.kind == "relativistic" else None
        parts["adversarial"] = generator_loss(self.kind, judge(outputs[main]), real)
        return self._weighed(parts, outputs[main], step)

    def _weighed(self, parts: dict[str, Tensor], output: Tensor, step: int) -> dict[str, Tensor]:
        """The network's total, its parts, and what each of them adds to it."""
        full = {name: weight for name, (weight, _) in self.losses.items()} | {"adversarial": self.weight}
        now = full | {"adversarial": self.weight * self.ramped(step)}
        weighted = {f"{name}_weighted": now[name] * part for name, part in parts.items()}
        slopes = {}
        if step % SLOPES_EVERY == 0 and output.requires_grad:
            for name, part in parts.items():
                if part.requires_grad:
                    (slope,) = torch.autograd.grad(part, output, retain_graph=True, materialize_grads=True)
                    slopes[f"{name}_slope"] = full[name] * len(slope) * slope.float().flatten(1).norm(dim=1).mean()
        return {"loss": torch.stack(list(weighted.values())).sum()} | parts | weighted | slopes

    def _shifted(self, x: Tensor, batch: Batch) -> Tensor:
        """What is seen of a picture: a function of (seed, step), the same for output and truth."""
        if not self.jitter:
            return x
        generator = generator_for(batch.seed, batch.step, _SHIFT)
        top, left = torch.randint(self.jitter + 1, (2,), generator=generator).tolist()
        bottom, right = (side - (self.jitter - start) for side, start in zip(x.shape[-2:], (top, left), strict=True))
        return x[..., top:bottom, left:right].contiguous(memory_format=torch.channels_last)

    def ramped(self, step: int) -> float:
        """Share of the adversarial weight at a step: 0 before `start`, 1 from `start + ramp` on."""
        return min(1.0, max(0.0, (step - self.start) / max(1, self.ramp)))

    def truth(self, sample: Sample) -> Tensor:
        """The target of the main output. Raises `ConfigError` if it is not known."""
        main = self.spec.outputs[0].name
        if main not in sample.targets:
            raise ConfigError(f"there is no truth for the output {main}", fix="Choose a degradation with this target")
        return sample.targets[main]

    def _discriminate(self, clean: Tensor, output: Tensor, batch: Batch, step: int) -> dict[str, Tensor]:
        real, fake = self.discriminator(clean), self.discriminator(output)
        losses = {"loss": discriminator_loss(self.kind, real, fake, self.real_label)}
        losses |= {
            "real": real.float().mean(),
            "fake": fake.float().mean(),
            "accuracy": accuracy(self.kind, real, fake),
        }
        if self.kind == "wgan":
            shares = _shares(batch, clean)
            losses["penalty"] = gradient_penalty(self.discriminator, clean, output.float(), shares)
            losses["loss"] = losses["loss"] + losses["penalty"]
        if self.r1 and step % self.r1_every == 0:
            losses["r1"] = r1_penalty(self.discriminator, clean, self.r1)
            losses["loss"] = losses["loss"] + self.r1_every * losses["r1"]
        return losses


def accuracy(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """Share of the logits by which the discriminator is right, real and fake ones counting alike: 0.5 is guessing.

    Right is real above 0 and fake below; where only differences count ("relativistic", "wgan"), above and below the
    mean of the others.
    """
    real, fake = real.detach().float(), fake.detach().float()
    compared = kind in ("relativistic", "wgan")
    of_real, of_fake = (fake.mean(), real.mean()) if compared else (0.0, 0.0)
    return ((real > of_real).float().mean() + (fake < of_fake).float().mean()) / 2


def _unchanged(net: nn.Module) -> Callable[..., Tensor]:
    """The network in the mode it is in, working on copies of its buffers: statistics and norms stay as they are."""

    def call(x: Tensor, **conditions: Tensor) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
        return functional_call(net, buffers, (x,), conditions)

    return call


def _sharpened(clean: Tensor) -> Tensor:
    """What the losses compare with. Raises `ConfigError` for crops that are too small."""
    try:
        return sharpened(clean)
    except ValueError as error:
        raise ConfigError("objective.arguments.sharpen_target", why=str(error), fix="Raise data.crop") from error


def _shares(batch: Batch, like: Tensor) -> Tensor:
    """B x 1 x 1 x 1 in [0, 1), each a function of (seed, step, item)."""
    drawn = [
        torch.rand(1, generator=generator_for(batch.seed, batch.step, batch.first_index + item, _POINTS))
        for item in range(len(like))
    ]
    return torch.cat(drawn).to(like.device)[:, None, None, None]
