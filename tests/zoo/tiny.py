"""Weights of a few channels, for tests of files that hold them."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from restore.errors import WeightsError
from restore.models import build
from restore.zoo.card import DataSource, Result, WeightsCard
from restore.zoo.weights import read_network

ARGUMENTS = {"channels": 1, "condition_channels": 1, "widths": [4, 6], "blocks": [1, 1, 1]}
CARD = WeightsCard(
    name="tiny",
    task="deblur",
    summary="Four channels, for tests.",
    data=(DataSource(name="noise", licence="CC0"),),
    steps=10,
    seconds=1.5,
    machine="this one",
    command="restore train denoise/tiny",
    date=datetime.date(2026, 1, 31),
    licence="Apache-2.0",
    results=(Result(set="noise, seed 0", metric="psnr_y", value=30.25, peers={"bm3d": 29.5}),),
)


def tiny(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build("plain_unet", **ARGUMENTS).eval()


def message(path: Path, **named: Any) -> str:
    """The error of loading `path`, which takes less than a CPU second and names the file."""
    start = time.process_time()
    with pytest.raises(WeightsError) as caught:
        read_network(path, **named)
    assert time.process_time() - start < 1
    assert str(caught.value).startswith(str(path))
    assert caught.value.fix or caught.value.why
    return str(caught.value)
