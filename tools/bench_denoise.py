"""Measure denoisers side by side in one run: `python tools/bench_denoise.py --help`.

Prints a Markdown table: mean PSNR (RGB, after rounding to 8 bits), the worst and best gain over the input,
and CPU seconds per picture on one thread. Peers get the true noise level; ours estimates it.

    python tools/bench_denoise.py noise CBSD68 --every 9 --first 8 --noise white:25
    python tools/bench_denoise.py pairs PolyU_crops --noisy _real --truth _mean --every 4
    python tools/bench_denoise.py clean McMaster
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import restore

Denoiser = Callable[[np.ndarray, float], np.ndarray]  # uint8 H x W x C, true sigma (0..255) -> uint8


@dataclass(frozen=True)
class Sample:
    name: str
    noisy: np.ndarray
    truth: np.ndarray
    sigma: float


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-12)))


def add_noise(clean: np.ndarray, kind: str, level: float, seed: int) -> np.ndarray:
    """white:sigma, box:sigma (white through a 3x3 box, scaled back to sigma) or poisson:photons; uint8."""
    rng = np.random.default_rng(seed)
    x = clean.astype(np.float64)
    if kind == "poisson":
        y = rng.poisson(x / 255 * level) / level * 255
    else:
        noise = rng.standard_normal(x.shape)
        if kind == "box":
            rolls = [np.roll(noise, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)]
            noise = sum(rolls) / 3
        y = x + level * noise
    return np.clip(np.rint(y), 0, 255).astype(np.uint8)


def to_uint8(unit: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(unit * 255), 0, 255).astype(np.uint8)


def peers() -> dict[str, Denoiser]:
    """Weight-free peers, each with the true sigma."""
    import cv2
    from skimage.restoration import denoise_nl_means

    def nlm(y: np.ndarray, sigma: float) -> np.ndarray:
        s = sigma / 255
        options = {"h": 0.5 * s, "sigma": s, "fast_mode": True, "patch_size": 5, "patch_distance": 6}
        return to_uint8(denoise_nl_means(y / 255, channel_axis=-1, **options))

    def opencv(y: np.ndarray, sigma: float) -> np.ndarray:
        return cv2.fastNlMeansDenoisingColored(y, None, sigma * 0.8, sigma * 0.8, 7, 21)

    found: dict[str, Denoiser] = {"scikit-image NLM": nlm, "OpenCV NLM": opencv}
    try:
        import bm3d
    except ImportError:
        return found
    found["CBM3D (bm3d 4)"] = lambda y, sigma: to_uint8(bm3d.bm3d_rgb(y / 255, sigma / 255))
    return found


def ours(**options: object) -> Denoiser:
    restorer = restore.load("denoise", device="cpu", **options)
    return lambda y, _sigma: restorer(y)


def pictures(folder: Path, first: int | None, every: int, only: str = "") -> list[tuple[int, Path]]:
    found = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".bmp")
    )
    if only:
        found = [path for path in found if path.stem.endswith(only)]
    return list(enumerate(found))[::every][:first]


def load(path: Path, limit: int = 0) -> np.ndarray:
    pixels = restore.read(path).pixels[..., :3]
    return pixels[:limit, :limit] if limit else pixels


def samples(args: argparse.Namespace) -> Iterator[Sample]:
    chosen = pictures(args.folder, args.first, args.every, args.noisy if args.mode == "pairs" else "")
    for index, path in chosen:
        picture = load(path, args.limit)
        if args.mode == "clean":
            yield Sample(path.name, picture, picture, 0.0)
        elif args.mode == "pairs":
            truth = path.with_name(path.name.replace(args.noisy, args.truth))
            yield Sample(path.name, picture, load(truth, args.limit), 0.0)
        else:
            kind, _, level = args.noise.partition(":")
            noisy = add_noise(picture, kind, float(level), index)
            yield Sample(
                path.name,
                noisy,
                picture,
                float(np.std(noisy.astype(float) - picture)) if kind == "poisson" else float(level),
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["noise", "pairs", "clean"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--noise", default="white:25", help="white:SIGMA, box:SIGMA or poisson:PHOTONS")
    parser.add_argument("--noisy", default="_real", help="ending of the noisy pictures of pairs")
    parser.add_argument("--truth", default="_mean", help="ending of their truth")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int)
    parser.add_argument("--limit", type=int, default=0, help="crop pictures to this side")
    parser.add_argument("--only", default="", help="comma-separated method names (parts of)")
    parser.add_argument("--save", type=Path, help="folder for the outputs, to look at")
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    methods: dict[str, Denoiser] = {
        "restore fast": ours(method="zero-shot", preset="fast"),
        "restore quality": ours(method="zero-shot", preset="quality"),
    }
    if args.noise.startswith("box") or args.mode == "pairs":
        for pd in (1, 3):
            methods[f"restore fast --pd {pd}"] = ours(method="zero-shot", preset="fast", pd=pd)
    if args.mode == "noise":
        methods |= peers()
    if args.only:
        methods = {name: run for name, run in methods.items() if any(part in name for part in args.only.split(","))}
    report(methods, samples(args), args)


def report(methods: dict[str, Denoiser], chosen: Iterator[Sample], args: argparse.Namespace) -> None:
    scores: dict[str, list[tuple[float, float, float]]] = {name: [] for name in methods}
    inputs = []
    for sample in chosen:
        inputs.append(psnr(sample.noisy, sample.truth))
        for name, run in methods.items():
            start = time.process_time()
            result = run(sample.noisy, sample.sigma)
            seconds = time.process_time() - start
            value = psnr(result, sample.truth)
            scores[name].append((value, value - inputs[-1], seconds))
            if args.verbose:
                print(f"# {sample.name} {name}: {inputs[-1]:.2f} -> {value:.2f} dB, {seconds:.1f} s", flush=True)
            if args.save:
                args.save.mkdir(parents=True, exist_ok=True)
                restore.write(result, args.save / f"{Path(sample.name).stem}__{name.replace(' ', '_')}.png")
    print("| method | PSNR dB | least gain | greatest gain | CPU s/picture |\n|---|---|---|---|---|")
    print(f"| input | {np.mean(inputs):.2f} | | | |")
    for name, rows in scores.items():
        value, gain, seconds = np.array(rows).T
        low = f"worst {value.min():.2f}" if args.mode == "clean" else f"{gain.min():+.2f}"
        print(f"| {name} | {value.mean():.2f} | {low} | {gain.max():+.2f} | {seconds.mean():.2f} |")


if __name__ == "__main__":
    main()
