"""The noise of a picture, for people and programs; `diagnose` of `network_choice.py` makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from restore.engines.denoise.noise_level import Level
from restore.physics.level import KNOTS
from restore.picture import PictureInfo, ValueScale

LEFT_ALONE = "none, the picture stays as it is: {}"
"""The decision where no noise was measured, with the reason."""


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The noise of one picture, and what `restore denoise` does about it.

    Attributes:
        info: the picture's header.
        scale: its value range; intensities and levels in 8-bit units are 255 times unit values.
        level: what was measured, in [0, 1] units.
        white: it goes to the network for white noise.
        weights: name of that network's weights.
        why: the reason, in words.
        method: of `restore denoise`; another one than "network" where those weights are not there.
    """

    info: PictureInfo
    scale: ValueScale
    level: Level
    white: bool
    weights: str
    why: str
    method: str = "network"

    @property
    def measurable(self) -> bool:
        """False when the picture is too small to measure its noise; levels are then zero."""
        return self.level.noise.reliable

    @property
    def curve(self) -> list[tuple[float, float]]:
        """(intensity, effective level) from black to white, 8-bit units."""
        return [(255 * knot / (KNOTS - 1), 255 * float(value)) for knot, value in enumerate(self.level.curve)]

    def level_at(self, intensity: float) -> float:
        """The curve at an intensity between its knots, both in 8-bit units."""
        intensities, levels = np.array(self.curve).T
        return float(np.interp(intensity, intensities, levels))

    @property
    def places(self) -> dict[str, float]:
        """Intensities to report, 8-bit units: the ends and the middle of what the picture holds."""
        low, high = (255 * value for value in self.level.seen)
        return {"dark": low, "middle": (low + high) / 2, "bright": high}

    @property
    def decisions(self) -> dict[str, str]:
        """What an engine reports to the user."""
        network = LEFT_ALONE.format(self.why) if self.level.negligible else f"network {self.weights}: {self.why}"
        return {"method": network if self.method == "network" else self.method, "noise": self.level.summary}

    @property
    def facts(self) -> dict[str, str]:
        """One line a fact, for people."""
        info, noise = self.info, self.level.noise
        depth = "float" if info.dtype == "float32" else f"{info.bits} bit"
        alpha = " and alpha" if info.alpha else ""
        facts = {"picture": f"{info.width} x {info.height} px, {info.channels} x {depth}{alpha}, {info.format}"}
        if self.scale.note:
            facts["range"] = self.scale.note
        facts["noise"] = self.level.summary
        if self.measurable:
            places = (f"{name} {self.level_at(at):.1f} (at {at:.0f})" for name, at in self.places.items())
            facts["curve"] = ", ".join(places)
            facts["correlation"] = f"length {noise.correlation_length:.1f} px" if noise.correlated else "none found"
        black, white = noise.clipped
        facts["clipped"] = f"black {black:.2%}, white {white:.2%} of the samples"
        return facts | {"method": self.decisions["method"]}

    def summary(self) -> dict[str, Any]:
        """All numbers, ready for JSON: levels, stds and intensities in 8-bit units, lengths in px, shares 0..1."""
        info, noise = self.info, self.level.noise
        black, white = noise.clipped
        return {
            "width": info.width, "height": info.height, "channels": info.channels, "alpha": info.alpha,
            "dtype": info.dtype, "bits": info.bits, "format": info.format,
            "black": self.scale.black, "white": self.scale.white, "range": self.scale.note,
            "measurable": self.measurable, "reason": noise.reason,
            "level": self.level.value, "curve": [list(point) for point in self.curve],
            "seen": [255 * value for value in self.level.seen],
            "sigma": 255 * noise.sigma, "sigmas": [[255 * value for value in channel] for channel in noise.levels],
            "correlated": noise.correlated, "correlation_length": noise.correlation_length,
            "autocorrelation": list(noise.autocorrelation()),
            "clipped": {"black": black, "white": white},
            "weights": self.weights, "why": self.why, "decisions": self.decisions,
        }  # fmt: skip
