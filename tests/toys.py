"""Toy tasks that take and give every kind of thing engines can; `RESTORE_TASKS=tests.toys` registers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.engines.network import NetworkEngine
from restore.inference.engine import Condition, EngineOptions, Outputs, Place
from restore.models.spec import RESULT, ModelSpec, Output
from restore.options import ExtraOutput, Number, Options
from restore.picture import PictureSource, ValueScale
from restore.tasks import Method, Task


@dataclass(frozen=True)
class NoOptions(Options):
    """None."""


@dataclass(frozen=True)
class SplitOptions(Options):
    """Of `split`."""

    spread: Annotated[bool | str, ExtraOutput()] = False
    """Also write the difference of the brightest and the darkest colour, grey."""


@dataclass(frozen=True)
class CountOptions(Options):
    """Of `between`."""

    count: Annotated[int, Number(1, 9, whole=True)] = 3
    """How many pictures to make."""


class Toy:
    """An engine without anything to measure."""

    def __init__(self, spec: ModelSpec, fingerprint: str) -> None:
        self.spec, self.fingerprint = spec, fingerprint

    def cast(self, dtype: torch.dtype, device: torch.device) -> Toy:
        return self

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        assert tuple(sources) == self.spec.inputs
        scale = ValueScale.nominal(next(iter(sources.values())).info)
        return Condition(scale, decisions={"method": self.fingerprint})


class Mean(Toy):
    """Two pictures in, their mean out."""

    def __init__(self, options: NoOptions) -> None:
        super().__init__(ModelSpec("mean", inputs=("first", "second")), "mean")

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        return {"result": x.mean(1)}


class Split(Toy):
    """Two outputs: the negative, and a grey map that strength does not touch."""

    def __init__(self, options: SplitOptions) -> None:
        spread = (Output("spread", "spread", channels=1, mixes=False),) if options.spread else ()
        super().__init__(ModelSpec("split", outputs=(RESULT, *spread)), f"split {bool(options.spread)}")

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        spread = x[:, 0].amax(1, keepdim=True) - x[:, 0].amin(1, keepdim=True)
        return {"result": 1 - x[:, 0], "spread": spread}


class Between(Toy):
    """Two pictures in, n out: mixtures from the first to the second."""

    def __init__(self, options: CountOptions) -> None:
        self._shares = [i / max(options.count - 1, 1) for i in range(options.count)]
        outputs = tuple(Output(f"step{i}", f"step{i}") for i in range(options.count))
        super().__init__(ModelSpec("between", inputs=("start", "end"), outputs=outputs), f"between {options.count}")

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        return {f"step{i}": torch.lerp(x[:, 0], x[:, 1], share) for i, share in enumerate(self._shares)}


class Window(Toy):
    """The mean of a frame and its two neighbours."""

    def __init__(self, options: NoOptions) -> None:
        super().__init__(ModelSpec("window", window=3), "window")

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        return {"result": x.mean(1)}


class Double(Toy):
    """Twice as large, every pixel four times."""

    def __init__(self, options: NoOptions) -> None:
        super().__init__(ModelSpec("double", scale=2), "double")

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        return {"result": F.interpolate(x[:, 0], scale_factor=2, mode="nearest")}


class Shade(Toy):
    """Darker towards the bottom right of the picture, blurred by 3 x 3 px: what it does depends on the place."""

    def __init__(self, options: NoOptions) -> None:
        super().__init__(ModelSpec("shade", radius=1), "shade")

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        shaded = []
        for tile, place in zip(x[:, 0], places, strict=True):
            rows = (place.top + torch.arange(tile.shape[-2])) / place.height
            columns = (place.left + torch.arange(tile.shape[-1])) / place.width
            shaded.append(tile * (1 - 0.4 * rows[:, None] - 0.3 * columns))
        return {"result": F.avg_pool2d(torch.stack(shaded), 3, 1, 1, count_include_pad=False)}


class Brighter(nn.Module):
    """A network with a condition: x + gain."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, gain: Tensor) -> Tensor:
        return self.weight * x + gain

    def spec(self) -> ModelSpec:
        return ModelSpec("brighter", channels=3, conditions=("gain",), parameters=1)


@dataclass(frozen=True)
class GainOptions(Options):
    """Of `brighter`."""

    gain: Annotated[float, Number(0, 1)] = 0.1
    """What is added, of 1."""


class BrighterEngine(NetworkEngine):
    """Gives its network the gain."""

    provides = ("gain",)

    def __init__(self, options: GainOptions) -> None:
        net = Brighter()
        super().__init__(net, net.spec(), "brighter", f"{options.gain}")
        self._gain = options.gain

    def conditions(self, x: Tensor, data: object, places: Sequence[Place]) -> dict[str, Tensor]:
        return {"gain": torch.full((len(x), 1, 1, 1), self._gain)}


def _task(name: str, engine: str, options: str = "NoOptions", **more: object) -> Task:
    method = Method(f"tests.toys:{engine}", f"tests.toys:{options}")
    return Task(f"Toy: {name}.", name, {"toy": method}, **more)  # type: ignore[arg-type]


TASKS = {
    "mean": _task("mean", "Mean", inputs=("first", "second")),
    "split": _task("split", "Split", "SplitOptions"),
    "between": _task("between", "Between", "CountOptions", inputs=("start", "end")),
    "window": _task("window", "Window"),
    "double": _task("double", "Double"),
    "shade": _task("shade", "Shade"),
    "brighter": _task("brighter", "BrighterEngine", "GainOptions"),
}
