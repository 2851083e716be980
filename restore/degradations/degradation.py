"""The contract of what makes clean pictures worse, for training, evaluation, `restore degrade` and adaptation.

    sample = degradation.draw(pictures by role, seed, step, first_index)

A pure function, batched, on the pictures' device: sample i depends on (seed, step, first_index + i) alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Protocol

from torch import Tensor

from restore.errors import ConfigError


@dataclass(frozen=True)
class Role:
    """What a batch holds for one role, beside the main one, "clean".

    Attributes:
        scale: side of its crops over that of the clean ones (0.25: a pair of a small and a large picture); a fraction
            of whole numbers up to 64.
        frames: consecutive frames of a sequence; 1 for single pictures (no axis for frames then).
        independent: crops of other pictures of the same folders, at other places (a reflection's second scene), rather
            than the counterpart of the clean picture.
        optional: it is used where the data have it.

    Raises `ConfigError` for a scale or a number of frames that cannot be.
    """

    scale: float = 1.0
    frames: int = 1
    independent: bool = False
    optional: bool = False

    def __post_init__(self) -> None:
        if not self.ratio > 0 or abs(self.ratio - self.scale) > 1e-4:
            raise ConfigError(f"a role cannot have the scale {self.scale:g}", fix="Give 2, 0.5, 0.25, 0.3333 …")
        if self.frames < 1:
            raise ConfigError(f"a role cannot have {self.frames} frames", fix="Give 1 or more")

    @property
    def ratio(self) -> Fraction:
        """The scale, exactly."""
        return Fraction(self.scale).limit_denominator(64)


CLEAN: Mapping[str, Role] = MappingProxyType({"clean": Role()})
"""The roles of most degradations."""


@dataclass(frozen=True)
class Sample:
    """What is shown, what is wanted, and what may be said beside it.

    Attributes:
        inputs: by the network's input names: B x C x H x W, or B x T x C x H x W for a window of frames.
        targets: by output names; empty where the truth is not known. Sizes may differ from the inputs'.
        conditions: by the names that networks know ("noise_level", "psf").
    """

    inputs: dict[str, Tensor]
    targets: dict[str, Tensor]
    conditions: dict[str, Tensor] = field(default_factory=dict)


class Degradation(Protocol):
    """What makes clean pictures worse: a pure function, batched, on the pictures' device.

    Attributes:
        roles: what a batch must hold.
        conditions: what its samples say beside the pictures.
    """

    @property
    def roles(self) -> Mapping[str, Role]: ...

    @property
    def conditions(self) -> tuple[str, ...]: ...

    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        """Damage pictures by role, B x C x H x W each (B x T x C x H x W where the role has frames), white = 1.

        Sample i of the batch depends on nothing but its pictures and (seed, step, first_index + i).
        """
        ...
