"""Cases of deconvolution: clean pictures blurred by a known PSF, with white noise or a dark sensor's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from restore.degradations.cases import Array, Case, CaseSample, codes_of, picture_of
from restore.errors import ConfigError, UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

_BANDING, _READ, _DARK = 0.02, 2.25, 5.0  # of the sensor, the middle of what INFWIDE trains on


@dataclass(frozen=True, kw_only=True)
class BlurCase(Case):
    """Input "picture", target "result", options "psf", and "noise" where the level is given to methods.

    Picture i of a folder has the noise of `numpy.random.default_rng(i)`.
    """

    psf: str | tuple[str, ...]
    """The blur: a description (motion:21,75) or a file, as `restore deconv --psf` takes it; of several, picture i has
    number i modulo their count."""
    noise: float = 0.0
    """Std of the white noise in 8-bit units (0..255)."""
    gain: float = 0.0
    """Instead of white noise that of a dark sensor with this total gain (`restore.physics.low_light`), with clipped
    lights; 0: none."""
    boundary: Literal["circular", "valid"] = "circular"
    """What is beyond the border: the picture again; or the scene goes on, and the picture is cut so that it can."""
    whole: bool = False
    """Judge the border too; by default a margin is left out, a PSF wide, the same for both boundaries."""
    clipped: bool = False
    """Clipped and rounded to 8 bits, as files are; else float values that may lie outside the range."""
    known_noise: bool = True
    """Methods are given the level of white noise; else they measure it."""

    def __post_init__(self) -> None:
        if not self.psf:
            raise ConfigError("a case of deconvolution needs a PSF", fix="For example psf: motion:21,75")
        if not 0 <= self.noise <= 255:
            raise ConfigError(f"noise cannot be {self.noise:g}", fix="Give a level in 8-bit units, 0 to 255")
        if self.gain < 0 or (self.gain and self.noise):
            raise ConfigError("noise and gain are two kinds of noise", fix="Give one of them, above 0")

    def describe(self) -> str:
        names = (self.psf,) if isinstance(self.psf, str) else self.psf
        noise = f"white noise, sigma {self.noise:g} of 255 (numpy default_rng(picture index))"
        noise = f"a dark sensor's noise, gain {self.gain:g}, clipped lights" if self.gain else noise
        words = [f"blurred by {' or '.join(names)}, {self.boundary}", noise if self.noise or self.gain else "no noise"]
        words.append("clipped and rounded to 8 bits" if self.clipped else "float, not clipped")
        words.append("PSF and noise level given" if "noise" in self.options(0) else "PSF given")
        words += [] if self.whole else ["a margin of a PSF's width left out"]
        return ", ".join(words)

    def options(self, index: int) -> dict[str, Any]:
        """The PSF; the level of white noise; and, where it is so, that the picture is circular."""
        given: dict[str, Any] = {"psf": self._psf(index)}
        if self.known_noise and self.noise:
            given["noise"] = self.noise
        if self.boundary == "circular":
            given["boundary"] = "none"
        return given

    def make(self, pictures: Sequence[Array], index: int) -> CaseSample:
        """Raises `UnsupportedError` for a picture that is too small, or not RGB under a sensor's noise."""
        import torch

        from restore.io.psf import load_single_psf

        (clean,) = pictures
        psf = load_single_psf(self._psf(index)).psf
        sides, size = (psf.shape[0], psf.shape[1]), clean.shape[:2]
        if any(2 * kernel >= side for kernel, side in zip(sides, size, strict=True)):
            raise UnsupportedError(
                f"a picture of {size[1]} x {size[0]} px is too small for a PSF of {sides[1]} x {sides[0]} px",
                fix="Take pictures of more than twice its size",
            )
        x = torch.from_numpy(codes_of(clean).astype(np.float64) / 255).movedim(-1, 0)[None]
        y = in_low_light(x, psf, self.gain, index) if self.gain else blurred(x, psf, self.noise / 255, index)
        damaged = picture_of(255 * y[0].movedim(0, -1).double().numpy(), clipped=self.clipped)
        inner = (slice(None), slice(None))
        if self.boundary == "valid":
            inner = tuple(slice(k // 2, side - k // 2) for k, side in zip(sides, size, strict=True))
        reach = max(sides) - (max(sides) // 2 if self.boundary == "valid" else 0)
        return CaseSample(
            inputs={"picture": np.ascontiguousarray(damaged[inner])},
            targets={"result": np.ascontiguousarray(clean[inner])},
            border=0 if self.whole else reach,
            noise_level=self.noise,
        )

    def _psf(self, index: int) -> str:
        return self.psf if isinstance(self.psf, str) else self.psf[index % len(self.psf)]


def blurred(x: Tensor, psf: Tensor, sigma: float, index: int) -> Tensor:
    """A picture 1 x C x H x W (float64, white = 1) blurred around its edges by a PSF h x w, with white noise.

    psf * x + sigma * numpy.random.default_rng(index).standard_normal((H, W, C)), as float32.
    """
    import torch

    from restore.physics.fourier import convolve, otf

    _, channels, height, width = x.shape
    noise = np.random.default_rng(index).standard_normal((height, width, channels)) * sigma
    return (convolve(x, otf(psf.to(x.dtype), (height, width))) + torch.from_numpy(noise).movedim(-1, 0)[None]).float()


def in_low_light(x: Tensor, psf: Tensor, gain: float, index: int) -> Tensor:
    """An RGB picture 1 x 3 x H x W blurred around its edges, as a dark sensor of this total gain sees it.

    float32; lights are clipped as `restore.physics.low_light.clip_lights` does; the noise is that of a torch.Generator
    seeded with `index`. Raises `UnsupportedError` for other than three channels.
    """
    import torch

    from restore.physics.fourier import convolve, otf
    from restore.physics.low_light import Sensor, add_low_light, clip_lights

    if x.shape[1] != 3:
        raise UnsupportedError(f"a dark sensor has RGB, this picture {x.shape[1]} channels", fix="Take colour pictures")
    sensor = Sensor(*(torch.tensor([value]) for value in (float(gain), _BANDING, _READ, _DARK)))
    y = convolve(x.float(), otf(psf.float(), (x.shape[2], x.shape[3])))
    return clip_lights(add_low_light(y, sensor, torch.Generator().manual_seed(index)))
