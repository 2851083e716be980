"""What C-BSN's losses and its random sub-sampling are worth: trainings that differ in one thing, for several seeds.

    python tools/ablate_blind_spot.py --data photos --test CBSD68 --out runs/ablation --steps 2000

full       the three losses, sub-sampling by chance
blind      the blind-spot loss alone (answers blind; also on the phases of a pixel-shuffle by 2)
fixed      the three losses, sub-sampling by one fixed phase of a pixel-shuffle by 2, of the step's choice

Prints PSNR on cbsd8's upper left 256 x 256 px with the noise of `bench_blind_spot.py camera`, of the networks as they
answer, and the grid: power of the error at the sampling period of 2 px over that at neighbouring frequencies, dB.
Trainings that are there are not repeated.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from bench_blind_spot import camera_pictures, psnr
from torch import Tensor, nn
from train_zoo import blind_spot

from restore.data.batches import Batch
from restore.objectives.blind_spot import BlindSpot, standardised
from restore.physics.noise import NoiseRecipe
from restore.physics.random import generator_for
from restore.physics.resample import pixel_shuffle_batch, pixel_unshuffle_batch
from restore.report.table import markdown
from restore.training.checkpoint import checkpoints
from restore.training.run import run, trained_network
from restore.training.settings import ObjectiveSettings, Settings

WIDTH, SIDE, BLOCK = 16, 256, 64
VARIANTS = ("full", "blind", "fixed")


class FixedShuffle(BlindSpot):
    """Sub-sampling by one phase of the whole picture."""

    def _cells(self, batch: Batch, number: int, x: Tensor) -> Tensor:
        generator = generator_for(batch.seed, batch.step, batch.first_index + number)
        cells = super()._cells(batch, number, x)
        return torch.full_like(cells, int(torch.randint(self.sub**2, (1,), generator=generator)))


def fixed_shuffle(network: nn.Module, settings: ObjectiveSettings) -> FixedShuffle:
    noise = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.noise.items()}
    return FixedShuffle(network, NoiseRecipe(**noise), **settings.arguments)


def settings_of(variant: str, seed: int, args: argparse.Namespace) -> Settings:
    ramp = 0 if variant == "blind" else args.steps // 3
    settings = blind_spot(f"{variant}{seed}", "", width=WIDTH, ramp=ramp)
    if variant == "fixed":
        name = f"{Path(__file__).resolve()}:fixed_shuffle"
        settings = dataclasses.replace(settings, objective=dataclasses.replace(settings.objective, name=name))
    data = dataclasses.replace(
        settings.data, train=(str(args.data),), cache=str(args.cache or args.out / "cache"), crop=args.crop
    )
    train = dataclasses.replace(settings.train, steps=args.steps, seed=seed, device="cpu", validate_every=args.steps)
    return dataclasses.replace(settings, data=data, train=train)


def trained(variant: str, seed: int, args: argparse.Namespace) -> nn.Module:
    settings, folder = settings_of(variant, seed, args), args.out / f"{variant}{seed}"
    run(settings, folder, resume=bool(checkpoints(folder)), tell=lambda entry: None)
    return trained_network(folder, settings)[0].eval()


def answers(variant: str) -> dict[str, Callable[[nn.Module, Tensor], Tensor]]:
    """How a network of a variant is asked."""
    if variant != "blind":
        return {variant: lambda net, x: net(x, False)}

    def on_phases(net: nn.Module, x: Tensor) -> Tensor:
        return pixel_shuffle_batch(net(pixel_unshuffle_batch(x, 2), True), 2)

    return {"blind": lambda net, x: net(x, True), "blind, on phases": on_phases}


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


@torch.no_grad()
def measured(net: nn.Module, ask: Callable[[nn.Module, Tensor], Tensor], test: Path) -> tuple[float, float]:
    scores, grids = [], []
    for _, clean, noisy in camera_pictures(test):
        clean, noisy = clean[:SIDE, :SIDE], noisy[:SIDE, :SIDE]
        shown = standardised(torch.from_numpy(noisy).movedim(-1, 0)[None] / 255)
        y = shown.undone(ask(net, shown.pixels)).clamp(0, 1)[0].movedim(0, -1).numpy() * 255
        scores.append(psnr(y.round(), clean))
        grids.append(grid(y - clean))
    return float(np.mean(scores)), float(np.mean(grids))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs to train on")
    parser.add_argument("--test", type=Path, required=True, help="folder of clean photographs to measure on")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), help="folder of checkpoints")
    parser.add_argument("--cache", type=Path, help="folder of decoded pictures; default OUT/cache")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--crop", type=int, default=80)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(args.seeds):
        for variant in VARIANTS:
            net = trained(variant, seed, args)
            for name, ask in answers(variant).items():
                found.setdefault(name, []).append(measured(net, ask, args.test))
                print(
                    f"# seed {seed}, {name}: {found[name][-1][0]:.2f} dB, grid {found[name][-1][1]:+.1f} dB", flush=True
                )
    rows = []
    for name, each in found.items():
        scores, grids = np.array(each).T
        rows.append([name, f"{scores.mean():.2f}", " ".join(f"{s:.2f}" for s in scores), f"{grids.mean():+.2f}"])
    print(markdown(["losses", "PSNR dB", "by seed", "grid dB"], rows))


if __name__ == "__main__":
    main()
