"""What a loss buys and costs: the same compact denoiser trained with L1, L1 + MS-SSIM and L1 + perceptual.

    python tools/bench_tradeoff.py photos McMaster --steps 1500

Same network, crops, noise and steps; only the loss differs. Prints PSNR, SSIM, MS-SSIM, the feature distance
(EfficientNet-Lite0, which the perceptual loss itself lowers) and naturalness on the second folder, for white noise of
sigma 50, clipped to 8 bits, and the CPU seconds of the training. Snell et al. (https://arxiv.org/abs/1511.06409) report
that people prefer what MS-SSIM has learned; Zhao et al. (TCI 2017) that the mix with L1 also keeps PSNR.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import restore
from restore.degradations.noise_cases import NoiseCase
from restore.evaluation.methods import restoring
from restore.evaluation.protocol import EvaluationProtocol
from restore.evaluation.run import evaluate, summarise
from restore.evaluation.samples import clean_sources
from restore.report.table import markdown
from restore.training.export import export
from restore.training.run import run
from restore.training.settings import DataSettings, ModelSettings, ObjectiveSettings, Settings, TrainSettings

LOSSES: dict[str, dict[str, Any]] = {
    "L1": {"l1": 1.0},
    "0.16 L1 + 0.84 MS-SSIM": {"ms_ssim_l1": {"weight": 1.0, "levels": 3}},
    "L1 + 0.1 perceptual": {"l1": 1.0, "perceptual": 0.1},
}
SIGMA = 50.0
METRICS = ("psnr", "ssim", "ms_ssim", "lite0_distance", "naturalness")
NETWORK = {"channels": 3, "condition_channels": 1, "widths": [32, 64], "blocks": [2, 2, 2]}


def settings(args: argparse.Namespace, losses: dict[str, Any]) -> Settings:
    return Settings(
        name="tradeoff",
        model=ModelSettings(arguments=NETWORK),
        objective=ObjectiveSettings(losses=losses, noise={"weights": {"gaussian": 1.0}, "sigma": [25, 55]}),
        data=DataSettings(train=(str(args.photos),), exclude=("bsds_*",), cache=str(args.cache), held_out=2),
        train=TrainSettings(steps=args.steps, batch=8, log_every=500, validate_every=10**9),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder to learn from")
    parser.add_argument("pictures", type=Path, help="folder to measure on")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--save", type=Path, help="folder for the restored pictures, to look at")
    args = parser.parse_args()
    torch.set_num_threads(1)
    protocol = EvaluationProtocol(metrics=METRICS)
    sources, case = clean_sources(args.pictures, protocol), NoiseCase(noise="gaussian", level=SIGMA)
    rows = []
    for name, losses in LOSSES.items():
        with tempfile.TemporaryDirectory() as folder:
            chosen, start = settings(args, losses), time.process_time()
            run(chosen, Path(folder) / "run", notify=lambda entry, name=name: print("#", name, entry, flush=True))
            spent = time.process_time() - start
            weights = Path(folder) / "tradeoff.safetensors"
            export(Path(folder) / "run", replace(chosen, name="tradeoff"), weights)
            trained = restoring(restore.load("denoise", device="cpu", weights=weights, sigma=SIGMA))

            def watch(row: Any, pixels: Any, name: str = name) -> None:
                if args.save and row.method == name:
                    args.save.mkdir(parents=True, exist_ok=True)
                    restore.write(pixels, args.save / f"{Path(row.picture).stem}__{name.replace(' ', '_')}.png")

            result = evaluate(sources, case, {name: trained}, protocol, watch)
        for failure in result.failures:
            print(f"# failed: {failure.method}, {failure.why}")
        before, after = summarise(result.rows)
        rows += [] if rows else [figures("input", before.means)]
        rows.append([*figures(name, after.means)[:-1], f"{spent:.0f}"])
    print(markdown(["loss", *METRICS, "CPU s"], rows))


def figures(name: str, means: dict[str, float]) -> list[str]:
    return [name, *(f"{value:.{2 if key == 'psnr' else 4}f}" for key, value in means.items()), ""]


if __name__ == "__main__":
    main()
