"""Stored samples <-> tensors of unit values, on the device and exactly reversible."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from restore.picture import ValueScale


def to_unit(stored: np.ndarray, scale: ValueScale, device: torch.device | str = "cpu") -> Tensor:
    """H x W x C stored samples -> 1 x C x H x W float32 unit values."""
    tensor = torch.from_numpy(np.require(stored, requirements=("C", "W"))).to(device)  # decoders may lend theirs
    return scale.to_unit(tensor.movedim(-1, 0)[None].to(torch.float32))


def to_stored(unit: Tensor, scale: ValueScale, dtype: str) -> Tensor:
    """C x H x W unit values -> H x W x C of the sample type; integers are rounded to even and clipped.

    The exact inverse of `to_unit` for integers, and for floats whose white is a power of two.
    """
    stored = scale.from_unit(unit)
    if dtype != "float32":
        limit = float(np.iinfo(dtype).max)
        stored = stored.round().clamp(0, limit if scale.clip is None else min(scale.clip, limit))
    return stored.movedim(0, -1).contiguous().to(getattr(torch, dtype))
