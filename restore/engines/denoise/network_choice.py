"""Which shipped network for the noise of a picture: one for white noise and one for all other, as one engine.

The method is chosen before, from the options alone: `restore.tasks.choose_method`.

White noise and the coarse noise of developed photographs pull one network apart: what is coarse may be texture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from restore.analysis.colours import ColourView
from restore.analysis.noise import NoiseModel
from restore.analysis.sample import View
from restore.analysis.value_range import find_scale
from restore.classical.nl_bayes import PRESETS, Params, multiple_of, nl_bayes, radius
from restore.engines.denoise.diagnosis import Diagnosis
from restore.engines.denoise.gentler import gentler, is_everywhere
from restore.engines.denoise.network import DenoisingNetwork, network_of, wrapped_for_inference
from restore.engines.denoise.noise_level import Level, left_alone, level_of, measure_level
from restore.engines.denoise.options import NetworkOptions
from restore.engines.denoise.zero_shot import within_range
from restore.inference.engine import Condition, Engine, EngineOptions, Outputs, Place
from restore.physics.level import level_map
from restore.picture import PictureSource, ValueScale
from restore.zoo.resolver import available

GENERAL, WHITE = "denoise", "denoise_white"
"""Names of the shipped weights."""
PRINT = "zero-shot: print, all black and white"
_PRINT_PARAMS = Params(4, PRESETS["fast"].passes)  # on grids that do not widen the networks' tiles
_CLEAR = 5.0  # of 255: weaker noise measures as white where it is not
_SURE = 0.5  # confidence in it, from which weak noise that measures as white is
_TRIED = 160  # px, side of the part on which it is tried how much is taken away
_LARGE, _QUARTER = 1024, 96  # px: of larger pictures five parts are compared, of this side
_LEAST_TRIED = 32  # px, of smaller pictures a third
_THERE = 0.76  # of the level of white noise, that is taken away where it is there
_LEAST_DOUBTED = 1.5  # of 255
_TOLD = 0.85  # of a measured level of coarse noise: a little more noise left, and less distortion
_PARTLY = 0.06  # chroma over luma: below, noise is as alike in the colours as in black-and-white pictures
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
    """The noise of a picture, and the network for it, before it is tried (`DiagnosingDenoiser.diagnose`).

    Args:
        sigma: the user's noise level, 8-bit units.
        names: of the networks for all other and for white noise; the shipped ones by default.
    Raises:
        UnsupportedError: samples that are not finite.
    """
    colours = ColourView.of(source)  # alpha is not noisy
    scale = find_scale(colours)
    level = measure_level(colours, scale, sigma)
    if level.noise.correlated and not level.given:
        level = level._replace(curve=_TOLD * level.curve)
    white, why = is_white(level)
    return Diagnosis(source.info, scale, level, white, (names or shipped())[white], why, method=_method(level))


def _method(level: Level) -> str:
    """Print is of few shapes that repeat, which its own patches know better than a network."""
    print_ = level.noise.two_valued and not (level.noise.correlated or level.given or level.negligible)
    return PRINT if print_ else "network"


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
    if level.noise.structured and level.noise.chroma > _PARTLY:
        return False, "the noise is partly alike in the colours"
    if level.value <= _CLEAR and level.noise.confidence < _SURE:
        return False, f"noise of level {_CLEAR:g} or less may only look white"
    if level.value > _COARSE * level.noise.sigma * 255:
        return False, f"a level {level.value / (level.noise.sigma * 255):.1f} times its std is that of coarse noise"
    return True, "white noise"


class DiagnosingDenoiser:
    """Gives every picture to the network for its noise, and print to non-local Bayes.

    Args:
        general, white: networks that are given the level; of the same needs.
    """

    def __init__(self, general: DenoisingNetwork, white: DenoisingNetwork) -> None:
        self._general, self._white = general, white
        self.spec = replace(
            general.spec,
            radius=max(general.spec.radius, white.spec.radius, radius(_PRINT_PARAMS)),
            multiple_of=math.lcm(general.spec.multiple_of, white.spec.multiple_of, multiple_of(_PRINT_PARAMS)),
        )
        self.fingerprint = f"{general.fingerprint}, white: {white.fingerprint}"

    def cast(self, dtype: torch.dtype, device: torch.device) -> DiagnosingDenoiser:
        return DiagnosingDenoiser(self._general.cast(dtype, device), self._white.cast(dtype, device))

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        diagnosis = self.diagnose(sources["picture"], options.device)
        scale = ValueScale.nominal(diagnosis.info) if diagnosis.level.negligible else diagnosis.scale
        kept = left_alone(sources["picture"], diagnosis.scale, diagnosis.level.noise.sigma, self._general.hot_pixels)
        data = diagnosis.level.noise if diagnosis.method == PRINT else (diagnosis.white, diagnosis.level.curve)
        return Condition(scale, data, diagnosis.decisions, kept=kept, noise_level=diagnosis.level.value)

    def diagnose(self, source: PictureSource, device: torch.device) -> Diagnosis:
        """The noise of a picture and the network for it, after it was tried what that network takes away."""
        names = self._general.name, self._white.name
        return self._gentle(diagnose(source, self._general.sigma, names), source, device)

    def _gentle(self, diagnosis: Diagnosis, source: PictureSource, device: torch.device) -> Diagnosis:
        """With the level that does not take the picture for noise (`gentler`), or noise for the picture."""
        view = View(source, diagnosis.scale)
        x = self._part(view, device)
        if x is None or diagnosis.level.given:
            return diagnosis
        diagnosis = self._trusted(diagnosis, x)
        level, printed = diagnosis.level, diagnosis.method == PRINT
        if level.negligible:
            return diagnosis
        network = self._white if diagnosis.white else self._general

        def removed(curve: Tensor) -> Tensor:
            return _of_print(x[:, 0], level.noise) - x[:, 0] if printed else _taken(network, x, curve)

        factor, why = gentler(level, x[:, 0], removed, white=diagnosis.white, printed=printed)
        if factor == 1 and min(view.size) >= _LARGE and level.noise.correlated:
            parts = [view.read(*place)[None].to(device) for place in _quarters(view)]
            taken = [_taken(network, part, level.curve) for part in parts]
            if not is_everywhere(taken, [part[:, 0] for part in parts], level):
                factor, why = 0.0, "what would be taken away is not everywhere, as noise is"
        if factor == 1:
            return diagnosis
        method, factor = ("network", 0.0) if printed else (diagnosis.method, factor)
        level = level._replace(curve=level.curve * factor)
        return replace(diagnosis, level=level, why=f"{diagnosis.why}; {why}", method=method)

    def _trusted(self, diagnosis: Diagnosis, x: Tensor) -> Diagnosis:
        """With the level of the finest details, where the regression believes in less of white noise that is there:
        told that level, the network takes nearly as much away, and of fine textures half of it."""
        noise = diagnosis.level.noise
        own = noise.curve()
        doubted = level_of(own) > max(1.1 * diagnosis.level.value, _LEAST_DOUBTED)
        if noise.correlated or noise.pattern or noise.confidence >= _SURE or not doubted:
            return diagnosis
        told = level_map(x[:, 0], own.to(x.device)[None]).square().mean()
        if float((_taken(self._white, x, own).square().mean() / told).sqrt()) < _THERE:
            return diagnosis
        level, why = diagnosis.level._replace(curve=own), "white noise, of which the network takes away what it is told"
        return replace(diagnosis, level=level, white=True, weights=self._white.name, why=why)

    def _part(self, view: View, device: torch.device) -> Tensor | None:
        """The middle of a picture, 1 x 1 x C x H x W; None where there is too little."""
        part = view.middle(min(_TRIED, max(_LEAST_TRIED, min(view.size) // 3)))
        height, width = (side // self.spec.multiple_of * self.spec.multiple_of for side in part.shape[-2:])
        return part[None, ..., :height, :width].to(device) if height and width else None

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        if isinstance(condition.data, NoiseModel):
            return {"result": _of_print(x[:, 0], condition.data)}
        white, curve = condition.data
        return (self._white if white else self._general)(x, replace(condition, data=curve), places)


def _taken(network: DenoisingNetwork, x: Tensor, curve: Tensor) -> Tensor:
    """What a network takes away from 1 x 1 x C x H x W, told a curve: 1 x C x H x W."""
    condition, place = Condition(ValueScale(), curve), Place(0, 0, x.shape[-2], x.shape[-1])
    return network.cast(torch.float32, x.device)(x, condition, [place])["result"] - x[:, 0]


def _quarters(view: View) -> list[tuple[int, int, int, int]]:
    """Parts in the middle of a picture and of its quarters: top, left, height, width."""
    height, width = view.size
    centres = ((0.5, 0.5), (0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75))
    return [(int(height * y) - _QUARTER // 2, int(width * x) - _QUARTER // 2, _QUARTER, _QUARTER) for y, x in centres]


def _of_print(x: Tensor, noise: NoiseModel) -> Tensor:
    return within_range(x, noise, lambda y: nl_bayes(y, noise, _PRINT_PARAMS))
