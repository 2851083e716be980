"""Fit what a candidate PSF is expected to gain (`restore.engines.blind_psf.appraisal`).

    python tools/fit_appraisal.py features samples --out features                       (several at once)
    python tools/fit_appraisal.py fit features --out appraisal.safetensors

Samples are those of tools/fit_blind_psf.py, whose two networks must be in place: features hold what they say. One
thread; a sample takes about 3 s.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import random
import time
from pathlib import Path

import torch
from fit_blind_psf import BORDER, Fitted, save
from torch import Tensor

from restore.engines.blind_psf.appraisal import MEMBERS, Appraisal, features, look_at, solve
from restore.engines.blind_psf.candidates import Evidence, likeliest, listed
from restore.engines.blind_psf.search import LEAST_GAIN
from restore.metrics.aligned import psnr_aligned
from restore.metrics.pixel import psnr
from restore.physics.color import srgb_to_linear, to_grey
from restore.physics.psf import sanitised

STEPS = 1200  # of each member
TOO_MUCH = 2.5  # weight of expecting too much


def write_features(args: argparse.Namespace) -> None:
    """What the appraisal sees of every candidate of every sample with estimates, and what each gains in truth."""
    args.out.mkdir(parents=True, exist_ok=True)
    paths = sorted(args.source.glob("*.pt"))
    random.Random(args.seed).shuffle(paths)
    for path in paths:
        target = args.out / path.name
        if target.exists():
            continue
        target.touch()
        one = torch.load(path, weights_only=True)
        if "est" not in one:
            continue
        blurred, clean = (one["rec"][0][i][None].float() / 255 for i in (0, 3))
        seen = Evidence(one["est"].float(), torch.tensor([list(fact) for fact in one["info"]]))
        found = listed(to_grey(srgb_to_linear(blurred))[0, 0], seen)
        figures, first = look_at(blurred), likeliest(found)
        before = psnr(blurred, clean, border=BORDER)
        rows, gained = [], []
        for each in found:
            rows.append(features(figures, each, first))
            restored = solve(blurred, sanitised(each.psf).psf).clamp(0, 1)
            scores = psnr(restored, clean, border=BORDER), psnr_aligned(restored, clean)
            gained.append([float(score - before) for score in scores])
        torch.save({"x": torch.stack(rows), "gain": torch.tensor(gained), "kind": one["kind"]}, target)


def fit_appraisal(args: argparse.Namespace) -> None:
    """Prints what choosing by it gains, by cross-validation in six parts, then fits to all."""
    paths = [path for path in sorted(args.source.glob("*.pt")) if path.stat().st_size]
    samples = [torch.load(path, weights_only=True) for path in paths]
    random.Random(0).shuffle(samples)
    x, gain = (torch.stack([each[name] for each in samples]) for name in ("x", "gain"))
    sharp = torch.tensor([each["kind"] == "none" for each in samples])
    said = torch.zeros(gain.shape[:2])
    for part in range(6):
        held = torch.arange(len(x)) % 6 == part
        said[held] = appraisal_of(x[~held], gain[~held])(x[held]).detach()
    most, best = said.max(1)
    plain, aligned = (gain[..., i].gather(1, best[:, None])[:, 0] for i in (0, 1))
    figures = ""
    for least in (0.0, 0.5, 1.0, LEAST_GAIN, 2.0):
        treated = most > least
        taken, aside = (torch.where(treated, each, 0.0) for each in (plain, aligned))
        means = [f"{each[~sharp].mean():+.2f}" for each in (taken, aside, gain[..., 0].amax(1).clamp(min=0))]
        worse, few = (taken < -0.1)[~sharp].float().mean(), treated[sharp].float().mean()
        print(
            f"from {least} dB on: blurred {' dB, aligned '.join(means[:2])} (the best candidates {means[2]}), worse by "
            f"0.1 dB {worse:.1%}, least {taken.min():.1f} dB; sharp {taken[sharp].mean():+.2f} dB, treated {few:.1%}"
        )
        if least == LEAST_GAIN:
            figures = f"blurred {means[0]} dB (the best candidates {means[2]}), {worse:.1%} worse by 0.1 dB; sharp "
            figures += f"{taken[sharp].mean():+.2f} dB, by six-fold cross-validation"
    began = time.monotonic()
    net = appraisal_of(x, gain)
    summary = f"What a candidate PSF is expected to gain, learned from {x.shape[1]} candidates of {len(x)} pictures."
    save(net, args, summary, Fitted(MEMBERS * STEPS, time.monotonic() - began, figures))


def appraisal_of(x: Tensor, gain: Tensor, steps: int = STEPS) -> Appraisal:
    """Fitted to features N x candidates x count and gains N x candidates x 2 (as it lies, aligned)."""
    net, rows = Appraisal(), x.flatten(0, 1)
    net.mean.copy_(rows.mean(0))
    net.spread.copy_(rows.std(0) + 1e-3)
    wanted, scaled = gain.mean(-1).clamp(-6, 8).flatten(), net.scaled(rows)
    for member in net.members:
        optimizer = torch.optim.AdamW(member.parameters(), 3e-3, weight_decay=0.2)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
            chosen = torch.randint(len(rows), (512,))
            noisy = scaled[chosen] + 0.05 * torch.randn(512, scaled.shape[1])
            over = member(noisy)[:, 0] - wanted[chosen]
            loss = torch.where(over > 0, TOO_MUCH * over, -over).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("features", "fit"))
    parser.add_argument("source", type=Path, help="folder of samples, or of features")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", nargs="*", default=[], help="NAME=LICENCE of the photographs, for the card")
    args = parser.parse_args()
    args.options = f"--seed {args.seed}"
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    {"features": write_features, "fit": fit_appraisal}[args.what](args)


if __name__ == "__main__":
    main()
