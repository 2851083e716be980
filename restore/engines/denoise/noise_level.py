"""The noise of a picture, measured before the first tile, or given."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from restore.analysis.colours import Kept
from restore.analysis.effective import effective_curve
from restore.analysis.impulses import are_few, least_step
from restore.analysis.noise import NoiseModel, estimate_noise
from restore.analysis.sample import known_crops
from restore.physics.filters import box_mean
from restore.physics.level import MAP_RADIUS
from restore.physics.resample import pixel_unshuffle_batch
from restore.picture import PictureSource, ValueScale

HARDLY_ANY = 0.5
"""Level in 8-bit units below which there is nothing to take away: a picture's rounding alone is 0.3."""
_ENDS = 0.01  # share of a picture at either end of its intensities that does not count


def left_alone(source: PictureSource, scale: ValueScale, sigma: float, hot_pixels: str = "auto") -> Kept:
    """What a denoiser does not touch: areas filled with one colour, and single samples that stand out, if they are few.

    Args:
        sigma: std of the noise, in [0, 1] units.
        hot_pixels: "remove": their neighbours' median takes their place; else they are kept (what "auto" means beyond
            a single picture: `restore.analysis.hot_sites`).
    """
    step = least_step(sigma)
    few = are_few(known_crops(source, scale), step)
    return Kept(flat=True, impulses=step * scale.white if few else None, remove=hot_pixels == "remove")


def measure_noise(source: PictureSource, scale: ValueScale, sigma: float | None = None, pd: int = 1) -> NoiseModel:
    """The noise of a picture, estimated on a grid of crops; a given sigma replaces the level, not the correlation.

    Args:
        sigma: std in 8-bit units.
        pd: measure on the phases of a pixel-shuffle by this factor.
    """
    crops = known_crops(source, scale)
    if pd > 1:
        crops = [phase for crop in crops for phase in _phases(crop, pd)]
    noise = estimate_noise(crops)
    if sigma is None:
        return noise
    given = NoiseModel.white(sigma / 255, source.info.channels)
    return replace(noise, levels=given.levels, reliable=True, reason=given.reason)


class Level(NamedTuple):
    """What is known of a picture's noise, for networks that are given its level.

    Attributes:
        noise: the noise model.
        curve: effective noise std at `restore.physics.level.KNOTS` equally spaced intensities, in [0, 1] units.
        seen: darkest and brightest intensity of the picture, but for 1 % of it at either end; beyond these the curve is
            extrapolated. Of the channels' mean, over 7 x 7 px, in [0, 1].
        given: the level is the user's.
    """

    noise: NoiseModel
    curve: Tensor
    seen: tuple[float, float] = (0.0, 1.0)
    given: bool = False

    @property
    def value(self) -> float:
        """The level over all intensities, 8-bit units."""
        return level_of(self.curve)

    @property
    def negligible(self) -> bool:
        """Whether hardly any noise was measured, or none is given: the picture then stays as it is."""
        return self.value < HARDLY_ANY and not (self.given and self.value > 0)

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.given or not self.noise.reliable:
            return describe_noise(self.noise, self.given)
        kind = "spatially correlated" if self.noise.correlated else "white"
        return f"level {self.value:.1f} (measured), {kind}"


def level_of(curve: Tensor) -> float:
    """The level over all intensities, 8-bit units, of a curve in [0, 1] units."""
    return float(curve.square().mean().sqrt()) * 255


def measure_level(source: PictureSource, scale: ValueScale, sigma: float | None = None) -> Level:
    """The noise level of a picture, or the one that the user gives, in 8-bit units."""
    if sigma is not None:
        noise = measure_noise(source, scale, sigma)
        return Level(noise, noise.curve(), given=True)
    crops = known_crops(source, scale)
    noise = estimate_noise(crops)
    return Level(noise, effective_curve(noise, crops), _seen(crops))


def _seen(crops: list[Tensor]) -> tuple[float, float]:
    """The range of local brightness, of one in 16 pixels."""
    means = torch.cat([box_mean(crop.mean(0)[None, None], MAP_RADIUS)[0, 0, ::4, ::4].flatten() for crop in crops])
    means = means[means.isfinite()].clamp(0, 1)
    if not len(means):
        return 0.0, 1.0
    low, high = torch.quantile(means, torch.tensor([_ENDS, 1 - _ENDS])).tolist()
    return low, high


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
