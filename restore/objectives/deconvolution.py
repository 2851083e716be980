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

from restore.degradations.blur import BlurDegradation
from restore.degradations.degradation import Degradation, Sample
from restore.errors import ConfigError
from restore.losses.pixel import l1_loss
from restore.losses.table import Loss, build_losses
from restore.models.wiener_layer import DeconvolutionNetwork, Deconvolved
from restore.objectives.objective import Objective, Phase, needs_of, stacked_inputs
from restore.physics.fourier import convolve, otf

if TYPE_CHECKING:
    from restore.data.batches import Batch

PAPER = {"l1": 0.4, "l2": 0.2, "ssim": 0.2, "smoothness": 0.2}
PAPER_BLURRED = {"l1": 0.5, "l2": 0.3, "smoothness": 0.2}


class Deconvolution(Objective):
    """One network, one phase.

    Args:
        network: B x 3 x H x W -> the same, with any of the conditions `psf` (B x 1 x h x w) and `noise_level`
            (B x 1 x 1 x 1, units of [0, 1]). The intermediate results of a `DeconvolutionNetwork` are compared too.
        losses: name -> (weight, loss), on the restored pictures; by default the paper's.
        blurred_losses: name -> weight, on the clean blurred picture that a network gives beside.
        degradation: how clean pictures are blurred; its samples have the targets "result" and "blurred", and the PSF.
        blurred_weight, closed_loop: weights of those two parts.
    """

    def __init__(
        self,
        network: nn.Module,
        losses: Mapping[str, tuple[float, Loss]] | None = None,
        degradation: Degradation | None = None,
        *,
        blurred_losses: dict[str, float] | None = None,
        blurred_weight: float = 0.5,
        closed_loop: float = 0.5,
    ) -> None:
        super().__init__()
        self._degradation = degradation or BlurDegradation()
        self.spec = needs_of(network, self._degradation.conditions)
        if "psf" not in self._degradation.conditions:
            raise ConfigError("deconvolution needs a degradation that says its PSF", fix="Use degradation.name: blur")
        self.network = network
        self.losses = dict(losses or build_losses(PAPER))
        self.blurred_losses = build_losses(blurred_losses or PAPER_BLURRED)
        every = (*self.losses.values(), *self.blurred_losses.values())
        self.loss_modules = nn.ModuleList(loss for _, loss in every if isinstance(loss, nn.Module))
        self.loss_modules.requires_grad_(False)
        self.blurred_weight, self.closed_loop = blurred_weight, closed_loop
        self.phases = (Phase("restore", list(network.parameters())),)

    @property
    def averaged(self) -> nn.Module:
        return self.network

    def forward(self, batch: Batch, phase: str, step: int) -> dict[str, Tensor]:
        sample = self.damaged(batch)
        result = self.restored(self.network, sample)
        with torch.autocast(batch.clean.device.type, enabled=False):
            return self.compared(result, sample)

    def compared(self, result: Deconvolved, sample: Sample) -> dict[str, Tensor]:
        """The loss and its three parts. Raises `ConfigError` if a target is missing."""
        missing = [name for name in ("result", "blurred") if name not in sample.targets]
        if missing:
            raise ConfigError(f"deconvolution needs the target {missing[0]!r}", fix="Use degradation.name: blur")
        clean, blurred = sample.targets["result"], sample.targets["blurred"]
        pictures = [picture.float() for picture in result.pictures]
        parts = {"picture": torch.stack([_weighted(self.losses, p, _like(clean, p)) for p in pictures]).sum()}
        if result.blurred is not None:
            parts["blurred"] = self.blurred_weight * _weighted(self.blurred_losses, result.blurred.float(), blurred)
        transfer = otf(sample.conditions["psf"], (clean.shape[-2], clean.shape[-1]))
        parts["closed_loop"] = self.closed_loop * l1_loss(convolve(pictures[-1], transfer), blurred)
        return {"loss": torch.stack(list(parts.values())).sum()} | parts

    @property
    def degradation(self) -> Degradation:
        return self._degradation

    def restored(self, network: nn.Module, sample: Sample) -> Deconvolved:
        """What the network (or an average of it) makes of blurred pictures, with the noise that they show."""
        noisy = stacked_inputs(sample, self.spec)
        given = {name: sample.conditions[name] for name in self.spec.conditions}
        if isinstance(network, DeconvolutionNetwork):
            return network.stages(noisy, **given)
        return Deconvolved([network(noisy, **given)])

    def preview(self, batch: Batch, network: nn.Module) -> dict[str, Tensor]:
        sample = self.damaged(batch)
        shown = {
            "input": sample.inputs["picture"], "output": self.restored(network, sample).pictures[-1].float(),
            "target": sample.targets["result"],
        }  # fmt: skip
        return {name: x.clamp(0, 1) for name, x in shown.items()}


def _weighted(losses: Mapping[str, tuple[float, Loss]], x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([weight * loss(x, y) for weight, loss in losses.values()]).sum()


def _like(x: Tensor, y: Tensor) -> Tensor:
    """x resized to the height and width of y."""
    if x.shape == y.shape:
        return x
    return F.interpolate(x, (y.shape[-2], y.shape[-1]), mode="bilinear", align_corners=False)
