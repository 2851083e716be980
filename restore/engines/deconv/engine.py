"""Deconvolution with a known point spread function as an engine.

`prepare` measures the noise and the share of clipped pixels, chooses what was left open and finds the weight of the
regulariser once; every tile is then extended over its border, deconvolved in the Fourier domain and cut back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from restore.analysis.colours import ColourView, Kept
from restore.analysis.filled import are_cut_off
from restore.analysis.sample import View, known_crops, sample_crops
from restore.analysis.value_range import find_scale
from restore.classical.boundary import Extended, extend
from restore.classical.wiener import gcv
from restore.engines.blind_psf.fitted import digest
from restore.engines.deconv import methods
from restore.engines.deconv.bars import Box, Inside, beside_bars
from restore.engines.deconv.guard import Candidate, Guard, choose, flaw_of
from restore.engines.deconv.methods import Measured, Solve, extended, measure_crops
from restore.engines.deconv.network import DAYLIGHT, DeconvolutionNetwork, network_of, shipped
from restore.engines.deconv.options import DeconvOptions
from restore.engines.deconv.prior import DenoisingPrior, prior_of
from restore.engines.deconv.psf import Varying, check_orientation, estimate, load_psf, psf_for
from restore.errors import UnsupportedError
from restore.inference.engine import Condition, EngineOptions, Outputs, Place
from restore.io.psf import write_psf
from restore.models.spec import ModelSpec
from restore.physics.color import linear_to_srgb, srgb_to_linear
from restore.picture import PictureSource, ValueScale

_LOOKED_AT = 512  # px, side of the part that tells whether a PSF is turned
_CAUTION = 2.0  # times the weight that cross-validation finds on pictures with a made-up border
_SAMPLE = 768  # px, side of the part that cross-validation uses
_PART = 256  # px, least side of the parts that answers are tried on
_RINGS = 3  # px beyond the PSF's half, to which what lies beyond an edge of the picture rings
NONE = "none"
UNLEARNT = {"hyper-laplacian": (0.02, 0.05), "rl-tv": (0.03, 0.3)}
"""What is tried beside the network, in the order of preference: by how much it must lead (`guard.Candidate`)."""


class Chosen(NamedTuple):
    """What `prepare` chose.

    Attributes:
        method: its name.
        psf: h x w, the largest of those that vary.
        solve: how an extended tile is deconvolved.
        weight: of the data where the border is made to agree with the PSF; None: as it is, for PSFs that vary.
        box: what of the picture is deconvolved; None: all.
    """

    method: str
    psf: Tensor
    solve: Solve
    weight: float | None
    box: Box | None = None


class DeconvolutionEngine:
    """One of the methods of deconvolution, or "auto".

    Args:
        options: `psf` may be a file (picture of any depth, .npy, or .npz of PSFs that vary over the picture), a folder
            of files named as the pictures, a description (`restore.physics.psf`), an array h x w, or "estimate…".
        method: "auto" (the task's method "measured") tries the shipped network and `UNLEARNT`, and takes what the guard
            predicts to be best (`restore.engines.deconv.guard`); for an estimated PSF, hyper-Laplacian.
    """

    def __init__(self, options: DeconvOptions, method: str = "auto") -> None:
        self._method, self._options = method, options
        self._iterations: int | None = getattr(options, "iterations", None)
        weights: str | Path | None = getattr(options, "weights", None)
        self._linear = options.linear or bool(options.estimate)  # estimates are of linear light
        self._psf_size = options.psf_size // 2 * 2 + 1
        self._given = None
        if not options.estimate:
            self._given = load_psf(options.psf, centre=options.centre_psf, flip=options.flip_psf)
        self._prior: DenoisingPrior | None = prior_of(weights) if method == "pnp" else None
        self._network = self._load(method, weights)
        shape = (options.estimate, options.psf_size, digest()) if self._given is None else self._given.fingerprint
        network = self._network.fingerprint if self._network else ""
        prior = self._prior.fingerprint if self._prior else ""
        how = (method, prior, network, options.boundary, self._iterations, self._linear, options.noise, shape)
        self.fingerprint = f"deconvolution:{how}"
        self.spec = self._spec(self._psf_size if self._given is None else self._given.side)

    def _load(self, method: str, weights: str | Path | None) -> DeconvolutionNetwork | None:
        """The network that may be asked for, if any."""
        wanted = method == "infwide" or (method == "auto" and not self._options.estimate and shipped())
        return network_of(weights or DAYLIGHT) if wanted else None

    def _spec(self, side: int) -> ModelSpec:
        context = 2 * self._prior.radius if self._prior else 64 if self._network else 0
        return ModelSpec("deconv", tiling="local", overlap=2 * side + 64 + context)

    def cast(self, dtype: torch.dtype, device: torch.device) -> DeconvolutionEngine:
        return self

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        view = ColourView.of(sources["picture"])
        info, scale = view.info, find_scale(view, lights=True)
        flat = are_cut_off(view, scale)
        if not flat and view.missing.filled:
            scale = find_scale(view, lights=True, filled=True)
        source = ColourView(view.source, Kept(flat))
        psf, about = self._psf_of(source, scale, options.progress)
        side = psf.psfs if isinstance(psf, Varying) else psf
        if side.shape[-2] > info.height or side.shape[-1] > info.width:
            raise UnsupportedError(
                f"the PSF of {side.shape[-1]} x {side.shape[-2]} px is larger than the picture of "
                f"{info.width} x {info.height} px", where=info.path, fix="Crop the PSF to the blur itself",
            )  # fmt: skip
        if self._options.save_psf is not None and isinstance(psf, Tensor):
            write_psf(Path(self._options.save_psf), psf, source)
        noise = self._options.noise
        sample = known_crops if flat or not source.missing.filled else sample_crops  # lights lie on a flat sky
        crops = [self._decoded(crop) for crop in sample(source, scale)]
        given = None if noise is None else noise / 255
        seen = measure_crops(crops, given)
        box = None if isinstance(psf, Varying) else beside_bars(view, scale, psf, seen.sigma)
        if box:
            source, flat = ColourView.of(Inside(view, box)), False
            seen = measure_crops([self._decoded(crop) for crop in sample_crops(source, scale)], given)
        chosen, summary = self._choose(source, scale, psf, seen)
        at = f" at {seen.white:.2f}" if seen.white < 1 else ""
        decisions = {
            "psf": "; ".join((f"{side.shape[-1]} x {side.shape[-2]} px", *about)),
            "noise": f"sigma {seen.sigma * 255:.2f} ({'measured' if noise is None else 'given'}), "
            f"{seen.clipped:.1%} of the samples clipped{at}",
            "method": summary,
        }
        if box:
            chosen = chosen._replace(box=box)
            decisions["bars"] = f"left as they are, around {source.info.width} x {source.info.height} px"
        cost = f"{chosen.method} {tuple(side.shape)}"
        kept = Kept(flat, margin=max(side.shape[-2:]) // 2 + _RINGS)
        return Condition(scale, chosen, decisions, self._spec(max(side.shape[-2:])), cost, kept=kept)

    def _psf_of(
        self, source: PictureSource, scale: ValueScale, progress: Callable[[float], None] | None
    ) -> tuple[Tensor | Varying, tuple[str, ...]]:
        """(the PSF for a picture, what to say about it)."""
        view = View(source, scale)
        if self._given is None:
            return estimate(view, self._options.estimate, self._psf_size, progress)
        psf, notes = psf_for(self._given, source)
        if isinstance(psf, Varying):
            return psf, notes
        return psf, (*notes, *check_orientation(self._decoded(view.middle(_LOOKED_AT))[0], psf))

    def _choose(
        self, source: PictureSource, scale: ValueScale, psf: Tensor | Varying, seen: Measured
    ) -> tuple[Chosen, str]:
        method = self._method
        if isinstance(psf, Varying):
            method = methods.for_varying_psf(method)
            solve, summary = methods.by_richardson_lucy(method, psf, seen, self._iterations)
            return Chosen(f"{method} varying", psf.psfs[0], solve, None), f"{summary}, {len(psf.psfs)} PSFs"
        if psf.numel() == 1:
            return Chosen(NONE, psf, _unchanged, None), "none: there is no blur to take out"
        view = View(source, scale)
        if self._options.estimate:  # the search has judged what it gains
            method, why = ("hyper-laplacian", ": an estimated PSF") if method == "auto" else (method, "")
            solve, summary = self._solution(method, view, psf, seen)
            return Chosen(method, psf, solve, methods.data_weight(seen, exact=False)), summary + why
        auto = method == "auto"
        places = _parts(view, max(psf.shape), 2 if auto else 1)
        parts, known = [self._decoded(view.read(*place)) for place in places], [view.known(*place) for place in places]
        guard = Guard(parts, psf, seen, self._options.boundary, known)
        order = [*([DAYLIGHT] if self._network else []), *UNLEARNT] if auto else [method]
        candidates = [
            Candidate(each, *self._solution(each, view, psf, seen), UNLEARNT.get(each, (0.0, 0.0))) for each in order
        ]
        if not auto:
            flaw = flaw_of(candidates[0], guard)
            return Chosen(method, psf, candidates[0].solve, methods.data_weight(seen)), candidates[0].summary + (
                f"; beware: {flaw}" if flaw else ""
            )
        best, why = choose(candidates, guard)
        if best is None:
            return Chosen(NONE, psf, _unchanged, None), why
        return Chosen(best.method, psf, best.solve, methods.data_weight(seen)), best.summary + why

    def _solution(self, method: str, view: View, psf: Tensor, seen: Measured) -> tuple[Solve, str]:
        """(how a method solves an extended tile, its summary)."""
        if self._network is not None and method in (DAYLIGHT, "infwide"):
            return methods.by_network(self._network, psf, seen)
        if method == "wiener":
            boundary = self._options.boundary
            part = self._decoded(view.middle(_SAMPLE))
            weight = gcv(extend(part, psf, boundary).pixels, psf)
            return methods.by_wiener(psf, weight * (1.0 if boundary == "none" else _CAUTION))
        if method == "hyper-laplacian":
            return methods.by_hyper_laplacian(psf, seen, exact=not self._options.estimate)
        if self._prior is not None:
            return methods.by_plug_and_play(psf, seen, self._prior)
        return methods.by_richardson_lucy(method, psf, seen, self._iterations)

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        """B x 1 x C x H x W unit values -> B x C x H x W."""
        chosen: Chosen = condition.data
        tiles = [self._deconvolved(tile, chosen, place) for tile, place in zip(x, places, strict=True)]
        return {"result": torch.cat(tiles)}

    def _deconvolved(self, x: Tensor, chosen: Chosen, place: Place) -> Tensor:
        """1 x C x H x W, as it lies in the picture -> the same."""
        if chosen.method == NONE or bool((x.amax((-2, -1)) == x.amin((-2, -1))).all()):
            return x  # what is constant, a blur has not changed
        if chosen.box:
            return _within(
                chosen.box, x, place, lambda part, at: self._deconvolved(part, chosen._replace(box=None), at)
            )
        pixels, psf, boundary = self._decoded(x.float()), chosen.psf.to(x.device), self._options.boundary
        weight = chosen.weight
        wide = extend(pixels, psf, boundary) if weight is None else extended(pixels, psf, boundary, weight)
        y = wide.inside(chosen.solve(wide, place))
        return linear_to_srgb(y) if self._linear else y

    def _decoded(self, x: Tensor) -> Tensor:
        return srgb_to_linear(x) if self._linear else x


def _within(box: Box, x: Tensor, place: Place, restored: Callable[[Tensor, Place], Tensor]) -> Tensor:
    """A tile, restored where it lies in the box."""
    top, bottom = (min(max(row - place.top, 0), x.shape[-2]) for row in (box.top, box.bottom))
    left, right = (min(max(column - place.left, 0), x.shape[-1]) for column in (box.left, box.right))
    if top == bottom or left == right:
        return x
    y, at = x.clone(), place._replace(top=place.top + top, left=place.left + left)
    y[..., top:bottom, left:right] = restored(x[..., top:bottom, left:right], at)
    return y


def _unchanged(y: Extended, place: Place) -> Tensor:
    return y.pixels


def _parts(view: View, reach: int, count: int) -> list[tuple[int, int, int, int]]:
    """The middle of a picture, or of a grid of count x count cells where it is much larger than a part: top, left,
    height, width of each."""
    height, width = view.size
    side = max(_PART, 4 * reach)
    rows, columns = (count if length >= 2 * side else 1 for length in (height, width))
    high, wide = min(side, height), min(side, width)
    return [
        ((2 * i + 1) * height // (2 * rows) - high // 2, (2 * j + 1) * width // (2 * columns) - wide // 2, high, wide)
        for i in range(rows)
        for j in range(columns)
    ]
