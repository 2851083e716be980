"""What C-BSN's losses and its random sub-sampling are worth: trainings that differ in one thing, for several seeds.

    python tools/ablate_blind_spot.py --data photos --test CBSD68 --out runs/ablation --steps 2000

full       the three losses, sub-sampling by chance
blind      the blind-spot loss alone (answers blind, or as AP-BSN does)
fixed      the three losses, sub-sampling by one fixed phase of a pixel-shuffle by 2, of the step's choice

Prints PSNR on cbsd8's upper left 256 x 256 px with the noise of `bench_blind_spot.py camera`, of the networks as they
answer and kept from taking away more than the noise ("bounded"), and the grid: power of the error at the sampling
period of 2 px over that at neighbouring frequencies, dB. Trainings that are there are not repeated.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from bench_blind_spot import ISO, camera_pictures, psnr
from torch import Tensor, nn

import restore
from restore.data.batches import Batch
from restore.engines.denoise.ap_bsn import ApBsnEngine
from restore.engines.denoise.network import DenoisingNetwork
from restore.engines.denoise.noise_bounded import NoiseBoundedEngine
from restore.inference.engine import Engine
from restore.inference.options import RunOptions
from restore.objectives.blind_spot import BlindSpot
from restore.physics.random import generator_for
from restore.report.table import markdown
from restore.training.checkpoint import checkpoints
from restore.training.config import load_settings
from restore.training.run import run, trained_network
from restore.training.settings import Settings

SIDE, BLOCK = 256, 64
VARIANTS = ("full", "blind", "fixed")


class FixedShuffle(BlindSpot):
    """Sub-sampling by one phase of the whole picture."""

    def _cells(self, batch: Batch, number: int, x: Tensor) -> Tensor:
        generator = generator_for(batch.seed, batch.step, batch.first_index + number)
        cells = super()._cells(batch, number, x)
        return torch.full_like(cells, int(torch.randint(self.sub**2, (1,), generator=generator)))


def settings_of(variant: str, seed: int, args: argparse.Namespace) -> Settings:
    ramp = 0 if variant == "blind" else args.steps // 4
    learns = [f"objective.arguments={{ramp: {ramp}, weight: {args.weight}}}", "train.learning_rate=5e-4"]
    settings = load_settings("denoise/cbsn_camera", [f"name={variant}{seed}", "train.budget=null", *learns])
    if variant == "fixed":
        name = f"{Path(__file__).resolve()}:FixedShuffle"
        settings = dataclasses.replace(settings, objective=dataclasses.replace(settings.objective, name=name))
    data = dataclasses.replace(
        settings.data, train=(str(args.data),), cache=str(args.cache or args.out / "cache"), crop=args.crop
    )
    train = dataclasses.replace(settings.train, steps=args.steps, seed=seed, device="cpu", validate_every=args.steps)
    return dataclasses.replace(settings, data=data, train=train)


def trained(variant: str, seed: int, args: argparse.Namespace) -> nn.Module:
    settings, folder = settings_of(variant, seed, args), args.out / f"{variant}{seed}"
    run(settings, folder, resume=bool(checkpoints(folder)), notify=lambda entry: None)
    return trained_network(folder, settings)[0].eval()


def engines(variant: str, net: nn.Module) -> dict[str, Engine]:
    """How a network of a variant is used."""
    net.blind = variant == "blind"
    alone = DenoisingNetwork(net, net.spec(), variant, "")
    by_name: dict[str, Engine] = {variant: alone, f"{variant}, bounded": NoiseBoundedEngine(alone)}
    return by_name | ({"blind, as AP-BSN": ApBsnEngine(alone)} if net.blind else {})


def grid(error: np.ndarray) -> float:
    """H x W x C -> dB: mean power at the period of 2 px along either axis over that of the four frequencies below."""
    window = np.hanning(BLOCK)[:, None] * np.hanning(BLOCK)
    power, half = np.zeros((BLOCK, BLOCK)), BLOCK // 2
    for top in range(0, error.shape[0] - BLOCK + 1, half):
        for left in range(0, error.shape[1] - BLOCK + 1, half):
            block = error[top : top + BLOCK, left : left + BLOCK].mean(-1)
            power += np.abs(np.fft.fft2((block - block.mean()) * window)) ** 2
    power = power + power.T
    return float(10 * np.log10(power[half, :half].mean() / power[half - 5 : half - 1, :half].mean()))


def measured(engine: Engine, pictures: list[tuple[int, np.ndarray, np.ndarray]]) -> tuple[float, float]:
    restorer = restore.Restorer("denoise", engine, RunOptions(device="cpu"))
    scores, grids = [], []
    for _, clean, noisy in pictures:
        clean, noisy = clean[:SIDE, :SIDE], np.ascontiguousarray(noisy[:SIDE, :SIDE])
        y = restorer(noisy)
        scores.append(psnr(y, clean))
        grids.append(grid(y.astype(float) - clean))
    return float(np.mean(scores)), float(np.mean(grids))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs to train on")
    parser.add_argument("--test", type=Path, required=True, help="folder of clean photographs to measure on")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), help="folder of checkpoints")
    parser.add_argument("--cache", type=Path, help="folder of decoded pictures; default OUT/cache")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--crop", type=int, default=80)
    parser.add_argument("--iso", nargs=2, type=float, default=ISO, help="lowest and highest of the camera")
    parser.add_argument("--weight", type=float, default=1.25, help="of the agreement after sub-sampling")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    pictures = camera_pictures(args.test, args.iso)
    results: dict[str, list[tuple[float, float]]] = {}
    for seed in range(args.seeds):
        for variant in VARIANTS:
            net = trained(variant, seed, args)
            for name, engine in engines(variant, net).items():
                score, pattern = measured(engine, pictures)
                results.setdefault(name, []).append((score, pattern))
                print(f"# seed {seed}, {name}: {score:.2f} dB, grid {pattern:+.1f} dB", flush=True)
    rows = []
    for name, each in results.items():
        scores, grids = np.array(each).T
        rows.append([name, f"{scores.mean():.2f}", " ".join(f"{s:.2f}" for s in scores), f"{grids.mean():+.2f}"])
    print(markdown(["losses", "PSNR dB", "by seed", "grid dB"], rows))


if __name__ == "__main__":
    main()
