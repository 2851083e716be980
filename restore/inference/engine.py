"""The engine contract: whatever answers a task — a network, a classical filter, a fit on the picture itself.

    condition = engine.prepare(sources, options)   # the only step that sees whole pictures, streamed
    y = engine(x, condition)                       # pure, per tile: B x N x C x H x W -> B x M x C x sH x sW

Everything that is not spatial (noise curve, PSF, fitted weights, value scale) is in the condition,
computed once per picture and never per tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from restore.models.spec import ModelSpec
from restore.picture import PictureSource, ValueScale


@dataclass(frozen=True)
class EngineOptions:
    """What a user can ask of an engine beside the pictures. Engines ignore what does not concern them.

    Attributes:
        sigma: noise level in 8-bit units (0..255) instead of the estimate.
        seed: seed of anything random in the engine; None derives it from pixels and settings.
        device: torch device the tiles will be on.
    """

    sigma: float | None = None
    seed: int | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


@dataclass(frozen=True)
class Condition:
    """What `prepare` found out about the pictures.

    Attributes:
        scale: value range of the pictures.
        data: the engine's own findings, opaque to the runner.
        decisions: what was measured or chosen, in the order to tell the user ("noise": "sigma 12.1, white").
        spec: the spec for this picture, where it depends on what was found (a larger radius for stronger
            noise); None means the engine's.
    """

    scale: ValueScale = field(default_factory=ValueScale)
    data: Any = None
    decisions: dict[str, str] = field(default_factory=dict)
    spec: ModelSpec | None = None


class Engine(Protocol):
    """See the module's docstring.

    `fingerprint` names everything that shapes the output besides input and options (method, preset,
    sha256 of weights): engines with equal fingerprints give equal bytes.
    """

    spec: ModelSpec
    fingerprint: str

    def cast(self, dtype: torch.dtype, device: torch.device) -> Engine:
        """The same engine computing in `dtype` on `device`; `self` is left as it was.

        Tiles arrive and leave in float32 whatever the compute type, so that a 16-bit picture does not
        pass through a type that cannot hold it.
        """
        ...

    def prepare(self, sources: Sequence[PictureSource], options: EngineOptions) -> Condition: ...

    def __call__(self, x: torch.Tensor, condition: Condition) -> torch.Tensor: ...


class Unchanged:
    """The engine that returns its input: what strength 0 means, and what the tiler is tested with."""

    fingerprint = "unchanged"

    def __init__(self, inputs: int = 1) -> None:
        self.spec = ModelSpec(task="none", inputs=inputs)

    def prepare(self, sources: Sequence[PictureSource], options: EngineOptions) -> Condition:
        return Condition(ValueScale.nominal(sources[0].info))

    def cast(self, dtype: torch.dtype, device: torch.device) -> Unchanged:
        return self

    def __call__(self, x: torch.Tensor, condition: Condition) -> torch.Tensor:
        return x[:, :1]
