"""What adapting a deblurrer to a clip gains, without and with a truth: every shift of the blur, every ablation.

    python tools/bench_adapt.py photographs --weights narrow=narrow.safetensors --json adapt.jsonl
    python tools/bench_adapt.py photographs --only "a longer" --ablation random
    python tools/bench_adapt.py photographs --only "a longer" --sabotage noise

Clips are those of `adapt_clips.py`, one photograph each. PSNR in dB, mean over frames, 8 px left out at the border: of
the input; of the network as it is; adapted (`restore deblur --adapt`); and the ceiling, as many steps on the clip's own
truth. "Moving" is the gain of the frames that are not (nearly) still. The Spearman correlation is of the held-out gain,
which knows no truth, and the true one, over all clips, rejected attempts included. Ablations learn from other blur than
the clip's: "random" directions and lengths, "gaussian", "identity", or with the safeguards "off". Sabotages must be
rejected. One thread.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import torch
from adapt_clips import MOVING, SHIFTS, make_clip
from torch import Tensor, nn

from restore.engines.deblur.adaptation import learning
from restore.engines.deblur.adaptation.learning import SETTINGS, Safeguards, _Learner, adapt
from restore.engines.deblur.adaptation.seen import Frame
from restore.engines.deblur.network import SHIPPED, checked_network
from restore.engines.fitting import FitSettings, fit
from restore.io.paths import find_pictures
from restore.losses import per_sample
from restore.physics.random import generator_for
from restore.report.table import markdown

MORE_SEEDS = ("a longer", "c shaken", "g none")
REPORTED = ("decision", "why", "gain", "way", "steps", "sharp_tiles", "shutter")
SEEDS, BORDER, CROP = 3, 8, 128
HEAD = (
    "source", "shift", "clips", "input", "as it is", "adapted", "ceiling", "gain", "moving", "wins", "worst", "kept",
    "CPU s",
)  # fmt: skip


def psnr(answers: Sequence[Tensor], truth: Tensor) -> float:
    inner = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    errors = [(answer.clamp(0, 1) - true)[inner].square().mean() for answer, true in zip(answers, truth, strict=True)]
    return statistics.fmean(float(-10 * error.log10()) for error in errors)


def ceiling(learner: _Learner, truth: Tensor, settings: FitSettings) -> nn.Module:
    """The same network after as many steps on the truth."""
    network, spec, frames = learner.network, learner.spec, learner.frames

    def loss(step: int) -> Tensor:
        generator = generator_for(0, step)
        picks = torch.randint(len(frames), (4,), generator=generator).tolist()
        top, left = (int(torch.randint(side - CROP + 1, (1,), generator=generator)) for side in truth.shape[-2:])
        crop = (..., slice(top, top + CROP), slice(left, left + CROP))
        shown = torch.stack([learner._shown(learner._windows[k])[crop] for k in picks])
        answer = network(shown.flatten(1, 2) if shown.ndim == 5 else shown).unflatten(1, (spec.heads, -1))
        return sum(per_sample.charbonnier(one, truth[picks][crop]).mean() for one in answer.unbind(1)) / spec.heads

    def validate(candidate: nn.Module) -> float:
        return -psnr(learner.answers(candidate), truth)

    network.train()
    return fit(network, network.parameters(), loss, validate, settings).network


def run(clip: tuple[Tensor, Tensor], weights: str | None, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    loaded = checked_network(weights)
    network, spec = loaded.net, loaded.spec
    pictures, truth = clip
    frames = [Frame(picture, 0, k) for k, picture in enumerate(pictures)]
    settings = replace(SETTINGS, steps=options.steps or SETTINGS.steps)
    guards = Safeguards(False, False, False) if options.ablation == "off" else Safeguards()
    if options.sabotage == "rate":
        settings = replace(settings, learning_rate=100 * settings.learning_rate, clip=None)
    started = time.process_time()
    with changed(options.ablation or options.sabotage):
        done = adapt(network, spec, frames, seed=seed, settings=settings, safeguards=guards)
    seconds = time.process_time() - started
    learner = _Learner(network, spec, frames, torch.device("cpu"))
    before = learner.answers(network)
    tried = before if done.tried is None else learner.answers(done.tried)
    row = {
        "input": psnr(pictures, truth), "before": psnr(before, truth), "tried": psnr(tried, truth), "seconds": seconds,
        **{name: done.report.get(name) for name in REPORTED},
    }  # fmt: skip
    row["after"] = row["tried"] if done.network is not None else row["before"]
    moving = [psnr([each[k] for k in MOVING], truth[list(MOVING)]) for each in (before, tried)]
    row["moving"] = moving[1] - moving[0] if done.network is not None else 0.0
    if options.ceiling:
        own = _Learner(checked_network(weights).net, spec, frames, torch.device("cpu"))
        best = ceiling(own, truth, settings)
        row["ceiling"] = psnr(learner.answers(best), truth)
    return row


def changed(how: str | None) -> Any:
    """The adaptation, one part of it replaced."""
    drawn = learning.Reblur._draw
    if how == "random":
        unknown = property(lambda domain: False)
        return mock.patch.multiple("restore.engines.deblur.adaptation.domain.Domain", known=unknown, fields=())
    if how == "gaussian":
        from restore.physics.shake import gaussians

        def gaussian(self: Any, chances: list[float], side: int, generator: torch.Generator) -> Any:
            made = drawn(self, chances, side, generator)
            length = self._length_and_angle(chances)[0]
            psf = gaussians(torch.tensor([max(length / 12**0.5, 0.05)]), made.psf.shape[-1])[0]
            return made._replace(psf=psf, field=None, left=psf.square().sum().sqrt())

        return mock.patch.object(learning.Reblur, "_draw", gaussian)
    if how == "identity":
        return mock.patch.object(learning.Reblur, "_length_and_angle", lambda self, chances: (0.0, 0.0))
    if how == "scale":
        own = learning.Reblur._length_and_angle

        def scaled(self: Any, chances: list[float]) -> tuple[float, float]:
            length, angle = own(self, chances)
            return min(4 * length, 60.0), angle + 1.57

        return mock.patch.object(learning.Reblur, "_length_and_angle", scaled)
    if how == "noise":
        batch = learning._batch

        def spoilt(crops: Sequence[Tensor], turned: bool, seed: int, step: int) -> Any:
            made = batch(crops, turned, seed, step)
            clean = made.pictures["clean"]
            noise = torch.rand(clean.shape, generator=generator_for(seed, step, 7))
            return replace(made, pictures={"clean": noise})

        return mock.patch.object(learning, "_batch", spoilt)
    return nullcontext()


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


def report(rows: list[dict[str, Any]]) -> None:
    table = []
    for source, shift in dict.fromkeys((row["source"], row["shift"]) for row in rows):
        own = [row for row in rows if (row["source"], row["shift"]) == (source, shift)]
        gains = [row["after"] - row["before"] for row in own]
        means = [f"{statistics.fmean(row[name] for row in own):.2f}" for name in ("input", "before", "after")]
        top = f"{statistics.fmean(row['ceiling'] for row in own):.2f}" if "ceiling" in own[0] else ""
        moving, seconds = (statistics.fmean(row[name] for row in own) for name in ("moving", "seconds"))
        table.append([
            source, shift, str(len(own)), *means, top, f"{statistics.fmean(gains):+.2f}", f"{moving:+.2f}",
            str(sum(gain > 0 for gain in gains)), f"{min(gains):+.2f}",
            str(sum(row["decision"] == "keep" for row in own)), f"{seconds:.0f}",
        ])  # fmt: skip
    print(markdown(HEAD, table))
    tried = [row for row in rows if row["gain"] is not None]
    if len(tried) > 3:
        told, true = [row["gain"] for row in tried], [row["tried"] - row["before"] for row in tried]
        print(f"\nSpearman of the held-out and the true gain, {len(tried)} clips: {spearman(told, true):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--weights", nargs="*", default=[f"shipped={SHIPPED}"], help="NAME=WEIGHTS")
    parser.add_argument("--only", nargs="*", default=list(SHIFTS))
    parser.add_argument("--seeds", type=int, help=f"of every shift; by default {SEEDS} of {', '.join(MORE_SEEDS)}")
    parser.add_argument("--steps", type=int, help="of the fit")
    parser.add_argument("--ablation", choices=["random", "gaussian", "identity", "off"])
    parser.add_argument("--sabotage", choices=["noise", "rate", "scale"])
    parser.add_argument("--ceiling", action="store_true", help="learn from the truth, too")
    parser.add_argument("--json", type=Path, help="file of lines to append to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(find_pictures(options.photographs))
    rows = []
    for name, weights in (each.split("=", 1) for each in options.weights):
        for number, shift in enumerate(SHIFTS):
            if shift not in options.only:
                continue
            for seed in range(options.seeds or (SEEDS if shift in MORE_SEEDS else 1)):
                photograph = cv2.imread(str(files[(3 * number + seed) % len(files)]))[..., ::-1].copy()
                clip = make_clip(torch.from_numpy(photograph).movedim(-1, 0).float() / 255, SHIFTS[shift], seed)
                row = {"source": name, "shift": shift, "seed": seed, **run(clip, weights, seed, options)}
                rows.append(row)
                print("#", json.dumps(row), flush=True)
                if options.json:
                    with options.json.open("a") as file:
                        file.write(json.dumps(row) + "\n")
    report(rows)


if __name__ == "__main__":
    main()
