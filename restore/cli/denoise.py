"""`restore denoise`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Positional, arg

from restore.cli.options import HIDE, INF, FileOptions, ReportOptions, RunOptions, number, one_of, parse_pd, reads


@dataclass(frozen=True)
class Denoise:
    """Remove noise from a picture, several pictures, or folders of them."""

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="IN... [OUT]", help_behavior_hint="")] = ()
    """Pictures or folders. The last of two or more is the output, a file or a folder; without one it is
    photo_denoised.png beside photo.png, photos_denoised/ beside photos/."""
    method: Annotated[str, one_of("--method", "auto", "zero-shot", "classical", "network")] = "auto"
    """How to denoise."""
    preset: Annotated[str | None, one_of("--preset", "fast", "quality"), HIDE] = None
    """A promise of time or of quality."""
    sigma: Annotated[float | None, number("--sigma", float, 0, INF, "LEVEL"), HIDE] = None
    """Noise level in 8-bit units (0..255) instead of the estimate."""
    pd: Annotated[int | None, reads("{auto,1,2,…}", parse_pd), HIDE] = None
    """Pixel-shuffle step against spatially correlated noise; 1: none."""
    algorithm: Annotated[str | None, one_of("--algorithm", "nlm", "wavelet", "opencv-nlm"), HIDE] = None
    """Which of the classical methods."""
    weights: Annotated[str | None, reads("NAME|FILE", str), HIDE] = None
    """Weights of a network: a name of the zoo or a .safetensors file."""
    model: Annotated[str | None, reads("FILE.py:CLASS", str), HIDE] = None
    """The network that --weights are of, where it is not of this program: my_net.py:MyNet or my_pkg.my_net:MyNet.
    Its code is run; a weights file alone never makes that happen."""
    files: FileOptions = field(default_factory=FileOptions)
    running: RunOptions = field(default_factory=RunOptions)
    report: ReportOptions = field(default_factory=ReportOptions)

    def run(self) -> int:
        from restore.cli.pictures import Request, restore_pictures

        method = {
            "method": self.method, "preset": self.preset, "sigma": self.sigma, "pd": self.pd,
            "algorithm": self.algorithm, "weights": self.weights, "model": self.model,
        }  # fmt: skip
        return restore_pictures(self.paths, Request("denoise", method, self.files, self.running, self.report))
