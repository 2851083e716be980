"""Options of the deconvolution methods."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from restore.errors import ConfigError
from restore.options import INF, Number, OneOf, Options, Text

ESTIMATES = ("auto", "line", "disc", "shake")
"""What a PSF may be estimated as."""


@dataclass(frozen=True)
class DeconvOptions(Options):
    """Options of every method."""

    psf: Annotated[Any, Text("FILE|FOLDER|estimate|motion:LENGTH,ANGLE|disc:RADIUS|gauss:SIGMA")] = None
    """The blur: a picture or .npy file of its shape (.npz of shapes that vary over the picture), a folder of
    them named as the pictures, or a description in pixels and degrees, or estimate:
    found in the picture itself (estimate:line, estimate:disc, estimate:shake where you know its kind) and taken
    out in linear light."""
    psf_size: Annotated[int, Number(3, 199, whole=True)] = 31
    """Largest side of an estimated PSF in pixels; above 31 it is estimated as a shake."""
    save_psf: Annotated[str | Path | None, Text("FILE|FOLDER")] = None
    """Write the PSF that was used, to look at or to use again."""
    noise: Annotated[float | None, Number(0, 255, "{auto,LEVEL}", auto=True)] = None
    """Noise level in 8-bit units (0..255) instead of the estimate."""
    boundary: Annotated[str, OneOf("liu-jia", "edgetaper", "reflect", "none")] = "liu-jia"
    """What lies beyond the border; none is for pictures that are circular."""
    centre_psf: bool = False
    """Move the PSF's centroid to its middle, which moves the result too."""
    flip_psf: bool = False
    """Turn the PSF by 180 degrees; some programs write it so."""
    linear: bool = False
    """Work in linear light, where blur and clipping happen; the picture is sRGB."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.psf is None:
            raise ConfigError(
                "deconvolution needs the blur's shape",
                fix="Give --psf FILE, --psf motion:LENGTH,ANGLE or --psf disc:RADIUS",
            )
        if self.estimate and self.estimate not in ESTIMATES:
            raise ConfigError(f"a PSF cannot be estimated as {self.estimate!r}", fix=f"Use {', '.join(ESTIMATES)}")

    @property
    def estimate(self) -> str:
        """What the PSF is to be estimated as; "" if it is given."""
        if isinstance(self.psf, str) and self.psf.partition(":")[0] == "estimate":
            return self.psf.partition(":")[2] or "auto"
        return ""


@dataclass(frozen=True)
class IterativeOptions(DeconvOptions):
    """Options of Richardson-Lucy."""

    iterations: Annotated[int | None, Number(1, INF, whole=True)] = None
    """Of rl and rl-tv, instead of a number chosen by the noise."""


@dataclass(frozen=True)
class WeightsOptions(DeconvOptions):
    """Options of methods with a network."""

    weights: Annotated[str | Path | None, Text("NAME|FILE")] = None
    """Weights of infwide, or of the denoiser that pnp takes for its prior."""
