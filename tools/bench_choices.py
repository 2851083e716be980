"""What the automatic choices lose against their own methods, and against leaving pictures as they are.

    python tools/bench_choices.py denoise photos1280 --pairs PolyU_crops
    python tools/bench_choices.py deconv photos1280 --json deconv.json
    python tools/bench_choices.py upscale photos1280 --metric lite0_distance
    python tools/bench_choices.py denoise photos1280 --only halftone --quick

Situations and their levels are those of `choice_situations.py`; pictures are spread over every tenth of the folder in
the order of names, which no training takes, middle crops of 256 px each. Every trial goes through `restore.load(task)`
("auto"), each own method, and "input", which leaves it as it is, plainly enlarged where the task enlarges.

dB are at most 50, against the truth at the truth's own white. Best is the best of a trial's auto, input, and own
methods; regret is best minus auto. A method that takes over three times auto's CPU time at the middle levels of the
first picture is run there alone, left out of best, and reported apart. `--quick` stops after those,
and Ctrl-C anywhere: pictures come one after the other, and the tables are of what is done.

A task joins by one entry of `TASKS`; another version of the program by PYTHONPATH.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import choice_situations
import cv2
import torch
from choice_situations import Level, Situation, Trial
from measured import PSNR, facts

import restore
from restore.api import Restorer
from restore.degradations.cases import Array
from restore.errors import RestoreError
from restore.evaluation.protocol import EvaluationProtocol
from restore.evaluation.run import INPUT
from restore.evaluation.samples import Source, clean_sources, paired_sources
from restore.io.tensors import to_unit
from restore.metrics.pixel import psnr
from restore.metrics.table import METRICS, measure
from restore.physics.resample import enlarge
from restore.picture import Picture, ValueScale
from restore.report.table import markdown

AUTO = "auto"
CAP = 50.0  # dB
SLOW = 3.0  # times auto's time
BELOW = 0.1  # of the metric, under the input
HOLDOUT = 10  # of so many pictures one is in no training
ENDINGS = ("_real", "_mean")


@dataclass(frozen=True)
class Bench:
    """A task.

    Attributes:
        situations: by name.
        methods: its own, by name: keywords of `restore.load`.
        pictures: how many, so that all tasks together take 20 minutes on one slow core.
    """

    situations: Mapping[str, Situation]
    methods: Mapping[str, Mapping[str, Any]]
    pictures: int


def _plain(*methods: str) -> dict[str, dict[str, Any]]:
    return {method: {"method": method} for method in methods}


TASKS = {
    "denoise": Bench(
        choice_situations.DENOISE,
        {
            **{name: {"method": "network", "weights": name} for name in ("denoise", "denoise_white")},
            **_plain("zero-shot"),
            "zero-shot, quality": {"method": "zero-shot", "preset": "quality"},
            **{name: {"method": "classical", "algorithm": name} for name in ("nlm", "wavelet", "opencv-nlm")},
        },
        pictures=6,
    ),
    "deconv": Bench(
        choice_situations.DECONV,
        {
            "infwide": {"method": "infwide", "weights": "deconv"},
            "infwide, low light": {"method": "infwide", "weights": "deconv_low_light"},
            **_plain("pnp", "hyper-laplacian", "rl-tv", "rl", "wiener"),
        },
        pictures=4,
    ),
    "deblur": Bench(choice_situations.DEBLUR, _plain("psf", "network"), pictures=4),
    "upscale": Bench(choice_situations.UPSCALE, _plain("fidelity", "gan", "real"), pictures=6),
}


@dataclass(frozen=True)
class Row:
    """What a method made of a trial.

    Attributes:
        seconds: of the CPU.
        first: the trial is of the middle levels of the first picture, which say what is slow.
        took: what auto decided.
    """

    situation: str
    level: Level
    picture: str
    method: str
    score: float
    seconds: float = 0.0
    first: bool = False
    took: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trial(self) -> tuple[str, Level, str]:
        return self.situation, self.level, self.picture


@dataclass(frozen=True)
class Case:
    """A trial's scores by method, slow ones left out, as gains: more is better."""

    situation: str
    level: Level
    picture: str
    scores: Mapping[str, float]

    @property
    def best(self) -> float:
        return max(self.scores.values())

    @property
    def regret(self) -> float:
        return self.best - self.scores[AUTO]

    @property
    def harmed(self) -> bool:
        return self.scores[AUTO] < self.scores[INPUT] - BELOW


def spread(number: int, items: Sequence[Any]) -> list[Any]:
    """So many of them, evenly over all, the first included; fewer where there are no more."""
    number = min(number, len(items))
    return [items[round(i * len(items) / number)] for i in range(number)]


def thirds(items: Sequence[Any], key: Callable[[Any], float]) -> list[list[Any]]:
    """Three groups of rising key."""
    ordered = sorted(items, key=key)
    cuts = [round(i * len(ordered) / 3) for i in range(4)]
    return [ordered[a:b] for a, b in pairwise(cuts)]


def pixels_of(path: Path) -> Array:
    picture = restore.read(path)
    return picture.pixels[..., : picture.info.channels]


def real_trials(folder: Path, pictures: int) -> list[list[tuple[str, Trial]]]:
    """(name, trial) of real pairs, thirds by how far the noisy crop lies from its truth."""
    sources = paired_sources({"picture": folder}, folder, ENDINGS, EvaluationProtocol())[0]
    trials = [(source.name, _real(source)) for source in sources]
    return [spread(pictures, third) for third in thirds(trials, lambda each: -score(PSNR, each[1].damaged, each[1]))]


def _real(source: Source) -> Trial:
    side = choice_situations.SIDE
    damaged, truth = (choice_situations.middle(pixels_of(each), side) for each in (source.damaged["picture"],
                                                                                  source.truth))  # fmt: skip
    return Trial(damaged=damaged, truth=truth)


Made = tuple[str, Level, str, Trial]


def trials(
    situations: Mapping[str, Situation], sources: Sequence[Source], pictures: int, pairs: Path | None
) -> Iterator[tuple[bool, Made]]:
    """(whether it is of the middle levels of the first picture, (situation, level, picture, trial)), those first."""
    situations = {name: each for name, each in situations.items() if each.make or pairs}
    real = real_trials(pairs, pictures) if pairs and not all(each.make for each in situations.values()) else []
    chosen = spread(pictures, sources)
    for first in (True, False):
        for number, source in enumerate(chosen[: 1 if first else None]):
            picture = pixels_of(source.truth)
            for name, situation in situations.items():
                for rank, level in enumerate(situation.levels):
                    if first != (number == 0 and rank == len(situation.levels) // 2):
                        continue
                    if situation.make:
                        yield first, (name, level, source.name, situation.make(picture, level, number))
                    elif number < len(real[rank]):
                        yield first, (name, level, *real[rank][number])


def score(metric: str, pixels: Array, trial: Trial) -> float:
    x, y = (to_unit(each, ValueScale(white=trial.white)) for each in (pixels, trial.truth))
    if x.shape[-1] < y.shape[-1]:
        x = enlarge(x, y.shape[-1] // x.shape[-1])
    if metric == PSNR:
        return float(psnr(x, y, border=trial.border, ceiling=CAP))
    return float(measure([metric], x, y, border=trial.border)[metric])


def measured(
    task: str, methods: Mapping[str, Mapping[str, Any]], metric: str, made: Iterator[tuple[bool, Made]]
) -> Iterator[list[Row]]:
    """The rows of one trial after the other: the input, auto, and the methods that are not slow."""
    start: list[Row] = []
    for first, (situation, level, picture, trial) in made:
        rows = [Row(situation, level, picture, INPUT, score(metric, trial.damaged, trial), first=first)]
        slow = set() if first else slow_ones(start)
        for name in (name for name in (AUTO, *methods) if name not in slow):
            try:
                pixels, seconds, took = timed(restore.load(task, **methods.get(name, {}), **trial.options), trial)
            except RestoreError as error:
                if name == AUTO:
                    raise
                _say(f"# {situation}, {level}: {name} is left out, {error}")
                continue
            took = took if name == AUTO else {}
            rows.append(Row(situation, level, picture, name, score(metric, pixels, trial), seconds, first, took))
        start += rows if first else []
        yield rows


def timed(restorer: Restorer, trial: Trial) -> tuple[Array, float, dict[str, Any]]:
    """(main output, CPU seconds, what was decided)"""
    start = time.process_time()
    result = restorer.restore(Picture.from_array(trial.damaged, alpha=False))
    return result.picture.pixels, time.process_time() - start, dict(result.decisions)


def slow_ones(rows: Sequence[Row]) -> set[str]:
    """Methods that took over three times auto's time on the first trials."""
    seconds = seconds_of([row for row in rows if row.first])
    return {name for name, each in seconds.items() if each > SLOW * seconds[AUTO]}


def seconds_of(rows: Sequence[Row]) -> dict[str, float]:
    """Mean of each method."""
    names = dict.fromkeys(row.method for row in rows)
    return {name: fmean(row.seconds for row in rows if row.method == name) for name in names}


def cases(rows: Sequence[Row], sign: int = 1) -> list[Case]:
    """One of each trial.

    Args:
        sign: -1 where less is better.
    """
    kept: dict[tuple[str, Level, str], dict[str, float]] = {}
    slow = slow_ones(rows)
    for row in (row for row in rows if row.method not in slow):
        kept.setdefault(row.trial, {})[row.method] = sign * row.score
    return [Case(*key, scores) for key, scores in kept.items()]


def regret_table(cases: Sequence[Case], sign: int = 1) -> str:
    """A line for each situation, all together last."""
    names = dict.fromkeys(case.situation for case in cases)
    lines = [_line(name, [case for case in cases if case.situation == name], sign) for name in names]
    heads = ["trials", "input", "auto", "best", "mean regret", "worst regret", "where", "below the input"]
    return markdown(["situation", *heads], [*lines, _line("all", cases, sign)])


def _line(name: str, cases: Sequence[Case], sign: int) -> list[str]:
    worst = max(cases, key=lambda case: case.regret)
    means = [fmean(case.scores[INPUT] for case in cases), fmean(case.scores[AUTO] for case in cases)]
    means.append(fmean(case.best for case in cases))
    where = f"{worst.situation} {worst.level}" if name == "all" else str(worst.level)
    return [
        name, str(len(cases)), *(f"{sign * mean:.2f}" for mean in means), f"{fmean(case.regret for case in cases):.2f}",
        f"{worst.regret:.2f}", where, str(sum(case.harmed for case in cases)),
    ]  # fmt: skip


def method_table(rows: Sequence[Row], sign: int = 1) -> str:
    """Means of each method over its trials, how often it was the best one, and its time; slow ones apart."""
    seconds, all_cases, slow = seconds_of(rows), cases(rows, sign), slow_ones(rows)
    lines = []
    for name in (name for name in seconds if name not in slow):
        means = fmean(case.scores[name] for case in all_cases if name in case.scores)
        wins = sum(case.scores.get(name) == case.best for case in all_cases)
        lines.append([name, f"{sign * means:.2f}", str(wins), f"{seconds[name]:.2f}"])
    for name in (name for name in seconds if name in slow):
        own = {row.trial: row for row in rows if row.method == name}
        auto = fmean(row.score for row in rows if row.method == AUTO and row.trial in own)
        mean = fmean(row.score for row in own.values())
        lines.append([f"{name} (slow: {len(own)} trials, auto {auto:.2f})", f"{mean:.2f}", "", f"{seconds[name]:.2f}"])
    return markdown(["method", "mean", "best or as good", "CPU s"], lines)


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("folder", type=Path, help="of photographs, every tenth of which is taken")
    parser.add_argument("--pairs", type=Path, help=f"folder of real pairs whose names end in {' and '.join(ENDINGS)}")
    parser.add_argument("--only", default="", help="situations whose name contains this")
    parser.add_argument("--metric", default=PSNR, help="of `restore eval`, which compares with the truth")
    parser.add_argument("--pictures", type=int, help="how many")
    parser.add_argument("--quick", action="store_true", help="the middle levels of the first picture")
    parser.add_argument("--json", type=Path, help="file for every score")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    bench, sign = TASKS[args.task], 1 if METRICS[args.metric].better == "higher" else -1
    situations = {name: each for name, each in bench.situations.items() if args.only in name}
    sources = clean_sources(args.folder, EvaluationProtocol(every=HOLDOUT))
    made = trials(situations, sources, args.pictures or bench.pictures, args.pairs)
    made = (each for each in made if each[0] or not args.quick)
    rows: list[Row] = []
    with suppress(KeyboardInterrupt):
        for found in measured(args.task, bench.methods, args.metric, made):
            rows += found
            _say(f"# {found[0].trial}: " + ", ".join(f"{row.method} {row.score:.2f}" for row in found))
    print("\n" + regret_table(cases(rows, sign), sign) + "\n\n" + method_table(rows, sign))
    if args.json:
        known = facts() | {"task": args.task, "metric": args.metric, "slow": sorted(slow_ones(rows))}
        args.json.write_text(json.dumps(known | {"rows": [asdict(row) for row in rows]}, indent=1, default=str))


if __name__ == "__main__":
    main()
