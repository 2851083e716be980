"""Peak memory and speed of large pictures: `python tools/bench_memory.py --help`.

Each figure comes from a process of its own: resident memory after import and the building of the network is the
base, the kernel's high-water mark at the end the peak. Generated sources are TIFF files, streamed to TIFF; a file
given by `--source` is restored to its own format. Methods: network, zero-shot:PRESET, classical:ALGORITHM, tiles.

    python tools/bench_memory.py network 25 100 --width 10000
    python tools/bench_memory.py zero-shot:fast 24 --width 6000
    python tools/bench_memory.py zero-shot:quality --source photo.jpg
    python tools/bench_memory.py tiles 16 --tiles 64 128 256 512 1024 0
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def resident(field: str) -> float:
    """MiB of VmRSS (now) or VmHWM (peak) of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field} on this system")


def make_picture(path: Path, height: int, width: int) -> None:
    """A noisy synthetic 8-bit RGB picture, written by rows."""
    import tifffile

    rng = np.random.default_rng(0)
    x = np.arange(width) / width

    def strips():
        for top in range(0, height, 256):
            y = (top + np.arange(min(256, height - top)))[:, None] / height
            base = 110 + 60 * np.sin(40 * x) * np.cos(30 * y) + 30 * np.sign(np.sin(300 * x * y))
            rows = base[..., None] + np.array([0, 10, -10]) + 12 * rng.standard_normal((*base.shape, 3), np.float32)
            yield np.clip(np.rint(rows), 0, 255).astype(np.uint8)

    tifffile.imwrite(path, strips(), shape=(height, width, 3), dtype=np.uint8, photometric="rgb", rowsperstrip=256)


def build(method: str):
    """A restorer for the method; "network" is the seeded plain network of about 0.7 M parameters."""
    import restore

    name, _, choice = method.partition(":")
    if name != "network":
        options = {"algorithm" if name == "classical" else "preset": choice or None}
        return restore.load("denoise", method=name, device="cpu", **options)
    import torch

    from restore.engines.denoise.network import DenoisingNetwork
    from restore.inference.options import RunOptions
    from restore.models.plain_unet import PlainUNet

    torch.manual_seed(0)
    net = PlainUNet(channels=3, widths=(64,), blocks=(9,)).eval()
    engine = DenoisingNetwork(net, net.spec(), "seeded", "0" * 64)
    return restore.Restorer("denoise", engine, RunOptions(device="cpu", precision="fp32"))


def child(args: argparse.Namespace) -> None:
    import torch

    from restore.io.codecs import ReadOptions, SaveOptions, create, open_picture, target_info

    torch.set_num_threads(args.threads)
    restorer = build(args.method)
    from dataclasses import replace

    restorer.options = replace(restorer.options, tile=args.tile, max_memory=args.max_memory)
    base = resident("VmRSS")
    source = open_picture(args.source, ReadOptions())
    start, cpu = time.perf_counter(), time.process_time()
    save = SaveOptions()
    report = restorer.run([source], lambda _, info: create(args.target, target_info(info, args.target, save), save))
    source.close()
    figures = {
        "megapixels": report.height * report.width / 1e6,
        "peak_mib": resident("VmHWM") - base,
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - start,
        "tile": report.tile,
        "halo": report.halo,
        "overhead": report.overhead,
    }
    print(json.dumps(figures))


def measure(method: str, source: Path, target: Path, tile: int | None, args: argparse.Namespace) -> dict:
    command = [sys.executable, __file__, "child", method, str(source), str(target), "--threads", str(args.threads)]
    if tile:
        command += ["--tile", str(tile)]
    if args.max_memory:
        command += ["--max-memory", str(args.max_memory)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        parser = argparse.ArgumentParser()
        parser.add_argument("child")
        parser.add_argument("method")
        parser.add_argument("source", type=Path)
        parser.add_argument("target", type=Path)
        parser.add_argument("--tile", type=int)
        parser.add_argument("--threads", type=int, default=1)
        parser.add_argument("--max-memory", type=int)
        child(parser.parse_args())
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("megapixels", type=float, nargs="*")
    parser.add_argument("--source", type=Path, help="a picture instead of generated ones")
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--tiles", type=int, nargs="*", default=[0], help="core sides to try; 0 is automatic")
    parser.add_argument("--max-memory", type=int, help="bytes")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    method = "network" if args.method == "tiles" else args.method
    print("| megapixels | tile | halo | overhead | peak MiB above import | CPU s | MP per CPU s |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in [0.0] if args.source else args.megapixels:
            source = args.source or Path(folder) / "source.tif"
            if not args.source:
                make_picture(source, round(megapixels * 1e6 / args.width), args.width)
            for tile in args.tiles:
                target = Path(folder) / f"target{source.suffix}"
                print(row(measure(method, source, target, tile or None, args)), flush=True)


def row(f: dict) -> str:
    return (
        f"| {f['megapixels']:.1f} | {f['tile'][0]} x {f['tile'][1]} | {f['halo']} | {f['overhead']:.2f} "
        f"| {f['peak_mib']:.0f} | {f['cpu_s']:.1f} | {f['megapixels'] / f['cpu_s']:.3f} |"
    )


if __name__ == "__main__":
    main()
