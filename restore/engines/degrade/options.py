"""Options of the kinds of damage that `restore degrade` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from restore.errors import ConfigError
from restore.options import Alias, Number, OneOf, Options, Text, flag

CAMERAS = ("raw", "dslr", "phone", "smoothed")
SHAPES = ("shake", "line", "disc", "field")
_QUALITY = Number(1, 100, "QUALITY", whole=True)


@dataclass(frozen=True)
class DegradeOptions(Options):
    """Options of every kind of damage."""

    subsampling: Annotated[str | None, OneOf("420", "444")] = None
    """Of compression by --jpeg and of jpeg: chroma at half (420, the default) or full resolution."""
    clip: bool = False
    """End values at black and white even in float files; other files always do."""
    unclipped: bool = False
    """Keep values below black and above white, or refuse: takes a .tif and --depth float."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip and self.unclipped:
            raise ConfigError("--clip and --unclipped contradict each other", fix="Leave one of them out")


@dataclass(frozen=True)
class NoiseOptions(DegradeOptions):
    """Options of every kind but jpeg."""

    jpeg: Annotated[int | None, _QUALITY] = None
    """Any kind but jpeg: compress with this quality after the noise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.subsampling and not self.jpeg:
            raise ConfigError(
                "--subsampling does not go with noise that is not compressed",
                fix="It belongs to jpeg, or add --jpeg QUALITY",
            )


@dataclass(frozen=True)
class NoneOptions(NoiseOptions):
    """No noise."""


@dataclass(frozen=True)
class RandomOptions(NoiseOptions):
    """One of the kinds, drawn for each picture."""


@dataclass(frozen=True)
class GaussianOptions(NoiseOptions):
    """White Gaussian noise."""

    sigma: Annotated[float, Number(0, 255, "LEVEL")] = 25.0
    """gaussian (25), correlated, resize (15): std in 8-bit units (0..255); speckle (25): std at white; developed
    (12), grain (12, in the middle tones): std of white noise as strong where it is coarse."""


@dataclass(frozen=True)
class SpeckleOptions(GaussianOptions):
    """Multiplicative noise."""


@dataclass(frozen=True)
class PoissonOptions(NoiseOptions):
    """Shot noise."""

    photons: Annotated[float, Number(0.01, 1e6, "COUNT")] = 30.0
    """poisson: photons at white (30); fewer are noisier."""


@dataclass(frozen=True)
class SaltPepperOptions(NoiseOptions):
    """Impulses."""

    share: Annotated[float, Number(1e-6, 1, "SHARE")] = 0.05
    """salt-pepper: share of the samples hit (0.05)."""


@dataclass(frozen=True)
class CorrelatedOptions(NoiseOptions):
    """Noise with spatial correlation."""

    sigma: Annotated[float, Number(0, 255, "LEVEL")] = 15.0
    """gaussian (25), correlated, resize (15): std in 8-bit units (0..255); speckle (25): std at white; developed
    (12), grain (12, in the middle tones): std of white noise as strong where it is coarse."""
    blur: Annotated[float, Number(0, 3, "PIXELS")] = 0.8
    """correlated: std of the Gaussian that correlates the noise (0.8); 0 is white."""
    dependence: Annotated[float, Number(0, 1, "SHARE")] = 0.0
    """correlated, developed: how much the variance follows the brightness (0)."""


@dataclass(frozen=True)
class DevelopedOptions(NoiseOptions):
    """Noise of developed photographs: of luma fine, of chroma coarse."""

    sigma: Annotated[float, Number(0.1, 255, "LEVEL")] = 12.0
    """gaussian (25), correlated, resize (15): std in 8-bit units (0..255); speckle (25): std at white; developed
    (12), grain (12, in the middle tones): std of white noise as strong where it is coarse."""
    dependence: Annotated[float, Number(0, 1, "SHARE")] = 0.0
    """correlated, developed: how much the variance follows the brightness (0)."""


@dataclass(frozen=True)
class GrainOptions(NoiseOptions):
    """Grain of film: alike in all colours, of the middle tones."""

    sigma: Annotated[float, Number(0.1, 255, "LEVEL")] = 12.0
    """gaussian (25), correlated, resize (15): std in 8-bit units (0..255); speckle (25): std at white; developed
    (12), grain (12, in the middle tones): std of white noise as strong where it is coarse."""


@dataclass(frozen=True)
class ResizeOptions(NoiseOptions):
    """White noise of a picture that was enlarged."""

    sigma: Annotated[float, Number(0, 255, "LEVEL")] = 15.0
    """gaussian (25), correlated, resize (15): std in 8-bit units (0..255); speckle (25): std at white; developed
    (12), grain (12, in the middle tones): std of white noise as strong where it is coarse."""
    factor: Annotated[float, Number(1, 8, "FACTOR")] = 1.7
    """resize: how much larger the noise is made (1.7); downscale, real-world: how much smaller the picture (4)."""


@dataclass(frozen=True)
class CameraOptions(NoiseOptions):
    """Noise of a camera."""

    camera: Annotated[str | None, OneOf(*CAMERAS), Alias("preset")] = None
    """camera: which kind of camera; by default one of them."""
    iso: Annotated[float | None, Number(25, 1e6, "ISO")] = None
    """camera: its sensitivity; by default one the kind of camera is used at."""


@dataclass(frozen=True)
class JpegOptions(DegradeOptions):
    """Compression."""

    quality: Annotated[int, _QUALITY] = 30
    """jpeg: quality of the damage (30). Other kinds: quality of JPEG and WebP files (95)."""


@dataclass(frozen=True)
class DownscaleOptions(Options):
    """A smaller picture."""

    factor: Annotated[float, Number(2, 16, "FACTOR")] = 4.0
    """resize: how much larger the noise is made (1.7); downscale, real-world: how much smaller the picture (4)."""


@dataclass(frozen=True)
class RealWorldOptions(Options):
    """A smaller picture, as bad as those from the wild."""

    factor: Annotated[float, Number(1, 8, "FACTOR")] = 4.0
    """resize: how much larger the noise is made (1.7); downscale, real-world: how much smaller the picture (4)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factor != int(self.factor):
            raise ConfigError(f"--factor {self.factor:g} does not go with real-world", fix="Give a whole number")


@dataclass(frozen=True)
class BlurOptions(NoiseOptions):
    """Blur of a moving or unfocused camera."""

    shape: Annotated[str, OneOf(*SHAPES)] = "shake"
    """blur: a shake along a random path, a straight line, a disc (out of focus), or a field: motion that is another
    one at every place."""
    length: Annotated[float | None, Number(0, 200, "PIXELS")] = None
    """blur: extent of a shake, of a line and of the largest motion of a field (12)."""
    angle: Annotated[float | None, Number(-360, 360, "DEGREES")] = None
    """blur: of a line, counter-clockwise from the right (0)."""
    radius: Annotated[float | None, Number(0, 100, "PIXELS")] = None
    """blur: of a disc (3)."""
    varying: bool = False
    """blur: a shake that also rolls, and so changes over the picture."""
    gamma: bool = False
    """blur: average the values of the file instead of linear light."""
    noise: Annotated[float, Number(0, 255, "LEVEL")] = 0.0
    """blur: std of white noise after it, in 8-bit units (0)."""
    save_psf: Annotated[str | Path | None, Text("FILE|FOLDER")] = None
    """blur: write the PSF too, where there is one for the whole picture."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, shapes in _BELONGS.items():
            if getattr(self, name) not in (None, False) and self.shape not in shapes:
                fix = f"It belongs to {' or '.join(shapes)}"
                raise ConfigError(f"{flag(name)} does not go with --shape {self.shape}", fix=fix)
        if self.save_psf is not None and (self.varying or self.shape == "field"):
            raise ConfigError("--save-psf needs a blur that is the same everywhere", fix="Leave it out")


_BELONGS = {"length": ("shake", "line", "field"), "angle": ("line",), "radius": ("disc",), "varying": ("shake",)}
"""Option of blur -> the shapes that have it."""
