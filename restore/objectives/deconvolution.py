"""Learning to take out a known blur: blur clean pictures, restore them, compare, and blur the answer again.

    L = sum of weight x loss(picture, clean)             over all scales that the network gives
      + blurred_weight x the same for the blurred picture of networks that make one
      + closed_loop x mean |psf * picture - the clean blurred picture|                    (circular)

Source: INFWIDE, Zhang et al., TIP 2023, https://arxiv.org/abs/2207.08201; its losses are those of `PAPER`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.losses.pixel import l1_loss
from restore.losses.table import Loss, build_losses
from restore.models.wiener_layer import DeconvolutionNetwork, Deconvolved
from restore.objectives.objective import Objective, Phase, needs_of
from restore.physics.blurred_noise import blurred_noises
from restore.physics.fourier import convolve, otf
from restore.physics.random_blur import BlurRecipe, Blurred, blur, draw_bank

if TYPE_CHECKING:
    from restore.data.batches import Batch

PAPER = {"l1": 0.4, "l2": 0.2, "ssim": 0.2, "smoothness": 0.2}
PAPER_BLURRED = {"l1": 0.5, "l2": 0.3, "smoothness": 0.2}
_LEAST_NOISE = 0.3 / 255  # as told to the network: rounding to 8 bits


class Deconvolution(Objective):
    """One network, one phase.

    Args:
        network: B x 3 x H x W -> the same, with any of the conditions `psf` (B x 1 x h x w) and `noise_level`
            (B x 1 x 1 x 1, units of [0, 1]). The intermediate results of a `DeconvolutionNetwork` are compared too.
        losses: name -> (weight, loss), on the restored pictures; by default the paper's.
        blurred_losses: name -> weight, on the clean blurred picture that a network gives beside.
        blurred_weight, closed_loop: weights of those two parts.
        recipe: how clean pictures are blurred.
    """

    def __init__(
        self,
        network: nn.Module,
        losses: Mapping[str, tuple[float, Loss]] | None = None,
        blurred_losses: Mapping[str, float] | None = None,
        *,
        blurred_weight: float = 0.5,
        closed_loop: float = 0.5,
        recipe: BlurRecipe | None = None,
    ) -> None:
        super().__init__()
        self.conditions = needs_of(network, ["psf", "noise_level"]).conditions
        self.network = network
        self.losses = dict(losses or build_losses(PAPER))
        self.blurred_losses = build_losses(blurred_losses or PAPER_BLURRED)
        every = (*self.losses.values(), *self.blurred_losses.values())
        self.loss_modules = nn.ModuleList(loss for _, loss in every if isinstance(loss, nn.Module))
        self.loss_modules.requires_grad_(False)
        self.blurred_weight, self.closed_loop = blurred_weight, closed_loop
        self.recipe = recipe or BlurRecipe()
        self.bank = draw_bank(self.recipe.bank)
        self.phases = (Phase("restore", list(network.parameters())),)

    @property
    def averaged(self) -> nn.Module:
        return self.network

    def forward(self, batch: Batch, phase: str, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        made = self.damaged(batch)
        result = self.restored(self.network, made)
        with torch.autocast(batch.clean.device.type, enabled=False):
            return self.compared(result, batch.clean, made)

    def compared(self, result: Deconvolved, clean: Tensor, made: Blurred) -> dict[str, Tensor]:
        """The loss and its three parts."""
        pictures = [picture.float() for picture in result.pictures]
        parts = {"picture": torch.stack([_weighted(self.losses, p, _like(clean, p)) for p in pictures]).sum()}
        if result.blurred is not None:
            parts["blurred"] = self.blurred_weight * _weighted(self.blurred_losses, result.blurred.float(), made.clean)
        transfer = otf(made.psf, (clean.shape[-2], clean.shape[-1]))
        parts["closed_loop"] = self.closed_loop * l1_loss(convolve(pictures[-1], transfer), made.clean)
        return {"loss": torch.stack(list(parts.values())).sum()} | parts

    @torch.no_grad()
    def damaged(self, batch: Batch) -> Blurred:
        with torch.autocast(batch.clean.device.type, enabled=False):
            return blur(batch.clean, self.recipe, self.bank, batch.seed, batch.step, batch.first_index)

    def restored(self, network: nn.Module, made: Blurred) -> Deconvolved:
        """What the network (or an average of it) makes of blurred pictures, with the noise that they show."""
        noisy = made.noisy.contiguous(memory_format=torch.channels_last)
        level = blurred_noises(made.noisy).clamp(min=_LEAST_NOISE)[:, None, None, None]
        given = {name: value for name, value in (("psf", made.psf), ("noise_level", level)) if name in self.conditions}
        if isinstance(network, DeconvolutionNetwork):
            return network.stages(noisy, **given)
        return Deconvolved([network(noisy, **given)])

    def preview(self, batch: Batch, network: nn.Module) -> dict[str, Tensor]:
        made = self.damaged(batch)
        output = self.restored(network, made).pictures[-1].float()
        return {name: x.clamp(0, 1) for name, x in (("input", made.noisy), ("output", output), ("target", batch.clean))}


def _weighted(losses: Mapping[str, tuple[float, Loss]], x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([weight * loss(x, y) for weight, loss in losses.values()]).sum()


def _like(x: Tensor, y: Tensor) -> Tensor:
    """x resized to the height and width of y."""
    if x.shape == y.shape:
        return x
    return F.interpolate(x, (y.shape[-2], y.shape[-1]), mode="bilinear", align_corners=False)
