"""Real camera noise: what denoisers leave of it, and what they take of the picture. Needs pairs of a shot and a mean.

    python tools/bench_camera.py methods PolyU_crops --peers-folder peers --scenes odd
    python tools/bench_camera.py methods PolyU_crops --weights denoise --limit 256
    python tools/bench_camera.py statistics PolyU_crops photographs --scenes even

methods: output minus truth is regressed on input minus truth: the factor is how much of the noise is left, the rest is
distortion (std in 8-bit units), over all and by bands of an 8 x 8 DCT of luminance (order u + v). Ours chooses by
itself; a network of --weights is told the true level; FFDNet is told 10; non-local means the true std.
statistics: the noise of pairs beside that of `developed` pictures as `denoise` is taught on: std by order, of luminance
and colour differences, relative to luminance at orders 1 to 3; spread from block to block; kurtosis.

Scenes are told apart by the names without their last two parts; even and odd ones, counted from 0.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from peers import given_level, network_peers, package_peers
from torch import Tensor

import restore
from restore.degradations.cases import Array
from restore.evaluation.methods import Method
from restore.evaluation.protocol import EvaluationProtocol
from restore.evaluation.samples import Sample, paired_sources, read_sample
from restore.metrics.pixel import psnr
from restore.physics.dct import dct_matrix
from restore.physics.level import level_map, noise_curve
from restore.physics.noise_mixture import NoiseRecipe, degrade
from restore.report.table import markdown

BANDS = ((1, 1), (2, 3), (4, 6), (7, 9), (10, 14))
ORDERS = range(1, 12)
TOLD = 10.0
ENDINGS = ("_real", "_mean")
SIMULATED = NoiseRecipe(
    {"developed": 1}, developed=(3, 45), luma_blur=(0.4, 0.7), chroma_blur=(1.8, 3.4), chroma=(0, 3.5),
    steepness=(3, 9), reduction=(0, 1.5), camera_jpeg=0.0, clipped=0.0,
)  # fmt: skip


class Split(NamedTuple):
    """How much of the noise is left, 0 to 1 and more, and what else is wrong, std in 8-bit units."""

    left: float
    distortion: float


class Row(NamedTuple):
    """One picture by one method: dB, gain in dB, errors of all and of each band, CPU seconds per megapixel."""

    psnr: float
    gain: float
    errors: tuple[Split, ...]
    seconds: float


def split(output: Tensor, noisy: Tensor, truth: Tensor) -> Split:
    error, noise = (255 * (each - truth).double().flatten() for each in (output, noisy))
    left = float(error @ noise / noise.square().sum().clamp(min=1e-12))
    return Split(left, float((error - left * noise).square().mean().sqrt()))


def coefficients(x: Tensor, channels: slice) -> Tensor:
    """1 x 3 x H x W -> N x 8 x 8, of luminance or colour differences (rows of `dct_matrix(3)`)."""
    planes = torch.einsum("oc,nchw->nohw", dct_matrix(3), x)[:, channels]
    height, width = (side // 8 * 8 for side in x.shape[-2:])
    blocks = planes[..., :height, :width].unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8))
    return torch.einsum("ay,bx,nciyjx->ncijab", dct_matrix(8), dct_matrix(8), blocks).flatten(0, 3)


def order() -> Tensor:
    k = torch.arange(8)
    return k[:, None] + k


def unit(picture: Array) -> Tensor:
    return torch.tensor(picture).movedim(-1, 0)[None].float() / 255


def samples(folder: Path, scenes: str, limit: int) -> list[Sample]:
    sources = paired_sources({"picture": folder}, folder, ENDINGS, EvaluationProtocol())[0]
    names = sorted({source.name.rsplit("_", 2)[0] for source in sources})
    wanted = names if scenes == "all" else names[scenes == "odd" :: 2]
    return [read_sample(each, limit=limit) for each in sources if each.name.rsplit("_", 2)[0] in wanted]


def rows_of(method: Method, data: Sequence[Sample]) -> list[Row]:
    rows = []
    for sample in data:
        start = time.process_time()
        output = method(sample)
        seconds = (time.process_time() - start) / (sample.truth.shape[0] * sample.truth.shape[1]) * 1e6
        y, x, truth = (unit(each) for each in (output, sample.damaged, sample.truth))
        by_band = [coefficients(each, slice(0, 1)) for each in (y, x, truth)]
        inside = [(order() >= low) & (order() <= high) for low, high in BANDS]
        errors = split(y, x, truth), *(split(*(each[:, band] for each in by_band)) for band in inside)
        after, before = (float(psnr(each, truth)) for each in (y, x))
        rows.append(Row(after, after - before, errors, seconds))
    return rows


def methods(args: argparse.Namespace) -> dict[str, Callable[[Sample], Array]]:
    auto = restore.load("denoise", device="cpu")
    found: dict[str, Method] = {"restore": lambda sample: auto(sample.damaged)}
    found |= {f"{Path(each).stem}, told the truth": told(each) for each in args.weights}
    if args.peers_folder:
        peers = network_peers(args.peers_folder)
        found[f"FFDNet, told {TOLD:g}"] = given_level(peers["FFDNet (true level)"], TOLD)
        found["DnCNN, blind"] = peers["DnCNN (blind)"]
    nlm = package_peers()["scikit-image NLM"]
    found["NLM, told the true std"] = lambda sample: given_level(nlm, true_std(sample))(sample)
    return found


def true_std(sample: Sample) -> float:
    return float(np.std(sample.damaged.astype(float) - sample.truth))


def told(weights: str) -> Method:
    """A network that is given the map training would show it."""
    from restore.zoo import load

    net = load(weights, "denoise", None, otherwise="").net.eval()

    def run(sample: Sample) -> Array:
        x, truth = unit(sample.damaged), unit(sample.truth)
        with torch.inference_mode():
            y = net(x, noise_level=level_map(x, noise_curve(x - truth, truth)))
        return (y[0].movedim(0, -1).clamp(0, 1) * 255).round().byte().numpy()

    return run


def compare(args: argparse.Namespace) -> None:
    data = samples(args.folder, args.scenes, args.limit)
    header = ["method", "PSNR dB", "least gain", "noise left", "distortion", "CPU s/MP"]
    table, bands = [], []
    for name, method in methods(args).items():
        rows = rows_of(method, data)
        means = np.array([[tuple(each) for each in row.errors] for row in rows]).mean(0)
        score, gain, seconds = (np.array([getattr(row, what) for row in rows]) for what in ("psnr", "gain", "seconds"))
        left, distortion = means[0]
        table.append([name, f"{score.mean():.2f}", f"{gain.min():+.2f}", f"{left:.2f}", f"{distortion:.2f}",
                      f"{seconds.mean():.2f}"])  # fmt: skip
        bands.append([name, *(f"{left:.2f}, {distortion:.2f}" for left, distortion in means[1:])])
    before = np.mean([float(psnr(unit(each.damaged), unit(each.truth))) for each in data])
    print(f"{len(data)} pairs, {args.scenes} scenes; input {before:.2f} dB\n")
    print(markdown(header, table))
    print("\nnoise left, distortion by order u + v of luminance\n")
    print(markdown(["method", *(f"{low} to {high}" for low, high in BANDS)], bands))


def statistics_of(noisy: Tensor, truth: Tensor) -> list[float]:
    luma, colour = (coefficients(noisy - truth, channels) for channels in (slice(0, 1), slice(1, 3)))
    std = [float(each[:, order() == k].square().mean().sqrt()) for each in (luma, colour) for k in ORDERS]
    reference = sum(std[:3]) / 3
    power = luma[:, (order() >= 4) & (order() <= 6)].square()
    kurtosis = power.square().mean() / power.mean().square()
    return [*(each / reference for each in std), float(power.mean(1).std() / power.mean()), float(kurtosis)]


def statistics(args: argparse.Namespace) -> None:
    real = [statistics_of(unit(each.damaged), unit(each.truth)) for each in samples(args.folder, args.scenes, 0)]
    made = []
    for number, path in enumerate(sorted(args.photographs.glob("*.jpg"))[:: args.every]):
        pixels = restore.read(path).pixels
        clean = unit(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2, :3][:1024, :1024])
        clean = torch.nn.functional.avg_pool2d(clean, 2)
        made.append(statistics_of(degrade(clean, SIMULATED, 0, number).noisy, clean))
    names = [*(f"{plane} {k}" for plane in ("luminance", "colour") for k in ORDERS), "spread", "kurtosis"]
    columns = [np.median(np.array(each), 0) for each in (real, made)]
    rows = [[name, f"{a:.2f}", f"{b:.2f}"] for name, a, b in zip(names, *columns, strict=True)]
    print(markdown(["statistic, median", f"{len(real)} pairs", f"{len(made)} simulated"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["methods", "statistics"])
    parser.add_argument("folder", type=Path, help=f"of pairs whose names end in {' and '.join(ENDINGS)}")
    parser.add_argument("photographs", type=Path, nargs="?", help="of statistics: clean pictures to simulate on")
    parser.add_argument("--scenes", choices=["all", "even", "odd"], default="all")
    parser.add_argument("--limit", type=int, default=0, help="crop pictures to this side")
    parser.add_argument("--every", type=int, default=1, help="of the photographs")
    parser.add_argument("--weights", action="append", default=[], help="a network of ours, repeatable")
    parser.add_argument("--peers-folder", type=Path, help="folder of ffdnet_color.pth and dncnn_color_blind.pth")
    args = parser.parse_args()
    torch.set_num_threads(1)
    (compare if args.mode == "methods" else statistics)(args)


if __name__ == "__main__":
    main()
