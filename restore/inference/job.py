"""One tile through the engine: cast, forward, check, mix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from restore.errors import ModelError
from restore.inference.engine import Condition, Engine
from restore.models.spec import ModelSpec


@dataclass(frozen=True)
class TileJob:
    """What stays the same for all tiles of a run."""

    engine: Engine
    condition: Condition
    spec: ModelSpec
    dtype: torch.dtype
    device: torch.device
    strength: float

    def tile(self, x: torch.Tensor, note: Callable[[str], None]) -> torch.Tensor:
        """1 x N x C x H x W unit values -> M x C x sH x sW float32: cast, forward, check, mix."""
        y = self._forward(x, self.dtype)
        if not torch.isfinite(y).all():
            if self.dtype is not torch.float32:
                note(f"a tile was not finite in {_name(self.dtype)} and was redone in float32")
                y = self._forward(x, torch.float32)
            if not torch.isfinite(y).all():
                raise ModelError(
                    f"{self.engine.fingerprint} gave values that are not finite",
                    why="even in float32",
                    fix="The weights may be damaged: `restore weights verify`",
                )
        y = y[0].float()
        if self.strength != 1 and self.spec.scale == 1:
            y = torch.lerp(x[0, 0].float().expand_as(y), y, self.strength)
        return y

    def _forward(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        y = self.engine.cast(dtype, self.device)(x, self.condition)
        batch, _, channels, height, width = x.shape
        scale = self.spec.scale
        wanted = (batch, len(self.spec.outputs), channels, height * scale, width * scale)
        if tuple(y.shape) != wanted:
            raise ModelError(f"{self.engine.fingerprint} returned {tuple(y.shape)} instead of {wanted}")
        return y


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
