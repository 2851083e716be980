"""Train the weights of the zoo: from a folder of photographs to evaluated, exported weights.

    python tools/train_zoo.py denoise --data photos --out checkpoints --budget 65m
    python tools/train_zoo.py denoise --out … --steps 200000 --device cuda
    python tools/bench_sets.py SETS --weights checkpoints/denoise.safetensors --log measured.jsonl
    python tools/train_zoo.py denoise --data photos --out checkpoints --budget 65m --results measured.jsonl

The same command again goes on where the last one stopped (kill it at any moment) and exports once the schedule has
ended; with the log of a benchmark, it exports once more with the figures in the card. Training
needs torch, numpy, opencv and safetensors alone, as a bare GPU machine has them; where pydantic is missing too, it
stops before the export: bring the folder of checkpoints home and run the command there.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import dataclasses
import itertools
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from safetensors.torch import load_file

from restore.errors import RestoreError
from restore.options import seconds_of
from restore.training.checkpoint import checkpoints
from restore.training.run import build_objective, run
from restore.training.settings import (
    DataSettings,
    ModelSettings,
    ObjectiveSettings,
    Settings,
    TrainSettings,
)

NOISE = {
    "weights": {
        "camera": 0.33, "gaussian": 0.35, "poisson": 0.1, "correlated": 0.07, "none": 0.05, "resize": 0.03,
        "jpeg": 0.03, "speckle": 0.02, "salt_pepper": 0.02,
    },
    "coarse_sigma": [0, 15],
    "jpeg": 0.1,
    "clipped": 0.75,
    "level_error": 0.1,
    "coarse_level_error": 0.35,
}  # fmt: skip
WHITE = NOISE | {
    "weights": {"gaussian": 0.72, "poisson": 0.16, "none": 0.05, "speckle": 0.04, "salt_pepper": 0.03},
    "jpeg": 0.0,
    "clipped": 0.6,
    "level_error": 0.05,
}
TOLD = {"weights": {"gaussian": 1.0}, "sigma": [1, 60], "even_in_log": True, "clipped": 0.0}
IN_CAMERA = {"weights": {"camera": 1.0}, "cameras": ["phone", "dslr", "raw"], "iso": [400, 25600], "camera_jpeg": 0.3}
PHOTOGRAPHS = [
    ("CID22 training references (209)", "CC BY-SA 4.0"),
    ("CLIC 2025 validation (26)", "Unsplash License"),
    ("wallpapers of elementary OS, Pop!_OS, Ubuntu, deepin, Budgie", "CC0, CC BY, CC BY-SA, Unsplash, PD by file"),
]  # fmt: skip


def deconv(name: str, summary: str, arguments: dict[str, object], regime: str) -> Settings:
    return Settings(
        name=name,
        task="deconv",
        summary=summary,
        model=ModelSettings(name="wiener_unet", arguments=arguments),
        objective=ObjectiveSettings(
            name="deconvolution",
            losses={"charbonnier": 1.0},
            arguments={"blurred_losses": {"charbonnier": 1.0}, "closed_loop": 0.5, "blur": {"regime": regime}},
        ),
        data=DataSettings(exclude=("bsds_*",), scales=(1.0, 0.6, 0.4), crop=96, held_out=8),
        train=TrainSettings(steps=200_000, batch=6, learning_rate=5e-4, log_every=100, validate_every=1000),
    )


def denoise(name: str, summary: str, noise: dict[str, object]) -> Settings:
    return Settings(
        name=name,
        task="denoise",
        summary=summary,
        model=ModelSettings(
            name="plain_unet",
            arguments={"channels": 3, "condition_channels": 1, "widths": [48, 96], "blocks": [2, 3, 2]},
        ),
        objective=ObjectiveSettings(noise=noise, arguments={"grey_every": 8}),
        data=DataSettings(exclude=("bsds_*",), scales=(1.0, 0.6, 0.4), crop=64, held_out=8),
        train=TrainSettings(steps=200_000, batch=16, log_every=100, validate_every=1000),
    )


def blind_spot(name: str, summary: str, blind: bool = False, width: int = 32, **arguments: float) -> Settings:
    return Settings(
        name=name,
        task="denoise",
        summary=summary,
        model=ModelSettings(
            name="cbsn", arguments={"channels": 3, "width": width} | ({"blind": True} if blind else {})
        ),
        objective=ObjectiveSettings(name="blind_spot", noise=IN_CAMERA, arguments=arguments),
        data=DataSettings(exclude=("bsds_*",), scales=(1.0, 0.6, 0.4), crop=120, held_out=8),
        train=TrainSettings(steps=200_000, batch=1, learning_rate=5e-4, log_every=100, validate_every=500),
    )


RECIPES = {
    "denoise": denoise("denoise", "Removes noise of any kind and level from colour and grey photographs.", NOISE),
    "denoise_white": denoise(
        "denoise_white", "Removes noise without spatial correlation from colour and grey photographs.", WHITE
    ),
    "deconv_prior": denoise(
        "deconv_prior", "The prior of plug-and-play: removes white Gaussian noise of a told level, unclipped.", TOLD
    ),
    "cbsn": blind_spot(
        "cbsn",
        "Removes the correlated noise of cameras; learned from noisy pictures alone.",
        width=16,
        ramp=1000,
    ),
    "plain_blind_spot": blind_spot(
        "plain_blind_spot",
        "To compare with: a blind-spot network alone, no pixel-shuffle.",
        blind=True,
        width=16,
        pd=1,
        ramp=0,
    ),
    "deconv": deconv("deconv", "Takes a known blur out of photographs with little noise.", {"steps": 5}, "gaussian"),
    "deconv_low_light": deconv(
        "deconv_low_light",
        "Takes a known blur out of photographs taken in low light, noisy and with clipped lights.",
        {"steps": 2, "denoise": True},
        "low-light",
    ),
}


def settings_of(name: str, args: argparse.Namespace) -> Settings:
    recipe = RECIPES[name]
    chosen = {"device": args.device, "budget": args.budget, "steps": args.steps, "batch": args.batch}
    chosen["learning_rate"] = args.learning_rate
    train = dataclasses.replace(recipe.train, **{key: value for key, value in chosen.items() if value})
    data = dataclasses.replace(recipe.data, train=(str(args.data),), cache=str(args.cache or args.out / "cache"))
    return dataclasses.replace(recipe, train=train, data=data)


def beginning(settings: Settings, args: argparse.Namespace) -> dict[str, torch.Tensor] | None:
    """The weights to start from: of the same network, of a denoiser for its U-Nets, or None."""
    if args.init_from:
        return load_file(args.init_from)
    if args.denoiser and settings.task == "deconv":
        network = build_objective(settings).averaged
        network.take_denoiser({name: value.float() for name, value in load_file(args.denoiser).items()})
        return network.state_dict()
    return None


def train(name: str, args: argparse.Namespace) -> None:
    settings, folder = settings_of(name, args), args.out / name
    begin = beginning(settings, args)
    progress = run(settings, folder, resume=bool(checkpoints(folder)), init_from=begin, tell=tell, cached=tell_cached)
    if progress.interrupted:
        print(f"{name}: stopped at step {progress.step}; the same command goes on")
        return
    if int(os.environ.get("RANK", "0")):
        return  # several processes train, one exports
    try:
        from measured import results_of

        from restore.training.export import export
        from restore.zoo.card import DataSource
    except ImportError as error:
        print(f"{name}: trained, not exported ({error}); bring {folder} to a machine with restore installed")
        return
    path = args.out / f"{name}.safetensors"
    facts = {
        "data": [DataSource(name=source, licence=licence) for source, licence in PHOTOGRAPHS],
        "command": shlex.join(["python", *_portable(sys.argv)]),
    }
    results = results_of(args.results, args.ours) if args.results else ()
    card = export(folder, settings, path, **facts, results=results)
    print(f"{name}: {path}, step {card.steps}, sha256 {card.sha256[:16]}")


def _portable(words: list[str]) -> list[str]:
    """A command line as a card has it: folders of this machine by their names, what does not train left out."""
    kept, left_out = ["tools/train_zoo.py"], ("--results", "--ours", "--cache")
    for before, word in itertools.pairwise(words):
        if word not in left_out and before not in left_out:
            kept.append(Path(word).name if "/" in word else word)
    return kept


def tell(entry: dict) -> None:
    print(" ".join(f"{key} {value:.6g}" for key, value in entry.items()), flush=True)


def tell_cached(done: int, total: int) -> None:
    if done % 50 == 0 or done == total:
        print(f"decoded {done} of {total} pictures", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=sorted(RECIPES))
    parser.add_argument("--data", type=Path, default=Path("photos"), help="folder of photographs")
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"), help="folder of checkpoints and weights")
    parser.add_argument("--cache", type=Path, help="folder of decoded pictures; default OUT/cache")
    parser.add_argument("--init-from", type=Path, help="safetensors of the same network to begin with")
    parser.add_argument("--denoiser", type=Path, help="safetensors of a denoiser for the U-Nets of deconvolution")
    parser.add_argument("--results", type=Path, help="log of a benchmark (tools/bench_*.py --log) for the card")
    parser.add_argument("--ours", default="restore", help="name of these weights in that log")
    parser.add_argument("--budget", type=seconds_of, help="time after which the schedule has ended: 90s, 65m, 2h")
    parser.add_argument("--steps", type=int, help="length of the schedule in steps")
    parser.add_argument("--batch", type=int, help="crops of a step")
    parser.add_argument("--learning-rate", type=float, help="highest of the schedule")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        for name in args.names:
            train(name, args)
    except RestoreError as error:
        print(f"train_zoo: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
