"""A toy task with an evaluation of its own: twice as large, two outputs, an option for each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from torch import Tensor

from restore.degradations.cases import Array, Case, CaseSample
from restore.inference.engine import Condition, EngineOptions, Outputs, Place
from restore.models.spec import RESULT, ModelSpec, Output
from restore.options import Number, Options
from restore.picture import PictureSource, ValueScale
from restore.tasks import Method, Task


@dataclass(frozen=True)
class GainOptions(Options):
    gain: Annotated[float, Number(1, 8)] = 1.0
    """How much brighter."""


@dataclass(frozen=True)
class ScaleOptions(Options):
    scale: Annotated[float, Number(1, 16)] = 4.0
    """How much larger."""


class Repeated:
    """Every pixel scale x scale times."""

    def __init__(self, options: ScaleOptions) -> None:
        self.spec = ModelSpec("repeated", scale=int(options.scale))
        self.fingerprint = f"repeated {options.scale:g}"

    def cast(self, dtype: Any, device: Any) -> Repeated:
        return self

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        return Condition(ValueScale.nominal(sources["picture"].info))

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        return {"result": x[:, 0].repeat_interleave(self.spec.scale, -2).repeat_interleave(self.spec.scale, -1)}


class LargeAndGrey:
    """Every pixel four times and brighter; beside it the same in grey."""

    spec = ModelSpec("large", scale=2, outputs=(RESULT, Output("grey", "grey", channels=1, mixes=False)))

    def __init__(self, options: GainOptions) -> None:
        self.gain, self.fingerprint = options.gain, f"large {options.gain:g}"

    def cast(self, dtype: Any, device: Any) -> LargeAndGrey:
        return self

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        return Condition(ValueScale.nominal(sources["picture"].info))

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        large = self.gain * x[:, 0].repeat_interleave(2, -2).repeat_interleave(2, -1)
        return {"result": large, "grey": large.mean(1, keepdim=True)}


@dataclass(frozen=True, kw_only=True)
class SmallCase(Case):
    """Each second row and column, `dark` times darker; picture i is darker by i more."""

    dark: int
    judged: str = "result"
    given: bool = True
    """Whether the method is given the gain."""

    def describe(self) -> str:
        return f"half the size, {self.dark} times darker"

    def options(self, index: int) -> dict[str, Any]:
        return {"gain": float(self.dark + index)} if self.given else {}

    def make(self, pictures: Sequence[Array], index: int) -> CaseSample:
        clean = pictures[0]
        targets = {"result": clean, "grey": clean[..., :1]}
        small = np.rint(clean[::2, ::2] / (self.dark + index)).astype(clean.dtype)
        return CaseSample(inputs={"picture": small}, targets={self.judged: targets[self.judged]})


@dataclass(frozen=True, kw_only=True)
class MeanCase(Case):
    """Two consecutive pictures in; their mean is wanted."""

    pictures = 2

    def describe(self) -> str:
        return "two pictures"

    def make(self, pictures: Sequence[Array], index: int) -> CaseSample:
        first, second = pictures
        mean = np.rint((first.astype(float) + second) / 2).astype(np.uint8)
        return CaseSample(inputs={"second": second, "first": first}, targets={"": mean})


_HERE = "tests.evaluation.toys"
TASKS = {
    "large": Task(
        "Toy: larger.", "large", {"plain": Method(f"{_HERE}:LargeAndGrey", f"{_HERE}:GainOptions")},
        cases=f"{_HERE}:SmallCase",
    ),
    "repeated": Task(
        "Toy: larger.", "large", {"plain": Method(f"{_HERE}:Repeated", f"{_HERE}:ScaleOptions")},
        cases="restore.degradations.upscale_cases:UpscaleCase",
    ),
    "both": Task(
        "Toy: mean.", "mean", {"toy": Method("tests.toys:Mean", "tests.toys:NoOptions")}, inputs=("first", "second"),
        cases=f"{_HERE}:MeanCase",
    ),
    "caseless": Task("Toy.", "large", {"plain": Method(f"{_HERE}:LargeAndGrey", f"{_HERE}:GainOptions")}),
    "wrong": Task("Toy.", "large", {}, cases=f"{_HERE}:LargeAndGrey"),
}  # fmt: skip
