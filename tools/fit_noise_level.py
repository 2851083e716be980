"""Fit the regression behind the blind noise level (`restore.analysis.effective`) on simulated noise.

    python tools/fit_noise_level.py photos --pairs PolyU_crops --out level.safetensors

Photographs (a sixth of the files is held out), random crops and noise of all kinds, clean ones among them; the truth
is the mean of the level map that training would show a network. Of real pairs (`*_real` and its mean over many shots,
`*_mean`) every second scene says what cameras really do, and the others are held out. Prints the errors on what is held
out. One core, about a quarter of an hour.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import math
import zlib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

import restore
from restore.analysis.effective import LevelRegression, features, soft_floor
from restore.data.cache import CropCache, open_cache
from restore.physics.color import to_luma
from restore.physics.level import level_map, noise_curve
from restore.physics.noise_mixture import KINDS, NoiseRecipe, degrade

RECIPE = NoiseRecipe(
    weights={
        "developed": 0.27, "camera": 0.16, "gaussian": 0.14, "none": 0.14, "correlated": 0.07, "poisson": 0.1,
        "resize": 0.05, "jpeg": 0.05, "speckle": 0.02,
    },
    coarse_sigma=(0, 15), chroma=(0, 2), steepness=(2, 9), reduction=(0, 2), dependence=(-0.8, 0.8),
    camera_quality=(88, 99), jpeg=0.25, clipped=0.9,
)  # fmt: skip
GRAIN = replace(RECIPE, weights={"developed": 1, "grain": 1}, chroma=(0, 0), luma_blur=(0, 1.2), developed=(2, 40))
GRAINY = 0.2  # share of noise alike in all colours
SIDES = (200, 320, 448)
GREY = 0.15  # share of grey pictures
REAL = -1  # kind of noise of pairs
REALITY = 2.0  # weight of them
TOO_HIGH, CLEAN = 1.5, 6.0  # weights of levels found too high (detail is lost), and of pictures without noise


class Samples(NamedTuple):
    """Features N x `COUNT`, true levels N (8-bit units), kind of noise N (`REAL` for pairs), whether held out N."""

    features: Tensor
    levels: Tensor
    kinds: Tensor
    held_out: Tensor


def draw(cache: CropCache, count: int, seed: int) -> Samples:
    rows = [row for i in range(count) if (row := sample(cache, i, seed)) is not None]
    rows_of_features, levels, kinds, held = zip(*rows, strict=True)
    return Samples(torch.stack(rows_of_features), torch.tensor(levels), torch.tensor(kinds), torch.tensor(held))


def sample(cache: CropCache, index: int, seed: int) -> tuple[Tensor, float, int, bool] | None:
    rng = np.random.default_rng((seed, index))
    entries = [entry for entry in cache.entries if min(entry.height, entry.width) >= min(SIDES)]
    entry = entries[int(rng.integers(len(entries)))]
    side = int(rng.choice(SIDES))
    height, width = min(side, entry.height), min(side, entry.width)
    top, left = int(rng.integers(entry.height - height + 1)), int(rng.integers(entry.width - width + 1))
    pixels = cache.picture(entry)[top : top + height, left : left + width]
    clean = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / (65535 if entry.deep else 255)
    clean = to_luma(clean) if rng.random() < GREY else clean
    done = degrade(clean, GRAIN if rng.random() < GRAINY else RECIPE, seed, 0, index)
    measured = features([done.noisy[0]])
    if measured is None:
        return None
    held_out = zlib.crc32(Path(entry.path).name.encode()) % 6 == 0
    return measured, float(done.level_map.mean()) * 255, int(done.kind), held_out


def draw_pairs(folder: Path, count: int, seed: int) -> Samples:
    """Crops of real pairs: as many of each."""
    names = sorted(folder.glob("*_real.*"))
    scenes = sorted({_scene(name) for name in names})
    rows = []
    for number, name in enumerate(names):
        noisy, clean = (_unit(each) for each in (name, name.with_name(name.name.replace("_real", "_mean"))))
        rng = np.random.default_rng((seed, number))
        for _ in range(math.ceil(count / len(names))):
            side = min(int(rng.choice(SIDES)), *noisy.shape[-2:])
            top, left = (int(rng.integers(length - side + 1)) for length in noisy.shape[-2:])
            x, y = (each[..., top : top + side, left : left + side] for each in (noisy, clean))
            measured = features([x[0]])
            if measured is not None:
                level = float(level_map(x, noise_curve(x - y, y)).mean()) * 255
                rows.append((measured, level, REAL, scenes.index(_scene(name)) % 2 == 0))
    columns = zip(*rows, strict=True)
    return Samples(torch.stack(next(columns)), *(torch.tensor(column) for column in columns))


def _scene(name: Path) -> str:
    return name.stem.rsplit("_", 2)[0]


def _unit(path: Path) -> Tensor:
    return torch.tensor(restore.read(path).pixels).movedim(-1, 0)[None, :3].float() / 255


def fit(data: Samples, steps: int, seed: int = 0) -> LevelRegression:
    """AdamW on batches with jittered features; too high costs more than too low, most of all on clean pictures."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = LevelRegression()
    x, y, held = data.features, truth(data.levels), data.held_out
    net.mean, net.spread = x[~held].mean(0), x[~held].std(0).clamp(min=0.1)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.5)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    own = (~held).nonzero()[:, 0]
    for _ in range(steps):
        some = own[torch.randint(len(own), (128,), generator=generator)]
        jitter = 0.1 * net.spread * torch.randn(128, x.shape[1], generator=generator)
        error = soft_floor(net(x[some] + jitter)) - y[some]
        cost = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.3, reduction="none")
        high, kinds = torch.where(error > 0, TOO_HIGH, 1.0), data.kinds[some]
        weight = torch.where(kinds == REAL, REALITY, high * torch.where(kinds == 0, CLEAN, 1.0))
        optimizer.zero_grad()
        (cost * weight).mean().backward()
        optimizer.step()
        rate.step()
    return net


def truth(levels: Tensor) -> Tensor:
    """8-bit units -> what is compared: below half a step of 8 bits all levels are alike."""
    return soft_floor(levels.clamp(min=1e-6).log2())


def report(net: LevelRegression, data: Samples) -> None:
    with torch.no_grad():
        levels = soft_floor(net(data.features)).exp2()
    marks = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
    kinds = {name: KINDS.index(name) for name in (*RECIPE.weights, "grain")} | {"real": REAL}
    for name, number in kinds.items():
        mine = data.held_out & (data.kinds == number)
        if not mine.any():
            continue
        clean = name == "none"
        shown = levels[mine] if clean else levels[mine] / data.levels[mine].clamp(min=0.7)
        quantiles = " ".join(f"{v:.2f}" for v in shown.quantile(marks).tolist())
        print(f"{name:12} {int(mine.sum()):5} held out, {'levels' if clean else 'measured / true'}: {quantiles}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="of photographs; pages do not help")
    parser.add_argument("--exclude", nargs="*", default=["bsds_*"])
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--samples", type=int, default=7000)
    parser.add_argument("--drawn", type=Path, help="keep the samples in this file, or take them from it")
    parser.add_argument("--pairs", type=Path, help="folder of real pairs, *_real and *_mean")
    parser.add_argument("--crops", type=int, default=1000, help="of the pairs")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("level.safetensors"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.drawn and args.drawn.exists():
        data = Samples(**torch.load(args.drawn, weights_only=True))
    else:
        cache = open_cache(args.folders, args.cache, exclude=args.exclude, scales=(1.0, 0.6, 0.4))
        data = draw(cache, args.samples, seed=77)
        if args.drawn:
            torch.save(data._asdict(), args.drawn)
    if args.pairs:
        pairs = draw_pairs(args.pairs, args.crops, seed=77)
        data = Samples(*(torch.cat(columns) for columns in zip(data, pairs, strict=True)))
    net = fit(data, args.steps)
    report(net, data)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, args.out)
    print(f"{args.out}: {sum(p.numel() for p in net.parameters())} parameters from {len(data.levels)} samples")


if __name__ == "__main__":
    main()
