"""Options of super-resolution."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from restore.errors import ConfigError
from restore.models.spec import OutputSize
from restore.options import Number, Options, Parsed, Text

_MOST = 65_535  # px, of a side
_FACTOR = 16.0

Size = tuple[int | None, int | None]


def parse_size(text: str) -> Size:
    """`3840x2160`, `3840x` or `x2160`: width and height in pixels, None for one that follows from the shape."""
    match = re.fullmatch(r"(\d*)\s*[xX×]\s*(\d*)", text.strip())
    if match is None or not (match[1] or match[2]):
        raise ValueError(text)
    return int(match[1]) if match[1] else None, int(match[2]) if match[2] else None


def _fits(size: Size) -> bool:
    return len(size) == 2 and any(size) and all(side is None or 1 <= side <= _MOST for side in size)


_SIZE = Parsed("WIDTHxHEIGHT", parse_size, "Write it as 3840x2160, 3840x or x2160, sides of 1 to 65535", _fits)


@dataclass(frozen=True)
class UpscaleOptions(Options):
    """Options of every method."""

    scale: Annotated[float | None, Number(1, _FACTOR, "FACTOR")] = None
    """How many times as wide and high, 1 to 16 (4); any number: the network's picture is resampled to it."""
    size: Annotated[Size | None, _SIZE] = None
    """Instead of --scale the size of the result: 3840x2160, or 3840x or x2160, which keep the shape. A picture that is
    as large already is only resampled."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale is not None and self.size is not None:
            raise ConfigError("--scale and --size both say how large the result is", fix="Leave one of them out")

    @property
    def output_size(self) -> OutputSize:
        """What the result's size is."""
        if self.size is not None:
            return OutputSize(width=self.size[0], height=self.size[1])
        return OutputSize(factor=4.0 if self.scale is None else float(self.scale))


@dataclass(frozen=True)
class SharpnessOptions(UpscaleOptions):
    """Options of the two networks whose weights may be mixed."""

    sharpness: Annotated[float | None, Number(0, 1)] = None
    """From 0 (fidelity: close to the truth, soft) to 1 (gan: crisp, details partly made up); weights between are
    interpolated."""


@dataclass(frozen=True)
class NetworkOptions(UpscaleOptions):
    """Options of weights of one's own."""

    weights: Annotated[str | Path | None, Text("NAME|FILE")] = None
    """Weights of a network: a name of the zoo, a .safetensors or a .pth file."""
    model: Annotated[str | None, Text("FILE.py:CLASS")] = None
    """The network that --weights are of, where it is not of this program: my_net.py:MyNet or my_pkg.my_net:MyNet.
    Its code is run; a weights file alone never makes that happen."""
