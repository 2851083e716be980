"""`restore eval` and `restore score`: how good pictures are, in numbers with their conventions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, UseAppendAction, arg

from restore.cli.console import Bar, one_line, put, put_json, say
from restore.cli.flags import HIDE
from restore.cli.options import Flag, number, parse_endings, reads
from restore.cli.scores import code_of, conventions, describe, json_of, put_case, put_choices, put_scores
from restore.errors import ConfigError
from restore.metrics.table import METRICS, require_weights, resolve
from restore.options import INF
from restore.tasks import Task, option_names, task_named

if TYPE_CHECKING:
    from restore.degradations.cases import Case
    from restore.evaluation.methods import TaskMethod
    from restore.evaluation.protocol import EvaluationProtocol
    from restore.evaluation.run import Result
    from restore.evaluation.samples import Source
    from restore.training.settings import Settings

_Names = Annotated[tuple[str, ...], reads("NAME,NAME", lambda text: tuple(text.split(","))), HIDE]
_Endings = Annotated[tuple[str, str] | None, reads("DAMAGED,CLEAN", parse_endings("--pairs")), HIDE]
_Words = Annotated[tuple[str, ...], reads("END,END", lambda text: tuple(text.split(","))), HIDE]
_Given = Annotated[tuple[Annotated[str, reads("NAME=VALUE", str)], ...], UseAppendAction, HIDE]
_Quiet = Annotated[bool, arg(aliases=["-q"], help_behavior_hint="")]
OURS = "restore"
"""Name of the method that is evaluated."""


@dataclass(frozen=True)
class Score:
    """Measure how near pictures are to their truth, or how natural they look: `score A [B]`; or let people choose:
    `score --preference A B OUT.html`."""

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="A [B] [OUT.html]", help_behavior_hint="")] = ()
    """A picture or folder, and its truth: a picture, or a folder whose files have the same names but for their type.
    Without B: scores that need no truth."""
    metrics: _Names = ()
    """Which, separated by commas; by default psnr,ssim, or naturalness without B. Others: psnr_y, ssim_y, ms_ssim,
    ms_ssim_y, ssim_daala, lite0_distance, vgg16_caffe_distance, lpips."""
    y: Flag = False
    """Compare luma (Y of BT.601) instead of RGB, where a metric has both forms."""
    border: Annotated[int, number("--border", int, 0, INF, "PIXELS")] = 0
    """Leave out so many pixels on each side."""
    rounded: Flag = False
    """Clip and round both to 8 bits first; by default they are compared at full depth."""
    pairs: _Endings = None
    """Ends of the names that differ between A and B: _real,_mean. B may then be left out, if both lie in one folder."""
    preference: Flag = False
    """Write a page on which people choose between two results, A and B, picture by picture: OUT.html."""
    truth: Annotated[str | None, reads("FILE|FOLDER/", str), HIDE] = None
    """Of --preference: the pictures that both should be like, shown above."""
    seed: Annotated[int | None, number("--seed", int, 0, 2**63 - 1), HIDE] = None
    """Of --preference: of the order of the pictures and of who is on the left; 0 if none is given."""
    overwrite: Flag = False
    """Of --preference: replace a page that exists."""
    json: Flag = False
    """Print one JSON object."""
    debug: Flag = False
    """Show the traceback of the error that ended the program."""

    def run(self) -> int:
        from restore.cli.preference import write_sheet
        from restore.evaluation.protocol import EvaluationProtocol
        from restore.evaluation.score import Scored, find_pairs, score

        if self.preference:
            return write_sheet(self)
        self._refuse("goes with --preference", ("truth", "seed", "overwrite"))
        if len(self.paths) not in (1, 2):
            raise ConfigError("restore score takes a picture and its truth", fix="restore score result.png truth.png")
        a, *rest = self.paths
        b = rest[0] if rest else a if self.pairs else None
        names = resolve(self.metrics or (("psnr", "ssim") if b else ("naturalness",)), luma=self.y)
        if b is None and any(METRICS[name].reference for name in names):
            raise ConfigError(f"{names[0]} compares with a truth", fix="Give two pictures, or --metrics naturalness")
        require_weights(names)
        pairs, unpaired = find_pairs(a, b, self.pairs or ("", ""))
        if not pairs:
            why = "; ".join(unpaired[:3])
            raise ConfigError("there is nothing to score", where=a, why=why, fix="Files are matched by their names")
        scored: list[Scored] = []
        for each in score(pairs, names, EvaluationProtocol(rounded=self.rounded, border=self.border)):
            scored.append(each)
            if each.range and not self.json:
                say(f"{each.picture}: {each.range}")
            for problem in each.problems:
                say(f"restore: error: {problem}")
        for line in unpaired:
            say(f"restore: error: {one_line(line)}")
        choices = {"conventions": conventions(names), "border": self.border, "rounded": self.rounded}
        means = {
            name: fmean(values) for name in names if (values := [s.scores[name] for s in scored if name in s.scores])
        }
        code = code_of(len(unpaired) + sum(bool(each.problems) for each in scored), any(each.scores for each in scored))
        if self.json:
            put_json(
                {"command": "score", **choices, "pictures": [asdict(each) for each in scored], "unpaired": unpaired}
                | {"mean": means, "exit_code": int(code)}
            )
        else:
            put_choices(names, border=self.border, rounded=self.rounded)
            rows = [(each.picture, each.scores) for each in scored]
            put_scores("picture", rows if len(rows) == 1 else [*rows, ("mean", means)], names)
        return code

    def _refuse(self, why: str, names: Sequence[str]) -> None:
        """Raises `ConfigError` for the first of some options that was given."""
        for name in names:
            if getattr(self, name) not in (None, False, 0, ()):
                raise ConfigError(f"--{name} {why}", fix="Leave it out")

    def refuse_measuring(self) -> None:
        """Raises `ConfigError` for options of measuring, where nothing is measured."""
        self._refuse("measures, and --preference asks people", ("metrics", "y", "border", "rounded"))


@dataclass(frozen=True)
class Eval:
    """Run a config's evaluation protocol on your own pictures: `eval CONFIG FOLDER`."""

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="CONFIG FOLDER [CLEAN]", help_behavior_hint="")] = ()
    """A config (denoise/plain_unet, deconv/wiener_unet, or a YAML file) and a folder of clean pictures, which the
    protocol damages; or a folder of really damaged pictures (of each, where the task takes several) and one of their
    truth. Settings may follow: evaluation.border=4."""
    pairs: _Words = ()
    """Really damaged pictures and their truth in one folder, by the ends of their names: _real,_mean."""
    cases: Annotated[str, reads("NAME,NAME", str), HIDE] = ""
    """Some of the protocol's cases only."""
    weights: Annotated[str | None, reads("NAME|FILE", str), HIDE] = None
    """Weights of a network: a name of the zoo or a .safetensors file; by default those of the task's own command."""
    method: Annotated[str, reads("NAME", str)] = "auto"
    """The method to evaluate, one of the task's own command."""
    preset: Annotated[str | None, reads("NAME", str), HIDE] = None
    """As of the task's own command."""
    option: _Given = ()
    """Any other option of the method, psf=kernel.png; may be repeated. Peers that take it get it too."""
    peer: _Names = ()
    """Methods or algorithms of the task to print beside it, from the same run: nlm, zero-shot; wiener, rl-tv."""
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
    """Print only errors, beside the result."""
    debug: Flag = False
    """Show the traceback of the error that ended the program."""

    def run(self) -> int:
        import torch

        from restore.cli.machine import usable_cores
        from restore.training.config import load_settings

        folders = [word for word in self.paths[1:] if "=" not in word]
        if not self.paths or not folders:
            fix = "For example: restore eval denoise/plain_unet photos"
            raise ConfigError("restore eval takes a config and a folder of pictures", fix=fix)
        settings = load_settings(self.paths[0], [word for word in self.paths[1:] if word not in folders])
        task = task_named(settings.task)
        protocol = self._protocol(settings)
        cases = self._cases(settings, protocol, real=len(folders) > 1 or bool(self.pairs))
        require_weights(protocol.metrics)
        threads = self.threads or usable_cores()
        torch.set_num_threads(threads)
        methods = self._methods(settings, task)
        engines = self._engines(methods, next(iter(cases.values())), threads)
        sources, unpaired = self._sources(folders, task, cases, protocol)
        results = self._evaluate(sources, cases, methods, protocol)
        for line in unpaired:
            say(f"restore: error: {one_line(line)}")
        failed = len(unpaired) + sum(len(result.failures) for result in results.values())
        code = code_of(failed, any(result.rows for result in results.values()))
        if self.json:
            put_json(json_of(cases, results, protocol, engines) | {"unpaired": unpaired, "exit_code": int(code)})
        else:
            self._put(cases, results, protocol, engines)
        return code

    def _protocol(self, settings: Settings) -> EvaluationProtocol:
        changes = {"every": self.every, "first": self.first, "metrics": self.metrics or None}
        protocol = replace(settings.evaluation, **{name: value for name, value in changes.items() if value is not None})
        return replace(protocol, metrics=tuple(resolve(protocol.metrics)))

    def _cases(self, settings: Settings, protocol: EvaluationProtocol, *, real: bool) -> Mapping[str, Case | None]:
        """How pictures are damaged, by name; None for really damaged ones."""
        if real:
            if self.cases:
                why = "--cases are ways to damage clean pictures; these are damaged already"
                raise ConfigError(why, fix="Leave it out")
            return {"pairs": None}
        if not protocol.cases:
            raise ConfigError(
                f"{self.paths[0]} has no cases for the task {settings.task}",
                fix="Write some below evaluation.cases, or give damaged pictures and their truth",
            )
        return protocol.choose(self.cases)

    def _methods(self, settings: Settings, task: Task) -> dict[str, TaskMethod]:
        """What is evaluated, and the peers, by name."""
        from restore.evaluation.methods import TaskMethod, parsed_options, peer, supported_options
        from restore.models import MODELS

        wrong = [word for word in self.option if "=" not in word]
        if wrong:
            raise ConfigError(f"--option cannot be {wrong[0]!r}", fix="Write it as NAME=VALUE, psf=kernel.png")
        options = parsed_options(task, dict(word.split("=", 1) for word in self.option))
        own = {"preset": self.preset, "weights": self.weights}
        if self.weights and settings.model.name not in MODELS and "model" in option_names_of(task):
            own["model"] = settings.model.name
        given = {name: value for name, value in own.items() if value is not None}
        methods = {OURS: TaskMethod(settings.task, self.method, {"device": self.device, **given, **options})}
        for name in self.peer:
            method, chosen = peer(task, name)
            also = {"device": self.device, **supported_options(task, method, options), **chosen}
            methods[name] = TaskMethod(settings.task, method, also)
        return methods

    def _engines(self, methods: Mapping[str, TaskMethod], case: Case | None, threads: int) -> dict[str, str]:
        """What each method is, in words; so that mistakes in options are named before any picture is read."""
        from restore.inference.precision import resolve_device

        options = {} if case is None else case.options(0)
        device = resolve_device(self.device)
        try:
            engines = {name: method.restorer(options).engine for name, method in methods.items()}
        except ConfigError as error:
            raise error.reworded(_in_eval) from error
        return {name: f"{engine.fingerprint}, {device}, {threads} threads" for name, engine in engines.items()}

    def _sources(
        self, folders: list[str], task: Task, cases: Mapping[str, Case | None], protocol: EvaluationProtocol
    ) -> tuple[list[Source], list[str]]:
        """(pictures, files without a partner)."""
        from restore.evaluation.samples import clean_sources, paired_sources

        if cases.keys() != {"pairs"} or cases["pairs"] is not None:
            count = max(case.pictures for case in cases.values() if case is not None)
            return clean_sources(folders[0], protocol, count), []
        together = len(task.inputs) + 1
        one = len(folders) == 1
        if not one and len(folders) != together:
            names = ", ".join((*task.inputs, "their truth"))
            raise ConfigError(f"{len(folders)} folders are given", fix=f"Give {together}: {names}")
        damaged = dict(zip(task.inputs, [*folders] * len(task.inputs) if one else folders[:-1], strict=False))
        return paired_sources(damaged, folders[-1], self.pairs or ("",) * together, protocol)

    def _evaluate(
        self,
        sources: Sequence[Source],
        cases: Mapping[str, Case | None],
        methods: Mapping[str, TaskMethod],
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
                    say(f"restore: error: {name}, {failure.method}: {one_line(failure.why)}")
        return results

    def _put(
        self,
        cases: Mapping[str, Case | None],
        results: Mapping[str, Result],
        protocol: EvaluationProtocol,
        engines: Mapping[str, str],
    ) -> None:
        for name, what in engines.items():
            put(f"{name}: {what}")
        put_choices(protocol.metrics, border=protocol.border, rounded=protocol.rounded)
        which = "all pictures" if protocol.every == 1 else f"one of {protocol.every} pictures, by name"
        put(
            which
            + (f", the first {protocol.first}" if protocol.first else "")
            + "; CPU seconds of all threads together"
        )
        for name, case in cases.items():
            put(f"\n{name}: {describe(case)}")
            if results[name].rows:
                put_case(results[name], protocol.metrics, brief=self.brief, damaged=case is None or case.damages)


def option_names_of(task: Task) -> set[str]:
    """Names of all options of a task's methods."""
    return {name for method in task.methods.values() for name in option_names(method)}


def _in_eval(text: str) -> str:
    """A message that names flags of the task's command, as they are given here: --option psf=FILE for --psf FILE."""
    known = ("method", "weights", "preset")
    return re.sub(
        r"--([a-z][a-z-]*)( (?=[A-Z]|\w+:))?",
        lambda match: (
            match[0] if match[1] in known else f"--option {match[1].replace('-', '_')}" + "=" * bool(match[2])
        ),
        text,
    )
