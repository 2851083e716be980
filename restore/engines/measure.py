"""What engines find out about a picture before the first tile: value scale and noise."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from restore.analysis.effective import effective_curve
from restore.analysis.noise import NoiseModel, estimate_noise
from restore.analysis.sample import sample_crops
from restore.errors import ConfigError
from restore.inference.engine import EngineOptions
from restore.physics.resample import pixel_unshuffle_batch
from restore.picture import PictureSource, ValueScale

_SEEN = 5.0  # of 255: weaker noise looks white where it is not


def measure_noise(source: PictureSource, scale: ValueScale, options: EngineOptions, pd: int = 1) -> NoiseModel:
    """The noise of a picture, estimated on a grid of crops; a given sigma replaces the level, not the correlation.

    Args:
        pd: measure on the phases of a pixel-shuffle by this factor.
    """
    if options.sigma is not None and not 0 <= options.sigma <= 255:
        raise ConfigError(f"sigma {options.sigma:g} is out of range", fix="Give --sigma between 0 and 255")
    crops = sample_crops(source, scale)
    if pd > 1:
        crops = [phase for crop in crops for phase in _phases(crop, pd)]
    noise = estimate_noise(crops)
    if options.sigma is None:
        return noise
    given = NoiseModel.white(options.sigma / 255, source.info.channels)
    return replace(noise, levels=given.levels, reliable=True, reason=given.reason)


class Level(NamedTuple):
    """What a network that is told the noise level needs to know of a picture.

    Attributes:
        curve: effective noise std over intensity, in [0, 1] units.
        white: there is clearly noise, and it is not correlated.
        told: what to tell people about it.
    """

    curve: Tensor
    white: bool
    told: str


def measure_level(source: PictureSource, scale: ValueScale, options: EngineOptions) -> Level:
    """The noise level of a picture, or the one that the user gives."""
    if options.sigma is not None:
        noise = measure_noise(source, scale, options)
        return Level(noise.curve(), not noise.correlated, describe_noise(noise, given=True))
    crops = sample_crops(source, scale)
    noise = estimate_noise(crops)
    curve = effective_curve(noise, crops)
    if not noise.reliable:
        return Level(curve, False, describe_noise(noise, given=False))
    level = float(curve.square().mean().sqrt()) * 255
    kind = "spatially correlated" if noise.correlated else "white"
    return Level(curve, not noise.correlated and level > _SEEN, f"level {level:.1f} (measured), {kind}")


def _phases(crop: Tensor, pd: int) -> Tensor:
    """C x H x W -> pd * pd x C x H/pd x W/pd, what does not divide left out; too small a crop is one phase."""
    height, width = (side // pd * pd for side in crop.shape[-2:])
    return pixel_unshuffle_batch(crop[None, :, :height, :width], pd) if height and width else crop[None]


def describe_noise(noise: NoiseModel, given: bool) -> str:
    """One line for people: level in 8-bit units, kind, where it comes from."""
    if not noise.reliable:
        return f"not measured: {noise.reason}"
    kind = "spatially correlated" if noise.correlated else "white"
    return f"sigma {noise.sigma * 255:.1f} ({'given' if given else 'measured'}), {kind}"
