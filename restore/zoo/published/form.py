"""What is known of a recognised file."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor


class Published(NamedTuple):
    """Weights of others.

    Attributes:
        model: a key of `restore.models.MODELS`.
        arguments: of the network, as far as the shapes say them.
        state: the tensors under our names.
    """

    model: str
    arguments: dict[str, Any]
    state: dict[str, Tensor]
