"""Objectives and batches so small that a training step takes a millisecond."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from restore.data.batches import Batch
from restore.models.spec import ModelSpec
from restore.objectives.objective import Objective, Phase
from restore.training.settings import TrainSettings

SIDE = 8


def settings(**changes: object) -> TrainSettings:
    quiet = {"steps": 20, "batch": 4, "log_every": 5, "validate_every": 10**6, "device": "cpu", "precision": "fp32"}
    return TrainSettings(**(quiet | {"learning_rate": 1e-2} | changes))  # type: ignore[arg-type]


def draw(step: int, first: int, count: int) -> Batch:
    """Pairs of a smooth picture and a noisy one, a function of (step, item)."""
    pairs = [_pair(step, item) for item in range(first, first + count)]
    clean, noisy = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
    return Batch({"clean": clean, "picture": noisy}, 0, step, first)


def _pair(step: int, item: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng((step, item))
    clean = np.broadcast_to(rng.integers(40, 215, (3, 1, 1)), (3, SIDE, SIDE)).astype(np.uint8)
    return clean, np.clip(clean + rng.normal(0, 25, clean.shape), 0, 255).astype(np.uint8)


class Described(nn.Sequential):
    """Layers that take a picture and give one, and say so."""

    def spec(self) -> ModelSpec:
        return ModelSpec("denoise", channels=3, parameters=sum(p.numel() for p in self.parameters()))


def network(*, norm: bool = False, dropout: float = 0.0, seed: int = 0) -> nn.Module:
    """Two convolutions, with batch normalisation (which has buffers) and dropout (which is random) if asked for."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Described(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(6, 3, 3, padding=1),
        )


class Pairs(Objective):
    """Mean squared error on the batch's pairs; `before` is called with (step, batch) at the start of each forward.

    The loss is not a number at the steps `nan_at`.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        nan_at: frozenset[int] = frozenset(),
        scale: float = 1.0,
        before: Callable[[int, Batch], None] = lambda step, batch: None,
    ) -> None:
        super().__init__()
        self.network, self._nan_at, self._scale, self._before = network, nan_at, scale, before
        self.phases = (Phase("restore", list(network.parameters())),)

    @property
    def averaged(self) -> nn.Module:
        return self.network

    def forward(self, batch: Batch, phase: str, step: int) -> dict[str, Tensor]:
        self._before(step, batch)
        noisy = batch.pictures["picture"] * (math.nan if step in self._nan_at else 1)
        loss = F.mse_loss(self.network(noisy), batch.clean) * self._scale
        return {"loss": loss, "twice": 2 * loss}

    def preview(self, batch: Batch, network: nn.Module) -> dict[str, Tensor]:
        noisy = batch.pictures["picture"]
        return {"input": noisy, "output": network(noisy).clamp(0, 1), "target": batch.clean}
