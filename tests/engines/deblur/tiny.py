"""Small networks of known answers, and weights files of small networks under the name of the shipped one."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from restore.models import build
from restore.models.spec import ModelSpec, Output
from restore.zoo.card import DataSource, WeightsCard
from restore.zoo.weights import save_weights

HEADS = 3
INNER = {"widths": [8, 16], "blocks": [1, 1, 1]}


def write_tiny(folder: Path, name: str = "deblur", heads: int = HEADS, seed: int = 0) -> Path:
    """Weights of a compact network that changes what it sees, every head in its own way."""
    arguments: dict[str, Any] = {"network": "compact_deblur", "heads": heads, "arguments": INNER}
    model = "multi_output"
    if heads == 1:
        model, arguments = "compact_deblur", INNER
    torch.manual_seed(seed)
    net = build(model, **arguments).eval()
    with torch.no_grad():
        for value in net.parameters():
            value.normal_(0, 0.08)
    card = WeightsCard(
        name=name, task="deblur", summary="For tests.", data=(DataSource(name="none", licence="CC0"),), steps=1,
        seconds=1.0, machine="this one", command="none", date=datetime.date(2026, 1, 31), licence="Apache-2.0",
    )  # fmt: skip
    path = folder / f"{name}.safetensors"
    save_weights(path, net, model, arguments, card)
    return path


@pytest.fixture
def deblurrers(tmp_path, monkeypatch) -> Path:
    """A home whose `deblur` is a small network of three heads, and `single` one of one head."""
    folder = tmp_path / "home" / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    write_tiny(folder)
    write_tiny(folder, "single", heads=1)
    monkeypatch.setenv("RESTORE_HOME", str(tmp_path / "home"))
    return folder


class Offsets(nn.Module):
    """Head h adds its own number to everything."""

    def __init__(self, offsets: Sequence[float], tiling: str = "exact") -> None:
        super().__init__()
        self.offsets = nn.Parameter(torch.tensor(offsets))
        self._tiling = tiling

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x + offset for offset in self.offsets], 1)

    def spec(self) -> ModelSpec:
        count = len(self.offsets)
        return ModelSpec(
            "deblur", channels=3, heads=count, outputs=(Output(channels=3 * count if count > 1 else None),),
            tiling=self._tiling, overlap=32 if self._tiling == "local" else 0,  # type: ignore[arg-type]
        )  # fmt: skip


def soft_scene(height: int = 48, width: int = 64, channels: int = 3) -> np.ndarray:
    """Waves of 25 px and more: nothing in it is sharp. Unit values H x W x C."""
    y, x = np.mgrid[:height, :width]
    planes = [0.5 + 0.3 * np.sin(y / (4 + c)) * np.cos(x / (5 + c)) for c in range(channels)]
    return np.stack(planes, -1).astype(np.float32)


def sharp_scene(height: int = 48, width: int = 64, channels: int = 3) -> np.ndarray:
    """Squares of 8 px with sudden edges. Unit values H x W x C."""
    y, x = np.mgrid[:height, :width]
    plane = np.where((y // 8 + x // 8) % 2, 0.75, 0.25).astype(np.float32)
    return np.repeat(plane[..., None], channels, -1)
