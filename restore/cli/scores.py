"""The figures of `restore eval` and `restore score` as tables and as JSON, with their conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from restore.cli.console import one_line, put
from restore.errors import ExitCode
from restore.metrics.table import METRICS

if TYPE_CHECKING:
    from restore.degradations.cases import Case
    from restore.evaluation.protocol import EvaluationProtocol
    from restore.evaluation.run import Result, Summary


def describe(case: Case | None) -> str:
    """A case in words; None: really damaged pictures."""
    return "really damaged pictures and their truth" if case is None else case.describe()


def put_case(result: Result, names: Sequence[str], *, brief: bool, damaged: bool) -> None:
    """Input beside output, picture by picture; then the means, the worst picture and the time."""
    from restore.evaluation.run import INPUT, summarise

    summaries = summarise(result.rows)
    methods = [summary.method for summary in summaries]
    labels = [(name, method) for name in names for method in methods]

    def line(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
        return [_number(scores.get(method, {}).get(name), name) for name, method in labels]

    pictures: dict[str, dict[str, dict[str, float]]] = {}
    for row in result.rows:
        pictures.setdefault(row.picture, {})[row.method] = row.scores
    rows = [] if brief else [[one_line(picture), *line(scores)] for picture, scores in pictures.items()]
    rows.append([f"mean of {len(pictures)}", *line({summary.method: summary.means for summary in summaries})])
    _put_table(["picture", *(f"{name} {method}" for name, method in labels)], rows)
    for each in summaries:
        if each.method != INPUT:
            worst = _worst(each, pictures, names, damaged=damaged) if each.worst else ""
            put(f"{each.method}: {worst}{each.seconds_per_megapixel:.2f} CPU s/MP")


def _worst(
    summary: Summary, pictures: Mapping[str, Mapping[str, Mapping[str, float]]], names: Sequence[str], *, damaged: bool
) -> str:
    """The picture that gained least, by the metric that decides it; a picture without damage has nothing to gain."""
    name = next(name for name in names if METRICS[name].reference)
    value = _number(pictures[summary.worst][summary.method][name], name)
    gains = f", {summary.least_gain:+.2f} over its input, best {summary.greatest_gain:+.2f}" if damaged else ""
    return f"worst picture {one_line(summary.worst)}: {name} {value}{gains}; "


def put_scores(title: str, rows: Sequence[tuple[str, Mapping[str, float]]], names: Sequence[str]) -> None:
    """One line a picture, one column a metric."""
    _put_table(
        [title, *(f"{name} {METRICS[name].unit}".strip() for name in names)],
        [[one_line(label), *(_number(scores.get(name), name) for name in names)] for label, scores in rows],
    )


def _put_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from restore.report.table import markdown

    put(markdown(header, rows))


def _number(value: float | None, name: str) -> str:
    return "-" if value is None else f"{value:.{METRICS[name].digits}f}"


def put_choices(names: Sequence[str], *, border: int, rounded: bool) -> None:
    """How the numbers came about: every convention."""
    for name, text in conventions(names).items():
        put(f"{name}: {text}")
    depth = "clipped and rounded to 8 bits" if rounded else "compared at full depth"
    put(f"pictures {depth}, {border} px left out on each side" if border else f"pictures {depth}, no border left out")


def conventions(names: Sequence[str]) -> dict[str, str]:
    """Of metrics by full name, in words."""
    return {name: f"{METRICS[name].convention}; {METRICS[name].better} is better" for name in names}


def json_of(
    cases: Mapping[str, Case | None],
    results: Mapping[str, Result],
    protocol: EvaluationProtocol,
    what: Mapping[str, str],
) -> dict[str, Any]:
    """All of an evaluation as plain data."""
    from restore.evaluation.run import summarise

    return {
        "command": "eval",
        "methods": dict(what),
        "conventions": conventions(protocol.metrics),
        "protocol": {name: value for name, value in asdict(protocol).items() if name != "cases"},
        "cases": {
            name: {
                "what": describe(case),
                "summary": [each.as_dict() for each in summarise(results[name].rows)],
                "rows": [asdict(row) for row in results[name].rows],
                "failures": [asdict(each) for each in results[name].failures],
            }
            for name, case in cases.items()
        },
    }


def code_of(failed: int, any_done: bool) -> ExitCode:
    """The exit code after so many failures."""
    if not any_done:
        return ExitCode.NOTHING_RAN
    return ExitCode.SOME_FAILED if failed else ExitCode.OK
