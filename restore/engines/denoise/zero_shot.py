"""Denoising without any weights: the picture's own noise model and its own similar patches.

`prepare` measures the noise (level over intensity, spatial correlation, clipping) on crops; the tiles go through
non-local Bayes (`restore.classical.nl_bayes`). Correlated noise is met with its full covariance, which measured
better than pixel-shuffle on camera-like noise and better than a shuffle by 2 on any; `pd` overrides that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from restore.analysis.noise import NoiseModel
from restore.analysis.value_range import find_scale
from restore.classical.nl_bayes import PRESETS, multiple_of, nl_bayes, nl_bayes_phases, radius
from restore.engines.denoise.noise_level import describe_noise, left_alone, measure_noise
from restore.engines.denoise.options import ZeroShotOptions
from restore.inference.engine import Condition, EngineOptions, Outputs, Place
from restore.models.spec import ModelSpec
from restore.picture import PictureSource

_HIGHLIGHT = 4  # sigmas beyond the unit range that noise does not reach


class ZeroShotEngine:
    """Non-local Bayes on the picture's own noise model.

    Args:
        options: `preset` promises time or quality, not an algorithm. `pd` None decides by the measured correlation
            between white noise and full covariance; 1 treats the noise as white; from 2 on the picture is split
            into its pd x pd phases, each denoised as a picture.
    """

    def __init__(self, options: ZeroShotOptions | None = None) -> None:
        options = options or ZeroShotOptions()
        self._preset, self._sigma, pd = options.preset, options.sigma, options.pd
        self._hot_pixels = options.hot_pixels
        self._params, self._pd = PRESETS[options.preset], pd
        self.fingerprint = f"zero-shot:{options.preset}:pd={pd or 'auto'}{options.level_name}"
        self.spec = ModelSpec(
            task="denoise",
            paper="Lebrun, Buades, Morel, A Nonlocal Bayesian Image Denoising Algorithm, 2013",
            multiple_of=(pd or 1) * multiple_of(self._params),
            radius=(pd or 1) * (radius(self._params) + 1) - 1,
        )

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        source = sources["picture"]
        scale = find_scale(source)
        noise = measure_noise(source, scale, self._sigma, self._pd or 1)
        method = f"zero-shot {self._preset}"
        decisions = {"noise": describe_noise(noise, self._sigma is not None)}
        if self._pd == 1:
            noise = noise.as_white()
        decisions["method"] = method + self._kind(noise)
        return Condition(
            scale, noise, decisions, noise_level=255 * noise.sigma,
            kept=left_alone(source, scale, noise.sigma, self._hot_pixels),
        )  # fmt: skip

    def _kind(self, noise: NoiseModel) -> str:
        if self._pd is None:
            return ", full noise covariance" if noise.correlated else ""
        return f", pixel-shuffle {self._pd}" if self._pd > 1 else ", taken as white"

    def cast(self, dtype: torch.dtype, device: torch.device) -> ZeroShotEngine:
        return self

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        noise, pd = condition.data, self._pd or 1

        def denoise(y: Tensor) -> Tensor:
            return nl_bayes(y, noise, self._params) if pd == 1 else nl_bayes_phases(y, noise, pd, self._params)

        return {"result": within_range(x[:, 0], noise, denoise)}


def within_range(x: Tensor, noise: NoiseModel, denoise: Callable[[Tensor], Tensor]) -> Tensor:
    """Denoised within [0, 1]: highlights of float pictures keep what exceeds that, noise does not."""
    inside = x.clamp(0, 1)
    beyond = x - inside
    return denoise(inside) + torch.where(beyond.abs() > _HIGHLIGHT * noise.sigma, beyond, 0.0)
