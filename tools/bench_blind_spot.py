"""Networks that learned from noisy pictures alone, beside denoisers that are given the level.

    python tools/bench_blind_spot.py camera CBSD68 --networks cbsn runs/zoo/plain_blind_spot.safetensors
    python tools/bench_blind_spot.py real PolyU_crops --networks cbsn
    python tools/bench_blind_spot.py folder photographs --budget 120

camera: every ninth picture with the noise of `restore.physics.camera`'s preset "phone" (seed = picture index), clipped
    and rounded to 8 bits. Networks run as they answer ("alone"), and kept from taking away more than the noise, as
    `restore denoise` uses C-BSN ("bounded"); those that are always blind also as AP-BSN.
real: pairs of a photograph and the mean of many of the same scene, such as PolyU_crops, by the same methods.
folder: twenty pictures, their upper left 256 x 256 px in grey, Poisson noise of 10 photons at white
    (default_rng(index)), 16 bits; `--method self-supervised` beside zero-shot and Noise2Void, which is given as many
    CPU seconds to learn on one thread; CAREamics' too, where `careamics` can be imported.

Prints PSNR, and for the camera what the noise is like: std, correlation at a lag of 1 px.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from measured import facts, write
from peers import package_peers
from skimage.restoration import estimate_sigma

import restore
from restore.data.batches import Batch
from restore.engines.denoise.ap_bsn import ApBsnEngine
from restore.engines.denoise.learners import crops
from restore.engines.denoise.network import DenoisingNetwork, network_of
from restore.engines.denoise.noise_bounded import NoiseBoundedEngine
from restore.evaluation.samples import Sample, Source
from restore.inference.engine import Engine
from restore.inference.options import RunOptions
from restore.models.plain_unet import PlainUNet
from restore.objectives.self_supervised import Noise2Void
from restore.physics.camera import PRESETS
from restore.physics.noise_mixture import NoiseRecipe, degrade
from restore.report.table import markdown

PRESET, ISO = "phone", (1600, 6400)
PHOTONS, SIDE, COUNT = 10, 256, 20
_WHITE = 20_000  # of 16 bits: room for Poisson's tail

Denoise = Callable[[np.ndarray], np.ndarray]
OfPair = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (clean, noisy) -> denoised


def psnr(x: np.ndarray, y: np.ndarray, white: float = 255.0) -> float:
    return float(-10 * np.log10(np.square((x.astype(float) - y) / white).mean()))


def camera_pictures(folder: Path, iso: tuple[float, float] = ISO) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(index, clean, noisy: H x W x 3 uint8) of every ninth picture."""
    recipe, pictures = NoiseRecipe(weights={"camera": 1.0}, cameras=(PRESET,), iso=iso, camera_jpeg=0.0), []
    for index, path in list(enumerate(sorted(p for p in folder.iterdir() if p.suffix in (".png", ".jpg"))))[::9]:
        clean = cv2.imread(str(path))[..., ::-1].copy()
        x = torch.from_numpy(clean).movedim(-1, 0)[None] / 255
        noisy = degrade(x, recipe, seed=index, step=0).noisy[0].movedim(0, -1)
        pictures.append((index, clean, (noisy * 255).round().to(torch.uint8).numpy()))
    return pictures


def real_pictures(folder: Path) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(index, clean, noisy: H x W x 3 uint8) of the pairs NAME_mean, NAME_real."""
    noisy = sorted(folder.glob("*_real.*"))
    pairs = [[path.with_name(path.name.replace("_real", "_mean")), path] for path in noisy]
    return [(i, *(cv2.imread(str(path))[..., ::-1].copy() for path in pair)) for i, pair in enumerate(pairs)]


def lag_one(noise: np.ndarray) -> float:
    return float((noise[:, 1:] * noise[:, :-1]).mean() / np.square(noise).mean())


def compared(args: argparse.Namespace) -> list[list[str]]:
    if args.what == "camera":
        pictures = camera_pictures(args.folder, args.iso)
        name_of_set = f"cbsd8, camera {PRESET} ISO {args.iso[0]:g}-{args.iso[1]:g}"
        print(f"# {PRESETS[PRESET]}, ISO {args.iso[0]:g} to {args.iso[1]:g}")
    else:
        pictures, name_of_set = real_pictures(args.folder), f"{args.folder.name}, real noise"
    for index, clean, noisy in pictures:
        noise = noisy.astype(float) - clean
        print(f"# {index}: input {psnr(noisy, clean):.2f} dB, std {noise.std():.1f}, lag 1 {lag_one(noise):.2f}")
    rows = []
    if args.save:
        args.save.mkdir(parents=True, exist_ok=True)
    for name, method in camera_methods(args.networks, args.what == "camera").items():
        if args.only not in name:
            continue
        start, scores = time.process_time(), []
        for index, clean, noisy in pictures:
            answer = method(clean, noisy)
            scores.append(psnr(answer, clean))
            if args.save:
                restore.write(answer, args.save / f"{index:02} {name}.png")
        seconds = (time.process_time() - start) / len(pictures)
        rows.append([name, f"{np.mean(scores):.2f}", f"{min(scores):.2f}", f"{seconds:.2f}"])
        print("# " + " | ".join(rows[-1]), flush=True)
        record(args, name_of_set, name, scores)
    return rows


def camera_methods(networks: Sequence[str], slow: bool = True) -> dict[str, OfPair]:
    def ours(restorer: restore.Restorer) -> OfPair:
        return lambda clean, noisy: restorer(noisy)

    def by(engine: Engine) -> OfPair:
        return ours(restore.Restorer("denoise", engine, RunOptions(device="cpu")))

    def peer(method: Callable[[Sample], np.ndarray], true_level: bool) -> OfPair:
        def run(clean: np.ndarray, noisy: np.ndarray) -> np.ndarray:
            level = float((noisy.astype(float) - clean).std())
            if not true_level:
                level = max(float(estimate_sigma(noisy.astype(float), channel_axis=-1, average_sigmas=True)), 0.1)
            source = Source(name="", index=0, truth=Path())
            pictures = {"inputs": {"picture": noisy}, "targets": {"result": clean}}
            return method(Sample(**pictures, source=source, noise_level=level))

        return run

    methods: dict[str, OfPair] = {"input": lambda clean, noisy: noisy}
    for name, method in package_peers().items():
        if slow or "CBM3D" not in name:
            methods[f"{name}, true level"] = peer(method, true_level=True)
        if "NLM" in name:
            methods[f"{name}, scikit-image's estimate of the level"] = peer(method, true_level=False)
    methods["restore, zero-shot"] = ours(restore.load("denoise", method="zero-shot", device="cpu"))
    methods["restore, default networks (supervised)"] = ours(restore.load("denoise", device="cpu"))
    for weights in networks:
        engine = network_of(weights)
        methods[f"{engine.name}, alone"] = by(engine)
        methods[f"{engine.name}, bounded"] = by(NoiseBoundedEngine(engine))
        if engine.spec.blind:
            methods[f"{engine.name}, as AP-BSN"] = by(ApBsnEngine(engine))
    return methods


def folder(args: argparse.Namespace) -> list[list[str]]:
    scratch = args.scratch
    (scratch / "noisy").mkdir(parents=True, exist_ok=True)
    pairs = []
    files = sorted(p for p in args.folder.iterdir() if p.suffix in (".png", ".jpg"))
    for index, path in enumerate(files[:: max(1, len(files) // COUNT)][:COUNT]):
        clean = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[:SIDE, :SIDE] / 255
        counts = np.random.default_rng(index).poisson(clean * PHOTONS) / PHOTONS
        noisy = np.clip(np.rint(counts * _WHITE), 0, 65535).astype(np.uint16)
        restore.write(noisy, scratch / f"noisy/{index:02}.png")
        pairs.append((clean * _WHITE, noisy))

    def scored(name: str, make: Callable[[], Denoise]) -> list[str]:
        start = time.process_time()
        denoise = make()
        learned = time.process_time() - start
        scores = [psnr(denoise(noisy), clean, _WHITE) for clean, noisy in pairs]
        record(args, f"{COUNT} grey pictures, Poisson {PHOTONS}, 16 bits", name, scores)
        row = [name, f"{np.mean(scores):.2f}", f"{min(scores):.2f}", f"{learned:.0f}"]
        print("# " + " | ".join(row), flush=True)
        return row

    fit = {"method": "self-supervised", "adapt": scratch / "noisy", "budget": args.budget, "device": "cpu"}
    shown = [noisy for _, noisy in pairs]
    methods: dict[str, Callable[[], Denoise]] = {
        "input": lambda: lambda noisy: noisy,
        "zero-shot": lambda: restore.load("denoise", method="zero-shot", device="cpu"),
        "self-supervised": lambda: restore.load("denoise", **fit),
    }
    methods |= {
        f"self-supervised, {way}": partial(restore.load, "denoise", learner=way, **fit) for way in args.learners
    }
    methods["Noise2Void from nothing"] = lambda: noise2void(shown, args.budget)
    if find_spec("careamics"):
        methods["Noise2Void of CAREamics"] = lambda: careamics(shown, args.budget, scratch)
    return [scored(name, make) for name, make in methods.items()]


def noise2void(pictures: Sequence[np.ndarray], seconds: float) -> Denoise:
    """A network of the size of the shipped ones that begins from nothing, by Noise2Void's loss."""
    torch.manual_seed(0)
    net = PlainUNet(3, 0, (48, 96), (2, 3, 2))
    objective, shown = Noise2Void(net), [torch.from_numpy(x.astype(np.float32) / 65535)[None] for x in pictures]
    optimizer = torch.optim.Adam(net.parameters(), 4e-4)
    start, step = time.process_time(), 0
    while (done := (time.process_time() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 4e-4 * (1 - done)
        batch: Batch = crops(shown, 64, 16, step)
        loss = objective(batch, "restore", step)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
    print(f"# Noise2Void: {step} steps")
    engine = DenoisingNetwork(net, net.spec(), "noise2void", "")
    return restore.Restorer("denoise", engine, RunOptions(device="cpu"))


def careamics(pictures: Sequence[np.ndarray], seconds: float, scratch: Path) -> Denoise:
    """CAREamics with its own defaults: patches of 64 x 64 px, 16 a step; it stops after an epoch."""
    from careamics import CAREamist
    from careamics.config.factories.n2v_factory import create_n2v_config
    from lightning.pytorch import Callback

    class Stop(Callback):
        steps, start = 0, time.process_time()

        def on_train_epoch_end(self, trainer, module) -> None:
            self.steps = trainer.global_step
            trainer.should_stop = time.process_time() - self.start > seconds

    stop, shown = Stop(), [x.astype(np.float32) for x in pictures]
    config = create_n2v_config("n2v", "array", "YX", [64, 64], 16, num_epochs=100_000)
    trainer = CAREamist(config, work_dir=scratch / "careamics", callbacks=[stop], enable_progress_bar=False)
    trainer.train(train_data=shown)
    print(f"# CAREamics: {stop.steps} steps")
    return lambda noisy: trainer.predict([noisy.astype(np.float32)])[0][0]


def record(args: argparse.Namespace, name: str, method: str, scores: Sequence[float]) -> None:
    if args.log:
        means = {"psnr": round(float(np.mean(scores)), 4)}
        write(args.log, facts() | {"set": name, "method": method, "means": means, "worst": round(min(scores), 4)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("camera", "real", "folder"))
    parser.add_argument("folder", type=Path, help="of clean photographs")
    parser.add_argument("--networks", nargs="*", default=["cbsn"], help="weights of blind-spot networks")
    parser.add_argument("--iso", nargs=2, type=float, default=ISO, help="lowest and highest of the camera")
    parser.add_argument("--only", default="", help="methods with this in their names; of camera and real")
    parser.add_argument("--save", type=Path, help="folder for the camera's restored pictures, to look at")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds to learn")
    parser.add_argument("--learners", nargs="*", default=[], help="of --learner, beside the automatic one")
    parser.add_argument("--scratch", type=Path, default=Path("runs/blind_spot"), help="for the noisy pictures")
    parser.add_argument("--log", type=Path, help="JSON lines to append to")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows = folder(args) if args.what == "folder" else compared(args)
    last = "CPU s to learn" if args.what == "folder" else "CPU s"
    print(markdown(["method", "PSNR dB", "worst", last], rows))


if __name__ == "__main__":
    main()
