"""ModelSpec: what a network (or any other engine) needs and promises, as data beside its code.

Tests hold every spec against the thing it describes: they try sizes, measure the receptive radius,
count parameters and compare precisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tiling = Literal["exact", "rows", "local", "whole"]


@dataclass(frozen=True)
class Output:
    """One picture that an engine gives back.

    Attributes:
        name: how the engine, `Result.pictures` and the ledger call it ("result", "uncertainty").
        ending: of its file's name beside the main output ("photo_uncertainty.png"); "" is the main output's own
            name, which one output of a task at most may have.
        channels: colour channels; None: as many as the input has.
        mixes: `--strength` mixes it with the (first) input; a map or a reflection does not.
    """

    name: str = "result"
    ending: str = ""
    channels: int | None = None
    mixes: bool = True

    def channels_of(self, channels: int) -> int:
        """Its channels, for an input of so many."""
        return self.channels or channels


RESULT = Output()
"""The one output of most tasks: the restored picture, under the output's own name."""


@dataclass(frozen=True)
class ModelSpec:
    """Requirements and promises of one network or engine.

    Attributes:
        task: what it restores, a key of `restore.tasks` ("denoise").
        paper: the source, with a link; "" for an own design.
        inputs: names of the pictures it takes at once, all of one size.
        window: frames of a sequence it looks at, odd, the wanted one in the middle; more than 1 needs one input.
        outputs: the pictures it gives back, the main one first.
        conditions: what it is told beside the pictures, each a keyword of the network's `forward`:
            "noise_level" (std of the noise in units of [0, 1], B x 1 x H x W or B x 1 x 1 x 1),
            "psf" (B x 1 x h x w, sum 1).
        standardised: it wants every channel with mean 0 and std 1 over the whole picture.
        residual: it has a method `residual` (arguments as `forward`): what `forward` adds to the picture.
        blind: its output at a pixel never depends on the input at that pixel.
        channels: colour channels it works on; None means any number.
        scale: output side / input side, an integer.
        multiple_of: input sides and tile origins must be multiples of this (strides, unshuffles, windows).
        min_size: smallest input side in pixels; smaller pictures are padded.
        radius: structural receptive radius in input pixels (worst phase); 0 for pixel-wise engines.
        tiling: "exact" (finite radius: tiled equals untiled), "rows" (exact, but every tile must be as wide as the
            picture), "local" (statistics or a radius too large for exact tiles: overlapping tiles are blended),
            "whole" (must see the picture at once).
        overlap: least overlap of "local" tiles, px; 0 leaves it to the tiler.
        dtypes: compute types it stays accurate in; float32 always works.
        parameters: number of learned parameters; 0 without weights.
    """

    task: str
    paper: str = ""
    inputs: tuple[str, ...] = ("picture",)
    window: int = 1
    outputs: tuple[Output, ...] = (RESULT,)
    conditions: tuple[str, ...] = ()
    standardised: bool = False
    residual: bool = False
    blind: bool = False
    channels: int | None = None
    scale: int = 1
    multiple_of: int = 1
    min_size: int = 1
    radius: int = 0
    tiling: Tiling = "exact"
    overlap: int = 0
    dtypes: tuple[str, ...] = ("float32",)
    parameters: int = 0

    @property
    def pictures(self) -> int:
        """How many pictures one call takes: the named inputs, or the frames of a window."""
        return self.window if self.window > 1 else len(self.inputs)
