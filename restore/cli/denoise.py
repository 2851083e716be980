"""`restore denoise`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Positional, arg

from restore.cli.options import HIDE, INF, FileOptions, ReportOptions, RunOptions, number, one_of, parse_pd, reads
from restore.training.settings import seconds_of

_LEARNERS = ("cbsn", "ap-bsn", "neighbor2neighbor", "noise2void", "blind2unblind")


@dataclass(frozen=True)
class Denoise:
    """Remove noise from a picture, several pictures, or folders of them."""

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="IN... [OUT]", help_behavior_hint="")] = ()
    """Pictures or folders. The last of two or more is the output, a file or a folder; without one it is
    photo_denoised.png beside photo.png, photos_denoised/ beside photos/."""
    method: Annotated[str, one_of("--method", "auto", "zero-shot", "classical", "network", "self-supervised")] = "auto"
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
    fit: Annotated[str | None, reads("FOLDER|FILE", str), HIDE] = None
    """Noisy pictures of one kind to learn from first (self-supervised, no clean ones needed); by default the inputs.
    What was learned is kept and used again."""
    budget: Annotated[float | None, reads("TIME", seconds_of), HIDE] = None
    """How long it may learn: 90s, 5m. Without it the pictures alone decide."""
    learner: Annotated[str | None, one_of("--learner", "auto", *_LEARNERS), HIDE] = None
    """What it learns by: cbsn and ap-bsn for correlated noise, the others for noise without; auto: as measured."""
    files: FileOptions = field(default_factory=FileOptions)
    running: RunOptions = field(default_factory=RunOptions)
    report: ReportOptions = field(default_factory=ReportOptions)

    def run(self) -> int:
        from restore.cli.pictures import Request, restore_pictures

        asked = self.fit is not None or self.learner is not None
        learns = self.method == "self-supervised" or (self.method == "auto" and asked)
        inputs = self.paths[:-1] if len(self.paths) > 1 and not self.files.in_place else self.paths
        method = {
            "method": "self-supervised" if learns else self.method, "preset": self.preset, "sigma": self.sigma,
            "pd": self.pd, "algorithm": self.algorithm, "weights": self.weights, "model": self.model,
            "fit": self.fit or (inputs if learns else None), "budget": self.budget,
            "learner": self.learner,
        }  # fmt: skip
        return restore_pictures(self.paths, Request("denoise", method, self.files, self.running, self.report))
