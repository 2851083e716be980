"""The shipped denoisers as one engine: a network for white noise and one for all other, chosen by what is measured.

White noise and the coarse noise of developed photographs pull one network apart: what is coarse may be texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from restore.analysis.value_range import find_scale
from restore.engines.ap_bsn import ApBsnEngine
from restore.engines.diagnosis import Diagnosis
from restore.engines.measure import Level, measure_level
from restore.engines.network import NetworkEngine, from_weights
from restore.engines.noise_bounded import NoiseBoundedEngine
from restore.inference.alpha import ColourView
from restore.inference.engine import Condition, Engine, EngineOptions
from restore.picture import PictureSource
from restore.zoo.resolver import available

GENERAL, WHITE = "denoise", "denoise_white"
"""Names of the shipped weights."""
_NONE = 0.5  # of 255: nothing that could be of a kind
_CLEAR = 5.0  # of 255: weaker noise looks white where it is not


def by_network(weights: str | Path | None = None, model: str | None = None) -> Engine:
    """The engine of weights, or of the shipped ones. Raises `WeightsError`."""
    general, white = shipped()
    if weights is not None or general == white:
        return as_meant(from_weights(weights or general, model))
    return DiagnosingDenoiser(from_weights(general), from_weights(white))


def as_meant(network: NetworkEngine) -> Engine:
    """How a network is used: blind ones as AP-BSN is, C-BSN without taking away more than the noise."""
    if network.blind:
        return ApBsnEngine(network)
    return NoiseBoundedEngine(network) if network.standardised else network


def shipped() -> tuple[str, str]:
    """Names of the shipped weights for all other and for white noise; twice the same where one is not there."""
    return GENERAL, WHITE if WHITE in available() else GENERAL


def diagnose(
    source: PictureSource, options: EngineOptions | None = None, names: tuple[str, str] | None = None
) -> Diagnosis:
    """What there is to know of a picture's noise, and which network it is for: the one place that decides.

    Args:
        names: of the networks for all other and for white noise; the shipped ones by default.
    Raises:
        UnsupportedError: samples that are not finite. ConfigError: a given sigma out of range.
    """
    colours = ColourView(source)  # alpha is not noisy
    scale = find_scale(colours)
    level = measure_level(colours, scale, options or EngineOptions())
    white, why = is_white(level)
    return Diagnosis(source.info, scale, level, white, (names or shipped())[white], why)


def is_white(level: Level) -> tuple[bool, str]:
    """Whether the noise is clearly there and clearly white, and why (not)."""
    if level.given:
        kind = "spatially correlated" if level.noise.correlated else "white"
        return not level.noise.correlated, f"{kind} noise of a given level"
    if not level.noise.reliable:
        return False, "the noise could not be measured"
    if level.value < _NONE:
        return False, "hardly any noise"
    if level.noise.correlated:
        return False, "the noise is spatially correlated"
    if level.value <= _CLEAR:
        return False, f"noise of level {_CLEAR:g} or less may only look white"
    return True, "white noise"


class DiagnosingDenoiser:
    """Shows every picture to the network for its noise.

    Args:
        general, white: networks that are told the level; of the same needs.
    """

    def __init__(self, general: NetworkEngine, white: NetworkEngine) -> None:
        self._general, self._white = general, white
        self.spec = replace(general.spec, radius=max(general.spec.radius, white.spec.radius))
        self.fingerprint = f"{general.fingerprint}, white: {white.fingerprint}"

    def cast(self, dtype: torch.dtype, device: torch.device) -> DiagnosingDenoiser:
        general, white = self._general.cast(dtype, device), self._white.cast(dtype, device)
        same = general is self._general and white is self._white
        return self if same else DiagnosingDenoiser(general, white)

    def prepare(self, sources: Sequence[PictureSource], options: EngineOptions) -> Condition:
        found = diagnose(sources[0], options, (self._general.name, self._white.name))
        return Condition(found.scale, (found.white, found.level.curve), found.decisions)

    def __call__(self, x: Tensor, condition: Condition) -> Tensor:
        white, curve = condition.data
        return (self._white if white else self._general)(x, replace(condition, data=curve))
