"""`restore eval` and `restore score`: how good pictures are, in numbers with their conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from restore.cli.console import Bar, put, put_json, say, shown
from restore.cli.flags import HIDE
from restore.cli.options import Flag, number, one_of, parse_endings, reads
from restore.errors import ConfigError, ExitCode
from restore.metrics.table import METRICS, require_weights, resolve
from restore.options import INF

if TYPE_CHECKING:
    from restore.evaluation.protocol import Case, EvaluationProtocol
    from restore.evaluation.run import Method, Result, Summary
    from restore.evaluation.samples import Source
    from restore.training.settings import Settings

_Names = Annotated[tuple[str, ...], reads("NAME,NAME", lambda text: tuple(text.split(","))), HIDE]
_Endings = Annotated[tuple[str, str] | None, reads("DAMAGED,CLEAN", parse_endings("--pairs")), HIDE]
_Quiet = Annotated[bool, arg(aliases=["-q"], help_behavior_hint="")]
OURS = "restore"
"""Name of the method that is evaluated."""


@dataclass(frozen=True)
class Score:
    """Measure how near pictures are to their truth, or how natural they look: `score A [B]`."""

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="A [B]", help_behavior_hint="")] = ()
    """A picture or folder, and its truth: a picture, or a folder whose files have the same names but for their type.
    Without B: scores that need no truth."""
    metrics: _Names = ()
    """Which, separated by commas; by default psnr,ssim, or naturalness without B. Others: psnr_y, ssim_y, ms_ssim,
    ms_ssim_y, lite0_distance, lpips."""
    y: Flag = False
    """Compare luma (Y of BT.601) instead of RGB, where a metric has both forms."""
    border: Annotated[int, number("--border", int, 0, INF, "PIXELS")] = 0
    """Leave out so many pixels on each side."""
    rounded: Flag = False
    """Clip and round both to 8 bits first; by default they are compared at full depth."""
    pairs: _Endings = None
    """Ends of the names that differ between A and B: _real,_mean. B may then be left out, if both lie in one folder."""
    json: Flag = False
    """Print one JSON object."""
    debug: Flag = False
    """Show the traceback of the error that ended the program."""

    def run(self) -> int:
        from restore.evaluation.protocol import EvaluationProtocol
        from restore.evaluation.score import Scored, find_pairs, score

        if len(self.paths) not in (1, 2):
            raise ConfigError("restore score takes a picture and its truth", fix="restore score result.png truth.png")
        a, *rest = self.paths
        b = rest[0] if rest else a if self.pairs else None
        names = resolve(self.metrics or (("psnr", "ssim") if b else ("naturalness",)), luma=self.y)
        if b is None and any(METRICS[name].reference for name in names):
            raise ConfigError(f"{names[0]} compares with a truth", fix="Give two pictures, or --metrics naturalness")
        require_weights(names)
        pairs, strangers = find_pairs(a, b, self.pairs or ("", ""))
        if not pairs:
            why = "; ".join(strangers[:3])
            raise ConfigError("there is nothing to score", where=a, why=why, fix="Files are matched by their names")
        found: list[Scored] = []
        for each in score(pairs, names, EvaluationProtocol(rounded=self.rounded, border=self.border)):
            found.append(each)
            for problem in each.problems:
                say(f"restore: error: {problem}")
        for line in strangers:
            say(f"restore: error: {shown(line)}")
        choices = {"conventions": _conventions(names), "border": self.border, "rounded": self.rounded}
        means = {
            name: fmean(values) for name in names if (values := [s.scores[name] for s in found if name in s.scores])
        }
        code = _code(len(strangers) + sum(bool(each.problems) for each in found), any(each.scores for each in found))
        if self.json:
            put_json(
                {"command": "score", **choices, "pictures": [asdict(each) for each in found], "unpaired": strangers}
                | {"mean": means, "exit_code": int(code)}
            )
        else:
            _put_choices(names, border=self.border, rounded=self.rounded)
            rows = [(each.picture, each.scores) for each in found]
            _put_scores("picture", rows if len(rows) == 1 else [*rows, ("mean", means)], names)
        return code


@dataclass(frozen=True)
class Eval:
    """Run a config's evaluation protocol on your own pictures: `eval CONFIG FOLDER`."""

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="CONFIG FOLDER [CLEAN]", help_behavior_hint="")] = ()
    """A config (denoise/plain_unet, or a YAML file) and a folder of clean pictures, which the protocol damages; or a
    folder of really damaged pictures and one of their truth. Settings may follow: evaluation.border=4."""
    pairs: _Endings = None
    """Really damaged pictures and their truth, told apart by the ends of their names: _real,_mean."""
    cases: Annotated[str, reads("NAME,NAME", str), HIDE] = ""
    """Some of the protocol's cases only."""
    weights: Annotated[str | None, reads("NAME|FILE", str), HIDE] = None
    """Weights of a network: a name of the zoo or a .safetensors file; by default what plain `restore denoise` uses."""
    method: Annotated[str, one_of("--method", "auto", "zero-shot", "classical", "network")] = "auto"
    """The method to evaluate, as of the task's own command."""
    preset: Annotated[str | None, one_of("--preset", "fast", "quality"), HIDE] = None
    """Of the zero-shot method."""
    peer: _Names = ()
    """Methods to print beside it, from the same run: nlm, wavelet, opencv-nlm, zero-shot."""
    metrics: _Names = ()
    """Other metrics than the protocol's."""
    every: Annotated[int | None, number("--every", int, 1, INF), HIDE] = None
    """Take each n-th picture only; the index that seeds the noise counts all."""
    first: Annotated[int | None, number("--first", int, 0, INF), HIDE] = None
    """Take no more than so many pictures."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps, xpu."""
    threads: Annotated[int | None, number("--threads", int, 1, 4096), HIDE] = None
    """CPU threads; by default the physical cores this process may use."""
    brief: Flag = False
    """Leave out the rows of single pictures."""
    json: Flag = False
    """Print one JSON object."""
    quiet: _Quiet = False
    """Tell only errors, beside the result."""
    debug: Flag = False
    """Show the traceback of the error that ended the program."""

    def run(self) -> int:
        import torch

        from restore.cli.machine import usable_cores
        from restore.training.config import load_settings

        folders = [word for word in self.paths[1:] if "=" not in word]
        if not self.paths or len(folders) not in (1, 2):
            fix = "For example: restore eval denoise/plain_unet photos"
            raise ConfigError("restore eval takes a config and a folder of pictures", fix=fix)
        settings = load_settings(self.paths[0], [word for word in self.paths[1:] if word not in folders])
        protocol = self._protocol(settings)
        require_weights(protocol.metrics)
        threads = self.threads or usable_cores()
        torch.set_num_threads(threads)
        methods, told = self._methods(settings, threads)
        sources, cases, strangers = self._sources(folders, protocol)
        results = self._evaluate(sources, cases, methods, protocol)
        for line in strangers:
            say(f"restore: error: {shown(line)}")
        failed = len(strangers) + sum(len(result.failures) for result in results.values())
        code = _code(failed, any(result.rows for result in results.values()))
        if self.json:
            put_json(_json(cases, results, protocol, told) | {"unpaired": strangers, "exit_code": int(code)})
        else:
            self._put(cases, results, protocol, told)
        return code

    def _protocol(self, settings: Settings) -> EvaluationProtocol:
        changes = {"every": self.every, "first": self.first, "metrics": self.metrics or None}
        protocol = replace(settings.evaluation, **{name: value for name, value in changes.items() if value is not None})
        return replace(protocol, metrics=tuple(resolve(protocol.metrics)))

    def _methods(self, settings: Settings, threads: int) -> tuple[dict[str, Method], dict[str, str]]:
        """(methods by name, what each is in words)."""
        import restore
        from restore.evaluation.run import restoring
        from restore.inference.precision import resolve_device
        from restore.models import MODELS
        from restore.tasks import TASKS

        own = settings.model.name if self.weights and settings.model.name not in MODELS else None
        asked: dict[str, dict[str, Any]] = {
            OURS: {"method": self.method, "preset": self.preset, "weights": self.weights, "model": own}
        }
        for name in self.peer:
            is_method = name in TASKS[settings.task].methods
            asked[name] = {"method": name} if is_method else {"method": "classical", "algorithm": name}
        restorers = {name: restore.load(settings.task, device=self.device, **how) for name, how in asked.items()}
        device = resolve_device(self.device)
        told = {
            name: f"{restorer.engine.fingerprint}, {device}, {threads} threads" for name, restorer in restorers.items()
        }
        return {name: restoring(restorer) for name, restorer in restorers.items()}, told

    def _sources(
        self, folders: Sequence[str], protocol: EvaluationProtocol
    ) -> tuple[list[Source], dict[str, Case], list[str]]:
        """(pictures, cases, files without a partner)."""
        from restore.evaluation.protocol import Case
        from restore.evaluation.samples import clean_sources, paired_sources

        if len(folders) == 1 and self.pairs is None:
            return clean_sources(folders[0], protocol), protocol.choose(self.cases), []
        if self.cases:
            raise ConfigError(
                "--cases are ways to damage clean pictures; these are damaged already", fix="Leave it out"
            )
        sources, strangers = paired_sources(folders[0], folders[-1], self.pairs or ("", ""), protocol)
        return sources, {"pairs": Case()}, strangers

    def _evaluate(
        self,
        sources: Sequence[Source],
        cases: Mapping[str, Case],
        methods: Mapping[str, Method],
        protocol: EvaluationProtocol,
    ) -> dict[str, Result]:
        from restore.evaluation.run import evaluate

        results, total = {}, len(cases) * len(sources) * (1 + len(methods))
        done = 0
        with Bar(quiet=self.quiet) as bar:
            for name, case in cases.items():
                bar.start(name)

                def watch(row: Any, pixels: Any) -> None:
                    nonlocal done
                    done += 1
                    bar.update(done / total)

                results[name] = evaluate(sources, case, methods, protocol, watch)
                for failure in results[name].failures:
                    say(f"restore: error: {name}, {failure.method}: {shown(failure.why)}")
        return results

    def _put(
        self,
        cases: Mapping[str, Case],
        results: Mapping[str, Result],
        protocol: EvaluationProtocol,
        told: Mapping[str, str],
    ) -> None:
        from restore.evaluation.protocol import Case

        for name, what in told.items():
            put(f"{name}: {what}")
        _put_choices(protocol.metrics, border=protocol.border, rounded=protocol.rounded)
        which = "all pictures" if protocol.every == 1 else f"one of {protocol.every} pictures, by name"
        put(
            which
            + (f", the first {protocol.first}" if protocol.first else "")
            + "; CPU seconds of all threads together"
        )
        for name, case in cases.items():
            put(f"\n{name}: {_describe(name, case)}")
            if results[name].rows:
                unharmed = name != "pairs" and case == Case()
                _put_case(results[name], protocol.metrics, brief=self.brief, unharmed=unharmed)


def _describe(name: str, case: Case) -> str:
    return "really damaged pictures and their truth" if name == "pairs" else case.describe()


def _put_case(result: Result, names: Sequence[str], *, brief: bool, unharmed: bool) -> None:
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
    rows = [] if brief else [[shown(picture), *line(scores)] for picture, scores in pictures.items()]
    rows.append([f"mean of {len(pictures)}", *line({summary.method: summary.means for summary in summaries})])
    _put_table(["picture", *(f"{name} {method}" for name, method in labels)], rows)
    for each in summaries:
        if each.method != INPUT:
            worst = _worst(each, pictures, names, unharmed=unharmed) if each.worst else ""
            put(f"{each.method}: {worst}{each.seconds_per_megapixel:.2f} CPU s/MP")


def _worst(
    summary: Summary, pictures: Mapping[str, Mapping[str, Mapping[str, float]]], names: Sequence[str], *, unharmed: bool
) -> str:
    """The picture that gained least, by the metric that decides it; a picture without damage has nothing to gain."""
    name = next(name for name in names if METRICS[name].reference)
    value = _number(pictures[summary.worst][summary.method][name], name)
    gains = "" if unharmed else f", {summary.least_gain:+.2f} over its input, best {summary.greatest_gain:+.2f}"
    return f"worst picture {shown(summary.worst)}: {name} {value}{gains}; "


def _put_scores(title: str, rows: Sequence[tuple[str, Mapping[str, float]]], names: Sequence[str]) -> None:
    _put_table(
        [title, *(f"{name} {METRICS[name].unit}".strip() for name in names)],
        [[shown(label), *(_number(scores.get(name), name) for name in names)] for label, scores in rows],
    )


def _put_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from restore.report.table import markdown

    put(markdown(header, rows))


def _number(value: float | None, name: str) -> str:
    return "-" if value is None else f"{value:.{METRICS[name].digits}f}"


def _put_choices(names: Sequence[str], *, border: int, rounded: bool) -> None:
    for name, text in _conventions(names).items():
        put(f"{name}: {text}")
    depth = "clipped and rounded to 8 bits" if rounded else "compared at full depth"
    put(f"pictures {depth}, {border} px left out on each side" if border else f"pictures {depth}, no border left out")


def _conventions(names: Sequence[str]) -> dict[str, str]:
    return {name: f"{METRICS[name].convention}; {METRICS[name].better} is better" for name in names}


def _json(
    cases: Mapping[str, Case], results: Mapping[str, Result], protocol: EvaluationProtocol, told: Mapping[str, str]
) -> dict[str, Any]:
    from restore.evaluation.run import summarise

    return {
        "command": "eval",
        "methods": dict(told),
        "conventions": _conventions(protocol.metrics),
        "protocol": {name: value for name, value in asdict(protocol).items() if name != "cases"},
        "cases": {
            name: {
                "what": _describe(name, case),
                "summary": [each.as_dict() for each in summarise(results[name].rows)],
                "rows": [asdict(row) for row in results[name].rows],
                "failures": [asdict(each) for each in results[name].failures],
            }
            for name, case in cases.items()
        },
    }


def _code(failed: int, any_done: bool) -> ExitCode:
    if not any_done:
        return ExitCode.NOTHING_RAN
    return ExitCode.SOME_FAILED if failed else ExitCode.OK
