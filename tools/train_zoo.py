"""Train the weights of the zoo, one recipe after the other: a loop over what `restore train` does.

    python tools/train_zoo.py denoise denoise_white --data photos --out runs/zoo --budget 65m
    python tools/train_zoo.py deconv --data photos --out runs/zoo train.device=cuda train.steps=50000
    python tools/bench_sets.py SETS --weights runs/zoo/denoise.safetensors --log measured.jsonl
    python tools/train_zoo.py denoise --data photos --out runs/zoo --budget 65m --results measured.jsonl

A recipe is the config that names the weights (`weights: denoise`), or a config by its own name. The same command again
goes on where the last one stopped, at any moment, and leaves out what is finished; with the log of a benchmark it
exports finished weights once more, with the figures in the card. A recipe that begins with other weights takes those of
OUT where they are there, else the shipped ones.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import itertools
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import torch
from measured import results_of

from restore.cli.train import line_of, resolved
from restore.errors import ExitCode, RestoreError
from restore.options import seconds_of
from restore.training.checkpoint import checkpoints
from restore.training.config import load_settings, recipes
from restore.training.export import export
from restore.training.settings import Settings
from restore.training.stages import finished, stage_folders, train_stages
from restore.zoo.card import DataSource

PHOTOGRAPHS = [
    ("CID22 training references (209)", "CC BY-SA 4.0"),
    ("CLIC 2025 validation (26)", "Unsplash License"),
    ("wallpapers of elementary OS, Pop!_OS, Ubuntu, deepin, Budgie", "CC0, CC BY, CC BY-SA, Unsplash, PD by file"),
]  # fmt: skip


class Lines:
    """A recipe's log: every validation, and the other entries (loss, speed, time left) every `seconds`."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds, self._last = name, seconds, 0.0

    def entry(self, entry: dict[str, Any]) -> None:
        if "left_seconds" not in entry or time.monotonic() - self._last >= self._seconds:
            self._last = time.monotonic()
            print(f"{self._name}: {line_of(entry)}", flush=True)

    def cached(self, done: int, total: int) -> None:
        if done % 50 == 0 or done == total:
            print(f"{self._name}: decoded {done} of {total} pictures", flush=True)


def stages_of(recipe: str, args: argparse.Namespace) -> tuple[Settings, ...]:
    """The recipe's stages with this command's data, budget and settings."""
    config = recipes().get(recipe, recipe)
    words = [f"data.train={json.dumps([str(args.data)])}", f"data.cache={json.dumps(str(args.out / 'cache'))}"]
    words += [f"train.budget={args.budget}"] if args.budget else []
    begin = args.out / f"{load_settings(config).begin}.safetensors"
    words += [f"begin={json.dumps(str(begin))}"] if begin.is_file() else []
    return resolved(config, [*words, *args.settings])


def train(recipe: str, args: argparse.Namespace) -> bool:
    """Train, unless it is finished, and export. False: a signal asked to stop."""
    stages, lines = stages_of(recipe, args), Lines(recipe, args.every)
    name = stages[-1].name
    folder, path = args.out / name, args.out / f"{name}.safetensors"
    command = shlex.join(["python", *_portable(sys.argv)])
    if not finished(stages, folder):
        resume = any(map(checkpoints, stage_folders(stages, folder)))
        progress = train_stages(stages, folder, resume=resume, command=command, notify=lines.entry, cached=lines.cached)
        if progress.interrupted:
            print(f"{recipe}: stopped at step {progress.step}; the same command goes on")
            return False
    elif path.is_file() and not args.results:
        print(f"{recipe}: finished already, {path}")
        return True
    if int(os.environ.get("RANK", "0")) == 0:  # several processes train, one exports
        sources = [DataSource(name=source, licence=licence) for source, licence in PHOTOGRAPHS]
        results = results_of(args.results, args.ours) if args.results else ()
        card = export(stage_folders(stages, folder)[-1], stages[-1], path, data=sources, results=results)
        print(f"{recipe}: {path}, {card.steps} steps, sha256 {card.sha256[:16]}")
    return True


def _portable(words: list[str]) -> list[str]:
    """A command line as a card has it: folders of this machine by their names, what does not train left out."""
    kept, left_out = ["tools/train_zoo.py"], ("--results", "--ours", "--every")
    for before, word in itertools.pairwise(words):
        if word not in left_out and before not in left_out:
            kept.append(Path(word).name if "/" in word and "=" not in word else word)
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help=f"of weights ({', '.join(recipes())}) or configs; KEY=VALUE for all"
    )
    parser.add_argument("--data", type=Path, default=Path("photos"), help="folder of photographs")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"), help="folder of checkpoints and weights")
    parser.add_argument("--budget", type=seconds_of, help="of each recipe, all its stages: 90s, 65m, 2h")
    parser.add_argument("--results", type=Path, help="log of a benchmark (tools/bench_*.py --log) for the card")
    parser.add_argument("--ours", default="restore", help="name of these weights in that log")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between lines of a recipe's log")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    args = parser.parse_intermixed_args()
    args.settings = [word for word in args.names if "=" in word]
    torch.set_num_threads(args.threads)
    try:
        for recipe in (word for word in args.names if "=" not in word):
            if not train(recipe, args):
                return ExitCode.INTERRUPTED
    except RestoreError as error:
        print(f"train_zoo: error: {error}", file=sys.stderr)
        return error.exit_code
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
