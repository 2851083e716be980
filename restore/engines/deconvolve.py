"""Deconvolution with a known point spread function as an engine.

`prepare` measures the noise and the share of clipped pixels, chooses what was left open and finds the weight of the
regulariser once; every tile is then extended over its border, deconvolved in the Fourier domain and cut back.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from restore.analysis.sample import middle_crop, sample_crops
from restore.analysis.value_range import find_scale
from restore.classical.boundary import BOUNDARIES, extend
from restore.classical.wiener import gcv
from restore.engines import deconvolving
from restore.engines.deconvolving import METHODS, Measured, Solve, measured
from restore.engines.deconvolving_network import DAYLIGHT, LOW_LIGHT, DeconvolvingNetwork, shipped
from restore.engines.denoise import GENERAL, WHITE
from restore.engines.network import from_weights
from restore.engines.psf import ESTIMATES, Varying, doubts, estimated, load_psf, psf_for, write_psf
from restore.errors import ConfigError, UnsupportedError
from restore.inference.engine import Condition, EngineOptions
from restore.models.spec import ModelSpec
from restore.physics.color import linear_to_srgb, srgb_to_linear
from restore.picture import PictureSource, ValueScale
from restore.zoo.resolver import available

PRIOR = "deconv_prior"
"""Shipped weights: a denoiser for plug-and-play."""
_ESTIMATED = 512  # px, side of the part that a PSF is estimated on
_CAUTION = 2.0  # times the weight that cross-validation finds on pictures with a made-up border
_SAMPLE = 768  # px, side of the part that cross-validation looks at


class Found(NamedTuple):
    """What `prepare` found.

    Attributes:
        psf: h x w, the largest of those that vary.
        solve: how an extended picture is deconvolved.
    """

    psf: Tensor
    solve: Solve


class DeconvolutionEngine:
    """One of `METHODS`, or "auto".

    Args:
        method: "auto" takes the shipped network for the noise and clipping measured; for an estimated PSF, or without
            those weights, Richardson-Lucy with a model of clipping where pixels are clipped, else hyper-Laplacian.
        psf: a file (picture of any depth, .npy, or .npz of PSFs that vary over the picture), a folder of files named
            as the pictures, a description (`restore.physics.psf`), an array h x w, or "estimate", "estimate:line",
            "estimate:disc", "estimate:shake": found in every picture itself.
        boundary: of `restore.classical.boundary.BOUNDARIES`.
        iterations: of Richardson-Lucy; None chooses by the noise.
        centre: move the PSF's centroid to its middle, which translates the result.
        flip: turn a PSF from a file or an array by 180 degrees, for those that were made for correlation.
        linear: work in linear light (the picture is sRGB), where blur and clipping happen.
        psf_size: largest side of an estimated PSF, px.
        save_psf: a file, or a folder (a file by picture), where the PSF that was used is written.
        weights: of "infwide"; of the denoiser that "pnp" takes for its prior: a name of the zoo or a file.
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
        weights: str | Path | None = None,
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
        self._given = None if self._kind else load_psf(psf, centre=centre, flip=flip)
        self._prior = from_weights(weights or _prior_name()) if method == "pnp" else None
        self._networks = self._load(method, weights)
        shape = (self._kind, psf_size) if self._given is None else self._given.fingerprint
        networks = tuple(each.fingerprint for each in self._networks.values())
        prior = self._prior.fingerprint if self._prior else ""
        self.fingerprint = f"deconvolution:{(method, prior, networks, boundary, iterations, linear, shape)}"
        self.spec = self._spec(self._psf_size if self._given is None else self._given.side)

    def _load(self, method: str, weights: str | Path | None) -> dict[str, DeconvolvingNetwork]:
        """The networks that may be asked for, by name."""
        if method == "infwide" and weights:
            return {"given": DeconvolvingNetwork(weights)}
        wanted = method == "infwide" or (method == "auto" and not self._kind and shipped())
        return {name: DeconvolvingNetwork(name) for name in (DAYLIGHT, LOW_LIGHT)} if wanted else {}

    def _spec(self, side: int, whole: bool = False) -> ModelSpec:
        context = 2 * self._prior.spec.radius if self._prior else 64 if self._networks else 0
        return ModelSpec("deconv", tiling="whole" if whole else "local", overlap=2 * side + 64 + context)

    def cast(self, dtype: torch.dtype, device: torch.device) -> DeconvolutionEngine:
        return self

    def prepare(self, sources: Sequence[PictureSource], options: EngineOptions) -> Condition:
        source = sources[0]
        info, scale = source.info, find_scale(source)
        psf, about = self._psf_of(source, scale)
        side = psf.psfs if isinstance(psf, Varying) else psf
        if side.shape[-2] > info.height or side.shape[-1] > info.width:
            raise UnsupportedError(
                f"the PSF of {side.shape[-1]} x {side.shape[-2]} px is larger than the picture of "
                f"{info.width} x {info.height} px", where=info.path, fix="Crop the PSF to the blur itself",
            )  # fmt: skip
        if options.sigma is not None and not 0 <= options.sigma <= 255:
            raise ConfigError(f"noise {options.sigma:g} is out of range", fix="Give --noise between 0 and 255")
        if self._save and isinstance(psf, Tensor):
            write_psf(self._save, psf, source)
        crops = [self._decoded(crop) for crop in sample_crops(source, scale)]
        seen = measured(crops, None if options.sigma is None else options.sigma / 255)
        found, told = self._choose(source, scale, psf, seen)
        at = f" at {seen.white:.2f}" if seen.white < 1 else ""
        decisions = {
            "psf": "; ".join((f"{side.shape[-1]} x {side.shape[-2]} px", *about)),
            "noise": f"sigma {seen.sigma * 255:.2f} ({'measured' if options.sigma is None else 'given'}), "
            f"{seen.clipped:.1%} of the samples clipped{at}",
            "method": told,
        }
        return Condition(scale, found, decisions, self._spec(max(side.shape[-2:]), isinstance(psf, Varying)))

    def _psf_of(self, source: PictureSource, scale: ValueScale) -> tuple[Tensor | Varying, tuple[str, ...]]:
        """(the PSF for a picture, what to tell about it)."""
        if self._given is None:
            return estimated(self._decoded(middle_crop(source, scale, _ESTIMATED)), self._kind, self._psf_size)
        psf, notes = psf_for(self._given, source)
        if isinstance(psf, Varying):
            return psf, notes
        return psf, (*notes, *doubts(self._decoded(middle_crop(source, scale, _ESTIMATED)), psf))

    def _choose(
        self, source: PictureSource, scale: ValueScale, psf: Tensor | Varying, seen: Measured
    ) -> tuple[Found, str]:
        method, why = self._method, ""
        if isinstance(psf, Varying):
            method = deconvolving.of_varying(method)
            solve, told = deconvolving.by_richardson_lucy(method, psf, seen, self._iterations)
            return Found(psf.psfs[0], solve), f"{told}, {len(psf.psfs)} PSFs"
        if psf.numel() == 1:
            return Found(psf, lambda y: y.pixels), "none: there is no blur to take out"
        if method == "auto":
            method, why = deconvolving.automatic(seen, not self._kind, bool(self._networks))
        elif method == "infwide":
            method = deconvolving.network_for(seen)
        network = self._networks.get(method) or self._networks.get("given")
        if network:
            solve, told = deconvolving.by_network(network, psf, seen)
            return Found(psf, solve), told + why
        if method == "wiener":
            part = self._decoded(middle_crop(source, scale, _SAMPLE))[None]
            weight = gcv(extend(part, psf, self._boundary).pixels, psf)
            solve, told = deconvolving.by_wiener(psf, weight * (1.0 if self._boundary == "none" else _CAUTION))
        elif method == "hyper-laplacian":
            solve, told = deconvolving.by_hyper_laplacian(psf, seen)
        elif self._prior is not None:
            solve, told = deconvolving.by_plug_and_play(psf, seen, self._prior)
        else:
            solve, told = deconvolving.by_richardson_lucy(method, psf, seen, self._iterations)
        return Found(psf, solve), told + why

    def __call__(self, x: Tensor, condition: Condition) -> Tensor:
        """B x 1 x C x H x W unit values -> the same."""
        found: Found = condition.data
        wide = extend(self._decoded(x[:, 0].float()), found.psf.to(x.device), self._boundary)
        y = wide.inside(found.solve(wide))
        return (linear_to_srgb(y) if self._linear else y)[:, None]

    def _decoded(self, x: Tensor) -> Tensor:
        return srgb_to_linear(x) if self._linear else x


def _prior_name() -> str:
    """The shipped denoiser that learned to be told the level, or what is nearest to it: what a data step leaves is no
    grain of a camera."""
    return next(name for name in (PRIOR, WHITE, GENERAL) if name in available() or name == GENERAL)


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


def by_network(**options: Any) -> DeconvolutionEngine:
    return DeconvolutionEngine("infwide", **options)


def by_hyper_laplacian(**options: Any) -> DeconvolutionEngine:
    return DeconvolutionEngine("hyper-laplacian", **options)
