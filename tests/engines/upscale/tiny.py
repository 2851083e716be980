"""Small networks under the names of the shipped ones."""

from __future__ import annotations

import datetime

import pytest
import torch

from restore.models import build
from restore.zoo.card import DataSource, WeightsCard
from restore.zoo.weights import save_weights

SHIPPED = {"upscale_x4": 4, "upscale_x2": 2, "upscale_x4_gan": 4, "upscale_x4_real": 4}


def card_of(name: str) -> WeightsCard:
    return WeightsCard(
        name=name, task="upscale", summary="For tests.", data=(DataSource(name="none", licence="CC0"),), steps=1,
        seconds=1.0, machine="this one", command="none", date=datetime.date(2026, 1, 31), licence="Apache-2.0",
    )  # fmt: skip


def write_tiny(folder, name: str, scale: int, seed: int, width: int = 8):
    arguments = {"scale": scale, "width": width, "blocks": 1}
    torch.manual_seed(seed)
    path = folder / f"{name}.safetensors"
    save_weights(path, build("compact_sr", **arguments).eval(), "compact_sr", arguments, card_of(name))
    return path


@pytest.fixture
def upscalers(tmp_path, monkeypatch):
    """A home whose weights are small networks under the names of the shipped ones."""
    folder = tmp_path / "home" / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, scale) in enumerate(SHIPPED.items()):
        write_tiny(folder, name, scale, seed)
    monkeypatch.setenv("RESTORE_HOME", str(tmp_path / "home"))
    return folder
