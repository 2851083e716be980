"""`restore deconv`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Positional, arg

from restore.cli.options import (
    HIDE,
    INF,
    FileOptions,
    Flag,
    ReportOptions,
    RunOptions,
    number,
    one_of,
    parse_noise,
    reads,
)


@dataclass(frozen=True)
class Deconv:
    """Take a known blur out of a picture, several pictures, or folders of them."""

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="IN... [OUT]", help_behavior_hint="")] = ()
    """Pictures or folders. The last of two or more is the output, a file or a folder; without one it is
    photo_deblurred.png beside photo.png, photos_deblurred/ beside photos/."""
    psf: Annotated[str | None, reads("FILE|FOLDER|estimate|motion:LENGTH,ANGLE|disc:RADIUS|gauss:SIGMA", str), HIDE] = (
        None
    )
    """The blur: a picture or .npy file of its shape (.npz of shapes that vary over the picture), a folder of
    them named as the pictures, or a description in pixels and degrees, or estimate:
    found in the picture itself (estimate:line, estimate:disc, estimate:shake where you know its kind)."""
    psf_size: Annotated[int | None, number("--psf-size", int, 3, 199), HIDE] = None
    """Largest side of an estimated PSF in pixels."""
    save_psf: Annotated[str | None, reads("FILE|FOLDER", str), HIDE] = None
    """Write the PSF that was used, to look at or to use again."""
    method: Annotated[str, one_of("--method", "auto", "wiener", "rl", "rl-tv", "hyper-laplacian", "pnp", "infwide")] = (
        "auto"
    )
    """How to take it out; auto chooses by what is measured, and says why."""
    noise: Annotated[float | None, reads("{auto,LEVEL}", parse_noise), HIDE] = None
    """Noise level in 8-bit units (0..255) instead of the estimate."""
    boundary: Annotated[str | None, one_of("--boundary", "liu-jia", "edgetaper", "reflect", "none"), HIDE] = None
    """What lies beyond the border; none is for pictures that are circular."""
    iterations: Annotated[int | None, number("--iterations", int, 1, INF), HIDE] = None
    """Of rl and rl-tv, instead of a number chosen by the noise."""
    weights: Annotated[str | None, reads("NAME|FILE", str), HIDE] = None
    """Weights of infwide, or of the denoiser that pnp takes for its prior."""
    centre_psf: Flag = False
    """Move the PSF's centroid to its middle, which moves the result too."""
    flip_psf: Flag = False
    """Turn the PSF by 180 degrees; some programs write it so."""
    linear: Flag = False
    """Work in linear light, where blur and clipping happen; the picture is sRGB."""
    files: FileOptions = field(default_factory=FileOptions)
    running: RunOptions = field(default_factory=RunOptions)
    report: ReportOptions = field(default_factory=ReportOptions)

    def run(self) -> int:
        from restore.cli.pictures import Request, restore_pictures

        method = {
            "method": self.method, "psf": self.psf, "sigma": self.noise, "boundary": self.boundary,
            "iterations": self.iterations, "weights": self.weights, "centre": self.centre_psf or None,
            "flip": self.flip_psf or None, "linear": self.linear or None, "psf_size": self.psf_size,
            "save_psf": self.save_psf,
        }  # fmt: skip
        return restore_pictures(self.paths, Request("deconv", method, self.files, self.running, self.report))
