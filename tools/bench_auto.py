"""What the automatic choices of deconvolution, denoising and super-resolution lose against their own methods.

    python tools/bench_auto.py deconv McMaster --kernels Levin09.mat --every 3
    python tools/bench_auto.py cameras CBSD68
    python tools/bench_auto.py shakes McMaster --kernels Levin09.mat --every 2
    python tools/bench_auto.py upscale photographs

deconv: centre crops of 256 px, blurred by kernels 0 and 3 of Levin09.mat in turn with real borders, white noise of
    2.55 and 7.65 of 255, 8 bits; as they are, with blown lights (exposed so that 3 % of the samples lie above white),
    with black bars of a quarter of the area, as of a film frame, blurred like the rest, and with such bars put over
    blur and noise. Methods are given the PSF and measure the noise.
cameras: the first twenty of every third picture, `restore degrade camera --camera raw --seed INDEX`: the automatic
    choice beside either network for all pictures.
shakes: which estimated PSFs are believed, of centre crops of 256 px that are sharp with white noise of 3 to 20 of 255,
    or shaken by three of Levin09's kernels.
upscale: pictures smaller by 4 and enlarged again: clean, compressed, noisy, blurred, and all of it at random; in dB
    and in the feature distance of EfficientNet-Lite0, for each method and "bicubic".

Regret: of the best of the own methods on a picture, minus auto. `--quick` takes two pictures, `--only` the
methods whose names contain a word, and PYTHONPATH another version of the program.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from measured import PSNR

import restore
from restore.analysis.sample import View
from restore.degradations.blur_cases import BlurCase
from restore.degradations.cases import Array, Case, CaseSample
from restore.degradations.upscale_cases import UpscaleCase
from restore.engines.deconv.psf import estimate
from restore.errors import WeightsError
from restore.evaluation.methods import Method, TaskMethod, restoring
from restore.evaluation.protocol import EvaluationProtocol
from restore.evaluation.run import INPUT, Row, evaluate
from restore.evaluation.samples import clean_sources
from restore.metrics.table import METRICS
from restore.physics.color import to_luma
from restore.physics.fourier import convolve, otf
from restore.picture import Picture, ValueScale
from restore.report.table import markdown

AUTO = "auto"
KERNELS = (0, 3)
NOISES = (2.55, 7.65)
SceneKind = Literal["as they are", "blown lights", "bars", "bars on top"]
SIDE = 256  # px
BAR = SIDE // 8  # px, above and below
BLOWN = 0.03  # of the samples
DECONV: dict[str, tuple[str, dict[str, Any]]] = {
    AUTO: ("auto", {}),
    "infwide, deconv": ("infwide", {"weights": "deconv"}),
    "infwide, deconv_low_light": ("infwide", {"weights": "deconv_low_light"}),
    "pnp": ("pnp", {}),
    "hyper-laplacian": ("hyper-laplacian", {}),
    "rl-tv": ("rl-tv", {}),
    "rl": ("rl", {}),
    "wiener": ("wiener", {}),
}
SHARP_NOISES = (3, 6, 10, 20)
SHAKES = ((0, 1), (3, 1), (5, 4))  # number of the first picture's kernel, noise
WINDOW = 31  # px
UPSCALE = {name: TaskMethod("upscale", name) for name in (AUTO, "fidelity", "gan", "real")}
ENLARGED: dict[str, UpscaleCase] = {
    "clean": UpscaleCase(),
    **{f"JPEG {quality}": UpscaleCase(kind="jpeg", quality=quality) for quality in (90, 75, 40)},
    **{f"noise {level}": UpscaleCase(kind="noise", level=level) for level in (3, 10)},
    "blur 1.5": UpscaleCase(kind="blur", blur=1.5),
    "real-world": UpscaleCase(kind="real-world"),
}
JUDGE = "lite0_distance"
NETWORKS: dict[str, dict[str, Any]] = {
    AUTO: {}, "denoise": {"weights": "denoise"}, "denoise_white": {"weights": "denoise_white"}
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scene(BlurCase):
    """A blurred centre crop of a picture, as it is or with clipped samples."""

    scene: SceneKind = "as they are"

    def make(self, pictures: Sequence[Array], index: int) -> CaseSample:
        reach = max(np.load(self._psf(index)).shape) - 1
        clean = _middle(pictures[0], SIDE + reach)
        if self.scene == "blown lights":
            clean = (clean / np.quantile(clean, 1 - BLOWN)).astype(np.float32)
        elif self.scene == "bars":
            _darken(clean, BAR + reach // 2)
        sample = super().make([clean], index)
        if self.scene == "bars on top":
            _darken(sample.inputs["picture"], BAR)
            _darken(sample.targets["result"], BAR)
        return sample


@dataclass(frozen=True, kw_only=True)
class CameraCase(Case):
    """The noise of a simulated camera whose pictures are developed without smoothing."""

    def describe(self) -> str:
        return "restore degrade camera --camera raw, the seed is the picture's index"

    def make(self, pictures: Sequence[Array], index: int) -> CaseSample:
        camera = restore.load("degrade", method="camera", camera="raw", seed=index)
        noisy = camera.restore(pictures[0]).pictures["result"].pixels
        return CaseSample(inputs={"picture": noisy}, targets={"result": pictures[0]})


def _middle(picture: Array, side: int) -> Array:
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side].copy()


def _darken(picture: Array, rows: int) -> None:
    picture[:rows], picture[-rows:] = 0, 0


def rows(
    folder: Path, case: Case, methods: Mapping[str, Method | TaskMethod], protocol: EvaluationProtocol
) -> Sequence[Row]:
    result = evaluate(clean_sources(folder, protocol), case, methods, protocol, _say)
    for failure in result.failures:
        print(f"# failed: {failure.method}, {failure.why}")
    return result.rows


def scores(rows: Sequence[Row], metric: str = PSNR) -> dict[str, Array]:
    """Of every picture by method, the input first."""
    names = dict.fromkeys(row.method for row in rows)
    return {name: np.array([row.scores[metric] for row in rows if row.method == name]) for name in names}


def dbs(
    folder: Path, case: Case, methods: Mapping[str, Method | TaskMethod], protocol: EvaluationProtocol
) -> dict[str, Array]:
    """PSNR of every picture by method, the input first."""
    return scores(rows(folder, case, methods, protocol))


def _say(row: Row, pixels: Array) -> None:
    print(f"# {row.picture} {row.method}: {row.scores[PSNR]:.2f} dB, {row.seconds:.1f} s", flush=True)


def table(columns: Mapping[str, Mapping[str, Array]], metric: str = PSNR) -> str:
    """Mean of each method, then what auto loses and gains, a column a case."""
    sign, unit = (1 if METRICS[metric].better == "higher" else -1), METRICS[metric].unit or metric
    names = dict.fromkeys(name for column in columns.values() for name in column)
    lines = [[name, *(f"{column[name].mean():.2f}" for column in columns.values())] for name in names]
    own = [name for name in names if name not in (INPUT, AUTO)]
    if AUTO in names and own:
        regrets = [
            np.max([sign * column[name] for name in own], 0) - sign * column[AUTO] for column in columns.values()
        ]
        lines.append(["regret of auto: mean, most", *(f"{each.mean():.2f}, {each.max():.2f}" for each in regrets)])
    if AUTO in names:
        gains = [sign * (column[AUTO] - column[INPUT]) for column in columns.values()]
        lines.append(["least gain of auto", *(f"{each.min():+.2f}" for each in gains)])
    return markdown([unit, *columns], lines)


def deconv(args: argparse.Namespace, protocol: EvaluationProtocol) -> dict[str, dict[str, Array]]:
    from bench_deconv import kernels  # not above: it needs more packages

    wanted = {name: TaskMethod("deconv", *how) for name, how in DECONV.items() if args.only in name}
    with tempfile.TemporaryDirectory() as scratch:
        psfs = kernels(args.kernels)
        files = [Path(scratch) / f"{number}.npy" for number in KERNELS]
        for number, file in zip(KERNELS, files, strict=True):
            np.save(file, psfs[number].numpy())
        case = Scene(psf=tuple(map(str, files)), boundary="valid", clipped=True, known_noise=False)
        return {
            f"{scene}, {noise}": dbs(args.folder, replace(case, scene=scene, noise=noise), wanted, protocol)
            for scene in get_args(SceneKind)
            for noise in NOISES
        }


def cameras(args: argparse.Namespace, protocol: EvaluationProtocol) -> dict[str, dict[str, Array]]:
    load = restore.load
    wanted = {
        name: restoring(load("denoise", device="cpu", **how)) for name, how in NETWORKS.items() if args.only in name
    }
    return {"raw cameras": dbs(args.folder, CameraCase(), wanted, protocol)}


def upscale(args: argparse.Namespace, protocol: EvaluationProtocol) -> str:
    wanted = {name: method for name, method in UPSCALE.items() if args.only in name and _is_here(name)}
    protocol = replace(protocol, metrics=("psnr", JUDGE))
    found = {name: rows(args.folder, case, wanted, protocol) for name, case in ENLARGED.items()}
    tables = [table({name: scores(each, metric) for name, each in found.items()}, metric) for metric in (PSNR, JUDGE)]
    return "\n".join(tables)


def _is_here(method: str) -> bool:
    try:
        restore.load("upscale", method=method)
    except WeightsError as error:
        print(f"# {method} is left out: {error.what}")
        return False
    return True


def shakes(args: argparse.Namespace, protocol: EvaluationProtocol) -> str:
    from bench_deconv import kernels, picture

    psfs = kernels(args.kernels)
    counts: dict[str, list[bool]] = {"sharp": [], "shaken": []}
    for i, source in enumerate(clean_sources(args.folder, protocol)):
        x = picture(source.truth)
        trials = [("sharp", torch.ones(1, 1), noise) for noise in SHARP_NOISES]
        trials += [("shaken", psfs[(i + first) % len(psfs)], noise) for first, noise in SHAKES]
        for kind, psf, noise in trials:
            y = to_luma(_blurred(x, psf))[0, 0]
            y = (y + torch.from_numpy(np.random.default_rng(i).standard_normal(y.shape)) * noise / 255).clamp(0, 1)
            view = View(Picture.from_array(y[..., None].numpy(), alpha=False), ValueScale(0.0, 1.0))
            found, notes = estimate(view, "shake", WINDOW)
            counts[kind].append(found.numel() > 1)
            print(f"# {source.name} {kind}, noise {noise}: {notes[0]}", flush=True)
    return markdown(["pictures", "believed"], [[kind, f"{sum(each)} / {len(each)}"] for kind, each in counts.items()])


def _blurred(x: torch.Tensor, psf: torch.Tensor) -> torch.Tensor:
    """The middle of 1 x C x H x W, blurred, whose blur reaches beyond its border."""
    half = psf.shape[0] // 2
    top, left = ((length - SIDE) // 2 for length in x.shape[-2:])
    wide = x[..., top - half : top + SIDE + half, left - half : left + SIDE + half]
    y = convolve(wide, otf(psf, (wide.shape[-2], wide.shape[-1])))
    return y[..., half : half + SIDE, half : half + SIDE]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("deconv", "cameras", "shakes", "upscale"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kernels", type=Path, help="Levin09.mat")
    parser.add_argument("--every", type=int, help="take each n-th picture; by default all, or every third")
    parser.add_argument("--only", default="", help="methods whose name contains this")
    parser.add_argument("--quick", action="store_true", help="two pictures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    run, every, first = (cameras, 3, 20) if args.what == "cameras" else (deconv, 1, 0)
    protocol = EvaluationProtocol(metrics=("psnr",), every=args.every or every, first=2 if args.quick else first)
    whole = {"shakes": shakes, "upscale": upscale}.get(args.what)
    print(whole(args, protocol) if whole else table(run(args, protocol)))


if __name__ == "__main__":
    main()
