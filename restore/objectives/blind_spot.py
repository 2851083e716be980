"""Learning to denoise from noisy pictures alone: C-BSN's three losses.

    blind   |B(x_5) - x_5|                      the blind-spot pass on the phases of a pixel-shuffle by 5
    self    |f(x) - x|                          the same network without the blind spot
    same    |R(f(x)) - stop(B(R(x)))|           both agree after a random sub-sampling by 2; one map for both
    L = blind + ramp(step) (self + weight same)

Source: Jang et al., ICCV 2023, https://arxiv.org/abs/2304.09507. Means of absolute differences of channels that have
mean 0 and std 1 over the crop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from restore.degradations.degradation import Degradation
from restore.errors import ConfigError
from restore.losses.pixel import l1_loss
from restore.objectives.self_supervised import SelfSupervised
from restore.physics.random import generator_for
from restore.physics.resample import draw_cells, pick_cells, pixel_unshuffle_batch

if TYPE_CHECKING:
    from restore.data.batches import Batch


class Standardised(NamedTuple):
    """Pictures whose channels have mean 0 and std 1, and what they had: B x C x 1 x 1 each."""

    pixels: Tensor
    mean: Tensor
    std: Tensor

    def undone(self, x: Tensor) -> Tensor:
        return x * self.std + self.mean


def standardised(x: Tensor) -> Standardised:
    """B x C x H x W; a std below 1 / sqrt(H W) counts as that."""
    std, mean = torch.std_mean(x, (-2, -1), keepdim=True, correction=0)
    std = std.clamp(min=(x.shape[-2] * x.shape[-1]) ** -0.5)
    return Standardised((x - mean) / std, mean, std)


class BlindSpot(SelfSupervised):
    """C-BSN's objective.

    Args:
        network: (x, blind) -> x, such as `restore.models.cbsn.CBSN`; one that is `blind` by itself has no other pass
            to teach, and takes ramp 0 (AP-BSN: Lee, Son, Lee, CVPR 2022, https://arxiv.org/abs/2203.11799).
        degradation: how the crops are damaged first, to simulate noisy pictures from clean ones; None: they are noisy.
        pd: factor of the pixel-shuffle in the blind loss, 1 for noise without correlation. Crops are cut to a multiple.
        sub: side of the cells of the random sub-sampling.
        weight: of the agreement; larger for stronger noise.
        ramp: steps in which the share of the losses without blind spot rises from 0 to 1; 0: blind alone, for ever.
    """

    def __init__(
        self,
        network: nn.Module,
        degradation: Degradation | None = None,
        *,
        pd: int = 5,
        sub: int = 2,
        weight: float = 2.0,
        ramp: int = 200_000,
    ) -> None:
        super().__init__(network, degradation)
        if pd < 1 or sub < 2 or weight < 0 or ramp < 0:
            fix = "pd is 1 or more, sub 2 or more, weight and ramp 0 or more"
            raise ConfigError("objective.arguments describe no blind-spot training", fix=fix)
        if self.spec.blind and ramp:
            raise ConfigError("a network that is always blind learns from the blind loss alone", fix="Give ramp: 0")
        self.pd, self.sub, self.weight, self.ramp = pd, sub, weight, ramp

    def forward(self, batch: Batch, phase: str, step: int) -> dict[str, Tensor]:
        x = standardised(self.noisy(batch)).pixels
        height, width = (side // self.pd * self.pd for side in x.shape[-2:])
        phases = _last(pixel_unshuffle_batch(x[..., :height, :width], self.pd))
        parts = {"blind": l1_loss(self.network(phases, True), phases)}
        share = self.share(step)
        if share == 0:
            return {"loss": parts["blind"]} | parts
        seen = self.network(x, False)
        cells = torch.cat([self._cells(batch, number, x) for number in range(len(x))])
        with torch.no_grad():
            target = self.network(_last(pick_cells(x, cells, self.sub)), True)
        parts["self"] = l1_loss(seen, x)
        parts["same"] = l1_loss(pick_cells(seen, cells, self.sub), target)
        return {"loss": parts["blind"] + share * (parts["self"] + self.weight * parts["same"])} | parts

    def share(self, step: int) -> float:
        """Of the losses without blind spot at a step: 0 at first, 1 from `ramp` on."""
        return min(step / self.ramp, 1.0) if self.ramp else 0.0

    def _cells(self, batch: Batch, number: int, x: Tensor) -> Tensor:
        """Those of one item: a function of (seed, step, item)."""
        generator = generator_for(batch.seed, batch.step, batch.first_index + number, device=x.device)
        return draw_cells(1, x.shape[-2], x.shape[-1], self.sub, generator)

    def answer(self, network: nn.Module, noisy: Tensor) -> Tensor:
        known = standardised(noisy)
        return known.undone(network(_last(known.pixels)).float())


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
