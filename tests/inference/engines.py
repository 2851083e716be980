"""Toy engines and helpers for the runner's tests."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from restore.inference.engine import Condition
from restore.inference.options import RunOptions
from restore.inference.runner import RunReport, run
from restore.models.spec import ModelSpec
from restore.picture import MemorySink, Picture, PictureInfo, ValueScale


@dataclass
class NetEngine:
    """Any module as an engine, with the spec it claims."""

    net: nn.Module
    spec: ModelSpec
    fingerprint: str = "toy"
    calls: list[tuple[int, ...]] = field(default_factory=list)
    dtype: torch.dtype = torch.float32

    def prepare(self, sources, options):
        return Condition(ValueScale.nominal(sources["picture"].info))

    def cast(self, dtype, device):
        cast = copy(self)
        cast.dtype = dtype
        return cast

    def __call__(self, x, condition, places):
        self.calls.append(tuple(x.shape))
        return {"result": self.net(x[:, 0])}


def conv(channels_in: int, channels_out: int, **kwargs) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, padding=kwargs.get("dilation", 1), **kwargs)


def plain(channels: int = 1) -> tuple[nn.Module, ModelSpec]:
    """Three 3x3 convolutions: radius 3."""
    torch.manual_seed(0)
    net = nn.Sequential(conv(channels, 4), nn.ReLU(), conv(4, 4), nn.ReLU(), conv(4, channels))
    return net.eval(), ModelSpec("toy", channels=channels, radius=3)


def dilated(channels: int = 1) -> tuple[nn.Module, ModelSpec]:
    """Dilations 1, 2, 3: radius 6."""
    torch.manual_seed(1)
    net = nn.Sequential(conv(channels, 4), nn.ReLU(), conv(4, 4, dilation=2), nn.ReLU(), conv(4, channels, dilation=3))
    return net.eval(), ModelSpec("toy", channels=channels, radius=6)


class _UNet(nn.Module):
    """Stride-8 U-Net: strided convolutions down, nearest up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.head = conv(channels, 4)
        self.down = nn.ModuleList(nn.Conv2d(4, 4, 2, stride=2) for _ in range(3))
        self.middle = conv(4, 4)
        self.tail = conv(4, channels)

    def forward(self, x):
        h = torch.relu(self.head(x))
        skips = []
        for down in self.down:
            skips.append(h)
            h = torch.relu(down(h))
        h = torch.relu(self.middle(h))
        for skip in reversed(skips):
            h = nn.functional.interpolate(h, scale_factor=2, mode="nearest") + skip
        return self.tail(h)


def unet(channels: int = 1) -> tuple[nn.Module, ModelSpec]:
    torch.manual_seed(2)
    return _UNet(channels).eval(), ModelSpec("toy", channels=channels, radius=2 + 15, multiple_of=8)


def unshuffled(channels: int = 1) -> tuple[nn.Module, ModelSpec]:
    """Pixel-unshuffle by 4 around two convolutions."""
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.PixelUnshuffle(4), conv(16 * channels, 8), nn.ReLU(), conv(8, 16 * channels), nn.PixelShuffle(4)
    )
    return net.eval(), ModelSpec("toy", channels=channels, radius=2 * 4 + 3, multiple_of=4, min_size=8)


class _Windowed(nn.Module):
    """A shifted window: averages within 8-windows, then within 8-windows shifted by 4."""

    def forward(self, x):
        pooled = nn.functional.avg_pool2d(x, 8)
        x = x + torch.sin(nn.functional.interpolate(pooled, scale_factor=8, mode="nearest"))
        shifted = nn.functional.pad(x, (4, 4, 4, 4))
        pooled = nn.functional.avg_pool2d(shifted, 8)
        return x + torch.cos(nn.functional.interpolate(pooled, scale_factor=8, mode="nearest"))[..., 4:-4, 4:-4]


def windowed(channels: int = 1) -> tuple[nn.Module, ModelSpec]:
    return _Windowed(), ModelSpec("toy", channels=channels, radius=4 + 7 + 4, multiple_of=8)


FAMILIES = {"plain": plain, "dilated": dilated, "unet": unet, "unshuffled": unshuffled, "windowed": windowed}


def picture(height: int, width: int, channels: int = 1, dtype: str = "float32", seed: int = 0) -> Picture:
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return Picture.from_array(rng.random((height, width, channels), np.float32), alpha=False)
    return Picture.from_array(
        rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True), alpha=False
    )


def restore(engine, source, *, target: dict | None = None, **options) -> tuple[np.ndarray, RunReport]:
    """Run into memory; the result is H x W x samples."""
    sinks: list[MemorySink] = []

    def create(_name: str, info: PictureInfo) -> MemorySink:
        sinks.append(MemorySink(replace(info, **(target or {}))))
        return sinks[-1]

    report = run(engine, [source], create, RunOptions(device="cpu", **options))
    return sinks[0].picture.pixels, report


def whole(engine, source) -> np.ndarray:
    """The reference: the same engine on the padded picture at once."""
    side = max(source.info.height, source.info.width)
    return restore(engine, source, tile=max(side, 16))[0]
