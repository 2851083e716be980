"""Fit the two small networks of blind deblurring: candidates of the PSF, and the judge of what was restored.

    python tools/fit_blind_psf.py draw photos --out samples --minutes 60        (several at once with other --seed)
    python tools/fit_blind_psf.py psf samples --out psf.safetensors --minutes 15
    python tools/fit_blind_psf.py judge samples --out judge.safetensors --minutes 20
    then tools/fit_appraisal.py, once both files are in place

Samples: photographs at random sizes, blurred as a camera does (shakes of 2 to 25 px, lines, discs, a fifth not at all;
some change over the picture; noise, JPEG), what is estimated of each in four windows, and each estimate taken out.
A tenth of the samples is held out; the figures printed are of those. One thread; a sample takes about 3 s, a quick one,
with spoilt true PSFs in the place of estimates, 1 s.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import datetime
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from skimage.registration import phase_cross_correlation
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from restore.engines.blind_psf.appraisal import solve
from restore.engines.blind_psf.candidates import SIDE, PSFNetwork, evidence
from restore.engines.blind_psf.judge import CELL, Judge
from restore.io import read_picture
from restore.io.tensors import to_unit
from restore.metrics.pixel import psnr
from restore.physics.batch import crop_or_pad
from restore.physics.camera_blur import CameraBlurRecipe, blur_as_camera
from restore.physics.color import srgb_to_linear, to_grey
from restore.physics.shake import draw_paths, gaussians, rasterised
from restore.picture import ValueScale
from restore.training.provenance import machine
from restore.zoo.card import DataSource, WeightsCard
from restore.zoo.weights import save_weights

CLEAN, SAMPLE, BORDER = 296, 256, 12
WEIGHTS = (300.0, 500.0, 1000.0, 1000.0, 1000.0, 2500.0)
"""What is drawn from for each restored picture."""
LEAST_GAIN = 0.3  # dB expected below which nothing is done, in the figures printed


class Fitted(NamedTuple):
    """How a fit went: steps, seconds, and figures of what was held out."""

    steps: int
    seconds: float
    figures: str


class Restored(NamedTuple):
    """uint8, C x H x W: blurred, restored, the truth where the restored one lies, the truth; the gain in dB."""

    blurred: Tensor
    restored: Tensor
    aligned: Tensor
    clean: Tensor
    gain: float


def random_recipe(rng: random.Random) -> tuple[CameraBlurRecipe, str]:
    kind = rng.choices(["shake", "line", "disc", "none"], [0.66, 0.08, 0.08, 0.18])[0]
    size = rng.uniform(0.8, 6) if kind == "disc" else rng.uniform(2, 25)
    moves = kind in ("shake", "line")
    return CameraBlurRecipe(
        weights={kind: 1.0}, length=(size, size) if moves else (1.0, 25.0),
        radius=(size, size) if kind == "disc" else (1.0, 5.0), varying=float(moves and rng.random() < 0.25),
        linear=0.9, lights=(1.0, 1.0), noise=(0.0, 3.0), jpeg=0.6, quality=(80.0, 97.0),
    ), kind  # fmt: skip


def draw(args: argparse.Namespace) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    files = sorted(path for path in args.source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    rng, began, number = random.Random(args.seed), time.monotonic(), 0
    while time.monotonic() - began < 60 * args.minutes:
        clean = random_crop(files, rng)
        if clean is None:
            continue
        torch.save(sample(clean, rng, number, rng.random() < args.quick), args.out / f"{args.seed}_{number:05d}.pt")
        number += 1
    print(f"{number} samples")


def random_crop(files: Sequence[Path], rng: random.Random) -> Tensor | None:
    picture = read_picture(rng.choice(files))
    x = to_unit(picture.pixels[..., :3], ValueScale.nominal(picture.info))
    smaller = rng.choice([1, 1, 1.5, 2]) if min(x.shape[-2:]) > 700 else 1
    if smaller != 1:
        x = F.interpolate(x, scale_factor=1 / smaller, mode="bilinear", antialias=True).clamp(0, 1)
    height, width = x.shape[-2:]
    if min(height, width) < CLEAN or x.shape[1] != 3:
        return None
    top, left = rng.randint(0, height - CLEAN), rng.randint(0, width - CLEAN)
    x = x[..., top : top + CLEAN, left : left + CLEAN]
    return x.flip(-1) if rng.random() < 0.5 else x


def sample(clean: Tensor, rng: random.Random, number: int, quick: bool) -> dict[str, Any]:
    """Blurred picture, evidence, truth, and the estimates taken out; `quick`: spoilt true PSFs instead of estimates."""
    recipe, kind = random_recipe(rng)
    made = blur_as_camera(clean, recipe, rng.randint(0, 10**9), 0, number)
    blurred, sharp = (_middle(x) for x in (made.blurred, made.clean))
    truth = crop_or_pad(made.psf[0, 0], (SIDE, SIDE))
    truth = truth / truth.sum()
    facts: dict[str, Any] = {"truth": truth, "kind": kind, "var": float(made.varying[0])}
    if quick:
        shake = _shake(rng)
        psfs = [shake if kind == "none" else _spoilt(truth, rng) for _ in range(3)]
        psfs[0] = shake if rng.random() < 0.3 else psfs[0]
    else:
        seen = evidence(to_grey(srgb_to_linear(blurred))[0, 0])
        psfs = [*seen.maps, *([] if kind == "none" else [_spoilt(truth, rng)])]
        facts |= {"est": seen.maps, "info": seen.facts.tolist()}
    return facts | {"rec": [tuple(_restored(blurred, sharp, psf, rng.choice(WEIGHTS))) for psf in psfs]}


def _shake(rng: random.Random) -> Tensor:
    """A PSF that has nothing to do with the picture."""
    return rasterised(draw_paths([torch.Generator().manual_seed(rng.randint(0, 10**9))]) * rng.uniform(1, 15), SIDE)[
        0, 0
    ]


def _middle(x: Tensor) -> Tensor:
    cut = (x.shape[-1] - SAMPLE) // 2
    return x[..., cut : cut + SAMPLE, cut : cut + SAMPLE].contiguous()


def _spoilt(psf: Tensor, rng: random.Random) -> Tensor:
    """A true PSF of another size, smoothed, with noise, turned a little, or some of it."""
    if rng.random() < 0.5:
        scale, angle = math.exp(rng.gauss(0, 0.25)), rng.gauss(0, 0.15)
        turn = torch.tensor([[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]]) / scale
        grid = F.affine_grid(turn[None], [1, 1, SIDE, SIDE], align_corners=False)
        psf = F.grid_sample(psf[None, None], grid, align_corners=False)[0, 0].clamp(min=0)
    if rng.random() < 0.4:
        smooth = gaussians(torch.tensor([rng.uniform(0.3, 1.2)]), SIDE)
        psf = F.conv2d(psf[None, None], smooth, padding=SIDE // 2)[0, 0].clamp(min=0)
    if rng.random() < 0.5:
        psf = psf * torch.exp(rng.uniform(0.2, 1.2) * torch.randn_like(psf))
    return psf / psf.sum().clamp(min=1e-6)


def _restored(blurred: Tensor, clean: Tensor, psf: Tensor, weight: float) -> Restored:
    restored = solve(blurred, psf, weight).clamp(0, 1)
    grey = [x.mean(1)[0, 16:-16, 16:-16].numpy() for x in (restored, clean)]
    moved, _, _ = phase_cross_correlation(*grey, upsample_factor=20)
    aligned = _shifted(clean, tuple(moved)) if 0 < np.abs(moved).max() < 4 else clean
    gain = psnr(restored, aligned, border=BORDER) - psnr(blurred, clean, border=BORDER)
    codes = [(x[0] * 255).round().clamp(0, 255).to(torch.uint8) for x in (blurred, restored, aligned, clean)]
    return Restored(codes[0], codes[1], codes[2], codes[3], float(gain))


def _shifted(x: Tensor, by: Sequence[float]) -> Tensor:
    height, width = x.shape[-2:]
    rows, columns = torch.fft.fftfreq(height)[:, None] * float(by[0]), torch.fft.rfftfreq(width) * float(by[1])
    turn = torch.polar(torch.ones(height, width // 2 + 1), -2 * math.pi * (rows + columns))
    return torch.fft.irfft2(torch.fft.rfft2(x) * turn, s=(height, width)).clamp(0, 1)


def fit(
    net: nn.Module, draw_loss: Callable[[nn.Module], Tensor], report: Callable[[nn.Module], str], args: Any
) -> tuple[nn.Module, Fitted]:
    """The average of a network over AdamW's steps, cosine schedule over the minutes."""
    rate = 1e-3
    if args.begin:
        rate = 3e-4
        net.load_state_dict({name: value.float() for name, value in load_file(args.begin).items()})
        print(f"{args.begin.name}  held out: {report(net)}", flush=True)
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-3)
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.995))
    began, step, losses = time.monotonic(), 0, []
    while (share := (time.monotonic() - began) / (60 * args.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, 30 * share) * (0.5 + 0.5 * math.cos(math.pi * share)) + 1e-6
        loss = draw_loss(net)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(net)
        losses.append(loss.item())
        step += 1
        if step % 200 == 0:
            print(f"step {step}  loss {np.mean(losses):.4f}  held out: {report(average.module)}", flush=True)
            losses = []
    figures = report(average.module)
    print(f"step {step}  {figures}")
    return average.module.eval(), Fitted(step, time.monotonic() - began, figures)


def turned(x: Tensor, turn: int) -> Tensor:
    x = torch.rot90(x, turn % 4, (-2, -1))
    return x.flip(-1) if turn >= 4 else x


def fit_psf(args: argparse.Namespace) -> None:
    learning, held = read(args.source)
    learning, held = ([each for each in samples if "est" in each and not each["var"]] for samples in (learning, held))
    rng = random.Random(1)
    smooth = gaussians(torch.tensor([0.8]), 5)

    def loss_of(net: nn.Module, samples: Sequence[dict[str, Any]], augmented: bool) -> tuple[Tensor, ...]:
        turns = [rng.randrange(8) if augmented else 0 for _ in samples]
        maps = torch.stack([turned(each["est"].float(), t) for each, t in zip(samples, turns, strict=True)])
        truth = torch.stack([turned(each["truth"].float(), t) for each, t in zip(samples, turns, strict=True)])[:, None]
        facts = torch.tensor([[list(fact) for fact in each["info"]] for each in samples])
        if augmented:
            facts = facts + 0.02 * torch.randn_like(facts)
        psfs, logits = net(maps, facts)
        misfit = _misfit(psfs, truth)
        error = misfit + _misfit(_smoothed(psfs, smooth), _smoothed(truth, smooth))
        best = error.argmin(1)
        total = 0.95 * error.amin(1).mean() + 0.05 * error.mean() + 0.1 * F.cross_entropy(logits, best)
        likeliest = misfit.gather(1, logits.argmax(1, keepdim=True)).mean()
        return total, misfit.amin(1).mean(), likeliest, _misfit(maps, truth).amin(1).mean(), best

    def report(net: nn.Module) -> str:
        with torch.no_grad():
            total, best, likeliest, estimates, wins = loss_of(net, held, augmented=False)
        shares = torch.bincount(wins, minlength=net.heads) / len(wins)  # type: ignore[arg-type]
        return (
            f"loss {total:.4f}, error of the best candidate {best:.3f}, of the likeliest {likeliest:.3f}, "
            f"of the best estimate {estimates:.3f}; heads best in {shares.numpy().round(2)}"
        )

    def step(net: nn.Module) -> Tensor:
        return loss_of(net, rng.choices(learning, k=16), augmented=True)[0]

    summary = f"Candidates of a PSF, made of estimates in four windows of {len(learning)} blurred pictures."
    net, fitted = fit(PSFNetwork(), step, report, args)
    save(net, args, summary, fitted)


def _misfit(psf: Tensor, truth: Tensor) -> Tensor:
    """Squared error over the truth's energy, bounded where a wide truth is taken for a point: B x H."""
    energy = truth.square().sum((-2, -1)) + 0.2 * psf.square().sum((-2, -1))
    return (psf - truth).square().sum((-2, -1)) / energy


def _smoothed(psf: Tensor, taps: Tensor) -> Tensor:
    return F.conv2d(psf.flatten(0, 1)[:, None], taps, padding=2).view_as(psf)


def fit_judge(args: argparse.Namespace) -> None:
    learning, held = read(args.source)
    rng, flat = random.Random(1), [each for one in learning for each in one["rec"]]

    def loss_of(net: nn.Module, tried: Sequence[Sequence[Any]], augmented: bool) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.stack([_planes(each, rng if augmented else None) for each in tried])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.bf16):
            said = net(x[:, :1], x[:, 1:2]).float()
        inner = (..., slice(2, -2), slice(2, -2))
        said, truth = said[inner], F.avg_pool2d(x[:, 2:], CELL)[inner] + 1e-6
        maps = F.smooth_l1_loss(said, truth.log10(), beta=0.2)
        change = F.smooth_l1_loss(said[:, 1] - said[:, 0], (truth[:, 1] / truth[:, 0]).log10(), beta=0.2)
        expected, gained = _gain(10**said), _gain(truth)
        return maps + change + 0.1 * F.smooth_l1_loss(expected, gained), expected, gained

    def report(net: nn.Module) -> str:
        off, chosen, best, sharp = [], [], [], []
        for one in (each for each in held if "est" in each):
            with torch.no_grad():
                _, expected, gained = loss_of(net, one["rec"][:4], augmented=False)
            off.append(float((expected - gained).abs().mean()))
            taken = float(gained[expected.argmax()]) if float(expected.max()) > LEAST_GAIN else 0.0
            (sharp if one["kind"] == "none" else chosen).append(taken)
            best.append(max(0.0, float(gained.max())))
        lost = np.mean([gain < -0.1 for gain in (*chosen, *sharp)])
        return (
            f"gains off by {np.mean(off):.2f} dB; chosen {np.mean(chosen):.2f} of "
            f"{np.sum(best) / max(len(chosen), 1):.2f} dB; on sharp ones {np.mean(sharp):.2f} dB; made worse {lost:.1%}"
        )

    def step(net: nn.Module) -> Tensor:
        return loss_of(net, rng.choices(flat, k=12), augmented=True)[0]

    summary = f"How well a deconvolved picture turned out, from {len(flat)} results of {len(learning)} pictures."
    net, fitted = fit(Judge().to(memory_format=torch.channels_last), step, report, args)
    save(net, args, summary, fitted)


def _planes(tried: Sequence[Any], rng: random.Random | None) -> Tensor:
    """Lumas of the blurred and the restored picture, squared errors of both: 4 x H x W, turned and cut at random."""
    blurred, restored, aligned, clean = (x.float() / 255 for x in tried[:4])
    errors = [(blurred - clean).square().mean(0), (restored - aligned).square().mean(0)]
    planes = torch.stack([to_grey(blurred[None])[0, 0], to_grey(restored[None])[0, 0], *errors])
    if rng is None:
        return planes
    planes = turned(planes, rng.randrange(8))
    top, left = CELL * rng.randrange(9), CELL * rng.randrange(9)
    return planes[:, top : top + 192, left : left + 192]


def _gain(errors: Tensor) -> Tensor:
    before, after = errors.sum((2, 3)).unbind(1)
    return 10 * (before / after).log10()


def read(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(samples to learn from, samples held out)."""
    samples = [torch.load(path, weights_only=True) for path in sorted(folder.glob("*.pt"))]
    random.Random(0).shuffle(samples)
    held = max(8, len(samples) // 10)
    print(f"{len(samples) - held} samples to learn from, {held} held out")
    return samples[held:], samples[:held]


def save(net: nn.Module, args: argparse.Namespace, summary: str, fitted: Fitted) -> None:
    """Write a fitted network as float16, with its card."""
    model = f"{type(net).__module__}:{type(net).__qualname__}"
    tool, sources = Path(sys.argv[0]).name, [each.split("=") for each in args.data]
    card = WeightsCard(
        name=args.out.stem,
        task="deblur",
        summary=f"{summary} Held out: {fitted.figures}.",
        data=tuple(DataSource(name=name, licence=licence) for name, licence in sources),
        steps=fitted.steps,
        seconds=round(fitted.seconds, 1),
        machine=machine(),
        date=datetime.date.today(),
        command=f"python tools/{tool} {args.what} SAMPLES --out {args.out.name} {args.options}",
        licence="Apache-2.0",
    )
    save_weights(args.out, net, model, {}, card, half=True)
    print(f"{args.out}: {sum(p.numel() for p in net.parameters())} parameters")


STEPS: dict[str, Callable[[argparse.Namespace], None]] = {
    "draw": draw, "psf": fit_psf, "judge": fit_judge,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=tuple(STEPS))
    parser.add_argument("source", type=Path, help="folder of photographs, or of samples")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--quick", type=float, default=0.7, help="share of samples without estimates, for the judge")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--begin", type=Path, help="a file of the same network to go on from")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--data", nargs="*", default=[], help="NAME=LICENCE of the photographs, for the card")
    args = parser.parse_args()
    args.options = f"--minutes {args.minutes:g} --seed {args.seed}"
    args.options += f" --begin {args.begin.name}" if args.begin else ""
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    STEPS[args.what](args)


if __name__ == "__main__":
    main()
