"""The engine contract: whatever answers a task — a network, a classical filter, a fit on the picture itself.

    condition = engine.prepare(sources, options)       # the only step that sees whole pictures, streamed
    outputs = engine(x, condition, places)             # pure, per tile: B x N x C x H x W -> {name: B x C_m x sH x sW}

N counts the spec's named inputs, or the frames of its window. Everything that is not spatial (noise curve, PSF,
fitted weights, value scale) is in the condition, determined once and never per tile. A condition may be prepared from
one picture and applied to others (a clip that is measured once).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Protocol

import torch

from restore.analysis.colours import Kept
from restore.io.calibration import scaled
from restore.io.metadata import described
from restore.models.spec import ModelSpec, Output
from restore.picture import Metadata, PictureInfo, PictureSource, ValueScale

Scope = Literal["picture", "clip", "folder"]
Outputs = Mapping[str, torch.Tensor]


class NotedOutputs(dict[str, torch.Tensor]):
    """Outputs of a tile, and what the user should know about how they were made.

    Args:
        notes: warnings; the runner reports each text once for a picture.
    """

    def __init__(self, outputs: Outputs, notes: Sequence[str] = ()) -> None:
        super().__init__(outputs)
        self.notes = tuple(notes)


class Place(NamedTuple):
    """Where a tile lies in the whole picture, in input pixels.

    Attributes:
        top, left: of the tile's first pixel.
        height, width: of the whole picture; a tile may reach beyond it (padding to `multiple_of`).
    """

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class EngineOptions:
    """What every engine is given beside the pictures; a method's own options are given when it is built.

    Attributes:
        seed: seed of anything random in the engine; None derives it from pixels and settings.
        device: torch device that fits run on and tiles will be on.
        progress: called with the finished share (0..1) of a preparation that takes long, such as a fit.
    """

    seed: int | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    progress: Callable[[float], None] | None = None


@dataclass(frozen=True)
class Condition:
    """What `prepare` determined about the pictures.

    Attributes:
        scale: value range of the pictures.
        data: the engine's own results, opaque to the runner.
        decisions: what was measured or chosen, in the order of the report to the user ("noise": "sigma 12.1, white").
        spec: the spec for these pictures, where it depends on what was measured (a larger radius for stronger
            noise); None means the engine's.
        cost: what the memory of a tile depends on beside the engine, such as a method chosen by what was measured;
            conditions of equal cost share one measurement.
        scope: what it holds for: the one picture, every frame of a clip, every picture of a folder.
        kept: what of the pictures is left as it is (`restore.analysis.colours`).
        noise_level: std of the noise of the pictures, 8-bit units, where it was measured: by how much frames that show
            the same may differ.
        accept: is given the header of every file that will be written, before anything is computed: gives decisions
            and warnings about it, or raises.
    """

    scale: ValueScale = field(default_factory=ValueScale)
    data: Any = None
    decisions: dict[str, str] = field(default_factory=dict)
    spec: ModelSpec | None = None
    cost: str = ""
    scope: Scope = "picture"
    kept: Kept = field(default_factory=Kept)
    noise_level: float = 0.0
    accept: Callable[[PictureInfo], tuple[dict[str, str], list[str]]] | None = None


class Engine(Protocol):
    """Whatever answers a task: `prepare` sees whole pictures once, a call restores one tile by the condition it made.

    `fingerprint` names everything that shapes the output besides input and run options (method and its options,
    sha256 of weights): engines with equal fingerprints give equal bytes.
    """

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def fingerprint(self) -> str: ...

    def cast(self, dtype: torch.dtype, device: torch.device) -> Engine:
        """The same engine computing in `dtype` on `device`; `self` is left as it was. Called once for a run.

        Tiles arrive and leave in float32 whatever the compute type, so that a 16-bit picture does not
        pass through a type that cannot hold it.
        """
        ...

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        """Measure the pictures, given by input name; the wanted frame of a window is the first input."""
        ...

    def __call__(self, x: torch.Tensor, condition: Condition, places: Sequence[Place]) -> Outputs: ...


def output_info(info: PictureInfo, output: Output, spec: ModelSpec) -> PictureInfo:
    """The header of an output of a picture like `info`; alpha stays with the outputs that are versions of it."""
    height, width = spec.output_size(info.height, info.width)
    metadata = info.metadata
    if metadata.calibration is not None and (height, width) != (info.height, info.width):
        calibrated = scaled(metadata.calibration, info.height, info.width, height, width)
        metadata = replace(metadata, calibration=calibrated)
    info = replace(
        info, metadata=metadata, height=height, width=width,
        channels=output.channels_of(info.channels), alpha=info.alpha and output.mixes,
    )  # fmt: skip
    if output.bits is not None:
        info = replace(info, dtype="uint8", bits=output.bits)
    if output.about:
        metadata = Metadata(xmp=described(output.about), dpi=metadata.dpi, calibration=metadata.calibration)
        info = replace(info, metadata=metadata)
    return info


class Unchanged:
    """The engine that returns its (first) input: what strength 0 means, and what the tiler is tested with.

    Args:
        like: the spec whose inputs, window and outputs it has.
    """

    fingerprint = "unchanged"

    def __init__(self, like: ModelSpec | None = None) -> None:
        like = like or ModelSpec("none")
        self.spec = ModelSpec("none", inputs=like.inputs, window=like.window, outputs=like.outputs)

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        return Condition(ValueScale.nominal(next(iter(sources.values())).info))

    def cast(self, dtype: torch.dtype, device: torch.device) -> Unchanged:
        return self

    def __call__(self, x: torch.Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        return {output.name: x[:, self.spec.window // 2] for output in self.spec.outputs}
