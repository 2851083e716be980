"""Cases of denoising: the published recipes of numpy, so that anyone can make the same noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from restore.degradations.cases import Array, Case, CaseSample, codes_of, picture_of, through_jpeg, unit_of
from restore.errors import ConfigError, nearest

_NOISE = {
    "none": "clean",
    "gaussian": "white Gaussian noise, sigma {level:g} of 255",
    "box": "Gaussian noise through a 3 x 3 box, sigma {level:g} of 255",
    "poisson": "Poisson noise, {level:g} photons at white",
}


@dataclass(frozen=True, kw_only=True)
class NoiseCase(Case):
    """Input "picture", target "result". Picture i of a folder has the noise of `numpy.random.default_rng(i)`."""

    noise: Literal["none", "gaussian", "box", "poisson"] = "none"
    """box: white noise through a 3 x 3 box, scaled back to its level."""
    level: float = 0.0
    """Sigma in 8-bit units (0..255); of poisson: photons at white."""
    clipped: bool = True
    """Clipped and rounded to 8 bits, as files are; else float values that may lie outside the range."""
    jpeg: int = 0
    """Quality of the JPEG that the noisy picture becomes (4:2:0); 0: none."""

    def __post_init__(self) -> None:
        if self.noise not in _NOISE:
            raise ConfigError(
                f"there is no noise {self.noise!r} to evaluate",
                fix=f"{nearest(self.noise, _NOISE)}Known: {', '.join(_NOISE)}",
            )
        if (self.noise == "none") != (self.level == 0) or self.level < 0:
            raise ConfigError(f"noise {self.noise} cannot have level {self.level:g}", fix="Give a level above 0")
        if self.jpeg and not (1 <= self.jpeg <= 100 and self.clipped):
            raise ConfigError("a JPEG has a quality of 1 to 100, and its values are clipped", fix="Change jpeg")

    @property
    def damages(self) -> bool:
        return self.noise != "none" or self.jpeg > 0

    @classmethod
    def standard(cls) -> Mapping[str, Self]:
        return {"clean": cls()}

    def describe(self) -> str:
        text = _NOISE[self.noise].format(level=self.level)
        if self.noise != "none":
            text += " (numpy default_rng(picture index)), "
            text += "clipped and rounded to 8 bits" if self.clipped else "float, not clipped"
        return f"{text}, then JPEG of quality {self.jpeg} (4:2:0)" if self.jpeg else text

    def make(self, pictures: Sequence[Array], index: int) -> CaseSample:
        (clean,) = pictures
        noisy = self.damaged(clean, index)
        level = self.level
        if self.noise == "poisson":  # of 8-bit codes, what clipping and JPEG made of it too
            level = 255 * float((unit_of(noisy) - unit_of(clean)).std())
        return CaseSample(inputs={"picture": noisy}, targets={"result": clean}, noise_level=level)

    def damaged(self, clean: Array, index: int) -> Array:
        """A clean picture H x W x C with its noise: uint8 where clipped, else float32 with white = 1.

        In 8-bit units, with rng = numpy.random.default_rng(index): x + level * rng.standard_normal(x.shape), or
        rng.poisson(x / 255 * level) / level * 255; clipped is rint, then 0..255. Without noise the picture stays as
        it is.
        """
        x = codes_of(clean)
        rng = np.random.default_rng(index)
        if self.noise == "poisson":
            noisy = rng.poisson(x.clip(min=0) / 255 * self.level) / self.level * 255
        elif self.noise == "none":
            if not self.jpeg:
                return clean
            noisy = x
        else:
            noise = rng.standard_normal(x.shape)
            noisy = x + self.level * (_boxed(noise) if self.noise == "box" else noise)
        picture = picture_of(noisy, clipped=self.clipped)
        return through_jpeg(picture, self.jpeg) if self.jpeg else picture


def _boxed(noise: Array) -> Array:
    """Through a 3 x 3 box (around the edges), std kept."""
    rolled = [np.roll(noise, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return np.sum(rolled, 0) / 3
