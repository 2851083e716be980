"""Which answers of deconvolution the guard believes: of right ones, and of ones made wrong on purpose.

    python tools/bench_guard.py photographs --every 40

Centre crops of 256 px, a PSF of each kind (gauss:2, disc:4, motion:15,40), noise of 0.5, 2.55 and 7.65 of 255, 8 bits,
circular. hyper-laplacian and rl-tv with the right PSF, with a regularisation of a thousandth, and with the PSF enlarged
by 1.5 and 2. An answer is bad if it is below the input by more than 0.1 dB.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.classical.hyper_laplacian import hyper_laplacian, weight_for
from restore.classical.richardson_lucy import richardson_lucy
from restore.degradations import blur_cases
from restore.engines.deconv.guard import Candidate, Guard, flaw_of
from restore.engines.deconv.methods import Measured, by_hyper_laplacian, by_richardson_lucy, measure_crops
from restore.physics.psf import described, sanitised
from restore.report.table import markdown

SIDE = 256
KINDS, NOISES = ("gauss:2", "disc:4", "motion:15,40"), (0.5, 2.55, 7.65)
LESS = 1e-3


def enlarged(psf: Tensor, factor: float) -> Tensor:
    size = [round(side * factor) // 2 * 2 + 1 for side in psf.shape]
    wide = F.interpolate(psf[None, None], size, mode="bicubic", align_corners=False)[0, 0]
    return sanitised(wide.clamp(min=0)).psf


def candidates(psf: Tensor, seen: Measured) -> Iterator[tuple[str, Tensor, Candidate]]:
    """(what is wrong with it, the PSF it takes, the method)"""
    for name, used in {"right": psf, "PSF x 1.5": enlarged(psf, 1.5), "PSF x 2": enlarged(psf, 2.0)}.items():
        yield name, used, Candidate("hyper-laplacian", *by_hyper_laplacian(used, seen))
        yield name, used, Candidate("rl-tv", *by_richardson_lucy("rl-tv", used, seen, None))
    weight = weight_for(seen.sigma) / LESS
    yield "regularisation x 1e-3", psf, Candidate("hl", lambda y, _: hyper_laplacian(y.pixels, psf, weight), "")
    yield "regularisation x 1e-3", psf, Candidate("rl", lambda y, _: richardson_lucy(y.pixels, psf, 600), "")


def psnr(x: Tensor, truth: Tensor) -> float:
    codes = (x.clamp(0, 1) * 255).round() / 255
    return min(50.0, float(-10 * (codes - truth).square().mean().clamp(min=1e-9).log10()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    counts: dict[str, list[tuple[bool, bool]]] = {}
    files = sorted(path for path in args.folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".tif"))
    for index, path in enumerate(files[:: args.every]):
        codes = cv2.imread(str(path))
        top, left = ((length - SIDE) // 2 for length in codes.shape[:2])
        crop = np.ascontiguousarray(codes[top : top + SIDE, left : left + SIDE, ::-1])
        truth = torch.from_numpy(crop).movedim(-1, 0)[None].double() / 255
        for kind in KINDS:
            for noise in NOISES:
                psf = described(kind)
                y = (blur_cases.blurred(truth, psf, noise / 255, index).clamp(0, 1) * 255).round() / 255
                seen = measure_crops([y[0]])
                for name, used, candidate in candidates(psf, seen):
                    guard = Guard([y], used, seen, "none")
                    good = psnr(guard.answers(candidate)[0], truth) >= psnr(y, truth) - 0.1
                    believed = not flaw_of(candidate, guard)
                    counts.setdefault(name, []).append((good, believed))
                    print(f"# {path.stem} {kind} {noise} {name} {candidate.method}: {good}, {believed}", flush=True)
    rows = []
    for name, each in counts.items():
        kept, refused = ([b for g, b in each if g], [not b for g, b in each if not g])
        rows.append([name, f"{sum(kept)} of {len(kept)}", f"{sum(refused)} of {len(refused)}"])
    print(markdown(["answers", "good ones believed", "bad ones refused"], rows))


if __name__ == "__main__":
    main()
