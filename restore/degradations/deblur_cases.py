"""Cases of blind deblurring: clean pictures as a moving or unfocused camera takes them, with exact sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from restore.degradations.cases import Array, Case, CaseSample, picture_of, unit_of
from restore.errors import ConfigError, UnsupportedError, nearest

DEBLUR_SEED = 0x5EED_0F_B1025
"""Of cases that name none; trainings count their seeds from 0."""
BORDER = 12
"""Pixels left out on each side: what methods make up of the scene beyond the border is not judged."""
_LEAST = 32  # px, side of what is left to be judged
_KINDS = {
    "shake": "a shake of {length:g} px along a random path",
    "line": "a line of {length:g} px in a random direction",
    "disc": "a disc of radius {radius:g} px",
    "none": "not blurred",
}


@dataclass(frozen=True, kw_only=True)
class DeblurCase(Case):
    """Input "picture", target "result": both without the margin that the blur needs, so that the scene goes on beyond
    the border; 12 px more are left out on each side when results are judged.
    """

    kind: Literal["shake", "line", "disc", "none"] = "shake"
    """A random path, a straight line, out of focus, or noise and compression alone."""
    length: float = 0.0
    """Extent of a shake or a line in pixels."""
    radius: float = 0.0
    """Of a disc, in pixels."""
    varying: bool = False
    """A shake or a line that changes over the picture."""
    noise: float = 1.0
    """Std of the white noise after the blur in 8-bit units (0..255)."""
    jpeg: int = 92
    """Quality of the compression (4:2:0) at the end; 0: none."""
    linear: bool = True
    """Blurred in linear light; else the values of the file are."""
    seed: int = DEBLUR_SEED
    """Of paths, directions and noise; each picture draws its own from it and its place in the folder."""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            fix = f"{nearest(self.kind, _KINDS)}Known: {', '.join(_KINDS)}"
            raise ConfigError(f"there is no blur {self.kind!r}", fix=fix)
        moves = self.kind in ("shake", "line")
        for name, taken, most in (("length", moves, 200), ("radius", self.kind == "disc", 100)):
            value = getattr(self, name)
            if taken != (value > 0) or not 0 <= value <= most:
                fix = f"Give it {name} above 0, up to {most}" if taken else f"Leave {name} out"
                raise ConfigError(f"the blur {self.kind} cannot have {name} {value:g}", fix=fix)
        if self.varying and not moves:
            raise ConfigError(f"the blur {self.kind} cannot vary", fix="varying goes with shake and line")
        if not 0 <= self.noise <= 255:
            raise ConfigError(f"noise cannot be {self.noise:g}", fix="Give a level in 8-bit units, 0 to 255")
        if not 0 <= self.jpeg <= 100:
            raise ConfigError(f"a JPEG cannot have quality {self.jpeg}", fix="Give 1 to 100, or 0 for none")

    @property
    def damages(self) -> bool:
        return self.kind != "none" or self.noise > 0 or self.jpeg > 0

    @classmethod
    def standard(cls) -> Mapping[str, Self]:
        return {f"shake{length}": cls(length=length) for length in (5, 12, 20)}

    def describe(self) -> str:
        words = [_KINDS[self.kind].format(length=self.length, radius=self.radius)]
        words += ["changing over the picture"] if self.varying else []
        if self.kind != "none":
            words.append("in linear light" if self.linear else "of the file's values")
        words.append(f"white noise, sigma {self.noise:g} of 255" if self.noise else "no noise")
        words.append("rounded to 8 bits")
        words += [f"JPEG of quality {self.jpeg} (4:2:0)"] if self.jpeg else []
        seed = "picture index" if self.seed == DEBLUR_SEED else f"{self.seed} and picture index"
        return f"{', '.join(words)} (seed: {seed}); {BORDER} px left out on each side"

    def make(self, pictures: Sequence[Array], index: int) -> CaseSample:
        """Raises `UnsupportedError` for a picture that is too small, or that JPEG cannot hold."""
        from restore.physics.camera_blur import CameraBlurRecipe, blur_as_camera

        (clean,) = pictures
        height, width, channels = clean.shape
        if self.jpeg and channels not in (1, 3):
            what = f"JPEG has grey or RGB, this picture {channels} channels"
            raise UnsupportedError(what, fix="Take others, or jpeg: 0")
        recipe = CameraBlurRecipe(**self._recipe())
        margin = recipe.margin
        least = 2 * (margin + BORDER) + _LEAST
        if min(height, width) < least:
            what = f"a picture of {width} x {height} px is too small for this blur"
            raise UnsupportedError(what, fix=f"Take pictures with sides of at least {least} px")
        made = blur_as_camera(unit_of(clean).clamp(0, 1), recipe, self.seed, 0, index)
        blurred = picture_of(255 * made.blurred[0].movedim(0, -1).double().numpy(), clipped=True)
        truth = clean[margin : height - margin, margin : width - margin]
        return CaseSample(
            inputs={"picture": blurred},
            targets={"result": np.ascontiguousarray(truth)},
            border=BORDER,
            noise_level=self.noise,
        )

    def _recipe(self) -> dict[str, Any]:
        """Fields of `restore.physics.camera_blur.CameraBlurRecipe`: ranges of one value, shares of 0 or 1."""
        quality = float(self.jpeg or 100)
        return {
            "weights": {self.kind: 1.0},
            "length": (self.length, self.length),
            "radius": (self.radius, self.radius),
            "varying": float(self.varying),
            "linear": float(self.linear),
            "lights": (1.0, 1.0),
            "noise": (self.noise, self.noise),
            "jpeg": float(self.jpeg > 0),
            "quality": (quality, quality),
        }
