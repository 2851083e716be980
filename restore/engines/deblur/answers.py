"""From several answers to one picture to what is written: their mean or one of them, each by itself, their spread.

Every method of deblurring gives K answers, B x K x C x H x W; what becomes of them is the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from restore.errors import ConfigError, counted
from restore.inference.engine import Outputs
from restore.models.spec import RESULT, Output

SPREAD_OF_WHITE = 32 / 255
"""Standard deviation of the answers, of the picture's white, that is white in the map of uncertainty: grey level g
stands for 32 g / 255 levels of an 8-bit picture."""
ABOUT_UNCERTAINTY = "standard deviation of the heads, mean of the channels; white is 32/255 of the picture's white"
UNCERTAINTY = Output("uncertainty", "uncertainty", channels=1, mixes=False, bits=8, about=ABOUT_UNCERTAINTY)


@dataclass(frozen=True)
class Wanted:
    """What is made of the answers.

    Attributes:
        count: K, how many a method gives.
        head: the one that is the result, counted from 1; None: their mean.
        each, uncertainty: whether every one of them, and a map of their spread, is given beside the result.
    """

    count: int
    head: int | None = None
    each: bool = False
    uncertainty: bool = False

    def check(self, name: str, otherwise: str) -> None:
        """Raise `ConfigError` for a head beyond those of `name`, or what takes several of one; without a head the
        result is what `otherwise` says."""
        has = f"{name} gives {counted(self.count, 'picture')}"
        if self.head is not None and self.head > self.count:
            fix = f"Give 1 to {self.count}, or leave it out for {otherwise}" if self.count > 1 else "Leave it out"
            raise ConfigError(f"--head is {self.head}, and {has}", fix=fix)
        for asked, option in ((self.each, "--all-heads"), (self.uncertainty, "--uncertainty")):
            if asked and self.count == 1:
                raise ConfigError(f"{option} needs several heads, and {has}", fix="Use weights of several heads")

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The result first, then every head, then the map."""
        heads = tuple(Output(f"head_{h}", f"head{h}") for h in range(1, self.count + 1)) if self.each else ()
        return (RESULT, *heads, *((UNCERTAINTY,) if self.uncertainty else ()))

    @property
    def summary(self) -> str:
        """Which of them is the result, in words; "" where there is one."""
        if self.count == 1:
            return ""
        return f", head {self.head} of {self.count}" if self.head else f", mean of {self.count} heads"

    @property
    def several(self) -> bool:
        """Whether more than the result is made of the answers."""
        return self.each or self.uncertainty

    def result(self, answers: Tensor, ranked: bool = False) -> Tensor:
        """B x K x C x H x W -> B x C x H x W; of `ranked` answers the first, unless a head was asked for."""
        if self.head is None:
            return answers[:, 0] if ranked else answers.mean(1)
        return answers[:, self.head - 1]

    def made_of(self, answers: Tensor, ranked: bool = False) -> Outputs:
        """B x K x C x H x W unit values -> the outputs by name."""
        made = {"result": self.result(answers, ranked)}
        if self.each:
            made |= {f"head_{h}": answers[:, h - 1] for h in range(1, self.count + 1)}
        if self.uncertainty:
            made["uncertainty"] = (spread(answers) / SPREAD_OF_WHITE).clamp(max=1)
        return made


def spread(answers: Tensor) -> Tensor:
    """Standard deviation (over K, not K - 1) of the answers at each pixel, mean over the channels.

    B x K x C x H x W -> B x 1 x H x W, in the units of the answers.
    """
    return answers.std(1, correction=0).mean(1, keepdim=True)
