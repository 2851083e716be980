"""Deconvolution methods side by side: blurred CBSD68 pictures, circular and with real borders.

    python tools/bench_deconv.py CBSD68 Levin09.mat --weights denoise

Picture j of every ninth one takes kernel j mod 5 of numbers 0, 3, 5, 6, 7; noise from numpy default_rng(picture index).
Circular ("c") and valid ("v", the border cut off) are scored in the same margin, a kernel wide. Prints PSNR in RGB
after rounding to 8 bits, and CPU seconds a picture on one thread. scikit-image's Wiener filters run beside ours.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import torch
from skimage import restoration
from torch import Tensor

from restore.classical.boundary import extend
from restore.classical.hyper_laplacian import hyper_laplacian, weight_for
from restore.classical.plug_and_play import plug_and_play
from restore.classical.richardson_lucy import richardson_lucy
from restore.classical.wiener import gcv, wiener
from restore.engines.deconvolving import denoiser_of
from restore.engines.network import from_weights
from restore.physics.fourier import convolve, otf
from restore.report.table import markdown

KERNELS = (0, 3, 5, 6, 7)
Solve = Callable[[Tensor, Tensor, float], Tensor]  # circular 1 x 3 x H x W, PSF, sigma -> the same


def kernels(path: Path) -> list[Tensor]:
    with h5py.File(path) as file:
        found = [np.array(file[reference]).T for reference in file["kernels"][()].ravel()]
    return [torch.from_numpy(k / k.sum()) for k in found]


def blurred(path: Path, index: int, psf: Tensor, sigma: float, valid: bool) -> tuple[Tensor, Tensor, int]:
    """(truth, blurred, margin to leave out)"""
    x = torch.from_numpy(cv2.imread(str(path))[..., ::-1] / 255.0).permute(2, 0, 1)[None]
    noise = np.random.default_rng(index).standard_normal((x.shape[2], x.shape[3], 3)) * sigma
    y = convolve(x, otf(psf, (x.shape[2], x.shape[3]))) + torch.from_numpy(noise).permute(2, 0, 1)[None]
    side = psf.shape[-1]
    half = side // 2
    inner = (..., slice(half, -half), slice(half, -half))
    return (x[inner], y[inner].float(), side - half) if valid else (x, y.float(), side)


def methods(weights: str) -> dict[str, Solve]:
    prior = denoiser_of(from_weights(weights))

    def skimage_wiener(y: Tensor, psf: Tensor, sigma: float) -> Tensor:
        weight = 0.05 if sigma < 0.02 else 0.3
        planes = [restoration.wiener(plane, psf.numpy(), weight, clip=False) for plane in y[0].numpy()]
        return torch.from_numpy(np.stack(planes))[None]

    return {
        "scikit-image wiener": skimage_wiener,
        "wiener": lambda y, psf, sigma: wiener(y, psf, gcv(y, psf)),
        "rl": lambda y, psf, sigma: richardson_lucy(y, psf, min(max(round(0.25 / sigma), 6), 60)),
        "rl-tv": lambda y, psf, sigma: richardson_lucy(y, psf, 100, tv=min(max(0.25 * sigma, 0.001), 0.02)),
        "hyper-laplacian": lambda y, psf, sigma: hyper_laplacian(y, psf, weight_for(sigma)),
        "pnp": lambda y, psf, sigma: plug_and_play(y, psf, sigma, prior),
    }


def psnr(x: Tensor, y: Tensor, margin: int) -> float:
    inner = (..., slice(margin, -margin), slice(margin, -margin))
    codes = (x.double().clamp(0, 1) * 255).round() / 255
    return float(-10 * (codes - y)[inner].square().mean().log10())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kernels", type=Path)
    parser.add_argument("--weights", default="denoise", help="of the plug-and-play prior")
    parser.add_argument("--pictures", type=int, nargs="+", default=list(range(0, 68, 9))[:8])
    parser.add_argument("--only", default="", help="methods whose name contains this")
    args = parser.parse_args()
    torch.set_num_threads(1)
    files, psfs = sorted(args.folder.glob("*.png")), kernels(args.kernels)
    rows = []
    for name, solve in methods(args.weights).items():
        if args.only not in name:
            continue
        row, seconds, count = [name], 0.0, 0
        for sigma in (2.55 / 255, 7.65 / 255):
            for valid in (False, True):
                scores = []
                for j, index in enumerate(args.pictures):
                    psf = psfs[KERNELS[j % 5]]
                    truth, y, margin = blurred(files[index], index, psf, sigma, valid)
                    start = time.process_time()
                    wide = extend(y, psf.float(), "liu-jia" if valid and "scikit" not in name else "none")
                    x = wide.inside(solve(wide.pixels, psf.float(), sigma))
                    seconds, count = seconds + time.process_time() - start, count + 1
                    scores.append(psnr(x, truth, margin))
                row.append(f"{np.mean(scores):.2f} ({np.mean(scores[:3]):.2f})")
        rows.append([*row, f"{seconds / count:.3f}"])
        print("# " + " | ".join(rows[-1]), flush=True)
    print(markdown(["method", "2.55 c (first 3)", "2.55 v", "7.65 c", "7.65 v", "CPU s"], rows))


if __name__ == "__main__":
    main()
