"""Measure denoisers side by side in one run: `python tools/bench_denoise.py --help`.

Prints a Markdown table: mean PSNR and SSIM (RGB, after rounding to 8 bits), the least and greatest gain in PSNR over
the input, and CPU seconds on one thread per picture and per megapixel. Peers get the true noise level; ours estimates
it. Noise, metrics and rows are those of `restore eval` (`restore.evaluation`).

    python tools/bench_denoise.py noise CBSD68 --every 9 --first 8 --noise white:25
    python tools/bench_denoise.py noise CBSD68 --every 9 --first 8 --unclipped --peers-folder peers --weights FILE
    python tools/bench_denoise.py pairs PolyU_crops --noisy _real --truth _mean --every 4
    python tools/bench_denoise.py clean McMaster
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
from pathlib import Path

import torch
from peers import network_peers, package_peers

import restore
from restore.degradations.cases import Array
from restore.degradations.noise_cases import NoiseCase
from restore.evaluation.methods import Method, restoring
from restore.evaluation.protocol import EvaluationProtocol
from restore.evaluation.run import INPUT, Row, Summary, Watch, evaluate, summarise
from restore.evaluation.samples import Source, clean_sources, paired_sources
from restore.report.table import markdown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["noise", "pairs", "clean"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--noise", default="white:25", help="white:SIGMA, box:SIGMA or poisson:PHOTONS")
    parser.add_argument("--unclipped", action="store_true", help="float noise, neither clipped nor rounded")
    parser.add_argument("--noisy", default="_real", help="ending of the noisy pictures of pairs")
    parser.add_argument("--truth", default="_mean", help="ending of their truth")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--limit", type=int, default=0, help="crop pictures to this side")
    parser.add_argument("--weights", action="append", default=[], help="a row for this network of ours, repeatable")
    parser.add_argument("--peers-folder", type=Path, help="folder of ffdnet_color.pth and dncnn_color_blind.pth")
    parser.add_argument("--only", default="", help="comma-separated method names (parts of)")
    parser.add_argument("--save", type=Path, help="folder for the outputs, to look at")
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    protocol = EvaluationProtocol(every=args.every, first=args.first, limit=args.limit)
    sources, case = chosen(args, protocol)
    result = evaluate(sources, case, methods(args), protocol, watching(args))
    for failure in result.failures:
        print(f"# failed: {failure.method}, {failure.why}")
    print(table(summarise(result.rows), result.rows, clean=args.mode == "clean"))


def chosen(args: argparse.Namespace, protocol: EvaluationProtocol) -> tuple[list[Source], NoiseCase]:
    if args.mode == "pairs":
        return paired_sources({"picture": args.folder}, args.folder, (args.noisy, args.truth), protocol)[0], NoiseCase()
    if args.mode == "clean":
        return clean_sources(args.folder, protocol), NoiseCase()
    kind, _, level = args.noise.partition(":")
    noise = "gaussian" if kind == "white" else kind
    return clean_sources(args.folder, protocol), NoiseCase(noise=noise, level=float(level), clipped=not args.unclipped)


def methods(args: argparse.Namespace) -> dict[str, Method]:
    """Ours (built only if wanted), then the peers that take the level."""

    def ours(**options: object) -> Method:
        return restoring(restore.load("denoise", device="cpu", **options))

    wanted: dict[str, dict[str, object]] = {
        f"restore network {Path(each).stem}": {"weights": each} for each in args.weights
    }
    wanted["restore fast"] = {"method": "zero-shot", "preset": "fast"}
    wanted["restore quality"] = {"method": "zero-shot", "preset": "quality"}
    if args.noise.startswith("box") or args.mode == "pairs":
        for pd in (1, 3):
            wanted[f"restore fast --pd {pd}"] = {"method": "zero-shot", "preset": "fast", "pd": pd}
    parts = args.only.split(",")
    selected = {name: ours(**options) for name, options in wanted.items() if any(part in name for part in parts)}
    peers = package_peers() if args.mode == "noise" else {}
    if args.peers_folder and args.mode == "noise":
        peers |= network_peers(args.peers_folder)
    return selected | {name: run for name, run in peers.items() if any(part in name for part in parts)}


def watching(args: argparse.Namespace) -> Watch:
    """Prints and saves as results come, if asked."""

    def watch(row: Row, pixels: Array) -> None:
        if args.verbose:
            print(f"# {row.picture} {row.method}: {row.scores['psnr']:.2f} dB, {row.seconds:.1f} s", flush=True)
        if args.save and row.method != INPUT:
            args.save.mkdir(parents=True, exist_ok=True)
            depth = {"depth": "8"} if pixels.dtype.kind == "f" else {}
            path = args.save / f"{Path(row.picture).stem}__{row.method.replace(' ', '_')}.png"
            restore.write(pixels, path, **depth)

    return watch


def table(summaries: list[Summary], rows: list[Row], *, clean: bool) -> str:
    header = ["method", "PSNR dB", "SSIM", "least gain", "greatest gain", "CPU s/picture", "CPU s/MP"]
    lines = []
    for each in summaries:
        means = [f"{each.means['psnr']:.2f}", f"{each.means['ssim_valid11']:.4f}"]
        if each.method == INPUT:
            lines.append([each.method, *means, "", "", "", ""])
            continue
        worst = min(row.scores["psnr"] for row in rows if row.method == each.method)
        low = f"worst {worst:.2f}" if clean else f"{each.least_gain:+.2f}"
        seconds = [f"{each.seconds / each.pictures:.2f}", f"{each.seconds_per_megapixel:.2f}"]
        lines.append([each.method, *means, low, f"{each.greatest_gain:+.2f}", *seconds])
    return markdown(header, lines)


if __name__ == "__main__":
    main()
