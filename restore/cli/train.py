"""`restore train`."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from restore.cli.console import one_line, put, put_json, say
from restore.cli.flags import HIDE
from restore.cli.options import Flag, reads
from restore.errors import ConfigError, ExitCode, counted

if TYPE_CHECKING:
    from restore.training.loop import Progress
    from restore.training.settings import Settings


@dataclass(frozen=True)
class Train:
    """Train a network on your own pictures."""

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="CONFIG [KEY=VALUE...]", help_behavior_hint="")] = ()
    """A config (denoise/plain_unet, or a YAML file) and settings that differ from it:
    data.train=[photos] train.budget=2h train.steps=20000. Several processes: torchrun -m restore train …"""
    out: Annotated[Path | None, reads("FOLDER", Path), HIDE] = None
    """Folder of checkpoints, log and weights; runs/NAME by default."""
    resume: Flag = False
    """Go on exactly where the run in that folder stopped."""
    init_from: Annotated[str | None, reads("NAME|FILE", str), HIDE] = None
    """Start from these weights (a name of the zoo, .safetensors or .pth), with a schedule of its own."""
    dry_run: Flag = False
    """Print the settings as they would be used, and stop."""
    schema: Flag = False
    """Print the JSON schema of configs, and stop."""
    json: Flag = False
    """Print one JSON object on stdout at the end."""
    quiet: Annotated[bool, arg(aliases=["-q"], help_behavior_hint="")] = False
    """Print only errors."""
    debug: Flag = False
    """Show the traceback of the error that ended the program."""

    def run(self) -> int:
        if self.schema:
            from restore.training.schema import json_schema

            put(json.dumps(json_schema(), indent=2))
            return ExitCode.OK
        if not self.paths:
            raise ConfigError("restore train needs a config", fix="For example: restore train denoise/plain_unet")
        if self.resume and self.init_from is not None:
            fix = "Resume goes on, init-from starts anew"
            raise ConfigError("--resume and --init-from exclude each other", fix=fix)
        begin = [] if self.init_from is None else [f"begin={json.dumps(self.init_from)}"]
        stages = resolved(self.paths[0], [*self.paths[1:], *begin], resumed=self.resume)
        if self.dry_run:
            settings = [dataclasses.asdict(each) for each in stages]
            put(json.dumps(settings[0] if len(settings) == 1 else settings, indent=2))
            return ExitCode.OK
        return _train(stages, self.out or Path("runs") / stages[0].name, self)


def resolved(config: str, overrides: Sequence[str], *, resumed: bool = False) -> tuple[Settings, ...]:
    """Settings of each stage, checked, with the user's cache folder filled in; `resumed`: from a checkpoint."""
    from restore.io.home import home
    from restore.io.regular_file import foreign_errors
    from restore.training.config import check_buildable, load_stages

    stages = []
    for settings in load_stages(config, overrides):
        with foreign_errors(config, "what it describes cannot be built", ConfigError, "Check its arguments"):
            check_buildable(settings, trained=resumed or bool(stages))
        cache = settings.data.cache or str(home() / "crops")
        stages.append(dataclasses.replace(settings, data=dataclasses.replace(settings.data, cache=cache)))
    return tuple(stages)


def _train(stages: Sequence[Settings], folder: Path, options: Train) -> int:
    from restore.io.atomic import check_writable
    from restore.training.checkpoint import checkpoints
    from restore.training.export import export
    from restore.training.stages import stage_folders, train_stages

    folders = stage_folders(stages, folder)
    if any(map(checkpoints, folders)) and not options.resume:
        fix = "Go on with --resume, or name another folder with --out"
        raise ConfigError("this folder holds a run already", where=folder, fix=fix)
    _check_apart(folder, stages)
    command = shlex.join(["restore", "train", *options.paths])
    first = os.environ.get("RANK", "0") == "0"  # of several processes that torchrun started
    if first:
        check_writable(folder / f"{stages[-1].name}.safetensors")
    left_out = LeftOut(first)
    with ProgressLine(quiet=options.quiet) as line:
        progress = train_stages(
            stages, folder, resume=options.resume, command=command, notify=line.update, cached=line.cached,
            left_out=left_out,
        )  # fmt: skip
    if progress.interrupted:
        if first:
            say(f"restore: stopped at step {progress.step}; go on with the same command and --resume")
        return ExitCode.INTERRUPTED
    if first:
        path = folder / f"{stages[-1].name}.safetensors"
        export(folders[-1], stages[-1], path, command=command)
        _report(progress, path, options, left_out)
    return ExitCode.SOME_FAILED if left_out.lines else ExitCode.OK


def _check_apart(folder: Path, stages: Sequence[Settings]) -> None:
    """Raise `ConfigError` for a folder of a run whose pictures would be learned from the next time."""
    from restore.naming import expanded

    for settings in stages:
        data = settings.data
        for source in (*data.train, *data.validation, *data.roles.values()):
            home = expanded(source).resolve()
            if home in (folder.resolve(), *folder.resolve().parents):
                raise ConfigError(
                    f"the run's folder {folder} lies in {source}, whose pictures are learned from",
                    fix="Name another one with --out",
                )


class LeftOut:
    """Says once of every picture that it is not learned from, of many only the first ones.

    Attributes:
        lines: all of them.
    """

    _SAID = 20

    def __init__(self, speaks: bool) -> None:
        self.lines: dict[str, None] = {}
        self._speaks = speaks

    def __call__(self, line: str) -> None:
        if line in self.lines:  # of an earlier stage
            return
        self.lines[line] = None
        if self._speaks and len(self.lines) <= self._SAID:
            say(f"restore: warning: left out: {one_line(line)}")
        elif self._speaks and len(self.lines) == self._SAID + 1:
            say("restore: warning: and more; restore data check and restore data pairs name all")


def _report(progress: Progress, path: Path, options: Train, left_out: LeftOut) -> None:
    if options.json:
        facts = dataclasses.asdict(progress) | {"left_out": list(left_out.lines)}
        put_json({"command": "train", "weights": str(path), **facts})
        return
    if left_out.lines:
        say(f"restore: {len(left_out.lines)} pictures were left out; see above")
    if not options.quiet:
        figures = "".join(f", {name} {value:.2f} dB" for name, value in progress.validation.items())
        put(f"{path}: {counted(progress.step, 'step')}, {progress.seconds:.0f} s, {progress.skipped} skipped{figures}")


class ProgressLine:
    """Steps, loss, speed, share of waiting for data and time left: one line on a terminal, plain lines elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        import sys

        self._quiet = quiet
        self._status: Any = None
        if not quiet and sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status("reading pictures")

    def __enter__(self) -> ProgressLine:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._status is not None:
            self._status.stop()

    def cached(self, done: int, total: int) -> None:
        """`done` of `total` files are in the crop cache."""
        if self._status is not None:
            self._status.update(f"reading pictures: {done} of {total}")
        elif not self._quiet and done == total:
            say(f"read {counted(total, 'picture')}")

    def update(self, entry: dict[str, Any]) -> None:
        """A line of the log."""
        text = line_of(entry)
        if self._status is not None and "left_seconds" in entry:
            self._status.update(text)
        elif self._status is not None:
            self._status.console.print(text, highlight=False)
        elif not self._quiet:
            say(text)


def line_of(entry: dict[str, Any]) -> str:
    """A log entry for people."""
    if "left_seconds" not in entry:
        figures = "".join(f"  {name} {value:.2f} dB" for name, value in entry.items() if name.startswith("psnr"))
        return f"step {entry['step']}  validation{figures}"
    fixed = {"step", "seconds", "done", "left_seconds", "data_share", "seconds_per_step", "learning_rate", "skipped"}
    shown = [name for name in entry if name not in fixed and not name.endswith(("_weighted", "_slope"))]
    parts = "".join(f"  {name} {entry[name]:.4g}" for name in shown)
    minutes, seconds = divmod(int(entry["left_seconds"]), 60)
    skipped = f"  {entry['skipped']} skipped" if entry["skipped"] else ""
    return (
        f"step {entry['step']}  {entry['done']:.0%}{parts}  lr {entry['learning_rate']:.2g}  "
        f"{entry['seconds_per_step']:.2f} s/step  data {entry['data_share']:.0%}  "
        f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left{skipped}"
    )
