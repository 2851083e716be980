"""`restore adapt IN... OUT.safetensors`: let a network go on learning from pictures without a truth, and keep it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from restore.cli.console import Bar, log_to_user, one_line, put, put_json, say
from restore.cli.flags import HIDE
from restore.cli.options import Flag, number, reads
from restore.errors import ConfigError, ExitCode, FileError
from restore.naming import expanded
from restore.options import INF, seconds_of

ENDING = ".safetensors"


@dataclass(frozen=True)
class Adapt:
    """Adapt a deblurring network to pictures or clips, without sharp originals: `adapt photos/ mine.safetensors`, then
    `deblur IN OUT --weights mine.safetensors`."""

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="IN... OUT.safetensors", help_behavior_hint="")] = ()
    """Pictures, clips or folders of pictures; the last is the file of weights. Beside it OUT.json says why they were
    changed, or kept as they were."""
    weights: Annotated[str | None, reads("NAME|FILE", str), HIDE] = None
    """Weights that it begins with; the shipped ones by default."""
    model: Annotated[str | None, reads("FILE.py:CLASS", str), HIDE] = None
    """The network that --weights are of, where it is not of this program."""
    budget: Annotated[float | None, reads("TIME", seconds_of), HIDE] = None
    """How long it may learn: 90s, 5m. Without it the pictures alone decide."""
    seed: Annotated[int, number("--seed", int, 0, INF)] = 0
    """Of all that is drawn."""
    device: Annotated[str, reads("NAME", str)] = "auto"
    """cpu, cuda, mps; auto: the fastest there is."""
    threads: Annotated[int | None, number("--threads", int, 1, 4096), HIDE] = None
    """CPU threads; by default the physical cores."""
    overwrite: Flag = False
    """Replace OUT if it exists."""
    json: Flag = False
    """Print one JSON object."""
    quiet: Flag = False
    """Say only errors."""
    debug: Flag = False
    """Show the traceback of the error that ended the program."""

    def run(self) -> int:
        inputs, out = self._places()
        import torch

        from restore.cli.machine import usable_cores
        from restore.engines.deblur.adaptation.engine import load_or_learn, save_learned
        from restore.engines.deblur.adaptation.seen import collect_frames
        from restore.engines.deblur.options import AdaptOptions
        from restore.inference.engine import EngineOptions
        from restore.inference.precision import resolve_device
        from restore.io.atomic import check_writable

        torch.set_num_threads(self.threads or usable_cores())
        check_writable(out)
        own = AdaptOptions(weights=self.weights, model=self.model, adapt=inputs, budget=self.budget)
        with log_to_user(self.quiet), Bar(quiet=self.quiet) as bar:
            bar.start("adapting")
            options = EngineOptions(self.seed, resolve_device(self.device), bar.update)
            learned = load_or_learn(collect_frames(inputs), own, inputs, options)
        save_learned(learned, own, out)
        if self.json:
            put_json({"command": "adapt", "output": out, "report": learned.report})
        else:
            put(f"{one_line(out)}: {learned.summary}")
        if not self.quiet and learned.weights is None:
            say("the file holds the first weights as they were")
        return ExitCode.OK

    def _places(self) -> tuple[list[Path], Path]:
        if len(self.paths) < 2 or not self.paths[-1].endswith(ENDING):
            why = f"got {len(self.paths)} path{'s' * (len(self.paths) != 1)}"
            fix = f"Write: restore adapt photos/ mine{ENDING}"
            raise ConfigError(f"adapt takes pictures and a file {ENDING}", why=why, fix=fix)
        *inputs, out = map(expanded, self.paths)
        for path in inputs:
            if not path.exists():
                raise FileError("there is no such file or folder", where=path, fix="Check the name")
        if out.exists() and not self.overwrite:
            raise FileError("exists already", where=out, fix="Choose another name, or give --overwrite")
        return inputs, out
