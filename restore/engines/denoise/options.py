"""Options of the denoising methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from restore.options import Alias, Budget, FromInputs, Number, OneOf, Options, Parsed, Text

LEARNERS = ("cbsn", "ap-bsn", "neighbor2neighbor", "noise2void", "blind2unblind")
"""What a network can learn by from noisy pictures alone: the first two for correlated noise, the others for noise
without correlation."""


def _parse_pd(text: str) -> int | None:
    return None if text == "auto" else int(text)


_PD = Parsed("{auto,1,2,…}", _parse_pd, "Use auto, 1 (none), 2, 3 …", lambda pd: pd is None or 1 <= pd <= 8)


@dataclass(frozen=True)
class DenoiseOptions(Options):
    """Options of every method."""

    sigma: Annotated[float | None, Number(0, 255, "LEVEL")] = None
    """Noise level in 8-bit units (0..255) instead of the estimate."""

    hot_pixels: Annotated[str, OneOf("auto", "keep", "remove")] = "auto"
    """Single samples that stand out from their neighbours (hot pixels, and stars of one pixel): kept as they are, or
    replaced; auto replaces those that stand out at the same place in every frame of a sequence of four or more."""

    temporal: Annotated[str, OneOf("auto", "off")] = "auto"
    """Clips and numbered frames: auto averages what neighbouring frames show alike, once each was denoised, and leaves
    alone what does not match; off denoises every frame by itself."""

    @property
    def level_name(self) -> str:
        """A given level and what becomes of hot pixels, for fingerprints; "" where nothing is given."""
        hot = ":hot-pixels=remove" if self.hot_pixels == "remove" else ""
        return hot if self.sigma is None else f":sigma={self.sigma:g}{hot}"


@dataclass(frozen=True)
class ZeroShotOptions(DenoiseOptions):
    """Options of denoising without weights."""

    preset: Annotated[str, OneOf("fast", "quality")] = "fast"
    """A promise of time or of quality."""
    pd: Annotated[int | None, _PD] = None
    """Pixel-shuffle step against spatially correlated noise; 1: none."""


@dataclass(frozen=True)
class ClassicalOptions(DenoiseOptions):
    """Options of the classical denoisers."""

    algorithm: Annotated[str, OneOf("nlm", "wavelet", "opencv-nlm")] = "nlm"
    """Which of the classical methods."""


@dataclass(frozen=True)
class NetworkOptions(DenoiseOptions):
    """Options of denoising by a network."""

    weights: Annotated[str | Path | None, Text("NAME|FILE")] = None
    """Weights of a network: a name of the zoo or a .safetensors file."""
    model: Annotated[str | None, Text("FILE.py:CLASS")] = None
    """The network that --weights are of, where it is not of this program: my_net.py:MyNet or my_pkg.my_net:MyNet.
    Its code is run; a weights file alone never makes that happen."""


@dataclass(frozen=True)
class SelfSupervisedOptions(DenoiseOptions):
    """Options of learning from noisy pictures first."""

    adapt: Annotated[bool | str | Path | Sequence[str | Path], FromInputs("[FOLDER|FILE]"), Alias("fit")] = False
    """Noisy pictures of one kind to learn from first (self-supervised, no clean ones needed); without a value the
    inputs. What was learned is kept and used again."""
    budget: Budget = None
    """How long it may learn: 90s, 5m. Without it the pictures alone decide."""
    learner: Annotated[str, OneOf("auto", *LEARNERS)] = "auto"
    """What it learns by: cbsn and ap-bsn for correlated noise, the others for noise without; auto: as measured."""
