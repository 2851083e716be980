"""Cases of super-resolution: clean pictures made smaller, plainly as papers do it or with what spoils real ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from restore.degradations.cases import Array, Case, CaseSample, codes_of, picture_of, through_jpeg, unit_of
from restore.errors import ConfigError, UnsupportedError, nearest

REAL_WORLD_SEED = 0x5EED_0F_CA5E5
"""Of the case "real-world"; trainings count their seeds from 0."""
_REAL_WORLD = "real_world"
_KINDS = {
    "bicubic": "",
    "real-world": "",
    "jpeg": ", then JPEG of quality {quality} (4:2:0)",
    "noise": ", then white Gaussian noise, sigma {level:g} of 255 (numpy default_rng(picture index)), clipped and "
    "rounded to 8 bits",
    "blur": ", after a Gaussian blur, sigma {blur:g} px of the small picture",
}


@dataclass(frozen=True, kw_only=True)
class UpscaleCase(Case):
    """Input "picture", target "result", option "scale". The truth is cropped to a multiple of the factor, at the right
    and below; so many pixels as the factor are left out on each side when results are judged.
    """

    factor: int = 4
    """Side of the truth over that of the input."""
    kind: Literal["bicubic", "real-world", "jpeg", "noise", "blur"] = "bicubic"
    """bicubic: antialiased, as MATLAB's `imresize`, rounded to 8 bits; jpeg, noise: the same, then that; blur: first;
    real-world: blur, resizing, noise and JPEG drawn at random, twice (`restore.degradations.real_world`)."""
    quality: int = 0
    """Of the JPEG."""
    level: float = 0.0
    """Sigma of the noise in 8-bit units (0..255)."""
    blur: float = 0.0
    """Sigma of the blur in pixels of the small picture."""
    whole: bool = False
    """Judge the border too."""

    def __post_init__(self) -> None:
        if not 2 <= self.factor <= 16:
            raise ConfigError(f"pictures cannot become smaller by {self.factor}", fix="Give a factor from 2 to 16")
        if self.kind not in _KINDS:
            fix = f"{nearest(self.kind, _KINDS)}Known: {', '.join(_KINDS)}"
            raise ConfigError(f"there is no way {self.kind!r} to make pictures smaller", fix=fix)
        for name, kind in (("quality", "jpeg"), ("level", "noise"), ("blur", "blur")):
            value = getattr(self, name)
            if (self.kind == kind) != (value > 0) or value < 0:
                raise ConfigError(f"the case {self.kind} cannot have {name} {value:g}", fix=f"{name} goes with {kind}")
        if self.quality > 100:
            raise ConfigError(f"a JPEG cannot have quality {self.quality}", fix="Give 1 to 100")

    @classmethod
    def standard(cls) -> Mapping[str, Self]:
        return {"bicubic4": cls()}

    def describe(self) -> str:
        small = f"smaller by {self.factor}, antialiased bicubic as MATLAB's imresize, rounded to 8 bits"
        if self.kind == "real-world":
            small = (
                f"smaller by {self.factor} after blur, resizing, noise and JPEG drawn at random (seed: picture index)"
            )
        border = "" if self.whole else f"; {self.factor} px left out on each side"
        return small + _KINDS[self.kind].format(quality=self.quality, level=self.level, blur=self.blur) + border

    def options(self, index: int) -> dict[str, Any]:
        return {"scale": float(self.factor)}

    def make(self, pictures: Sequence[Array], index: int) -> CaseSample:
        """Raises `UnsupportedError` for a picture that is too small."""
        (clean,) = pictures
        height, width = (side - side % self.factor for side in clean.shape[:2])
        least = self.factor * (1 if self.whole else 3)
        if min(height, width) < least:
            what = f"a picture of {clean.shape[1]} x {clean.shape[0]} px is too small for a factor of {self.factor}"
            raise UnsupportedError(what, fix=f"Take pictures with sides of at least {least} px")
        clean = np.ascontiguousarray(clean[:height, :width])
        return CaseSample(
            inputs={"picture": self._small(clean, index)},
            targets={"result": clean},
            border=0 if self.whole else self.factor,
            noise_level=self.level,
        )

    def _small(self, clean: Array, index: int) -> Array:
        if self.kind == "real-world":
            return _degraded(clean, self.factor, index)
        if self.kind == "blur":
            clean = blurred(clean, self.blur * self.factor)
        small = downscaled(clean, self.factor)
        if self.kind == "jpeg":
            return through_jpeg(small, self.quality)
        if self.kind == "noise":
            noise = np.random.default_rng(index).standard_normal(small.shape)
            return picture_of(codes_of(small) + self.level * noise, clipped=True)
        return small


def downscaled(clean: Array, factor: int) -> Array:
    """A picture H x W x C made smaller by MATLAB's antialiased bicubic, as uint8; H and W are multiples of `factor`."""
    from restore.physics.resample import resize

    small = resize(unit_of(clean).double(), (clean.shape[0] // factor, clean.shape[1] // factor))
    return picture_of(255 * small[0].movedim(0, -1).numpy(), clipped=True)


def blurred(clean: Array, sigma: float) -> Array:
    """A picture H x W x C after a Gaussian blur of `sigma` px, as float32 values of [0, 1]; its border is reflected."""
    from restore.physics.filters import filter_separably, gaussian_taps

    taps = gaussian_taps(2 * math.ceil(3 * sigma) + 1, sigma).double()
    return filter_separably(unit_of(clean).double(), taps)[0].movedim(0, -1).float().numpy()


def _degraded(clean: Array, factor: int, index: int) -> Array:
    from restore.degradations import build

    sample = build(_REAL_WORLD, factor=factor).draw({"clean": unit_of(clean)}, REAL_WORLD_SEED, 0, index)
    return picture_of(255 * sample.inputs["picture"][0].movedim(0, -1).double().numpy(), clipped=True)
