"""Labels that the picture does not tell: one of two shifts of it, at random. For tests of several answers.

A network with one answer learns the mean of both, blurred; one with two can have both, exactly. It is registered under
no name: "restore.degradations.ambiguous_shift:AmbiguousShift" in a config.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from restore.degradations.degradation import CLEAN, Role, Sample
from restore.errors import ConfigError
from restore.physics.random import generator_for


class AmbiguousShift:
    """Input "picture", as it is; target "result", the picture `shift` px further right or left, circular, half of the
    time each.

    Args:
        shift: px, 1 or more.
    """

    roles: Mapping[str, Role] = CLEAN
    conditions: tuple[str, ...] = ()

    def __init__(self, shift: int = 1) -> None:
        if shift < 1:
            raise ConfigError(f"shift is {shift}", fix="Give 1 px or more")
        self.shift = shift

    @torch.no_grad()
    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        clean = pictures["clean"]
        generators = (generator_for(seed, step, first_index + i) for i in range(len(clean)))
        steps = [self.shift if torch.rand((), generator=each) < 0.5 else -self.shift for each in generators]
        labels = [picture.roll(step, -1) for picture, step in zip(clean, steps, strict=True)]
        return Sample({"picture": clean}, {"result": torch.stack(labels)})
