"""What is known of a recognised file, and how sizes are read from its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

NUMBER = r"(\d{1,4})"


class Published(NamedTuple):
    """Weights of others.

    Attributes:
        model: a key of `restore.models.MODELS`.
        arguments: of the network, as far as the shapes say them.
        state: the tensors under our names.
        task: what they restore, where it is not what the network's spec says; "": it is.
    """

    model: str
    arguments: dict[str, Any]
    state: dict[str, Tensor]
    task: str = ""


def conv_sizes(state: Mapping[str, Tensor], name: str) -> tuple[int, int] | None:
    """(channels out, in) of a convolution, or None if there is none of this name."""
    weight = state.get(f"{name}.weight")
    return (weight.shape[0], weight.shape[1]) if weight is not None and weight.ndim == 4 else None


def count_numbers(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many different numbers names begin with."""
    return len({found[1] for name in state if (found := re.match(pattern, name))})
