"""ModelSpec: what a network (or any other engine) needs and promises, as data beside its code.

Tests hold every spec against the thing it describes: they try sizes, measure the receptive radius,
count parameters and compare precisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tiling = Literal["exact", "local", "whole"]


@dataclass(frozen=True)
class ModelSpec:
    """Requirements and promises of one network or engine.

    Attributes:
        task: what it restores, a key of `restore.tasks` ("denoise").
        paper: the source, with a link; "" for an own design.
        inputs: pictures it takes at once (1; 2 for dual rolling-shutter frames; T for video).
        outputs: names of the pictures it gives back.
        channels: colour channels it works on; None means any number.
        scale: output side / input side, an integer.
        multiple_of: input sides and tile origins must be multiples of this (strides, unshuffles, windows).
        min_size: smallest input side in pixels; smaller pictures are padded.
        radius: structural receptive radius in input pixels (worst phase); 0 for pixel-wise engines.
        tiling: "exact" (finite radius: tiled equals untiled), "local" (statistics or a radius too large
            for exact tiles: overlapping tiles are blended), "whole" (must see the picture at once).
        overlap: least overlap of "local" tiles, px; 0 leaves it to the tiler.
        dtypes: compute types it stays accurate in; float32 always works.
        parameters: number of learned parameters; 0 without weights.
    """

    task: str
    paper: str = ""
    inputs: int = 1
    outputs: tuple[str, ...] = ("result",)
    channels: int | None = None
    scale: int = 1
    multiple_of: int = 1
    min_size: int = 1
    radius: int = 0
    tiling: Tiling = "exact"
    overlap: int = 0
    dtypes: tuple[str, ...] = ("float32",)
    parameters: int = 0
