"""All sets that denoising weights are judged by, in one run beside FFDNet and DnCNN, written down with the commit.

    python tools/bench_sets.py SETS --peers-folder peers --log docs/measured.jsonl
    python tools/bench_sets.py SETS --only cbsd8

SETS holds the folders CBSD68, McMaster, PolyU_crops and UHD_dev; those that are missing are named and left out. Prints
the rows of `docs/benchmarks.md` and appends every row to the log: date, commit, weights, set, method, mean PSNR and
SSIM, the picture that gained least, CPU seconds a megapixel on one thread. Ours is blind; FFDNet is given the level
(on real noise, 10 of 255). `RESTORE_HOME=FOLDER` takes the weights in FOLDER/weights for those that are shipped.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import torch
from measured import PSNR, entry, facts, write
from peers import given_level, network_peers

import restore
from restore.degradations.noise_cases import NoiseCase
from restore.evaluation.methods import Method, restoring
from restore.evaluation.protocol import EvaluationProtocol
from restore.evaluation.run import INPUT, Summary, evaluate, summarise
from restore.evaluation.samples import Source, clean_sources, paired_sources
from restore.report.table import markdown

OURS, FFDNET = "restore", "FFDNet (told)"
SSIM = "ssim_valid11"
REAL_LEVEL = 10.0  # of 255, what FFDNet is given on PolyU


CLEAN = NoiseCase()


@dataclass(frozen=True)
class Set:
    """Pictures and what becomes of them.

    Attributes:
        name: for people and the log.
        folder: below SETS; real pairs where its pictures end in `_real` and `_mean`.
        every, first: which of its pictures.
        grey: the pictures' luma alone.
    """

    name: str
    folder: str
    case: NoiseCase = CLEAN
    every: int = 1
    first: int = 0
    grey: bool = False


def white(level: float, **options: object) -> NoiseCase:
    return replace(NoiseCase(noise="gaussian", level=level), **options)


EIGHT = {"folder": "CBSD68", "every": 9, "first": 8}
SETS = [
    *(Set(f"cbsd8, sigma {s} clipped", case=white(s), **EIGHT) for s in (15, 25, 50)),
    *(Set(f"cbsd8, sigma {s} floats", case=white(s, clipped=False), **EIGHT) for s in (25, 50)),
    Set("cbsd8, Poisson 30 floats", case=NoiseCase(noise="poisson", level=30, clipped=False), **EIGHT),
    Set("cbsd8, Poisson 30 clipped", case=NoiseCase(noise="poisson", level=30), **EIGHT),
    Set("cbsd8, sigma 15 then JPEG 80", case=white(15, jpeg=80), **EIGHT),
    Set("cbsd8 grey, sigma 25 clipped", case=white(25), grey=True, **EIGHT),
    *(Set(f"CBSD68, sigma {s} clipped", "CBSD68", white(s)) for s in (25, 50)),
    Set("McMaster, sigma 25 clipped", "McMaster", white(25)),
    Set("PolyU, 63 real pairs", "PolyU_crops"),
    Set("McMaster, clean", "McMaster"),
    Set("UHD_dev, clean", "UHD_dev"),
]


def measured(
    ours: Method, sets: Path, peers: Path | None, only: str = "", report: Callable[[str], None] = print
) -> Iterator[tuple[Set, list[Summary], float]]:
    """(set, a summary a method, worst PSNR of ours) of every set whose folder is there."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    networks = network_peers(peers) if peers else {}
    for each in (each for each in SETS if only in each.name):
        if not (sets / each.folder).is_dir():
            report(f"# {each.name}: there is no folder {each.folder}, left out")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            sources = sources_of(each, sets / each.folder, Path(scratch))
            result = evaluate(sources, each.case, {OURS: ours, **suited(networks, sources, each)}, EvaluationProtocol())
        for failure in result.failures:
            report(f"# failed: {failure.method}, {failure.why}")
        yield each, summarise(result.rows), min(row.scores[PSNR] for row in result.rows if row.method == OURS)


def sources_of(each: Set, folder: Path, scratch: Path) -> list[Source]:
    protocol = EvaluationProtocol(every=each.every, first=each.first)
    if any(folder.glob("*_real.*")):
        return paired_sources({"picture": folder}, folder, ("_real", "_mean"), protocol)[0]
    sources = clean_sources(folder, protocol)
    if not each.grey:
        return sources
    for source in sources:
        cv2.imwrite(str(scratch / f"{source.index:04}.png"), cv2.imread(str(source.truth), cv2.IMREAD_GRAYSCALE))
    return [replace(source, truth=scratch / f"{source.index:04}.png") for source in sources]


def suited(networks: dict[str, Method], sources: list[Source], each: Set) -> dict[str, Method]:
    """The peers that this set makes sense for: colour, with noise."""
    if not networks or each.grey or (each.case.noise == "none" and not sources[0].damaged):
        return {}
    blind, ffdnet = networks["DnCNN (blind)"], networks["FFDNet (true level)"]
    return {FFDNET: ffdnet if not sources[0].damaged else given_level(ffdnet, REAL_LEVEL), "DnCNN (blind)": blind}


def row(each: Set, summaries: list[Summary], worst: float) -> list[str]:
    by_name = {summary.method: summary for summary in summaries}
    ours = by_name[OURS]
    clean = each.case.noise == "none" and "real" not in each.name

    def quality(summary: Summary | None) -> str:
        return f"{summary.means[PSNR]:.2f} ({summary.means[SSIM]:.3f})" if summary else ""

    ffdnet = by_name.get(FFDNET)
    return [
        each.name,
        "" if clean else f"{by_name[INPUT].means[PSNR]:.2f}",
        quality(ours),
        f"worst {worst:.2f}" if clean else f"{ours.least_gain:+.2f}",
        f"{ours.seconds_per_megapixel:.2f}",
        quality(ffdnet) + (f", {ffdnet.seconds_per_megapixel:.2f} CPU s/MP" if ffdnet else ""),
        quality(by_name.get("DnCNN (blind)")),
    ]


HEADER = ["set", "input", "ours: PSNR dB (SSIM)", "least gain", "CPU s/MP", "FFDNet, told", "DnCNN, blind"]


def bench(weights: str | None, sets: Path, peers: Path | None, log: Path | None, only: str = "") -> None:
    """Measure, print the table, write the log."""
    ours = restore.load("denoise", device="cpu", weights=weights)
    known = facts() | {"weights": weights or "default", "engine": ours.engine.fingerprint}
    rows = []
    for each, summaries, worst in measured(restoring(ours), sets, peers, only):
        rows.append(row(each, summaries, worst))
        print("| " + " | ".join(rows[-1]) + " |", flush=True)
        for summary in summaries if log else ():
            write(log, known | {"set": each.name} | entry(summary))
    print("\n" + markdown(HEADER, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path)
    parser.add_argument("--weights", help="a shipped name or a file; by default what `restore denoise` takes")
    parser.add_argument("--peers-folder", type=Path, help="folder of ffdnet_color.pth and dncnn_color_blind.pth")
    parser.add_argument("--log", type=Path, help="JSON lines to append to")
    parser.add_argument("--only", default="", help="sets whose name contains this")
    args = parser.parse_args()
    bench(args.weights, args.sets, args.peers_folder, args.log, args.only)


if __name__ == "__main__":
    main()
