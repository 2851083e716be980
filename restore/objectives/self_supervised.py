"""Learning to denoise from noisy pictures alone; where their noise has no spatial correlation, with any network.

    Noise2Void        Krull, Buchholz, Jug, CVPR 2019, https://arxiv.org/abs/1811.10980
    Neighbor2Neighbor Huang et al., CVPR 2021, https://arxiv.org/abs/2101.02824
    Blind2Unblind     Wang et al., CVPR 2022, https://arxiv.org/abs/2203.06967

C-BSN, for correlated noise, is `restore.objectives.blind_spot`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.degradations.degradation import Degradation
from restore.errors import ConfigError
from restore.objectives.objective import Objective, Phase, needs_of
from restore.physics.random import generator_for
from restore.physics.resample import draw_neighbours, pick_cells

if TYPE_CHECKING:
    from restore.data.batches import Batch

_CELL = 4  # px, side of Blind2Unblind's cells


class SelfSupervised(Objective):
    """What they have in common: one network, noisy pictures in [0, 1].

    Args:
        network: B x C x H x W -> the same, without conditions.
        degradation: how the crops are damaged first, to simulate noisy pictures from clean ones; None: they are noisy.
    """

    def __init__(self, network: nn.Module, degradation: Degradation | None = None) -> None:
        super().__init__()
        self.spec = needs_of(network, [])
        self.network, self._degradation = network, degradation
        self.phases = (Phase("restore", list(network.parameters())),)

    @property
    def averaged(self) -> nn.Module:
        return self.network

    @property
    def degradation(self) -> Degradation | None:
        return self._degradation

    def noisy(self, batch: Batch) -> Tensor:
        return self.damaged(batch).inputs["picture"]

    def seen(self, x: Tensor) -> Tensor:
        return self.network(x.contiguous(memory_format=torch.channels_last)).float()

    def preview(self, batch: Batch, network: nn.Module) -> dict[str, Tensor]:
        sample = self.damaged(batch)
        noisy, truth = sample.inputs["picture"], sample.targets.get("result")
        shown = {"input": noisy, "output": self.answer(network, noisy)}
        shown |= {} if truth is None else {"target": truth}  # known where the pictures were damaged here
        return {name: x.clamp(0, 1) for name, x in shown.items()}

    def answer(self, network: nn.Module, noisy: Tensor) -> Tensor:
        """What a network makes of noisy pictures, as it is used later."""
        return network(noisy.contiguous(memory_format=torch.channels_last)).float()


class Noise2Void(SelfSupervised):
    """Some pixels are replaced by a neighbour and must be predicted from what is around them: mean square there.

    Args:
        share: of the pixels that are replaced.
        reach: px, how far the neighbours may be.
    """

    def __init__(
        self, network: nn.Module, degradation: Degradation | None = None, *, share: float = 0.016, reach: int = 2
    ) -> None:
        super().__init__(network, degradation)
        if not 0 < share <= 0.5 or reach < 1:
            raise ConfigError("objective.arguments describe no Noise2Void", fix="share is up to 0.5, reach 1 or more")
        self.share, self.reach = share, reach

    def forward(self, batch: Batch, phase: str, step: int) -> dict[str, Tensor]:
        x = self.noisy(batch)
        pairs = [self.masked(x[i : i + 1], batch, i) for i in range(len(x))]
        replaced, mask = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        difference = (self.seen(replaced) - x).square() * mask
        return {"loss": difference.sum() / (mask.sum() * x.shape[1]).clamp(min=1)}

    def masked(self, x: Tensor, batch: Batch, number: int) -> tuple[Tensor, Tensor]:
        """(1 x C x H x W with some pixels replaced, which: 1 x 1 x H x W): a function of (seed, step, item)."""
        generator = generator_for(batch.seed, batch.step, batch.first_index + number, device=x.device)
        height, width = x.shape[-2:]
        mask = torch.rand(1, 1, height, width, generator=generator, device=x.device) < self.share
        offsets = (2 * self.reach + 1) ** 2 - 1
        which = torch.randint(offsets, (1, 1, height, width), generator=generator, device=x.device)
        which = which + (which >= offsets // 2)  # never the pixel itself
        side = 2 * self.reach + 1
        rows = _beside(height, 0, which[0, 0] // side - self.reach)
        columns = _beside(width, 1, which[0, 0] % side - self.reach)
        return torch.where(mask, x[..., rows, columns], x), mask.to(x.dtype)


class Neighbor2Neighbor(SelfSupervised):
    """Two neighbours of every 2 x 2 cell are two noisy pictures of one scene.

    d = f(g1(x)) - g2(x), e = g1(stop f(x)) - g2(stop f(x)): mean d^2 + weight ramp(step) mean (d - e)^2.

    Args:
        weight: of the second term, once `ramp` steps are over.
    """

    def __init__(
        self, network: nn.Module, degradation: Degradation | None = None, *, weight: float = 2.0, ramp: int = 50_000
    ) -> None:
        super().__init__(network, degradation)
        if weight < 0 or ramp < 1:
            fix = "weight is 0 or more, ramp 1 or more"
            raise ConfigError("objective.arguments describe no Neighbor2Neighbor", fix=fix)
        self.weight, self.ramp = weight, ramp

    def forward(self, batch: Batch, phase: str, step: int) -> dict[str, Tensor]:
        x = self.noisy(batch)
        drawn = [self._pairs(x, batch, number) for number in range(len(x))]
        first, second = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        with torch.no_grad():
            whole = self.seen(x)
            expected = pick_cells(whole, first, 2) - pick_cells(whole, second, 2)
        difference = self.seen(pick_cells(x, first, 2)) - pick_cells(x, second, 2)
        parts = {"pair": difference.square().mean(), "same": (difference - expected).square().mean()}
        return {"loss": parts["pair"] + self.weight * min(step / self.ramp, 1.0) * parts["same"]} | parts

    @staticmethod
    def _pairs(x: Tensor, batch: Batch, number: int) -> tuple[Tensor, Tensor]:
        """Those of one item: a function of (seed, step, item)."""
        generator = generator_for(batch.seed, batch.step, batch.first_index + number, device=x.device)
        return draw_neighbours(1, x.shape[-2], x.shape[-1], generator)


class Blind2Unblind(SelfSupervised):
    """Every pixel is hidden in one of 16 passes; what they say, h, is weighed against what is seen, e = stop f(x).

    mean (h - x)^2 + mean ((h - x) + beta(step) (e - x))^2

    Args:
        beta: at first, and at the end.
        still, ramp: steps in which it stays at the first value, and in which it then rises.
    """

    def __init__(
        self,
        network: nn.Module,
        degradation: Degradation | None = None,
        *,
        beta: tuple[float, float] = (2.0, 20.0),
        still: int = 40_000,
        ramp: int = 10_000,
    ) -> None:
        super().__init__(network, degradation)
        if min(beta) < 0 or still < 0 or ramp < 1:
            fix = "beta and still are 0 or more, ramp 1 or more"
            raise ConfigError("objective.arguments describe no Blind2Unblind", fix=fix)
        self.beta, self.still, self.ramp = beta, still, ramp

    def forward(self, batch: Batch, phase: str, step: int) -> dict[str, Tensor]:
        x = self.noisy(batch)
        hidden = self.hidden(x)
        with torch.no_grad():
            seen = self.seen(x)
        beta = self.beta[0] + (self.beta[1] - self.beta[0]) * min(max((step - self.still) / self.ramp, 0.0), 1.0)
        difference = hidden - x
        parts = {"hidden": difference.square().mean(), "both": (difference + beta * (seen - x)).square().mean()}
        return {"loss": parts["hidden"] + parts["both"]} | parts

    def hidden(self, x: Tensor) -> Tensor:
        """Every pixel from the pass that does not see it: B x C x H x W."""
        around = _neighbour_mean(x)
        restored = torch.zeros_like(x)
        for place in range(_CELL * _CELL):
            row, column = divmod(place, _CELL)
            mask = torch.zeros_like(x[:1, :1])
            mask[..., row::_CELL, column::_CELL] = 1
            restored = restored + mask * self.seen(torch.lerp(x, around, mask))
        return restored


def _neighbour_mean(x: Tensor) -> Tensor:
    """Mean of the eight neighbours, the four nearest counted twice; mirrored at the border."""
    line = x.new_tensor([[0.5, 1.0, 0.5], [1.0, 0.0, 1.0], [0.5, 1.0, 0.5]]) / 6
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    return F.conv2d(padded.flatten(0, 1)[:, None], line[None, None])[:, 0].view_as(x)


def _beside(size: int, axis: int, offset: Tensor) -> Tensor:
    """Places along an axis of an offset field H x W; an offset that leaves the picture is taken the other way."""
    own = torch.arange(size, device=offset.device).unsqueeze(1 - axis)
    place = own + offset
    return torch.where((place < 0) | (place >= size), own - offset, place)
