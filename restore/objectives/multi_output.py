"""Learning with several answers: each candidate is compared, and the best one of each picture learns.

    l_bk = loss(candidate k of picture b, its truth)         K candidates: the heads, or all pairs of them

    winner    L = mean_b min_k l_bk
    relaxed   L = mean_b (1 - epsilon) min_k l_bk + epsilon / (K - 1) the sum of the others
    softmin   L = mean_b -T log mean_k exp(-l_bk / T)        T -> 0: the least; large T: the mean

Source of `winner` and of the pairs: Liu et al., "Multi-Outputs Is All You Need For Deblur", 2022,
https://arxiv.org/abs/2208.13029. A blur has several plausible causes and a data set tells one of them: with one answer
a network learns their mean, with K the K answers that are best together. No head is the mean then, but their mean
nearly is, which is what a validation shows. The choice is one for a whole crop.

Differences from the source: `relaxed` and `softmin`, with which a head that never wins learns too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from restore.degradations.degradation import Degradation, Sample
from restore.errors import ConfigError
from restore.losses.per_sample import psnr
from restore.losses.table import PER_SAMPLE_LOSSES, Loss
from restore.models.heads import candidates, pairwise_distance, split_heads, win_shares
from restore.objectives.supervised import Supervised

Choice = Literal["winner", "relaxed", "softmin"]
_EPSILON, _TEMPERATURE = 0.05, 1.0


class MultiOutputLearning(Supervised):
    """One network of H heads (`restore.models.multi_output`), one phase ("restore"). With H = 1 it is `Supervised`.

    Beside the loss it reports `wins_h`, the share of the pictures that head h has won (half of one for each head of a
    pair; a share near 0 is a head that learns no more), `distance`, the root mean square difference of two heads in
    units of [0, 1], and, where there are several losses, each of the winners'.

    Args:
        network: what its spec says; conditions come from the degradation.
        losses: name -> (weight, loss of ... x C x H x W, twice -> ...), by default psnr alone.
        degradation: how clean pictures are damaged; by default noise.
        pairs: the means of two heads are candidates too.
        choice: who learns: the winner; `relaxed`, all others a little; `softmin`, all by their losses. A `winner` may
            take all and leave heads that learn no more: of two equally likely truths it then learned the mean with l2,
            at times with l1, not with psnr. With `relaxed` both were found in every run; of four heads one may still
            win none.
        epsilon: of `relaxed`, the share of the others; 0.05 if not given.
        temperature: of `softmin`, in units of the loss; 1 if not given.

    Raises `ConfigError` for an epsilon or a temperature that the choice does not use, or of no sense.
    """

    loss_table: ClassVar[Mapping[str, str]] = PER_SAMPLE_LOSSES
    several_heads: ClassVar[bool] = True

    def __init__(
        self,
        network: nn.Module,
        losses: Mapping[str, tuple[float, Loss]] | None = None,
        degradation: Degradation | None = None,
        *,
        pairs: bool = True,
        choice: Choice = "winner",
        epsilon: float | None = None,
        temperature: float | None = None,
    ) -> None:
        super().__init__(network, losses or {"psnr": (1.0, psnr)}, degradation)
        for name, value, of in (("epsilon", epsilon, "relaxed"), ("temperature", temperature, "softmin")):
            if value is not None and choice != of:
                raise ConfigError(f"the choice {choice!r} does not use {name}", fix=f"Leave it out, or choose {of}")
        self.epsilon = _EPSILON if epsilon is None else epsilon
        self.temperature = _TEMPERATURE if temperature is None else temperature
        if not 0 <= self.epsilon <= 1 or not self.temperature > 0 or choice not in ("winner", "relaxed", "softmin"):
            what = f"choice is {choice!r}, epsilon {self.epsilon:g}, temperature {self.temperature:g}"
            raise ConfigError(what, fix="Give winner, relaxed (epsilon 0 to 1) or softmin (temperature above 0)")
        self.pairs, self.choice = pairs, choice

    def compared(self, outputs: Mapping[str, Tensor], sample: Sample) -> tuple[Tensor, dict[str, Tensor]]:
        """(the chosen loss, what is reported). Raises `ConfigError` as `parts`."""
        parts = self.parts(outputs, sample)
        each = torch.stack([weight * parts[name] for name, (weight, _) in self.losses.items()]).sum(0)  # B x K
        least, winners = each.min(1)  # of equal ones a single one, which has all of the gradient
        heads = self._heads(outputs)
        reported = {f"wins_{h}": share for h, share in enumerate(win_shares(winners, self.spec.heads, self.pairs))}
        reported["distance"] = pairwise_distance(heads.detach()).mean()
        if len(parts) > 1:
            reported |= {name: part.gather(1, winners[:, None]).mean() for name, part in parts.items()}
        return self._chosen(each, least).mean(), reported

    def parts(self, outputs: Mapping[str, Tensor], sample: Sample) -> dict[str, Tensor]:
        """Each loss by name, of every candidate, without its weight: B x K.

        Raises `ConfigError` if the output's truth is not known, or a loss is none of each picture by itself.
        """
        main = self.spec.outputs[0].name
        if main not in sample.targets:
            what = f"there is no truth for the output {main}"
            raise ConfigError(what, fix="Choose a degradation with this target, or a self-supervised objective")
        heads = self._heads(outputs)
        answers = candidates(heads) if self.pairs else heads  # B x K x C x H x W
        truth = sample.targets[main][:, None].expand_as(answers)
        parts = {name: loss(answers, truth) for name, (_, loss) in self.losses.items()}
        for name, part in parts.items():
            if part.shape != answers.shape[:2]:
                what = f"the loss {name} is not one of each picture by itself"
                raise ConfigError(what, fix=f"Use {', '.join(PER_SAMPLE_LOSSES)}, or a function of one's own like them")
        return parts

    def shown(self, outputs: Mapping[str, Tensor]) -> Tensor:
        return self._heads(outputs).mean(1)

    def _heads(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """B x H x C x H x W, float32."""
        return split_heads(outputs[self.spec.outputs[0].name].float(), self.spec.heads)

    def _chosen(self, each: Tensor, least: Tensor) -> Tensor:
        """B x K, its least B -> B."""
        others = each.shape[1] - 1
        if self.choice == "softmin":
            mean = (-each / self.temperature).logsumexp(1) - math.log(each.shape[1])
            return -self.temperature * mean
        if self.choice == "winner" or not others:
            return least
        return (1 - self.epsilon) * least + self.epsilon / others * (each.sum(1) - least)
