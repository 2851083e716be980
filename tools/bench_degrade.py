"""Time of one training batch of noise, per kind: batched PyTorch beside a per-image OpenCV / scikit-image pipeline.

    python tools/bench_degrade.py [--device cuda] [--batch 16] [--side 96] [--repeats 15]

Both make 8-bit noise of the same kind on the same clean batch; one thread, rounds interleaved. The figure is the
lowest CPU time of a round on a CPU (other programs cannot inflate it much), the lowest wall time on a GPU. The peer
always runs on the CPU. "Noise" is what the peer makes too; "step" is all of `degrade`, with the level map, which the
peer has not. Freed memory is kept (`tune_allocator`), for both.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import cv2
import numpy as np
import torch
from skimage.util import random_noise

from restore.inference.memory import tune_allocator
from restore.physics.noise_mixture import KINDS, NoiseRecipe, add_noise, degrade, plan_noise
from restore.physics.random import generator_for

Image = np.ndarray  # H x W x 3, float32 or uint8
MIXTURE = {"gaussian": 4, "poisson": 1, "correlated": 2, "camera": 2, "resize": 1, "jpeg": 1}


def codes(x: Image) -> Image:
    return np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8)


def gaussian(x: Image, rng: np.random.Generator) -> Image:
    return random_noise(x, "gaussian", rng=rng, var=(25 / 255) ** 2)


def poisson(x: Image, rng: np.random.Generator) -> Image:
    return rng.poisson(x * 30) / 30  # random_noise(mode="poisson") has no photon count


def speckle(x: Image, rng: np.random.Generator) -> Image:
    return random_noise(x, "speckle", rng=rng, var=0.01)


def salt_pepper(x: Image, rng: np.random.Generator) -> Image:
    return random_noise(x, "s&p", rng=rng, amount=0.05)


def white(shape: tuple[int, ...], rng: np.random.Generator) -> Image:
    return rng.standard_normal(shape, dtype=np.float32)


def correlated(x: Image, rng: np.random.Generator) -> Image:
    noise = cv2.GaussianBlur(white(x.shape, rng), (7, 7), 0.8)
    return x + noise * (15 / 255 / noise.std()) * np.sqrt(1 + 0.5 * (2 * x - 1))


def resize(x: Image, rng: np.random.Generator) -> Image:
    small = white((int(x.shape[0] / 1.7), int(x.shape[1] / 1.7), 3), rng)
    return x + cv2.resize(small, x.shape[1::-1], interpolation=cv2.INTER_LINEAR) * np.float32(15 / 255)


def camera(x: Image, rng: np.random.Generator) -> Image:
    """The usual way: to linear light, mosaic, noise, cv2's demosaicing on 16 bits, tone curve, smoothing."""
    light = np.power(x, np.float32(2.2)) / np.float32([1.8, 1.0, 1.6])
    mosaic = light[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = light[::2, ::2, 0], light[1::2, 1::2, 2]
    mosaic += np.sqrt(mosaic * 0.002 + 1e-5) * white(mosaic.shape, rng)
    raw = np.rint(np.clip(mosaic, 0, 1) * 65535).astype(np.uint16)
    light = cv2.demosaicing(raw, cv2.COLOR_BayerRGGB2RGB).astype(np.float32) / 65535 * np.float32([1.8, 1.0, 1.6])
    light = np.clip(cv2.transform(light, np.float32([[1.3, -0.2, -0.1], [-0.1, 1.2, -0.1], [0, -0.2, 1.2]])), 0, 1)
    ycc = cv2.cvtColor(np.power(light, np.float32(1 / 2.2)), cv2.COLOR_RGB2YCrCb)
    luma, chroma = np.ascontiguousarray(ycc[..., :1]), np.ascontiguousarray(ycc[..., 1:])
    soft = cv2.GaussianBlur(luma, (9, 9), 0.5)
    luma = soft + 0.3 * (soft - cv2.GaussianBlur(soft, (9, 9), 1.0))
    ycc = np.dstack([luma, cv2.GaussianBlur(chroma, (9, 9), 1.0)])
    return cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB)


def jpeg(x: Image, rng: np.random.Generator) -> Image:
    quality = int(rng.integers(60, 99))
    return cv2.imdecode(cv2.imencode(".jpg", codes(x), [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


PEERS: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    each.__name__: each for each in (gaussian, poisson, speckle, salt_pepper, correlated, resize, camera, jpeg)
}


def peer_batch(images: list[Image], kinds: list[str], rng: np.random.Generator) -> torch.Tensor:
    """Clean pictures to a noisy batch, as a data loader's workers would make it."""
    noisy = [PEERS[kind](image, rng) for image, kind in zip(images, kinds, strict=True)]
    eight = [each if each.dtype == np.uint8 else codes(each) for each in noisy]
    return torch.stack([torch.from_numpy(each).permute(2, 0, 1) for each in eight]).float() / 255


def fastest(rounds: int, *functions: Callable[[], object], clock: Callable[[], float]) -> list[float]:
    """Lowest time of each, milliseconds, the functions taking turns."""
    best = [float("inf")] * len(functions)
    for turn in range(rounds + 2):
        for place, function in enumerate(functions):
            start = clock()
            function()
            if turn >= 2:
                best[place] = min(best[place], (clock() - start) * 1e3)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    tune_allocator()
    on_gpu = options.device != "cpu"

    rng = np.random.default_rng(0)
    shape = (options.batch, options.side, options.side, 3)
    smooth = [cv2.GaussianBlur(rng.random(shape[1:], dtype=np.float32), (0, 0), 2) for _ in range(options.batch)]
    images = [codes((image - image.min()) / np.ptp(image)).astype(np.float32) / 255 for image in smooth]
    clean = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().to(options.device)

    def wait() -> None:
        if on_gpu:
            torch.cuda.synchronize()

    print(f"batch {options.batch} x 3 x {options.side} x {options.side}, torch {torch.__version__}, {options.device}")
    print(f"{'kind':12} {'step':>9} {'noise':>9} {'per image':>9}  ms a batch, and per image / noise")
    for kind in (*(kind for kind in KINDS if kind != "none"), "mixture"):
        weights = MIXTURE if kind == "mixture" else {kind: 1.0}
        recipe = NoiseRecipe(weights, sigma=(25, 25), photons=(30, 30), camera_jpeg=0.0)
        drawn = degrade(clean, recipe, 0, 0).kind.tolist()
        step = iter(range(10**9))

        def whole(recipe: NoiseRecipe = recipe, step=step) -> None:
            degrade(clean, recipe, 0, next(step))
            wait()

        def ours(recipe: NoiseRecipe = recipe, step=step) -> None:
            seeds = [(0, next(step), index) for index in range(len(clean))]
            plan = plan_noise(recipe, [generator_for(*each) for each in seeds])
            add_noise(clean, plan, [generator_for(*each, device=clean.device) for each in seeds])
            wait()

        def peer(kinds: list[str] = [KINDS[each] for each in drawn]) -> None:  # noqa: B006
            peer_batch(images, kinds, rng)

        clock = time.perf_counter if on_gpu else time.process_time
        step_time, mine, theirs = fastest(options.repeats, whole, ours, peer, clock=clock)
        print(f"{kind:12} {step_time:9.2f} {mine:9.2f} {theirs:9.2f}  x {theirs / mine:.2f}", flush=True)


if __name__ == "__main__":
    main()
