"""The FFT loss: mean |F(x - y)| over the bins of a real 2-D Fourier transform.

The transform is orthonormal, so that white noise costs the same whatever the size of the crop. |F| is the modulus:
the loss does not depend on where in the crop a difference lies (|Re| + |Im|, which others use, does). Every bin of
the half plane that `rfft2` gives counts once. About 0.05 to 0.1 beside an L1 of weight 1 is usual.
"""

from __future__ import annotations

import torch
from torch import Tensor

from restore.losses.pixel import difference


def fft_loss(x: Tensor, y: Tensor) -> Tensor:
    """Mean modulus of the spectrum of x - y, two tensors ... x H x W of one shape: a scalar, float32 or float64."""
    error = difference(x, y)
    with torch.autocast(error.device.type, enabled=False):
        return torch.fft.rfft2(error, norm="ortho").abs().mean()
