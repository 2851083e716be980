"""Pictures blurred on purpose as by a moving or unfocused camera: what `restore degrade blur` runs.

The blur is drawn for each picture, in linear light unless asked otherwise, the scene mirrored beyond the border; noise
and JPEG after it are those of `restore degrade gaussian`. Computed in float64, so that tiles of any height give the
same bytes: what a tile's size changes is far below a step of the float32 that is handed on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.engines.degrade.engine import DegradeEngine, digest
from restore.engines.degrade.options import BlurOptions, GaussianOptions, NoneOptions
from restore.inference.engine import Condition, EngineOptions, Outputs, Place
from restore.io.psf import write_psf
from restore.physics.blur_field import (
    FieldBlur,
    PathBlur,
    at_moments,
    draw_camera_shakes,
    draw_fields,
    field_at,
    sample_count,
)
from restore.physics.color import linear_to_srgb, srgb_to_linear
from restore.physics.fourier import convolve_reflected
from restore.physics.random import generator_for, hash_seed
from restore.physics.shake import discs, draw_paths, lines, rasterised
from restore.picture import PictureSource

_LENGTH, _RADIUS = 12.0, 3.0  # px
_SPILL = 1.03  # of a field: how much longer a vector may be than the one that was scaled


class _Blur(NamedTuple):
    """What blurs a picture.

    Attributes:
        apply: a part of the picture 1 x C x h x w (float64), and its place -> the same shape.
        reach: px, how far from a pixel it looks.
        words: what it is.
        psf: h x w, where it is the same everywhere.
    """

    apply: Callable[[Tensor, Place], Tensor]
    reach: int
    words: str
    psf: Tensor | None = None


class _Planned(NamedTuple):
    blur: _Blur
    noise: Condition


class BlurEngine:
    """Blurs a picture, on the CPU; noise and JPEG after it, if asked."""

    def __init__(self, options: BlurOptions) -> None:
        self._options = options
        after = {name: getattr(options, name) for name in ("jpeg", "subsampling", "clip", "unclipped")}
        if options.noise:
            self._noise = DegradeEngine(GaussianOptions(sigma=options.noise, **after), "gaussian")
        else:
            self._noise = DegradeEngine(NoneOptions(**after), "none")
        shaping = {name: value for name, value in asdict(options).items() if name != "save_psf"}
        self.fingerprint = f"degrade:blur:{sorted(shaping.items())}"
        self.spec = self._noise.spec

    def cast(self, dtype: torch.dtype, device: torch.device) -> BlurEngine:
        return self

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        """Raises `UnsupportedError` for JPEG of other than grey and RGB, `FileError` where the PSF's file exists."""
        source = sources["picture"]
        noise = self._noise.prepare(sources, options)
        generator = generator_for(hash_seed(options.seed or 0, digest(source)), 1)
        blur = self._drawn(generator, (source.info.height, source.info.width))
        if self._options.save_psf is not None and blur.psf is not None:
            write_psf(Path(self._options.save_psf), blur.psf, source)
        how = "values of the file averaged" if self._options.gamma else "linear light"
        after = noise.decisions["damage"]
        damage = ", ".join([blur.words, how, *([] if after == "none" else [after])])
        spec = replace(self.spec, radius=self.spec.radius + blur.reach)
        return replace(
            noise, data=_Planned(blur, noise), decisions={**noise.decisions, "damage": damage}, spec=spec,
            cost=f"{self._options.shape} {self._options.varying} {blur.reach}",
        )  # fmt: skip

    def _drawn(self, generator: torch.Generator, size: tuple[int, int]) -> _Blur:
        """What is drawn for a picture of this size."""
        shape, length = self._options.shape, _LENGTH if self._options.length is None else self._options.length
        if shape == "field":
            return _field(generator, length, size)
        if self._options.varying:
            return _rolling(generator, length, size)
        if shape == "disc":
            radius = _RADIUS if self._options.radius is None else self._options.radius
            psf = discs(torch.tensor([radius], dtype=torch.float64), 2 * math.ceil(radius + 0.5) + 1)
            return _uniform(psf, f"a disc of radius {radius:g} px")
        if shape == "line":
            angle = self._options.angle or 0.0
            path = lines(*(torch.tensor([each], dtype=torch.float64) for each in (length, -math.radians(angle))))
            return _uniform(_psf(path), f"a line of {length:g} px at {angle:g} degrees")
        return _uniform(_psf(length * draw_paths([generator]).double()), f"a shake of {length:g} px")

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        """1 x 1 x C x H x W unit values of whole rows -> 1 x C x H x W, blurred and then noisy."""
        (place,) = places
        planned: _Planned = condition.data
        height, width = min(x.shape[-2], place.height - place.top), min(x.shape[-1], place.width)
        picture = x[:, 0, :, :height, :width].cpu().double()
        light = picture if self._options.gamma else srgb_to_linear(picture)
        blurred = planned.blur.apply(light, place)
        blurred = blurred if self._options.gamma else linear_to_srgb(blurred)
        beyond = (0, x.shape[-1] - width, 0, x.shape[-2] - height)  # padding of the tile, cut off again
        return self._noise(F.pad(blurred.float(), beyond)[:, None].to(x), planned.noise, places)


def _psf(path: Tensor) -> Tensor:
    """1 x T x 2 -> 1 x 1 x side x side, which holds the path."""
    return rasterised(path, 2 * math.ceil(float(path.abs().max()) + 1e-6) + 3)


def _uniform(psf: Tensor, words: str) -> _Blur:
    """psf: 1 x 1 x side x side."""
    return _Blur(lambda x, place: convolve_reflected(x, psf[0, 0]), psf.shape[-1] // 2, words, psf[0, 0].float())


def _field(generator: torch.Generator, length: float, size: tuple[int, int]) -> _Blur:
    amplitudes = length * draw_fields([generator]).double()

    def apply(x: Tensor, place: Place) -> Tensor:
        field = field_at(amplitudes, size, (place.top, place.left), (x.shape[-2], x.shape[-1]))
        return FieldBlur(field, longest=_SPILL * length).forward(x)

    return _Blur(apply, math.ceil(0.5 * _SPILL * length) + 1, f"motion of up to {length:g} px that changes freely")


def _rolling(generator: torch.Generator, length: float, size: tuple[int, int]) -> _Blur:
    """A shake whose roll moves the corner that is farthest from its centre as far as the shake moves the centre."""
    paths, rolls, shares = (each.double() for each in draw_camera_shakes([generator]))
    height, width = size
    centre = shares * torch.tensor([width - 1, height - 1])
    across, down = (max(float(at), side - 1 - float(at)) for at, side in zip(centre[0], (width, height), strict=True))
    farthest = max(1.0, math.hypot(across, down))
    count = sample_count(2 * length)
    paths, rolls = at_moments(length * paths, count), at_moments((length / farthest) * rolls, count)

    def apply(x: Tensor, place: Place) -> Tensor:
        own = centre - torch.tensor([place.left, place.top])
        return PathBlur(paths, rolls, (x.shape[-2], x.shape[-1]), own).forward(x)

    moved = float(paths.norm(dim=2).max()) + farthest * float(rolls.abs().max())
    return _Blur(apply, math.ceil(moved) + 1, f"a shake of {length:g} px that rolls by up to as much at the corners")
