"""What averaging over time gains in denoised clips: still scenes and slow pans of photographs, with truth.

    python tools/bench_clips.py photographs --every 3 --log log.jsonl

Clips of 12 frames, 480 x 360 px, moved by parts of a pixel at twice the size and made smaller, with white noise or
noise correlated by a Gaussian of 0.8 px; lossless (FFV1) in and out, through `Restorer.clip`. The level is measured by
the program. In one run: `temporal="off"` and `"auto"`. Columns: PSNR of both, the least gain of a single frame, and the
std over time of the error, averaged over single: at each pixel, and along the true motion.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from measured import write

import restore
from restore.io.paths import find_pictures
from restore.report.table import markdown

FRAMES, HEIGHT, WIDTH = 12, 360, 480
MOTIONS = {"still": (0.0, 0.0), "pan 0.3 px": (0.3, 0.1), "pan 1.4 px": (1.37, -0.45), "pan 2.1 px": (2.0, 0.7)}
NOISES = ((10, False), (25, False), (50, False), (25, True))


def scene(photo: np.ndarray, motion: tuple[float, float]) -> np.ndarray:
    """FRAMES x HEIGHT x WIDTH x 3, 0..255."""
    frames = []
    for time in range(FRAMES):
        move = np.float32([[1, 0, 2 * (motion[0] * time + 30) + 20], [0, 1, 2 * (motion[1] * time + 10) + 20]])
        how = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
        view = cv2.warpAffine(photo, move, (2 * WIDTH, 2 * HEIGHT), flags=how, borderMode=cv2.BORDER_REFLECT)
        frames.append(cv2.resize(view, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
    return np.clip(np.rint(np.stack(frames)), 0, 255)


def noisy(clean: np.ndarray, sigma: float, correlated: bool, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(clean.shape).astype(np.float32)
    if correlated:
        noise = np.stack([cv2.GaussianBlur(each, (0, 0), 0.8) for each in noise])
        noise /= noise.std()
    return np.clip(np.rint(clean + sigma * noise), 0, 255).astype(np.uint8)


def write_clip(frames: np.ndarray, path: Path) -> None:
    with av.open(str(path), "w") as target:
        stream = target.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for number, frame in enumerate(frames):
            each = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            each.pts, each.time_base = number, Fraction(1, 25)
            target.mux(stream.encode(each))
        target.mux(stream.encode())


def read_clip(path: Path) -> np.ndarray:
    return np.stack([frame.pixels for frame in restore.read_frames(path)]).astype(np.float32)


def psnr(error: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(error).mean()))


def over_time(error: np.ndarray, motion: tuple[float, float] = (0.0, 0.0)) -> float:
    """Std over time of an error, moved back by a motion."""
    if motion != (0.0, 0.0):
        how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        moves = (np.float32([[1, 0, -motion[0] * t], [0, 1, -motion[1] * t]]) for t in range(len(error)))
        moved = [
            cv2.warpAffine(each, move, (WIDTH, HEIGHT), flags=how) for each, move in zip(error, moves, strict=True)
        ]
        error = np.stack(moved)[:, 40:-40, 40:-40]
    return float(np.sqrt(error.var(0).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--log", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, motion in MOTIONS.items():
        for sigma, correlated in NOISES:
            kept = []
            for seed, path in enumerate(sorted(find_pictures(options.photographs))[:: options.every]):
                clean = scene(cv2.imread(str(path))[..., ::-1].astype(np.float32), motion)
                kept.append(compared(clean, noisy(clean, sigma, correlated, seed), motion))
            single, averaged, least, std, along = np.array(kept).T
            noise = f"{sigma}{' correlated' if correlated else ''}"
            row = (
                name, noise, f"{single.mean():.2f}", f"{averaged.mean():.2f}", f"{least.min():+.2f}",
                f"{std.mean():.2f}", f"{along.mean():.2f}",
            )  # fmt: skip
            rows.append(row)
            if options.log:
                write(options.log, dict(zip(HEAD, row, strict=True)))
    print(markdown(HEAD, rows))


HEAD = ("scene", "noise", "single", "averaged", "worst frame", "std over time", "along the motion")


def compared(clean: np.ndarray, damaged: np.ndarray, motion: tuple[float, float]) -> tuple[float, ...]:
    """PSNR of both, the least gain of a frame, and the two ratios."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.mkv"), Path(folder, "out.mkv")
        write_clip(damaged, source)
        errors = []
        for temporal in ("off", "auto"):
            restore.load("denoise", temporal=temporal).clip(source, target, codec="ffv1", overwrite=True)
            errors.append(read_clip(target) - clean)
    single, averaged = errors
    least = min(psnr(b) - psnr(a) for a, b in zip(single, averaged, strict=True))
    return (
        psnr(single), psnr(averaged), least, over_time(averaged) / over_time(single),
        over_time(averaged, motion) / over_time(single, motion),
    )  # fmt: skip


if __name__ == "__main__":
    main()
