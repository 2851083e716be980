"""Deconvolution methods side by side.

    python tools/bench_deconv.py photographs CBSD68 --kernels Levin09.mat --peers-folder peers
    python tools/bench_deconv.py low-light McMaster --kernels Levin09.mat
    python tools/bench_deconv.py levin Levin09/levin
    python tools/bench_deconv.py speed

photographs: every ninth picture, picture j with kernel j mod 5 of numbers 0, 3, 5, 6, 7; noise of numpy's
    default_rng(picture index). Circular ("c") and valid ("v", the border cut off) are scored in the same margin, a
    kernel wide, and circular once more as a whole ("whole"). `restore eval` trims kernels, leaves out a narrower
    margin with them, and so gives up to 0.1 dB more; the published tables are in the margin of the whole kernel.
low-light: INFWIDE's sensor at gain 8 with clipped lights (`restore.physics.low_light`), circular, kernels as above;
    methods measure the noise themselves, plug-and-play and RL-TV are run at several levels of which the best is kept.
speed: a picture of 1024 x 1024 and a PSF of 25 px, scikit-image's functions beside ours, the least of nine runs: wall
    time on one thread and on all cores (scikit-image's use one); let nothing else run.
levin: Levin et al.'s real pairs with their true kernels; a result may be shifted by some pixels, as the truth is.

Prints PSNR in RGB after rounding to 8 bits, the worst picture, and CPU seconds a picture on one thread.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import h5py
import numpy as np
import torch
from measured import facts, write
from peers import FFDNet
from skimage import restoration
from torch import Tensor

from restore.classical.boundary import Extended, extend
from restore.classical.hyper_laplacian import hyper_laplacian, weight_for
from restore.classical.plug_and_play import Denoiser, plug_and_play
from restore.classical.richardson_lucy import richardson_lucy
from restore.classical.wiener import gcv, wiener
from restore.degradations import blur_cases
from restore.engines.deconv.network import network_of
from restore.engines.deconv.prior import prior_of
from restore.engines.deconv.psf import load_psf
from restore.inference.memory import tune_allocator
from restore.physics.blurred_noise import blurred_noise
from restore.physics.low_light import HEADROOM
from restore.report.table import markdown

KERNELS = (0, 3, 5, 6, 7)
_AS_STORED = ("kernel4", "kernel8")  # Levin09's other kernels are turned by 180 degrees
_SHIFT = 9  # px by which Levin09's kernels are off their middle
GAIN = 8.0  # of the dark sensor
Solve = Callable[[Extended, Tensor, float], Tensor]  # extended 1 x 3 x H x W, PSF, sigma -> circular 1 x 3 x H x W


class Sample(NamedTuple):
    """1 x 3 x H x W each; `margin` is left out of the score; the blurred picture is circular or not."""

    truth: Tensor
    blurred: Tensor
    psf: Tensor
    sigma: float
    margin: int
    circular: bool


def kernels(path: Path) -> list[Tensor]:
    with h5py.File(path) as file:
        stored = [np.array(file[reference]).T for reference in file["kernels"][()].ravel()]
    return [torch.from_numpy(k / k.sum()) for k in stored]


def picture(path: Path) -> Tensor:
    return torch.from_numpy(cv2.imread(str(path))[..., ::-1] / 255.0).permute(2, 0, 1)[None]


def blurred(path: Path, index: int, psf: Tensor, sigma: float, valid: bool) -> tuple[Tensor, Tensor, int]:
    """(truth, blurred, margin to leave out)"""
    x = picture(path)
    y = blur_cases.blurred(x, psf, sigma, index)
    side = psf.shape[-1]
    half = side // 2
    inner = (..., slice(half, -half), slice(half, -half))
    return (x[inner], y[inner], side - half) if valid else (x, y, side)


def photographs(files: Sequence[Path], psfs: Sequence[Tensor], sigma: float, valid: bool) -> Iterator[Sample]:
    for j, index in enumerate(list(range(0, len(files), 9))[:8]):
        psf = psfs[KERNELS[j % 5]]
        truth, y, margin = blurred(files[index], index, psf, sigma, valid)
        yield Sample(truth, y, psf.float(), sigma, margin, not valid)


def in_the_dark(files: Sequence[Path], psfs: Sequence[Tensor]) -> Iterator[Sample]:
    for j, path in enumerate(files[:8]):
        x, psf = picture(path), psfs[KERNELS[j % 5]].float()
        if max(x.shape[2:]) > 900:
            x = x[..., :640, :640]
        y = blur_cases.in_low_light(x, psf, GAIN, j)
        yield Sample(x, y, psf, blurred_noise([y[0]]), 0, True)


def levin(folder: Path) -> Iterator[Sample]:
    """Pairs im<i>_kernel<k>_img.png, gt/im<i>.png, gt/kernel<k>.png, with real borders."""
    for path in sorted(folder.glob("im*_kernel*_img.png")):
        name, kernel = path.stem.split("_")[:2]
        values = load_psf(folder / "gt" / f"{kernel}.png", flip=kernel not in _AS_STORED).psf
        y = picture(path).float()
        yield Sample(picture(folder / "gt" / f"{name}.png"), y, values, blurred_noise([y[0]]), 24, False)


def methods(args: argparse.Namespace) -> dict[str, list[Solve]]:
    """By name: alternatives, of which the best counts for each picture."""
    prior = prior_of(args.denoiser).denoise
    levels = (1.0, 1.6, 2.5) if args.what == "low-light" else (1.0,)

    def skimage_wiener(y: Extended, psf: Tensor, sigma: float) -> Tensor:
        weight = 0.005 if sigma < 0.02 else 0.06  # tuned on pictures 4 and 31
        planes = [restoration.wiener(plane, psf.numpy(), weight, clip=False) for plane in y.pixels[0].numpy()]
        return torch.from_numpy(np.stack(planes))[None]

    def rl_tv(y: Extended, psf: Tensor, sigma: float, model: bool = False) -> Tensor:
        scale = HEADROOM if model else 1.0
        tv = min(max(0.25 * sigma, 0.001), 0.05)
        return richardson_lucy(y.pixels * scale, psf, 100, tv=tv, saturation="model" if model else "none") / scale

    def pnp(denoiser: Denoiser, k: float, masked: bool = True) -> Solve:
        def solve(y: Extended, psf: Tensor, sigma: float) -> Tensor:
            return plug_and_play(y.pixels, psf, k * sigma, denoiser, known=y.known() if masked else None)

        return solve

    solves: dict[str, list[Solve]] = {
        "scikit-image wiener": [skimage_wiener],
        "wiener": [lambda y, psf, sigma: wiener(y.pixels, psf, gcv(y.pixels, psf))],
        "rl": [lambda y, psf, sigma: richardson_lucy(y.pixels, psf, min(max(round(0.25 / sigma), 6), 60))],
        "rl-tv": [lambda y, psf, sigma, k=k: rl_tv(y, psf, k * sigma) for k in levels],
        "hyper-laplacian": [
            lambda y, psf, sigma, k=k: hyper_laplacian(y.pixels, psf, weight_for(k * sigma)) for k in levels
        ],
        "pnp": [pnp(prior, k) for k in levels],
    }
    if args.what == "low-light":
        solves["rl-tv, model of clipping"] = [lambda y, psf, sigma, k=k: rl_tv(y, psf, k * sigma, True) for k in levels]
    if args.peers_folder:
        state = torch.load(args.peers_folder / "ffdnet_color.pth", weights_only=True)
        ffdnet = FFDNet(state)

        def denoise(x: Tensor, level: float) -> Tensor:
            with torch.inference_mode():
                return ffdnet(x, 255 * level)

        solves["DPIR schedule, FFDNet weights"] = [pnp(denoise, k, masked=False) for k in levels]
    for name in args.networks:
        network = network_of(name)
        solves[f"network {network.name}"] = [
            lambda y, psf, sigma, network=network: network.deconvolve(y.pixels, psf, sigma)
        ]
    return {name: each for name, each in solves.items() if args.only in name}


def psnr(x: Tensor, y: Tensor, margin: int, shift: int = 0) -> float:
    inner = (..., slice(margin, x.shape[-2] - margin), slice(margin, x.shape[-1] - margin))
    codes = (x.double().clamp(0, 1) * 255).round() / 255
    steps = range(-shift, shift + 1)
    moved = (codes.roll((i, j), (-2, -1)) for i in steps for j in steps)
    return max(float(-10 * (each - y)[inner].square().mean().log10()) for each in moved)


def run(solves: Sequence[Solve], samples: Iterator[Sample], shift: int) -> tuple[list[float], list[float], float]:
    """(PSNR of each sample within its margin, and as a whole, CPU seconds of one)."""
    scores, whole, seconds = [], [], 0.0
    for sample in samples:
        wide = extend(sample.blurred, sample.psf, "none" if sample.circular else "liu-jia")
        start = time.process_time()
        results = [wide.inside(solve(wide, sample.psf, sample.sigma)) for solve in solves]
        seconds += (time.process_time() - start) / len(solves)
        scores.append(max(psnr(x, sample.truth, sample.margin, shift) for x in results))
        whole.append(max(psnr(x, sample.truth, 0) for x in results))
    return scores, whole, seconds / max(1, len(scores))


def speed() -> list[list[str]]:
    tune_allocator()  # as the program does; for the peer too
    rng = np.random.default_rng(0)
    y, psf = rng.random((1024, 1024), np.float32), np.outer(np.hanning(27)[1:-1], np.hanning(27)[1:-1])
    psf = (psf / psf.sum()).astype(np.float32)
    x, k = torch.from_numpy(y)[None, None], torch.from_numpy(psf)

    def border_and_gcv() -> Tensor:
        wide = extend(x, k)
        return wide.inside(wiener(wide.pixels, k, gcv(wide.pixels, k)))

    theirs = partial(restoration.wiener, y, psf, 0.05, clip=False)
    pairs = [
        ("Wiener, given weight", partial(wiener, x, k, 0.05, "laplacian"), theirs),
        ("Wiener, Liu-Jia border and GCV", border_and_gcv, theirs),
        (
            "Richardson-Lucy, 10 iterations",
            partial(richardson_lucy, x, k, 10),
            partial(restoration.richardson_lucy, y, psf, num_iter=10, clip=False),
        ),
    ]
    rows = []
    for name, ours, peer in pairs:
        row, peer_seconds = [name], least(peer)
        for threads in (1, os.cpu_count() or 1):
            torch.set_num_threads(threads)
            seconds = least(ours)
            row += [f"{seconds:.3f}", f"{peer_seconds / seconds:.2f}"]
        rows.append([*row, f"{peer_seconds:.3f}"])
    return rows


def least(action: Callable[[], object]) -> float:
    """Wall seconds of the fastest of nine runs."""
    times = []
    for _ in range(9):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("photographs", "low-light", "levin", "speed"))
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    parser.add_argument("--kernels", type=Path, help="Levin09.mat")
    parser.add_argument("--denoiser", default="denoise", help="weights of the plug-and-play prior")
    parser.add_argument("--networks", nargs="*", default=[], help="weights of deconvolving networks")
    parser.add_argument("--peers-folder", type=Path, help="with ffdnet_color.pth")
    parser.add_argument("--log", type=Path, help="JSON lines to append to")
    parser.add_argument("--only", default="", help="methods whose name contains this")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "speed":
        heads = ["1 thread, s", "times as fast", "all cores, s", "times as fast", "scikit-image, s"]
        print(markdown(["what", *heads], speed()))
        return
    files = sorted(path for path in args.folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".tif", ".bmp"))
    columns: dict[str, Callable[[], Iterator[Sample]]]
    if args.what == "levin":
        columns = {"dB": lambda: levin(args.folder)}
    elif args.what == "low-light":
        columns = {"dB": lambda: in_the_dark(files, kernels(args.kernels))}
    else:
        columns = {
            f"{255 * sigma:.2f} {'v' if valid else 'c'} (first 3)": lambda sigma=sigma, valid=valid: photographs(
                files, kernels(args.kernels), sigma, valid
            )
            for sigma in (2.55 / 255, 7.65 / 255)
            for valid in (False, True)
        }
    rows = []
    for name, solves in methods(args).items():
        row, seconds = [name], 0.0
        for column, samples in columns.items():
            inner, whole, each = run(solves, samples(), _SHIFT if args.what == "levin" else 0)
            seconds += each / len(columns)
            scored = {column.partition(" (")[0]: inner}
            if args.what == "photographs":
                scored |= {column.partition(" ")[0] + " whole": whole} if " c" in column else {}
                row += [f"{np.mean(scores):.2f} ({np.mean(scores[:3]):.2f})" for scores in scored.values()]
            else:
                row.append(f"{np.mean(inner):.2f}, worst {min(inner):.2f}")
            for known, scores in scored.items() if args.log else ():
                entry = facts() | {"set": f"{args.folder.name}, {args.what} {known}", "method": name}
                means = {"psnr": round(float(np.mean(scores)), 4)}
                write(args.log, entry | {"means": means, "worst": round(min(scores), 4), "seconds": round(each, 4)})
        rows.append([*row, f"{seconds:.3f}"])
        print("# " + " | ".join(rows[-1]), flush=True)
    heads = [head for c in columns for head in ((c, c.replace(" c", " whole")) if " c (" in c else (c,))]
    print(markdown(["method", *heads, "CPU s"], rows))


if __name__ == "__main__":
    main()
