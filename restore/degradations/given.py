"""Pictures taken as the data give them: pairs of damaged and clean ones, or noisy ones alone."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from restore.degradations.degradation import CLEAN, Role, Sample


class GivenPairs:
    """Input "picture" from the role of that name, target "result" from "clean".

    Args:
        scale: side of the damaged pictures over that of the clean ones (0.25 for super-resolution by 4).
    """

    conditions: tuple[str, ...] = ()

    def __init__(self, scale: float = 1.0) -> None:
        self.roles: Mapping[str, Role] = {**CLEAN, "picture": Role(scale)}

    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        return Sample({"picture": pictures["picture"]}, {"result": pictures["clean"]})


class Undamaged:
    """Input "picture" as it is, without a target: for what learns from damaged pictures alone."""

    roles: Mapping[str, Role] = CLEAN
    conditions: tuple[str, ...] = ()

    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        return Sample({"picture": pictures["clean"]}, {})
