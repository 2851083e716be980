"""Options of deblurring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from restore.options import INF, Budget, ExtraOutput, FromInputs, Number, Options, Text


@dataclass(frozen=True)
class DeblurOptions(Options):
    """Options of every method."""

    force: bool = False
    """Also treat pictures that are measured to be sharp, which otherwise come back as they were."""
    head: Annotated[int | None, Number(1, INF, whole=True)] = None
    """One answer, counted from 1: of one head of the network, instead of the mean of all; of one of the PSFs that the
    picture may have been blurred by, the likeliest first."""
    all_heads: bool = False
    """Also write every answer: photo_deblurred_head1.png, photo_deblurred_head2.png, …"""
    uncertainty: Annotated[bool | str, ExtraOutput()] = False
    """Also write where the answers disagree, 8 bits grey: their standard deviation, white for 32/255 of the picture's
    white and more."""


@dataclass(frozen=True)
class NetworkOptions(DeblurOptions):
    """Options of deblurring by a network."""

    weights: Annotated[str | Path | None, Text("NAME|FILE")] = None
    """Weights of a network: a name of the zoo, a .safetensors or a .pth file."""
    model: Annotated[str | None, Text("FILE.py:CLASS")] = None
    """The network that --weights are of, where it is not of this program: my_net.py:MyNet or my_pkg.my_net:MyNet.
    Its code is run; a weights file alone never makes that happen."""


@dataclass(frozen=True)
class AdaptOptions(NetworkOptions):
    """Options of a network that first adapts to the pictures at hand."""

    adapt: Annotated[bool | str | Path | Sequence[str | Path], FromInputs("[FOLDER|FILE]")] = False
    """Pictures or clips of one camera and kind of blur, to whose sharpest parts and blur the network adapts first
    (no sharp originals needed); without a value the inputs. It is kept only if it does better on parts that it did not
    learn from, and used again for the same inputs."""
    budget: Budget = None
    """How long it may learn: 90s, 5m. Without it the pictures alone decide."""
