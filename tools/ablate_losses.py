"""What a loss teaches super-resolution: one small network, trained alike with L1, L2, MS-SSIM and their mix.

    python tools/ablate_losses.py --data photos --test held_out --out runs/losses --log docs/measured.jsonl
    python tools/ablate_losses.py --data photos --test held_out --out runs/losses --losses l1 mix

Snell et al. ("Learning to Generate Images with Perceptual Similarity Metrics", ICIP 2017,
https://arxiv.org/abs/1511.06409) let people choose between super-resolution learned with pixel losses and with MS-SSIM,
and they chose MS-SSIM; Zhao et al. (TCI 2017) mix it with L1, 0.84 to 0.16. Here the same network of 163,000 parameters
sees the same crops in the same order, from the same first weights, by 4 and MATLAB's bicubic; the loss alone differs.

Crops of 128 px cannot hold the five scales of MS-SSIM (161 px), so that the losses `ms_ssim` and `mix` have four
(`levels: 4`, from 81 px, weights divided by their sum); the metric that is printed has five.

Prints PSNR, SSIM, MS-SSIM and the distances of both offline backbones on the pictures of --test, and the CPU seconds
of each training. Trainings that are there are gone on with, or not repeated. For people's eyes:
`restore score --preference` of two of the folders below OUT/pictures.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from measured import entry, facts, write

import restore
from restore.degradations.upscale_cases import UpscaleCase
from restore.engines.network import NetworkEngine
from restore.evaluation.methods import Method, restoring
from restore.evaluation.protocol import EvaluationProtocol
from restore.evaluation.run import INPUT, Summary, evaluate, summarise
from restore.evaluation.samples import clean_sources
from restore.inference.options import RunOptions
from restore.metrics.table import METRICS, require_weights, resolve
from restore.models.spec import spec_of
from restore.report.table import markdown
from restore.training.checkpoint import checkpoints
from restore.training.config import load_settings
from restore.training.run import run, trained_network
from restore.training.settings import Settings

LOSSES: dict[str, dict[str, Any]] = {
    "l1": {"l1": 1.0},
    "l2": {"l2": 1.0},
    "ms_ssim": {"ms_ssim": {"weight": 1.0, "levels": 4}},
    "mix": {"ms_ssim_l1": {"weight": 1.0, "levels": 4, "alpha": 0.84}},
}
NETWORK = {"scale": 4, "width": 32, "blocks": 8}
NAMES = resolve(("psnr", "psnr_y", "ssim", "ms_ssim", "lite0_distance", "vgg16_caffe_distance"))


def settings_of(name: str, args: argparse.Namespace) -> Settings:
    changes = {
        "name": name, "weights": "none", "model.arguments": NETWORK, "objective.losses": LOSSES[name],
        "data.train": [str(args.data)], "data.cache": str(args.cache or args.out / "cache"), "data.crop": 128,
        "train.budget": None, "train.steps": args.steps, "train.seed": args.seed, "train.device": "cpu",
        "train.learning_rate": 1e-3, "train.validate_every": max(args.steps // 4, 1), "train.save_every": 120,
    }  # fmt: skip
    return load_settings("upscale/compact_x4", [f"{key}={json.dumps(value)}" for key, value in changes.items()])


def trained(name: str, args: argparse.Namespace) -> tuple[Method, float, int]:
    """(the network as a method, seconds of its training, its parameters)."""
    settings, folder = settings_of(name, args), args.out / name

    def notify(line: dict[str, Any]) -> None:
        if "psnr" in line:
            print(f"# {name}: {line}", flush=True)

    run(settings, folder, resume=bool(checkpoints(folder)), notify=notify)
    net, progress, _ = trained_network(folder, settings)
    spec = spec_of(net)
    engine = NetworkEngine(net, spec, name, f"step {progress.step}")
    restorer = restore.Restorer("upscale", engine, RunOptions(device="cpu", precision="fp32"))
    return restoring(restorer), progress.seconds, spec.parameters


def measured(methods: dict[str, Method], args: argparse.Namespace) -> list[Summary]:
    """A summary a loss, the input first; results are written to OUT/pictures."""
    protocol = EvaluationProtocol(metrics=tuple(NAMES))

    def watch(row: Any, pixels: Any) -> None:
        if row.method != INPUT:
            path = args.out / "pictures" / row.method / f"{Path(row.picture).stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            restore.write(pixels, path)

    result = evaluate(clean_sources(args.test, protocol), UpscaleCase(factor=4), methods, protocol, watch)
    for failure in result.failures:
        print(f"# failed: {failure.method}, {failure.why}")
    return summarise(result.rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs to train on")
    parser.add_argument("--test", type=Path, required=True, help="folder of photographs to measure on")
    parser.add_argument("--out", type=Path, default=Path("runs/losses"), help="folder of checkpoints and results")
    parser.add_argument("--cache", type=Path, help="folder of decoded pictures; default OUT/cache")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--losses", nargs="*", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--log", type=Path, help="JSON lines to append to")
    args = parser.parse_args()
    torch.set_num_threads(1)
    require_weights(NAMES)  # before hours of training
    made = {name: trained(name, args) for name in args.losses}
    spent = {name: seconds for name, (_, seconds, _) in made.items()}
    summaries = measured({name: method for name, (method, _, _) in made.items()}, args)
    rows = []
    for each in summaries:
        values = [f"{each.means[name]:.{METRICS[name].digits}f}" for name in NAMES]
        rows.append([each.method, *values, f"{spent.get(each.method, 0):.0f}"])
        if args.log:
            known = facts() | {"set": f"losses, {args.test.name}, x4, {args.steps} steps"}
            write(args.log, known | entry(each))
    parameters = next(iter(made.values()))[2]
    print(f"\n{parameters:,} parameters, {args.steps} steps each, {summaries[0].pictures} pictures\n")
    print(markdown(["loss", *(f"{name} {METRICS[name].unit}".strip() for name in NAMES), "training s"], rows))


if __name__ == "__main__":
    main()
