"""Deconvolution with a known point spread function, by the classical methods, as an engine.

`prepare` measures the noise and the share of clipped pixels, chooses what was left open and finds the weight of the
regulariser once; every tile is then extended over its border, deconvolved in the Fourier domain and cut back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.analysis.blurred_noise import blurred_noise
from restore.analysis.sample import middle_crop, sample_crops
from restore.analysis.value_range import find_scale
from restore.classical.boundary import BOUNDARIES, extend
from restore.classical.hyper_laplacian import hyper_laplacian, weight_for
from restore.classical.plug_and_play import Denoiser, plug_and_play
from restore.classical.richardson_lucy import CLIPPED, richardson_lucy
from restore.classical.wiener import gcv, wiener
from restore.engines.network import NetworkEngine, from_weights
from restore.engines.psf import ESTIMATES, doubts, estimated, load_psf, write_psf
from restore.errors import ConfigError, UnsupportedError
from restore.inference.engine import Condition, EngineOptions
from restore.models.spec import ModelSpec
from restore.physics.color import linear_to_srgb, srgb_to_linear
from restore.physics.level import KNOTS
from restore.picture import PictureSource, ValueScale

METHODS = ("wiener", "rl", "rl-tv", "hyper-laplacian", "pnp")
_ESTIMATED = 512  # px, side of the part that a PSF is estimated on
_SATURATED = 0.002  # share of clipped pixels from which on a method that knows of clipping is chosen
_CAUTION = 2.0  # times the weight that cross-validation finds on pictures with a made-up border
_SAMPLE = 768  # px, side of the part that cross-validation looks at
_LEAST_MISFIT = 2 / 255  # what a made-up border and an inexact PSF leave unexplained, as noise to plug-and-play
_LEAST_NOISE = 0.3 / 255  # rounding to 8 bits


class Found(NamedTuple):
    """What `prepare` found: the PSF, and how circular pictures B x C x H x W are deconvolved."""

    psf: Tensor
    solve: Callable[[Tensor], Tensor]


class DeconvolutionEngine:
    """One of `METHODS`, or "auto".

    Args:
        method: "auto" takes Richardson-Lucy with a model of clipping where pixels are clipped, else hyper-Laplacian.
        psf: a file (picture of any depth, or .npy), a description (`restore.physics.psf`), an array h x w, or
            "estimate", "estimate:line", "estimate:disc", "estimate:shake": found in every picture itself.
        boundary: of `restore.classical.boundary.BOUNDARIES`.
        iterations: of Richardson-Lucy; None chooses by the noise.
        centre: move the PSF's centroid to its middle, which translates the result.
        flip: turn a PSF from a file or an array by 180 degrees, for those that were made for correlation.
        linear: work in linear light (the picture is sRGB), where blur and clipping happen.
        psf_size: largest side of an estimated PSF, px.
        save_psf: a file, or a folder (a file by picture), where the PSF that was used is written.
        weights: of the denoiser that "pnp" takes for its prior, a name of the zoo or a file.
    """

    def __init__(
        self,
        method: str = "auto",
        psf: str | Path | np.ndarray[Any, Any] | None = None,
        boundary: str = "liu-jia",
        iterations: int | None = None,
        centre: bool = False,
        flip: bool = False,
        linear: bool = False,
        psf_size: int = 31,
        save_psf: str | Path | None = None,
        weights: str | Path = "denoise",
    ) -> None:
        if psf is None:
            raise ConfigError(
                "deconvolution needs the blur's shape",
                fix="Give --psf FILE, --psf motion:LENGTH,ANGLE or --psf disc:RADIUS",
            )
        if method not in ("auto", *METHODS):
            raise ConfigError(f"unknown method {method!r}", fix=f"Use auto, {', '.join(METHODS)}")
        if boundary not in BOUNDARIES:
            raise ConfigError(f"there is no boundary {boundary!r}", fix=f"Use {', '.join(BOUNDARIES)}")
        self._method, self._boundary, self._iterations, self._linear = method, boundary, iterations, linear
        self._kind = ""
        if isinstance(psf, str) and psf.partition(":")[0] == "estimate":
            self._kind = psf.partition(":")[2] or "auto"
        if self._kind and self._kind not in ESTIMATES:
            raise ConfigError(f"a PSF cannot be estimated as {self._kind!r}", fix=f"Use {', '.join(ESTIMATES)}")
        if not 3 <= psf_size <= 199:
            raise ConfigError(f"a PSF of {psf_size} px cannot be estimated", fix="Give --psf-size between 3 and 199")
        self._psf_size, self._save = psf_size // 2 * 2 + 1, None if save_psf is None else Path(save_psf)
        self.psf, self.notes = (None, ()) if self._kind else load_psf(psf, centre=centre, flip=flip)
        self._prior = from_weights(weights) if method == "pnp" else None
        prior = self._prior.fingerprint if self._prior else ""
        shape = (self._kind, psf_size) if self.psf is None else hashlib.sha256(self.psf.numpy().tobytes()).hexdigest()
        settings = (method, prior, boundary, iterations, linear, shape)
        self.fingerprint = f"deconvolution:{settings}"
        self.spec = self._spec(self._psf_size if self.psf is None else max(self.psf.shape))

    def _spec(self, side: int) -> ModelSpec:
        context = 2 * self._prior.spec.radius if self._prior else 0
        return ModelSpec("deconv", tiling="local", overlap=2 * side + 64 + context)

    def cast(self, dtype: torch.dtype, device: torch.device) -> DeconvolutionEngine:
        return self

    def prepare(self, sources: Sequence[PictureSource], options: EngineOptions) -> Condition:
        source = sources[0]
        info, scale = source.info, find_scale(source)
        psf, about = self._psf_of(source, scale)
        if psf.shape[0] > info.height or psf.shape[1] > info.width:
            raise UnsupportedError(
                f"the PSF of {psf.shape[1]} x {psf.shape[0]} px is larger than the picture of "
                f"{info.width} x {info.height} px", where=info.path, fix="Crop the PSF to the blur itself",
            )  # fmt: skip
        if options.sigma is not None and not 0 <= options.sigma <= 255:
            raise ConfigError(f"noise {options.sigma:g} is out of range", fix="Give --noise between 0 and 255")
        if self._save:
            write_psf(self._save, psf, source)
        crops = [self._decoded(crop) for crop in sample_crops(source, scale)]
        sigma = blurred_noise(crops) if options.sigma is None else options.sigma / 255
        clipped = sum(int((c >= CLIPPED).sum()) for c in crops) / max(1, sum(c.numel() for c in crops))
        found, told = self._choose(source, scale, psf, max(sigma, _LEAST_NOISE), clipped)
        decisions = {
            "psf": "; ".join((f"{psf.shape[1]} x {psf.shape[0]} px", *about)),
            "noise": f"sigma {sigma * 255:.2f} ({'measured' if options.sigma is None else 'given'}), "
            f"{clipped:.1%} of the samples clipped",
            "method": told,
        }
        return Condition(scale, found, decisions, self._spec(max(psf.shape)))

    def _psf_of(self, source: PictureSource, scale: ValueScale) -> tuple[Tensor, tuple[str, ...]]:
        """(the PSF for a picture, what to tell about it)."""
        if self.psf is not None:
            return self.psf, (*self.notes, *doubts(self._decoded(middle_crop(source, scale, _ESTIMATED)), self.psf))
        return estimated(self._decoded(middle_crop(source, scale, _ESTIMATED)), self._kind, self._psf_size)

    def _choose(
        self, source: PictureSource, scale: ValueScale, psf: Tensor, sigma: float, clipped: float
    ) -> tuple[Found, str]:
        method, why = self._method, ""
        if psf.numel() == 1:
            return Found(psf, lambda y: y), "none: there is no blur to take out"
        if method == "auto":
            method = "rl" if clipped > _SATURATED else "hyper-laplacian"
            why = ": clipped lights would ring" if method == "rl" else ": few clipped pixels"
        if method == "wiener":
            part = self._decoded(middle_crop(source, scale, _SAMPLE))[None]
            weight = gcv(extend(part, psf, self._boundary).pixels, psf)
            weight *= 1.0 if self._boundary == "none" else _CAUTION
            return Found(psf, lambda y: wiener(y, psf, weight)), f"wiener, weight {weight:.3g} by cross-validation{why}"
        if method == "hyper-laplacian":
            weight = weight_for(sigma)
            return Found(psf, lambda y: hyper_laplacian(y, psf, weight)), f"hyper-laplacian, weight {weight:.0f}{why}"
        if self._prior is not None:
            prior, level = denoiser_of(self._prior), max(sigma, _LEAST_MISFIT)
            return Found(
                psf, lambda y: plug_and_play(y, psf, level, prior)
            ), f"pnp, 8 steps with {self._prior.spec.task}{why}"
        tv = 0.0 if method == "rl" else min(max(0.25 * sigma, 0.001), 0.02)
        model = clipped > _SATURATED
        usual = (60 if model else min(max(round(0.25 / sigma), 6), 60)) if method == "rl" else 100
        count = self._iterations or usual

        def solve(y: Tensor) -> Tensor:
            return richardson_lucy(y, psf, count, tv=tv, saturation="model" if model else "none")

        more = ", with a model of clipping" if model else ""
        return Found(psf, solve), f"{method}, {count} iterations{more}{why}"

    def __call__(self, x: Tensor, condition: Condition) -> Tensor:
        """B x 1 x C x H x W unit values -> the same."""
        extended = extend(self._decoded(x[:, 0].float()), condition.data.psf.to(x.device), self._boundary)
        y = extended.inside(condition.data.solve(extended.pixels))
        return (linear_to_srgb(y) if self._linear else y)[:, None]

    def _decoded(self, x: Tensor) -> Tensor:
        return srgb_to_linear(x) if self._linear else x


def denoiser_of(engine: NetworkEngine) -> Denoiser:
    """A denoising network that is told the level, as a function of pictures of any size and number of channels."""

    def denoise(x: Tensor, level: float) -> Tensor:
        height, width = x.shape[-2:]
        step = engine.spec.multiple_of
        padded = F.pad(x, (0, -width % step, 0, -height % step), mode="replicate")
        told = Condition(data=torch.full((KNOTS,), level))
        return engine.cast(x.dtype, x.device)(padded[:, None], told)[:, 0, :, :height, :width]

    return denoise


def automatic(**options: Any) -> DeconvolutionEngine:
    return DeconvolutionEngine("auto", **options)


def by_wiener(**options: Any) -> DeconvolutionEngine:
    return DeconvolutionEngine("wiener", **options)


def by_rl(**options: Any) -> DeconvolutionEngine:
    return DeconvolutionEngine("rl", **options)


def by_rl_tv(**options: Any) -> DeconvolutionEngine:
    return DeconvolutionEngine("rl-tv", **options)


def by_pnp(**options: Any) -> DeconvolutionEngine:
    return DeconvolutionEngine("pnp", **options)


def by_hyper_laplacian(**options: Any) -> DeconvolutionEngine:
    return DeconvolutionEngine("hyper-laplacian", **options)
