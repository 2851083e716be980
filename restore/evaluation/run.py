"""A protocol over pictures and methods, side by side: rows, failures, and their summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from restore.degradations.cases import Array, Case
from restore.errors import RestoreError, UnsupportedError
from restore.evaluation.methods import Method, TaskMethod
from restore.evaluation.pictures import data_range, to_unit_picture
from restore.evaluation.protocol import EvaluationProtocol
from restore.evaluation.samples import Sample, Source, read_sample
from restore.metrics.table import METRICS, measure, resolve

if TYPE_CHECKING:
    from torch import Tensor

INPUT = "input"
"""Name of the method that does nothing."""


@dataclass(frozen=True)
class Row:
    """A picture restored by a method.

    Attributes:
        scores: metric's full name -> value.
        seconds: CPU seconds of the method, all threads together.
    """

    picture: str
    method: str
    scores: dict[str, float]
    seconds: float
    megapixels: float


@dataclass(frozen=True)
class Failure:
    """What could not be measured, and why."""

    picture: str
    method: str
    why: str

    @classmethod
    def of(cls, picture: str, method: str, error: RestoreError) -> Failure:
        return cls(picture, method, str(error) if picture in str(error) else f"{picture}: {error}")


@dataclass
class Result:
    """All of a case."""

    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True)
class Summary:
    """A method over all pictures of a case.

    Attributes:
        means: metric -> mean over the pictures.
        worst, least_gain: the picture that gained least over its input by the first metric that compares, and how
            much (negative: it was made worse); "" and 0 for the input itself.
        greatest_gain: the most that one gained.
        seconds_per_megapixel: CPU seconds, all pictures together.
    """

    method: str
    pictures: int
    means: dict[str, float]
    worst: str
    least_gain: float
    greatest_gain: float
    seconds: float
    seconds_per_megapixel: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


Watch = Callable[[Row, Array], None]


def evaluate(
    sources: Sequence[Source],
    case: Case | None,
    methods: Mapping[str, Method | TaskMethod],
    protocol: EvaluationProtocol,
    watch: Watch = lambda row, pixels: None,
) -> Result:
    """Every source through every method. What fails is noted, and the rest goes on.

    Args:
        case: how sources are damaged; None for really damaged ones.
        methods: by name; the input itself is the first row of a picture, where it can be compared with the truth.
        watch: called with each row and its picture (H x W x C) as it comes.
    """
    result = Result()
    for source in sources:
        try:
            sample = read_sample(source, case, protocol.limit)
            scale = data_range(sample.truth)
            truth = to_unit_picture(sample.truth, scale)
        except RestoreError as error:
            result.failures.append(Failure.of(source.name, INPUT, error))
            continue
        for name, method in {INPUT: _input, **methods}.items():
            try:
                pixels, seconds = _restored(sample, method)
                x = to_unit_picture(pixels, scale)
                x = _enlarged(x, truth) if name == INPUT else x
                _require_alike(x, truth)
            except RestoreError as error:
                if name != INPUT:  # which of another kind than the truth has no row
                    result.failures.append(Failure.of(source.name, name, error))
                continue
            scores, failed = scores_of(protocol.metrics, x, truth, _with_border(protocol, sample))
            result.failures += [Failure.of(source.name, name, error) for error in failed]
            row = Row(source.name, name, scores, seconds, truth.shape[-1] * truth.shape[-2] / 1e6)
            result.rows.append(row)
            watch(row, pixels)
    return result


def _input(sample: Sample) -> Array:
    return sample.damaged


def _restored(sample: Sample, method: Method | TaskMethod) -> tuple[Array, float]:
    """(the output that is judged, CPU seconds without loading)"""
    run = method.loaded(sample) if isinstance(method, TaskMethod) else method
    start = time.process_time()
    outputs = run(sample)
    seconds = time.process_time() - start
    return _judged(outputs, sample.judged), seconds


def _judged(outputs: Array | Mapping[str, Array], name: str) -> Array:
    """The output of a name, or the main one."""
    if not isinstance(outputs, Mapping):
        return outputs
    if name and name not in outputs:
        raise UnsupportedError(f"the method gives no output {name!r}", fix=f"It gives {', '.join(outputs)}")
    return outputs[name] if name else next(iter(outputs.values()))


def _enlarged(x: Tensor, truth: Tensor) -> Tensor:
    """An input as strength 0 gives it: plainly enlarged where the truth is a whole number of times larger."""
    from restore.physics.resample import enlarge

    scale = truth.shape[-2] // x.shape[-2]
    fits = scale > 1 and truth.shape[-2:] == (scale * x.shape[-2], scale * x.shape[-1])
    return enlarge(x, scale) if fits else x


def _require_alike(x: Tensor, truth: Tensor) -> None:
    if x.shape != truth.shape:
        sizes = [f"{each.shape[-1]} x {each.shape[-2]} px in {each.shape[1]} channels" for each in (x, truth)]
        raise UnsupportedError(f"the result has {sizes[0]}, its truth {sizes[1]}", fix="Give the truth of this output")


def _with_border(protocol: EvaluationProtocol, sample: Sample) -> EvaluationProtocol:
    return replace(protocol, border=max(protocol.border, sample.border))


def scores_of(
    names: Sequence[str], x: Tensor, y: Tensor | None, protocol: EvaluationProtocol
) -> tuple[dict[str, float], list[RestoreError]]:
    """(values of the metrics by full name, why others have none) of one picture 1 x C x H x W."""
    scores, failed = {}, []
    for name in resolve(names):
        try:
            value = measure([name], x, y, border=protocol.border, rounded=protocol.rounded)[name]
        except RestoreError as error:
            failed.append(error)
        else:
            scores[name] = float(value[0])
    return scores, failed


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """One line a method, the input first."""
    names = list(dict.fromkeys(row.method for row in rows))
    inputs = {row.picture: row for row in rows if row.method == INPUT}
    return [_summary([row for row in rows if row.method == name], inputs) for name in names]


def _summary(rows: Sequence[Row], inputs: Mapping[str, Row]) -> Summary:
    metrics = list(dict.fromkeys(name for row in rows for name in row.scores))
    judge = next((name for name in metrics if METRICS[name].reference), None)
    gains = {}
    if judge and rows[0].method != INPUT:
        sign = 1 if METRICS[judge].better == "higher" else -1
        both = [row for row in rows if judge in row.scores and judge in getattr(inputs.get(row.picture), "scores", {})]
        gains = {row.picture: sign * (row.scores[judge] - inputs[row.picture].scores[judge]) for row in both}
    worst = min(gains, key=lambda picture: gains[picture], default="")
    seconds = sum(row.seconds for row in rows)
    return Summary(
        method=rows[0].method,
        pictures=len(rows),
        means={name: fmean(row.scores[name] for row in rows if name in row.scores) for name in metrics},
        worst=worst,
        least_gain=gains.get(worst, 0.0),
        greatest_gain=max(gains.values(), default=0.0),
        seconds=seconds,
        seconds_per_megapixel=seconds / sum(row.megapixels for row in rows),
    )
