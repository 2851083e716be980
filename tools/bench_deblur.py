"""Blind deblurring side by side: every blur, method and peer that is reported, in one run, and written down.

    python tools/bench_deblur.py photographs --side 512 --log log.jsonl
    python tools/bench_deblur.py photographs --only shake12 --methods measured psf
    python tools/bench_deblur.py sharp_pictures --sharp         (how near to the input what is not blurred comes back)

Middle crops of --side px of the photographs (made smaller by two first, with `--halved`), blurred by
`restore.degradations.deblur_cases` with noise of 1/255 and JPEG 92; results rounded to 8 bits, 12 px left out on each
side. Gains are in dB over the blurred picture, plain and after the best global shift (`psnr_aligned`). Ours go through
the runner of users' pictures; `psf` takes over the search that `measured` has made of the same picture, so its seconds
are without it. Peers: `restore deconv --psf estimate` (the same candidates, one PSF), `estimate:shake` (one window, as
before there were candidates, but in linear light), and unsharp masking by the best of a few settings over each set,
chosen with the truth. One thread.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import hashlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from measured import facts, write

import restore
from restore.analysis.sample import View
from restore.degradations.cases import Array, CaseSample
from restore.degradations.deblur_cases import DeblurCase
from restore.engines.blind_psf.search import Judged
from restore.engines.deblur import engine
from restore.evaluation.methods import Method, TaskMethod
from restore.evaluation.protocol import EvaluationProtocol
from restore.evaluation.run import INPUT, Row, evaluate
from restore.evaluation.samples import Sample, clean_sources
from restore.io import read_picture
from restore.io.paths import find_pictures
from restore.io.tensors import to_unit
from restore.metrics.pixel import psnr
from restore.picture import ValueScale
from restore.report.table import markdown

METRICS = ("psnr", "psnr_aligned")
NEAR = 45  # dB between a sharp picture and what came back
UNSHARP = tuple((sigma, amount) for sigma in (1.0, 2.0, 4.0) for amount in (0.3, 0.7))
CASES: dict[str, dict[str, Any]] = {
    **{f"shake{length}": {"length": length} for length in (5, 12, 20)},
    **{f"varying{length}": {"length": length, "varying": True} for length in (5, 12, 20)},
    **{f"line{length}": {"kind": "line", "length": length} for length in (8, 16)},
    **{f"disc{radius}": {"kind": "disc", "radius": radius} for radius in (3, 6)},
    "sharp": {"kind": "none"},
}
METHODS: dict[str, TaskMethod] = {
    "measured": TaskMethod("deblur", "measured"),
    "psf": TaskMethod("deblur", "psf"),
    "network": TaskMethod("deblur", "network"),
    "deconv --psf estimate": TaskMethod("deconv", "auto", {"psf": "estimate"}),
    "deconv --psf estimate:shake": TaskMethod("deconv", "auto", {"psf": "estimate:shake"}),
}


@dataclass(frozen=True, kw_only=True)
class Cropped(DeblurCase):
    """The same of a middle crop."""

    side: int = 512
    halved: bool = False

    def make(self, pictures: Sequence[Array], index: int) -> CaseSample:
        (clean,) = pictures
        if self.halved:
            clean = cv2.resize(clean, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        height, width = clean.shape[:2]
        side = min(self.side, height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return super().make([np.ascontiguousarray(clean[top : top + side, left : left + side])], index)


def unsharp(sigma: float, amount: float) -> Method:
    def run(sample: Sample) -> Array:
        x = sample.inputs["picture"].astype(np.float32)
        return np.clip(np.rint(x + amount * (x - cv2.GaussianBlur(x, (0, 0), sigma))), 0, 255).astype(np.uint8)

    return run


def gains(rows: Sequence[Row], method: str, metric: str) -> list[float]:
    """dB over the input, picture by picture."""
    before = {row.picture: row.scores[metric] for row in rows if row.method == INPUT}
    return [row.scores[metric] - before[row.picture] for row in rows if row.method == method]


def report(name: str, rows: Sequence[Row], methods: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = []
    masks = [method for method in methods if method.startswith("unsharp")]
    best = max(masks, key=lambda mask: statistics.fmean(gains(rows, mask, "psnr")), default="")
    for method in methods:
        mine = [row for row in rows if row.method == method]
        if not mine or (method in masks and method != best):
            continue
        plain, aligned = (gains(rows, method, metric) for metric in METRICS)
        kept = [row.scores["psnr"] for row in rows if row.method == method]
        entries.append(
            {
                "set": name, "method": method, "pictures": len(mine), "gain": statistics.fmean(plain),
                "gain_aligned": statistics.fmean(aligned), "least": min(plain), "most": max(plain),
                "worse": sum(gain < -0.1 for gain in plain), "least_psnr": min(kept),
                "changed": sum(abs(gain) > 1e-6 for gain in plain),
                "seconds_per_megapixel": sum(r.seconds for r in mine) / sum(r.megapixels for r in mine),
            }
        )  # fmt: skip
    inputs = statistics.fmean(row.scores["psnr"] for row in rows if row.method == INPUT)
    heads = ["method", "gain", "aligned", "least", "worse by 0.1 dB", "changed", "CPU s/MP"]
    table = [
        [e["method"], f"{e['gain']:+.2f}", f"{e['gain_aligned']:+.2f}", f"{e['least']:+.2f}", str(e["worse"]),
         f"{e['changed']} of {e['pictures']}", f"{e['seconds_per_megapixel']:.1f}"]
        for e in entries
    ]  # fmt: skip
    print(f"\n{name}: input {inputs:.2f} dB, {entries[0]['pictures'] if entries else 0} pictures\n")
    print(markdown(heads, table), flush=True)
    ours = [m for m in methods if m in ("psf", "network")]
    if "measured" in methods and ours:
        options = [gains(rows, m, "psnr") for m in ours] + [[0.0] * len(gains(rows, "measured", "psnr"))]
        regrets = [max(each) - got for got, *each in zip(gains(rows, "measured", "psnr"), *options, strict=True)]
        print(f"\nregret of measured: mean {statistics.fmean(regrets):.2f}, worst {max(regrets):.2f} dB", flush=True)
        for entry in entries:
            entry |= {"regret": statistics.fmean(regrets)} if entry["method"] == "measured" else {}
    return entries


def remember_searches() -> None:
    """Methods that look for the PSF of the same picture share the search; the last picture's are kept."""
    search, kept = engine.judge_blur, {}

    def remembered(view: View, **how: Any) -> Judged:
        how.pop("progress", None)
        pixels = view.source.read_rows(0, view.source.info.height)
        key = hashlib.sha256(pixels.tobytes()).digest(), *sorted(how.items())
        if key not in kept:
            kept.clear()
            kept[key] = search(view, **how)
        return kept[key]

    engine.judge_blur = remembered  # type: ignore[assignment]


def report_sharp(folder: Path, methods: Sequence[str]) -> None:
    """Every picture as it is: PSNR of the result against the input."""
    table = []
    for name in methods:
        restorer = restore.load("deblur", method=name)
        nearness = []
        for path in find_pictures(folder):
            picture = read_picture(path)
            result = restorer.restore(picture)
            pair = (to_unit(each.pixels, ValueScale.nominal(picture.info)) for each in (picture, result.picture))
            nearness.append(float(psnr(*pair)))
            print(f"# {name} {path.name}: {nearness[-1]:.2f} dB, {result.decisions}", flush=True)

        near = sum(each >= NEAR for each in nearness)
        table.append([name, f"{near} of {len(nearness)}", f"{sum(each >= 100 for each in nearness)}",
                      f"{statistics.fmean(nearness):.1f}", f"{min(nearness):.1f}"])  # fmt: skip
    print(markdown(["method", f"{NEAR} dB and more", "unchanged", "mean (100 where unchanged)", "least"], table))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--halved", action="store_true")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(CASES))
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--no-unsharp", action="store_true")
    parser.add_argument("--sharp", action="store_true")
    parser.add_argument("--log", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.sharp:
        report_sharp(args.photographs, args.methods)
        return
    remember_searches()
    sources = clean_sources(args.photographs, EvaluationProtocol(every=args.every))
    methods: dict[str, Any] = {name: METHODS[name] for name in args.methods}
    if not args.no_unsharp:
        methods |= {f"unsharp {sigma:g}, {amount:g}": unsharp(sigma, amount) for sigma, amount in UNSHARP}
    for name in args.only:
        case = Cropped(side=args.side, halved=args.halved, **CASES[name])
        result = evaluate(sources, case, methods, EvaluationProtocol(metrics=METRICS))
        for failure in result.failures:
            print(f"# failed: {failure.method}, {failure.why}")
        for entry in report(name, result.rows, methods):
            if args.log:
                write(args.log, facts() | {"case": case.describe(), "side": args.side} | entry)


if __name__ == "__main__":
    main()
