"""Which shipped network for the noise of a picture: one for white noise and one for all other, as one engine.

The method is chosen before, from the options alone: `restore.tasks.choose_method`.

White noise and the coarse noise of developed photographs pull one network apart: what is coarse may be texture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from restore.analysis.colours import ColourView
from restore.analysis.periodic import periodic_share
from restore.analysis.sample import View
from restore.analysis.value_range import find_scale
from restore.engines.denoise.diagnosis import Diagnosis
from restore.engines.denoise.network import DenoisingNetwork, network_of, wrapped_for_inference
from restore.engines.denoise.noise_level import Level, left_alone, measure_level
from restore.engines.denoise.options import NetworkOptions
from restore.inference.engine import Condition, Engine, EngineOptions, Outputs, Place
from restore.physics.level import level_map
from restore.picture import PictureSource, ValueScale
from restore.zoo.resolver import available

GENERAL, WHITE = "denoise", "denoise_white"
"""Names of the shipped weights."""
_CLEAR = 5.0  # of 255: weaker noise measures as white where it is not
_TRIED = 128  # px, side of the part on which it is tried how much is taken away
_LEAST_TRIED = 32  # px, of smaller pictures a third
_CERTAIN = 0.4  # more, where what was measured is noise for certain
_GENTLER = (1.0, 0.5, 0.25)  # of the measured level
_EXCESS, _EXCESS_COARSE = 1.08, 0.9  # times the level, that what is taken away may be; coarse noise is less than it
_REPEATS, _SURE = 0.1, 0.5  # share of what is taken away, and confidence from which on it is noise all the same
_SEEN = 2 / 255  # std of what is taken away: less has traces of JPEG's blocks
_COARSE = 1.5  # times its std: white noise has an effective level of its std, and measures within 1.1 of it


def by_network(options: NetworkOptions | None = None) -> Engine:
    """The engine of weights, or of the shipped ones. Raises `WeightsError`."""
    options = options or NetworkOptions()
    general, white = shipped()
    weights: str | Path = options.weights or general
    if options.weights is not None or general == white:
        return wrapped_for_inference(network_of(weights, options.model, options.sigma, options.hot_pixels))
    return DiagnosingDenoiser(*(network_of(name, None, options.sigma, options.hot_pixels) for name in (general, white)))


def shipped() -> tuple[str, str]:
    """Names of the shipped weights for all other and for white noise; twice the same where one is not there."""
    return GENERAL, WHITE if WHITE in available() else GENERAL


def diagnose(source: PictureSource, sigma: float | None = None, names: tuple[str, str] | None = None) -> Diagnosis:
    """The noise of a picture, and the network for it: the one place that decides.

    Args:
        sigma: the user's noise level, 8-bit units.
        names: of the networks for all other and for white noise; the shipped ones by default.
    Raises:
        UnsupportedError: samples that are not finite.
    """
    colours = ColourView.of(source)  # alpha is not noisy
    scale = find_scale(colours)
    level = measure_level(colours, scale, sigma)
    white, why = is_white(level)
    return Diagnosis(source.info, scale, level, white, (names or shipped())[white], why)


def is_white(level: Level) -> tuple[bool, str]:
    """Whether the noise is clearly there and clearly white, and why (not)."""
    if level.given:
        kind = "spatially correlated" if level.noise.correlated else "white"
        return not level.noise.correlated, f"{kind} noise of a given level"
    if not level.noise.reliable:
        return False, "the noise could not be measured"
    if level.negligible:
        return False, "hardly any noise"
    if level.noise.correlated:
        return False, "the noise is spatially correlated"
    if level.value <= _CLEAR:
        return False, f"noise of level {_CLEAR:g} or less may only look white"
    if level.value > _COARSE * level.noise.sigma * 255:
        return False, f"a level {level.value / (level.noise.sigma * 255):.1f} times its std is that of coarse noise"
    return True, "white noise"


class DiagnosingDenoiser:
    """Gives every picture to the network for its noise.

    Args:
        general, white: networks that are given the level; of the same needs.
    """

    def __init__(self, general: DenoisingNetwork, white: DenoisingNetwork) -> None:
        self._general, self._white = general, white
        self.spec = replace(general.spec, radius=max(general.spec.radius, white.spec.radius))
        self.fingerprint = f"{general.fingerprint}, white: {white.fingerprint}"

    def cast(self, dtype: torch.dtype, device: torch.device) -> DiagnosingDenoiser:
        return DiagnosingDenoiser(self._general.cast(dtype, device), self._white.cast(dtype, device))

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        names = self._general.name, self._white.name
        diagnosis = diagnose(sources["picture"], self._general.sigma, names)
        diagnosis = self._gentle(diagnosis, sources["picture"], options.device)
        scale = ValueScale.nominal(diagnosis.info) if diagnosis.level.negligible else diagnosis.scale
        kept = left_alone(sources["picture"], diagnosis.scale, diagnosis.level.noise.sigma, self._general.hot_pixels)
        return Condition(scale, (diagnosis.white, diagnosis.level.curve), diagnosis.decisions, kept=kept)

    def _gentle(self, diagnosis: Diagnosis, source: PictureSource, device: torch.device) -> Diagnosis:
        """With a lower level where what would be taken away exceeds the noise: then it is the picture (dither, weave).

        Tried on a part of it; where half and a quarter of the level still take too much, nothing is taken, nor where
        what is taken away repeats and is not noise for certain (screens of print, stripes).
        """
        level = diagnosis.level
        if level.given or level.negligible:
            return diagnosis
        view = View(source, diagnosis.scale)
        part = view.middle(min(_TRIED, max(_LEAST_TRIED, min(view.size) // 3)))
        height, width = (side // self.spec.multiple_of * self.spec.multiple_of for side in part.shape[-2:])
        if not height or not width:
            return diagnosis
        x = part[None, ..., :height, :width].to(device)
        most = _EXCESS if diagnosis.white or level.value <= _CLEAR else _EXCESS_COARSE
        network = (self._white if diagnosis.white else self._general).cast(torch.float32, device)
        certain = level.noise.confidence
        repeats = False
        for factor in _GENTLER:
            curve = level.curve * factor
            condition = Condition(diagnosis.scale, curve)
            removed = network(x, condition, [Place(0, 0, height, width)])["result"] - x[:, 0]
            told = level_map(x[:, 0], curve.to(device)[None]).square().mean().sqrt()
            taken = float(removed.square().mean().sqrt())
            repeats = certain < _SURE and taken > _SEEN and periodic_share(removed[0]) > _REPEATS
            if repeats or taken <= (most + _CERTAIN * certain) * float(told):
                break
        else:
            factor = 0.0
        if repeats:
            why = f"{diagnosis.why}; what would be taken away is a pattern that repeats"
            return replace(diagnosis, level=level._replace(curve=level.curve * 0), why=why)
        if factor == 1:
            return diagnosis
        at = f"at more than {factor:g} of its level" if factor else "at any level"
        why = f"{diagnosis.why}; more than the noise would be taken away {at}"
        return replace(diagnosis, level=level._replace(curve=level.curve * factor), why=why)

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        white, curve = condition.data
        return (self._white if white else self._general)(x, replace(condition, data=curve), places)
