"""What pictures meet, for `bench_choices.py`: situations of each task, three levels each, from the mildest.

A situation makes a trial of a whole clean picture, 8-bit RGB, a level, and the picture's number, which is the seed of
all that is random. Trials are middle crops; blurred ones are cut so that the scene goes on beyond the border.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
import torch

import restore
from restore.degradations import blur_cases
from restore.degradations.cases import Array, Case, codes_of, picture_of
from restore.degradations.deblur_cases import DeblurCase
from restore.degradations.noise_cases import NoiseCase
from restore.degradations.upscale_cases import UpscaleCase
from restore.physics.filters import gaussian_kernels
from restore.physics.noise import add_correlated
from restore.physics.random import generator_for
from restore.physics.shake import discs, draw_paths, gaussians, lines, rasterised

SIDE = 256  # px, of what a method is given
WIDE = SIDE + 48  # px, of what `DeblurCase` cuts a margin from
BAR = SIDE // 8  # px, above and below
DIM = 900  # of 65535: white of a dim 16-bit picture
DARK = 0.12  # of the exposure
BLOWN = 0.03  # of the samples lie above white
BLUR = {"correlated": 1.0, "film grain": 0.6}  # px, std
Level = float | str
PSFKind = Literal["gauss", "line", "disc", "shake"]
PSF_KINDS: tuple[PSFKind, ...] = ("gauss", "line", "disc", "shake")
WIDTHS: dict[PSFKind, float] = {"gauss": 4.7, "line": 15.0, "disc": 8.0, "shake": 19.0}
"""px; of the Gaussian at half its height."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One picture for all methods of a task.

    Attributes:
        damaged, truth: H x W x C of the same sample type, the truth as large or a whole number of times larger.
        white: the truth's value of white, which PSNR is measured against.
        border: pixels left out of the score on each side.
        options: of every method ("psf").
    """

    damaged: Array
    truth: Array
    white: float = 255.0
    border: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Situation:
    """Three levels of one damage. `make` is None for pairs of real pictures, whose levels are thirds by their noise."""

    levels: tuple[Level, ...]
    make: Callable[[Array, Any, int], Trial] | None


def middle(picture: Array, side: int) -> Array:
    """H x W x C -> side x side x C, a copy."""
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side].copy()


def of_case(case: Case, picture: Array, number: int, side: int = SIDE) -> Trial:
    """A trial as `restore eval` has it."""
    sample = case.make([middle(picture, side)], number)
    (damaged,), (truth,) = sample.inputs.values(), sample.targets.values()
    return Trial(damaged=damaged, truth=truth, border=sample.border, options=case.options(number))


# --- denoising -----------------------------------------------------------------------------------------------------


def noisy(clean: Array, level: float, number: int, **how: Any) -> Trial:
    """White noise, std `level` of 255; or as `NoiseCase` says."""
    how = {"noise": "gaussian", "level": level} | how
    return Trial(damaged=NoiseCase(**how).damaged(clean, number), truth=clean)


def white(picture: Array, level: float, number: int) -> Trial:
    return noisy(middle(picture, SIDE), level, number)


def photons(picture: Array, level: float, number: int) -> Trial:
    return noisy(middle(picture, SIDE), level, number, noise="poisson")


def compressed(picture: Array, quality: int, number: int) -> Trial:
    return noisy(middle(picture, SIDE), 6.0, number, jpeg=quality)


def correlated(picture: Array, level: float, number: int) -> Trial:
    """Through a Gaussian of 1 px, each colour by itself."""
    clean = middle(picture, SIDE)
    return Trial(damaged=picture_of(codes_of(clean) + level * _blurred_field(number, 3, "correlated"), clipped=True),
                 truth=clean)  # fmt: skip


def film_grain(picture: Array, level: float, number: int) -> Trial:
    """Alike in all colours, strongest in the middle tones, of hardly more than a pixel."""
    clean = middle(picture, SIDE)
    luma = cv2.cvtColor(clean, cv2.COLOR_RGB2GRAY)[..., None] / 255.0
    grain = 2 * np.sqrt(luma * (1 - luma)) * _blurred_field(number, 1, "film grain")
    return Trial(damaged=picture_of(codes_of(clean) + level * grain, clipped=True), truth=clean)


def _blurred_field(number: int, channels: int, kind: str) -> Array:
    """SIDE x SIDE x channels of noise of std 1."""
    sigma = torch.tensor([BLUR[kind]])
    made = add_correlated(
        torch.zeros(1, channels, SIDE, SIDE), torch.ones(1), generator_for(number),
        gaussian_kernels(sigma, torch.ones(1), torch.zeros(1), radius=4),
    )  # fmt: skip
    return made[0].movedim(0, -1).numpy()


def dim(picture: Array, level: float, number: int) -> Trial:
    """16 bits of which `DIM` values are used: level of 255, as of that white."""
    clean = codes_of(middle(picture, SIDE)) / 255 * DIM
    noise = np.random.default_rng(number).standard_normal(clean.shape) * level / 255 * DIM
    damaged, truth = (np.rint(np.clip(each, 0, 65535)).astype(np.uint16) for each in (clean + noise, clean))
    return Trial(damaged=damaged, truth=truth, white=DIM)


def letterbox(picture: Array, level: float, number: int) -> Trial:
    """Black bars without noise above and below."""
    trial = white(picture, level, number)
    return Trial(damaged=barred(trial.damaged), truth=barred(trial.truth))


def barred(picture: Array, bar: int = BAR) -> Array:
    picture = picture.copy()
    picture[:bar], picture[-bar:] = 0, 0
    return picture


def screened(picture: Array, level: float, number: int) -> Trial:
    return noisy(page(picture, number), level, number)


def page(picture: Array, number: int) -> Array:
    """Print: text, a halftone or an ordered dither with a line of text, by the number in turn; black on white."""
    grey = cv2.cvtColor(middle(picture, SIDE), cv2.COLOR_RGB2GRAY).astype(np.float64)
    row, column = np.mgrid[:SIDE, :SIDE]
    if number % 3 == 0:
        sheet, heights = np.full((SIDE, SIDE), 255, np.uint8), range(20, SIDE, 22)
    elif number % 3 == 1:  # dots of 6 px, at 45 degrees
        dots = np.cos(np.pi * (row + column) / 3) * np.cos(np.pi * (row - column) / 3)
        sheet, heights = np.where(grey > 127.5 * (1 + dots), 255, 0).astype(np.uint8), range(130, 131)
    else:  # Bayer's matrix of 4 x 4
        bayer = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
        sheet = np.where(grey > (bayer[row % 4, column % 4] + 0.5) * 16, 255, 0).astype(np.uint8)
        heights = range(130, 131)
    for line, height in enumerate(heights):
        text = "restoration of damaged pictures"[line % 7 :]
        cv2.putText(sheet, text, (6, height), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 0, 1, cv2.LINE_AA)
    return np.repeat(sheet[..., None], 3, 2)


def clean(picture: Array, kind: str, number: int) -> Trial:
    """A photograph as it is; made smaller by two; printed."""
    if kind == "page":
        truth = page(picture, number)
    elif kind == "halved":
        truth = cv2.resize(middle(picture, 2 * SIDE), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    else:
        truth = middle(picture, SIDE)
    return Trial(damaged=truth, truth=truth)


def camera(picture: Array, preset: str, number: int) -> Trial:
    """`restore degrade camera`."""
    truth = middle(picture, SIDE)
    return Trial(damaged=restore.load("degrade", method="camera", camera=preset, seed=number)(truth), truth=truth)


# --- deconvolution -------------------------------------------------------------------------------------------------


def psf_of(kind: PSFKind, number: int, wider: float = 0.0) -> torch.Tensor:
    """side x side, odd, of sum 1; directions and shakes by the number.

    Args:
        wider: px added to its width (a Gaussian's at half its height).
    """
    width = torch.tensor([WIDTHS[kind] + wider], dtype=torch.float64)
    if kind == "gauss":
        sigma = width / 2.3548
        return gaussians(sigma, 2 * int(3 * sigma + 1) + 1)[0, 0]
    side = 2 * int(width / 2 + 1) + 1
    if kind == "disc":
        return discs(width / 2, side)[0, 0]
    if kind == "line":
        return rasterised(lines(width, torch.deg2rad(torch.tensor([20.0 + 37 * number]))), side)[0, 0]
    paths = draw_paths([generator_for(number)]).double()
    return rasterised(paths * width, 2 * side - 1)[0, 0]  # its centroid is in the middle, not its extent


def blurred(
    kind: PSFKind, content: Callable[[Array, int], Array] = lambda scene, number: scene / 255, wider: float = 0.0
) -> Callable[[Array, float, int], Trial]:
    """A situation's trials: a scene blurred, with white noise of std `level` of 255, 8 bits.

    Args:
        content: (wide crop of the picture, number) -> the scene, white = 1, which may go beyond it.
        wider: px by which the PSF that methods are given is too wide.
    """

    def make(picture: Array, level: float, number: int) -> Trial:
        psf = psf_of(kind, number)
        scene = content(middle(picture, SIDE + len(psf) - 1), number)
        x = torch.from_numpy(np.ascontiguousarray(scene, np.float64)).movedim(-1, 0)[None]
        y = 255 * blur_cases.blurred(x, psf, level / 255, number)[0].movedim(0, -1).double().numpy()
        told = psf_of(kind, number, wider).float().numpy()
        damaged, truth = (picture_of(middle(each, SIDE), clipped=True) for each in (y, 255 * scene))
        return Trial(damaged=damaged, truth=truth, options={"psf": told})

    return make


def in_turn(content: Callable[[Array, int], Array] = lambda scene, number: scene / 255, wider: float = 0.0) -> Any:
    """As `blurred`, by each kind of PSF in turn."""

    def make(picture: Array, level: float, number: int) -> Trial:
        return blurred(PSF_KINDS[number % 4], content, wider)(picture, level, number)

    return make


def dark(scene: Array, number: int) -> Array:
    return scene / 255 * DARK


def white_page(scene: Array, number: int) -> Array:
    sheet = page(np.full((SIDE, SIDE, 3), 255, np.uint8), 0) / 255
    return np.pad(sheet, [((len(scene) - SIDE) // 2,) * 2] * 2 + [(0, 0)], mode="reflect")


def stars(scene: Array, number: int) -> Array:
    """Single pixels up to forty times white on a dark sky; the truth is what a file can hold."""
    rng = np.random.default_rng(number)
    sky = np.full(scene.shape, 0.02)
    rows, columns = rng.integers(0, len(scene), (2, 150))
    sky[rows, columns] = (0.5 * 80 ** rng.random(150))[:, None]
    return sky


def blown_lights(scene: Array, number: int) -> Array:
    return scene / np.quantile(scene, 1 - BLOWN).clip(1)


def film_frame(scene: Array, number: int) -> Array:
    """Bars that are blurred as all the rest."""
    return barred(scene, BAR + (len(scene) - SIDE) // 2) / 255


def bars_on_top(picture: Array, level: float, number: int) -> Trial:
    """Bars put over blur and noise."""
    trial = in_turn()(picture, level, number)
    return Trial(damaged=barred(trial.damaged), truth=barred(trial.truth), options=trial.options)


# --- all of them ---------------------------------------------------------------------------------------------------


def made_by(case: Callable[[Any], Case], side: int = SIDE) -> Callable[[Array, Any, int], Trial]:
    """Trials of a task's own cases, by level."""
    return lambda picture, level, number: of_case(case(level), picture, number, side)


NOISES = (0.5, 2.55, 7.65)  # of 255
DENOISE = {
    "white": Situation((5, 15, 35), white),
    "correlated": Situation((4, 10, 20), correlated),
    "Poisson": Situation((500, 100, 20), photons),
    "JPEG": Situation((90, 75, 50), compressed),
    "film grain": Situation((4, 10, 20), film_grain),
    "16-bit dim": Situation((3, 10, 30), dim),
    "letterbox": Situation((5, 15, 35), letterbox),
    "halftone": Situation((5, 15, 35), screened),
    "clean": Situation(("photograph", "halved", "page"), clean),
    "camera": Situation(("phone", "dslr", "raw"), camera),
    "real": Situation(("fine", "middle", "coarse"), None),
}
DECONV = {
    **{kind: Situation(NOISES, blurred(kind)) for kind in PSF_KINDS},
    "dark": Situation(NOISES, in_turn(dark)),
    "white page": Situation(NOISES, in_turn(white_page)),
    "stars": Situation(NOISES, in_turn(stars)),
    "blown lights": Situation(NOISES, in_turn(blown_lights)),
    "film frame": Situation(NOISES, in_turn(film_frame)),
    "bars on top": Situation(NOISES, bars_on_top),
    "PSF 1 px too wide": Situation(NOISES, in_turn(wider=1.0)),
}
DEBLUR = {
    "shake": Situation((5, 12, 20), made_by(lambda length: DeblurCase(length=length), WIDE)),
    "line": Situation((4, 8, 16), made_by(lambda length: DeblurCase(kind="line", length=length), WIDE)),
    "disc": Situation((1.5, 3, 6), made_by(lambda radius: DeblurCase(kind="disc", radius=radius), WIDE)),
    "sharp": Situation((1, 5, 15), made_by(lambda level: DeblurCase(kind="none", noise=level, jpeg=0))),
}
UPSCALE = {
    "clean": Situation((2, 3, 4), made_by(lambda factor: UpscaleCase(factor=factor), 3 * SIDE)),
    "JPEG": Situation((90, 75, 40), made_by(lambda quality: UpscaleCase(kind="jpeg", quality=quality), 3 * SIDE)),
    "noise": Situation((3, 6, 12), made_by(lambda level: UpscaleCase(kind="noise", level=level), 3 * SIDE)),
    "blur": Situation((0.8, 1.5, 2.5), made_by(lambda blur: UpscaleCase(kind="blur", blur=blur), 3 * SIDE)),
    "real-world": Situation(("random",), made_by(lambda _: UpscaleCase(kind="real-world"), 3 * SIDE)),
}
