"""Stored samples <-> unit range, on the device and exactly reversible."""

from __future__ import annotations

import numpy as np
import torch

from restore.picture import PictureInfo, ValueScale


def to_unit(stored: np.ndarray, scale: ValueScale, device: torch.device) -> torch.Tensor:
    """H x W x C stored samples -> 1 x C x H x W float32 unit values."""
    tensor = torch.from_numpy(np.ascontiguousarray(stored)).to(device)
    return scale.to_unit(tensor.movedim(-1, 0)[None].to(torch.float32))


def to_stored(unit: torch.Tensor, scale: ValueScale, dtype: str) -> torch.Tensor:
    """C x H x W unit values -> H x W x C of the sample type; integers are rounded to even and clipped.

    The exact inverse of `to_unit` for integers, and for floats whose white is a power of two.
    """
    stored = scale.from_unit(unit)
    if dtype != "float32":
        limit = float(np.iinfo(dtype).max)
        stored = stored.round().clamp(0, limit if scale.clip is None else min(scale.clip, limit))
    return stored.movedim(0, -1).contiguous().to(getattr(torch, dtype))


def target_scale(scale: ValueScale, source: PictureInfo, target: PictureInfo) -> ValueScale:
    """The scale on the way out: the one found on the way in, unless the file's depth changes."""
    if (source.dtype, source.bits) == (target.dtype, target.bits):
        return scale
    return ValueScale.nominal(target)
