"""What several heads buy: one network with one head and with several, trained alike, over some seeds, with controls.

    python tools/ablate_heads.py budget --data photos --test held_out --out runs/heads --log docs/measured.jsonl
    python tools/ablate_heads.py ambiguity --data photos --test held_out --out runs/ambiguity

Liu et al. (https://arxiv.org/abs/2208.13029) report 0.11 to 0.18 dB for the best of all candidates and 0.04 to 0.08 dB
for the best single head; their code measures no control. Here:

* `budget`: pictures blurred by --degradation; both networks see the same crops in the same order, for as many steps.
* `ambiguity`: the label is the picture --shift px further right or left, at random. One head must blur (with l2),
  several must find both, several dB better: if they do not, the loss is wrong.

Prints PSNR (rounded to 8 bits, --border px left out) of each protocol of `restore.evaluation.heads`, its gain over the
network with one head, picture by picture, with standard errors over pictures and seeds; beside it the best of eight
orientations and the best of K jittered copies of the network with one head, and the share of pictures that each head
has won. Pictures are centre crops of --side px; each second picture of --test chooses the best single head, the others
are measured. Trainings that are there are gone on with, or not repeated.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import facts, write
from torch import nn

from restore import degradations
from restore.degradations.degradation import Degradation
from restore.evaluation import heads
from restore.evaluation.heads import HeadScores, Numbers, Shown, estimate
from restore.evaluation.pictures import read_unit
from restore.io.paths import find_pictures
from restore.metrics.pixel import psnr
from restore.models.heads import win_shares
from restore.models.spec import spec_of
from restore.report.table import markdown
from restore.training.checkpoint import checkpoints
from restore.training.run import run, trained_network
from restore.training.settings import (
    DataSettings,
    DegradationSettings,
    ModelSettings,
    ObjectiveSettings,
    Settings,
    TrainSettings,
)

ONE = "one head"


def settings_of(several: bool, seed: int, args: argparse.Namespace) -> Settings:
    model = ModelSettings(name=args.network, arguments=args.arguments)
    how: dict[str, Any] = {}
    if several:
        inner = {"network": args.network, "heads": args.heads, "arguments": args.arguments}
        model = ModelSettings(name="multi_output", arguments=inner)
        how = {"choice": args.choice, "pairs": args.pairs}
    return Settings(
        name="heads",
        model=model,
        objective=ObjectiveSettings(name="multi_output", losses={args.loss: 1.0}, arguments=how),
        degradation=DegradationSettings(name=args.degradation, arguments=args.degradation_arguments),
        data=DataSettings(
            train=(str(args.data),), crop=args.crop, held_out=2, cache=str(args.cache or args.out / "cache")
        ),
        train=TrainSettings(
            steps=args.steps, batch=args.batch, seed=seed, device=args.device, learning_rate=args.learning_rate,
            validate_every=10**9, save_every=120, log_every=max(args.steps // 20, 1),
        ),
    )  # fmt: skip


def trained(several: bool, seed: int, args: argparse.Namespace) -> nn.Module:
    name = f"{args.heads if several else 1}-{seed}"
    settings, folder = settings_of(several, seed, args), args.out / name

    def notify(line: dict[str, Any]) -> None:
        print(f"# {name}: {line}", flush=True)

    run(settings, folder, resume=bool(checkpoints(folder)), notify=notify)
    return trained_network(folder, settings)[0]


def pictures(args: argparse.Namespace, damage: Degradation, conditions: Sequence[str]) -> list[Shown]:
    """Centre crops of the folder's pictures, damaged the same way every time."""
    shown = []
    for number, path in enumerate(find_pictures(args.test)):
        x = read_unit(path).values.float()[:, :3]
        side = min(args.side, *x.shape[-2:]) // 16 * 16
        top, left = ((length - side) // 2 for length in x.shape[-2:])
        clean = x[..., top : top + side, left : left + side].expand(-1, 3, -1, -1)
        sample = damage.draw({"clean": clean}, 10**6, 0, number)
        given = {name: sample.conditions[name] for name in conditions}
        shown.append(Shown(sample.inputs["picture"], sample.targets["result"], given))
    return shown


def measured(seed: int, args: argparse.Namespace) -> tuple[dict[str, Numbers], np.ndarray]:
    """(protocol -> scores of the test pictures, each head's share of wins)."""
    single, several = trained(False, seed, args), trained(True, seed, args)
    damage = degradations.build(args.degradation, **args.degradation_arguments)
    shown = pictures(args, damage, spec_of(single).conditions)
    validation, test = shown[::2], shown[1::2]
    metric = functools.partial(psnr, border=args.border, rounded=True)

    def scored(part: list[Shown]) -> HeadScores:
        return heads.score_heads(several, part, metric, args.pairs)

    scores = scored(test)
    count = scores.candidates.shape[1]
    table = {
        ONE: heads.score_heads(single, test, metric).mean,
        f"{ONE}, best of 8 orientations": heads.score_ensemble(single, test, metric).max(1),
        f"{ONE}, best of {count} jittered": heads.score_jitter(single, test, scores.distance, count, metric).max(1),
    }
    table |= {
        f"{args.heads} heads, {name}": values for name, values in heads.protocols(scores, scored(validation)).items()
    }
    winners = torch.from_numpy(scores.candidates.argmax(1))
    return table, win_shares(winners, args.heads, args.pairs).numpy()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("budget", "ambiguity"))
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs to train on")
    parser.add_argument("--test", type=Path, required=True, help="folder of photographs to measure on, 4 or more")
    parser.add_argument("--out", type=Path, default=Path("runs/heads"), help="folder of checkpoints")
    parser.add_argument("--cache", type=Path, help="folder of decoded pictures; default OUT/cache")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--network", default="plain_unet", help="of restore.models.MODELS, or my_net.py:MyNet")
    parser.add_argument("--arguments", type=json.loads, default={}, help="of the network, JSON")
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--pairs", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--choice", default="winner", choices=("winner", "relaxed", "softmin"))
    parser.add_argument("--loss", help="of restore.losses.table.PER_SAMPLE_LOSSES; psnr, of ambiguity l2")
    parser.add_argument("--degradation", default="blur", help="of `budget`")
    parser.add_argument("--degradation-arguments", type=json.loads, default={}, help="JSON")
    parser.add_argument("--shift", type=int, default=2, help="px, of `ambiguity`")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--border", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--log", type=Path, help="JSON lines to append to")
    args = parser.parse_args()
    args.loss = args.loss or {"budget": "psnr", "ambiguity": "l2"}[args.kind]
    if args.kind == "ambiguity":
        args.degradation = "restore.degradations.ambiguous_shift:AmbiguousShift"
        args.degradation_arguments = {"shift": args.shift}
    return args


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    by_seed = [measured(seed, args) for seed in range(args.seeds)]
    rows = []
    single = np.stack([table[ONE] for table, _ in by_seed])
    for name in by_seed[0][0]:
        values = np.stack([table[name] for table, _ in by_seed])  # seeds x pictures
        score, gain = estimate(values), estimate(values - single)
        rows.append([name, f"{score.mean:.2f}", f"{gain.mean:+.3f}", f"{gain.images:.3f}", f"{gain.seeds:.3f}"])
        if args.log:
            known = {"set": f"heads, {args.kind}, {args.test.name}, {args.steps} steps, {args.seeds} seeds"}
            errors = {"gain": gain.mean, "gain_error_images": gain.images, "gain_error_seeds": gain.seeds}
            rounded = {key: round(value, 4) for key, value in errors.items() if np.isfinite(value)}
            line = {"method": name, "pictures": values.shape[1], "means": {"psnr": round(score.mean, 4)}} | rounded
            write(args.log, facts() | known | line)
    print(f"\n{args.network} {args.arguments or ''}, {args.kind}, {args.steps} steps, {args.loss}, {args.choice}, "
          f"{args.seeds} seeds, {single.shape[1]} pictures\n")  # fmt: skip
    print(markdown(["protocol", "PSNR dB", "gain dB", "± over pictures", "± over seeds"], rows))
    for seed, (_, shares) in enumerate(by_seed):
        print(f"\nwins, seed {seed}: {', '.join(f'{share:.2f}' for share in shares)}", end="")
    print()


if __name__ == "__main__":
    main()
