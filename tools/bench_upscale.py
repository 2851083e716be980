"""Super-resolution side by side: every set, method and metric that is reported, in one run, and written down.

    python tools/bench_upscale.py SETS --photographs PHOTOS --peers-folder peers --weights upscale_x4 --log log.jsonl
    python tools/bench_upscale.py SETS --photographs PHOTOS --weights fidelity.safetensors --sharpness gan.safetensors
    python tools/bench_upscale.py SETS --only Set5 --case real-world --weights upscale_x4 upscale_real

SETS holds the folders Set5, Urban100 and CBSD68 of clean pictures; those that are missing are named and left out.
Small pictures are MATLAB's bicubic (`--case`: or damaged besides, `restore.degradations.upscale_cases`). Results are
rounded to 8 bits, and as many pixels as the factor are left out at each side. Ours (`--weights`, names of the zoo or
files) go through the runner of users' pictures; with `--sharpness SHARP` the first of them is mixed with that one,
0 to 1. On one thread; speed is measured in rounds in which the methods take turns, memory in a process of its own.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from bench_memory import resident
from measured import entry, facts, write
from peers import upscalers

import restore
from restore.degradations.upscale_cases import UpscaleCase
from restore.engines.network import NetworkEngine
from restore.errors import WeightsError
from restore.evaluation.methods import Method, restoring
from restore.evaluation.protocol import EvaluationProtocol
from restore.evaluation.run import INPUT, Summary, evaluate, summarise
from restore.evaluation.samples import Sample, Source, clean_sources
from restore.inference.options import RunOptions
from restore.metrics.table import METRICS, require_weights, resolve
from restore.report.plot import GREY, INK, Axes, Line, plot
from restore.report.table import markdown
from restore.zoo.interpolation import interpolated
from restore.zoo.resolver import resolve as weights_file
from restore.zoo.weights import Loaded, read_network

NAMES = resolve(("psnr_y", "ssim_y", "psnr", "ssim", "lite0_distance", "vgg16_caffe_distance", "naturalness"))
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
COLOURS = ((200, 40, 40), INK, GREY, (40, 80, 200), (30, 140, 60), (180, 120, 0), (130, 60, 160))
SPEED_SIDE, MEMORY_SIDE, ROUNDS = 256, 512, 5
CASES = {"bicubic": {}, "jpeg": {"quality": 40}, "noise": {"level": 10.0}, "real-world": {}}


def ours(loaded: Loaded, name: str) -> Method:
    """A network of ours through the runner of users' pictures, whatever methods the task has."""
    engine = NetworkEngine(loaded.net, loaded.spec, name, loaded.sha256)
    return restoring(restore.Restorer("upscale", engine, RunOptions(device="cpu", precision="fp32")))


def methods_of(args: argparse.Namespace) -> dict[str, Callable[[], Method]]:
    """What is compared, by name, not loaded yet."""
    made: dict[str, Callable[[], Method]] = {}
    for name in upscalers(args.factor, args.peers_folder):
        made[name] = lambda name=name: upscalers(args.factor, args.peers_folder)[name]
    if args.sharpness:
        for share in SHARES:
            name = f"sharpness {share:g}"
            made[name] = lambda share=share, name=name: ours(
                interpolated(network(args.weights[0], args.factor), network(args.sharpness, args.factor), share), name
            )
    for weights in args.weights[1:] if args.sharpness else args.weights:
        name = Path(weights).stem
        made[name] = lambda weights=weights, name=name: ours(network(weights, args.factor), name)
    return made


def network(weights: str, factor: int) -> Loaded:
    loaded = read_network(weights_file(weights))
    if loaded.spec.scale != factor:
        raise SystemExit(f"{weights} enlarges by {loaded.spec.scale}, not {factor}")
    return loaded


def sets(args: argparse.Namespace) -> Iterator[tuple[str, list[Source]]]:
    """(name, pictures) of every set whose folder is there."""
    every = f"CBSD68, every {args.every}th" if args.every > 1 else "CBSD68"
    folders = {"Set5": args.sets / "Set5", "Urban100": args.sets / "Urban100", every: args.sets / "CBSD68"}
    if args.photographs:
        folders["photographs"] = args.photographs
    for name, folder in folders.items():
        if args.only not in name:
            continue
        if not folder.is_dir():
            print(f"# {name}: there is no folder {folder.name}, left out")
            continue
        yield name, clean_sources(folder, EvaluationProtocol(every=args.every if name == every else 1))


def metrics(case: UpscaleCase) -> tuple[str, ...]:
    """Those whose weights are on this machine."""
    kept = []
    for name in NAMES:
        try:
            require_weights([name])
            kept.append(name)
        except WeightsError as error:
            print(f"# {name} is left out: {error.what}")
    return tuple(kept)


def speed(methods: dict[str, Method], factor: int) -> dict[str, float]:
    """CPU seconds of an output megapixel, by method: the median of rounds in which they take turns."""
    sample = picture(SPEED_SIDE)
    spent: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(ROUNDS + 1):
        for name, method in methods.items():
            start = time.process_time()
            method(sample)
            if turn:
                spent[name].append(time.process_time() - start)
    return {name: statistics.median(each) / (SPEED_SIDE * factor) ** 2 * 1e6 for name, each in spent.items()}


def picture(side: int) -> Sample:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return Sample(inputs={"picture": pixels}, targets={"": pixels}, source=Source("", 0, Path()))


def memory(name: str, words: list[str]) -> float:
    """MiB above what is resident once the method is loaded, of one picture, in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), *words, "--memory-of", name]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def peak(method: Method) -> float:
    base = resident("VmRSS")
    method(picture(MEMORY_SIDE))
    return resident("VmHWM") - base


def row(summary: Summary, names: tuple[str, ...]) -> list[str]:
    values = [f"{summary.means[name]:.{METRICS[name].digits}f}" if name in summary.means else "-" for name in names]
    least = "" if summary.method == INPUT else f"{summary.least_gain:+.2f}"
    return [summary.method, *values, least]


def bench(args: argparse.Namespace) -> None:
    case = UpscaleCase(factor=args.factor, kind=args.case, **CASES[args.case])
    names, made = metrics(case), methods_of(args)
    methods = {name: make() for name, make in made.items()}
    known = facts() | {"case": case.describe()}
    print(f"{case.describe()}; torch {torch.__version__}, 1 thread")
    for name, sources in sets(args):
        result = evaluate(sources, case, methods, EvaluationProtocol(metrics=names))
        for failure in result.failures:
            print(f"# failed: {failure.method}, {failure.why}")
        summaries = [each for each in summarise(result.rows) if each.method != INPUT]
        heads = [f"{each} {METRICS[each].unit}".strip() for each in names]
        print(f"\n{name}, {len(sources)} pictures, {args.case} x{args.factor}\n")
        print(markdown(["method", *heads, "least gain"], [row(each, names) for each in summaries]), flush=True)
        if args.plot and "lite0_distance" in names:
            draw(summaries, "lite0_distance", name, args.plot.with_stem(f"{args.plot.stem}_{name.split(',')[0]}"))
        for each in summaries if args.log else ():
            write(args.log, known | {"set": f"{name}, {args.case} x{args.factor}"} | entry(each))
    if not args.quality_only:
        costs(methods, args, known)


def draw(summaries: list[Summary], judge: str, title: str, path: Path) -> None:
    """Perception against distortion: PSNR over a feature distance, the shares of --sharpness as a line."""
    places = {each.method: (each.means[judge], each.means["psnr_y"]) for each in summaries}
    mixed = [place for name, place in places.items() if name.startswith("sharpness ")]
    others = {name: place for name, place in places.items() if not name.startswith("sharpness ")}
    lines = [Line(mixed, COLOURS[0], "sharpness", dots=True)]
    lines += [
        Line([place, place], colour, name, dots=True)
        for (name, place), colour in zip(others.items(), COLOURS[1:], strict=False)
    ]
    (left, right), (low, high) = ((min(values), max(values)) for values in zip(*places.values(), strict=True))
    x_ticks = np.arange(np.floor(5 * left), np.ceil(5 * right) + 1) / 5
    y_ticks = np.arange(np.floor(low), np.ceil(high) + 1)
    axes = Axes(
        f"{title}: PSNR of Y, dB", f"{judge}, lower is better", (x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1]),
        x_ticks.round(1).tolist(), y_ticks.tolist(),
    )  # fmt: skip
    plot((760, 400), axes, lines).save(path)


def costs(methods: dict[str, Method], args: argparse.Namespace, known: Mapping[str, object]) -> None:
    seconds, rows = speed(methods, args.factor), []
    for name in methods:
        mebibytes = memory(name, args.words)
        rows.append([name, f"{seconds[name]:.3f}", f"{mebibytes:.0f}"])
        if args.log:
            figures = {"seconds_per_megapixel": round(seconds[name], 4), "peak_mib": round(mebibytes, 1)}
            write(args.log, {**known, "set": f"costs, x{args.factor}", "method": name, "means": {}} | figures)
    large = MEMORY_SIDE * args.factor
    heads = ["method", "CPU s per output megapixel", f"peak MiB, {large} x {large} px made"]
    print("\n" + markdown(heads, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path)
    parser.add_argument("--photographs", type=Path, help="a folder of photographs, measured as a set of its own")
    parser.add_argument("--weights", nargs="*", default=[], help="names of the zoo, or files")
    parser.add_argument("--sharpness", help="weights that the first of --weights is mixed with")
    parser.add_argument("--plot", type=Path, help="line.png: PSNR over distance, with --sharpness, in line_Set5.png …")
    parser.add_argument("--peers-folder", type=Path, help="folder of IMDN_x4.pth")
    parser.add_argument("--factor", type=int, default=4)
    parser.add_argument("--case", choices=CASES, default="bicubic")
    parser.add_argument("--every", type=int, default=4, help="take each n-th picture of CBSD68")
    parser.add_argument("--only", default="", help="sets whose name contains this")
    parser.add_argument("--log", type=Path, help="JSON lines to append to")
    parser.add_argument("--quality-only", action="store_true", help="leave out speed and memory")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.words = sys.argv[1:]
    if args.plot and not args.sharpness:
        parser.error("--plot goes with --sharpness")
    if args.sharpness and not args.weights:
        parser.error("--sharpness mixes with the first of --weights")
    torch.set_num_threads(1)
    if args.memory_of:
        print(peak(methods_of(args)[args.memory_of]()))
    else:
        bench(args)


if __name__ == "__main__":
    main()
