"""ModelSpec: what a network (or any other engine) needs and promises, as data beside its code.

Tests hold every spec against the thing it describes: they try sizes, measure the receptive radius,
count parameters and compare precisions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from restore.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

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
        bits: 8 where a file of 8 bits is written whatever the input's depth, as of a map; None: the input's.
        about: what its values are, one sentence for the file's metadata; an output that has one is no photograph, and
            the input's EXIF and colour profile stay out of it.
    """

    name: str = "result"
    ending: str = ""
    channels: int | None = None
    mixes: bool = True
    bits: Literal[8] | None = None
    about: str = ""

    def channels_of(self, channels: int) -> int:
        """Its channels, for an input of so many."""
        return self.channels or channels


@dataclass(frozen=True)
class OutputSize:
    """A size that outputs are resampled to on their way into files (`restore.inference.resizing`).

    Attributes:
        factor: side of the output over that of the input; sides are rounded, and 1 px at least.
        width, height: in pixels instead; with one of them the other keeps the picture's shape.

    Raises `ConfigError` if neither or both are given, or a number that is not above 0.
    """

    factor: float | None = None
    width: int | None = None
    height: int | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.factor, self.width, self.height) if value is not None]
        if (self.factor is None) == (self.width is None and self.height is None) or not all(x > 0 for x in given):
            raise _unusable(f"a size is {self}", "Give a factor, or a width or height or both, above 0")

    def of(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the output, for an input of so many."""
        factor = self.factor_for(height, width)
        rows = self.height or max(1, round(height * factor))
        columns = self.width or max(1, round(width * factor))
        return rows, columns

    def factor_for(self, height: int, width: int) -> float:
        """How much larger the output is than the input, along the side that grows more."""
        ratios = [self.width / width] if self.width else []
        ratios += [self.height / height] if self.height else []
        return self.factor or max(ratios)


RESULT = Output()
"""The one output of most tasks: the restored picture, under the output's own name."""


@dataclass(frozen=True)
class ModelSpec:
    """Requirements and promises of one network or engine.

    Attributes:
        task: what it restores, a key of `restore.tasks` ("denoise").
        paper: the source, with a link; "" for an own design.
        inputs: names of the pictures it takes at once, all of one size.
        window: frames of a sequence it takes, odd, the wanted one in the middle; more than 1 needs one input.
        outputs: the pictures it gives back, the main one first.
        heads: pictures of the main output that a network gives at once, head-major along its channels; `channels` of
            that output counts all of them (`restore.models.heads`). An engine has an output for each.
        conditions: what it takes beside the pictures, each a keyword of the network's `forward`:
            "noise_level" (std of the noise in units of [0, 1], B x 1 x H x W or B x 1 x 1 x 1),
            "psf" (B x 1 x h x w, sum 1).
        standardised: it wants every channel with mean 0 and std 1 over the whole picture.
        residual: it has a method `residual` (arguments as `forward`): what `forward` adds to the picture.
        blind: its output at a pixel never depends on the input at that pixel.
        channels: colour channels it works on; None means any number.
        scale: output side / input side, an integer.
        reduction: instead of that, input side / output side, of "whole" pictures only: their outputs are smaller, and
            what is left of a side below a multiple of it is cut off.
        size: of the outputs in files, where it is another than `scale` makes it; they are resampled.
        multiple_of: input sides and tile origins must be multiples of this (strides, unshuffles, windows).
        min_size: smallest input side in pixels; smaller pictures are padded.
        radius: structural receptive radius in input pixels (worst phase); 0 for pixel-wise engines.
        tiling: "exact" (finite radius: tiled equals untiled), "rows" (exact, but every tile must be as wide as the
            picture), "local" (statistics or a radius too large for exact tiles: overlapping tiles are blended),
            "whole" (must see the picture at once).
        overlap: least overlap of "local" tiles, px; 0 leaves it to the tiler.
        dtypes: compute types it stays accurate in; float32 always works.
        parameters: number of learned parameters; 0 without weights.

    Raises `ConfigError` for facts that describe no network.
    """

    task: str
    paper: str = ""
    inputs: tuple[str, ...] = ("picture",)
    window: int = 1
    outputs: tuple[Output, ...] = (RESULT,)
    heads: int = 1
    conditions: tuple[str, ...] = ()
    standardised: bool = False
    residual: bool = False
    blind: bool = False
    channels: int | None = None
    scale: int = 1
    reduction: int = 1
    size: OutputSize | None = None
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

    def base(self, x: Tensor) -> Tensor:
        """The one picture that a residual is added to, of B x (N C) x H x W: of several inputs the first, of a window
        the one in the middle."""
        return x if self.pictures == 1 else x.chunk(self.pictures, 1)[self.window // 2]

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the outputs in files, for inputs of so many."""
        if self.size:
            return self.size.of(height, width)
        return max(1, self.scaled(height)), max(1, self.scaled(width))

    def scaled(self, length: int) -> int:
        """What becomes of so many input pixels along a side, by `scale` or `reduction`."""
        return length * self.scale // self.reduction

    def __post_init__(self) -> None:
        names = {"inputs": self.inputs, "conditions": self.conditions, "dtypes": self.dtypes}
        for field, value in names.items():
            if not isinstance(value, tuple) or not all(isinstance(name, str) for name in value):
                raise _unusable(f"{field} is {value!r}", "Give a tuple of names")
        if not isinstance(self.outputs, tuple) or not all(isinstance(each, Output) for each in self.outputs):
            raise _unusable(f"outputs is {self.outputs!r}", "Give a tuple of restore.models.spec.Output")
        names = {"inputs": self.inputs, "outputs": tuple(each.name for each in self.outputs)}
        for field, value in names.items():
            if not value or max(Counter(value).values()) > 1:
                raise _unusable(f"{field} are named {value!r}", "Give one name or more, all different")
        if self.window < 1 or self.window % 2 == 0 or (self.window > 1 and len(self.inputs) > 1):
            what = f"window is {self.window} with {len(self.inputs)} inputs"
            raise _unusable(what, "Give an odd number; more than 1 only with one input")
        least_of = {
            "heads": 1, "scale": 1, "reduction": 1, "multiple_of": 1, "min_size": 1, "radius": 0,
            "overlap": 0,
        }  # fmt: skip
        for field, least in least_of.items():
            if getattr(self, field) < least:
                raise _unusable(f"{field} is {getattr(self, field)}", f"Give {least} or more")
        main = self.outputs[0].channels
        if self.heads > 1 and (main is None or main % self.heads):
            what = f"heads is {self.heads}, the main output has {main or 'any number of'} channels"
            raise _unusable(what, "Give the output the channels of all heads together")
        if self.tiling not in get_args(Tiling):
            raise _unusable(f"tiling is {self.tiling!r}", f"Give {', '.join(get_args(Tiling))}")
        if self.reduction > 1 and (self.tiling != "whole" or self.scale > 1):
            what = f"reduction is {self.reduction} with tiling {self.tiling!r} and scale {self.scale}"
            raise _unusable(what, 'Only tiling "whole" with scale 1 gives outputs smaller than their inputs')
        if self.residual and (self.scale > 1 or self.reduction > 1 or len(self.outputs) > 1):
            raise _unusable("residual is true", "Only one output of the input's size is a sum with the input")


def spec_of(net: nn.Module) -> ModelSpec:
    """A network's own spec. Raises `ConfigError` if it has none, or one that describes no network."""
    describe = getattr(net, "spec", None)
    spec = describe() if callable(describe) else None
    if not isinstance(spec, ModelSpec):
        fix = "Give the class a method spec() -> restore.models.spec.ModelSpec"
        raise ConfigError(f"{type(net).__name__} does not say what it needs", fix=fix)
    return spec


def _unusable(what: str, fix: str) -> ConfigError:
    return ConfigError(f"this spec describes no network: {what}", fix=fix)
