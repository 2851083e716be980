"""What cameras do to noise before they write a file: shrinking weak details, and what of the noise that leaves."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.physics.batch import per_sample
from restore.physics.dct import dct_matrix

_BLOCK = 8
_FIRST = 2  # order u + v of the first frequencies that are shrunk
_SHIFTS = (0, _BLOCK // 2)  # px, of the grids of blocks, averaged


def reduced_noise(x: Tensor, noise: Tensor, threshold: Tensor) -> Tensor:
    """What is left of noise once a camera has reduced it: that of the noisy picture minus that of the clean one.

    The picture itself stays as it is, so that it is the truth for x + result. Noise is left where the picture has
    details of its own, and hardly any in between, as in developed photographs.

    Args:
        x, noise: B x C x H x W.
        threshold: B, of the coefficients of luminance (`shrink_details`), in [0, 1] units.
    """
    axis = dct_matrix(x.shape[1]).to(x)[0]
    luma, added = (torch.einsum("c,nchw->nhw", axis, each)[:, None] for each in (x, noise))
    left = shrink_details(luma + added, threshold) - shrink_details(luma, threshold)
    return noise + axis[:, None, None] * (left - added)


def shrink_details(x: Tensor, threshold: Tensor) -> Tensor:
    """Coefficients of 8 x 8 DCTs shrunk by the non-negative garrote c max(0, 1 - t^2 / c^2), on two grids of blocks.

    B x 1 x H x W, threshold: B -> the same shape. Sides of at least 8 px. Gao, "Wavelet shrinkage denoising using the
    non-negative garrote", JCGS 1998.
    """
    height, width = x.shape[-2:]
    order = torch.arange(_BLOCK, device=x.device)
    shrunk = (order[:, None] + order >= _FIRST).to(x)
    limit = (per_sample(threshold)[..., None, None] * shrunk[:, None]).square()  # B x 1 x 1 x 8 x 1 x 8
    basis, total = dct_matrix(_BLOCK).to(x), torch.zeros_like(x)
    for shift in _SHIFTS:
        padded = F.pad(x, (shift, -(width + shift) % _BLOCK, shift, -(height + shift) % _BLOCK), mode="reflect")
        blocks = padded.unflatten(-1, (-1, _BLOCK)).unflatten(-3, (-1, _BLOCK))
        c = torch.einsum("ay,bx,nciyjx->nciajb", basis, basis, blocks)
        c = c * (1 - limit / c.square().clamp(min=1e-12)).clamp(min=0)
        y = torch.einsum("ay,bx,nciajb->nciyjx", basis, basis, c).flatten(-2).flatten(-3, -2)
        total += y[..., shift : shift + height, shift : shift + width]
    return total / len(_SHIFTS)


def rolling_off(blur: Tensor, steepness: Tensor, radius: int) -> Tensor:
    """Low-pass kernels of response exp(-(f / f0)^steepness), of sum 1: B x (2 radius + 1) x (2 radius + 1).

    Args:
        blur: B, > 0; f0 is that of the Gaussian of this std, px.
        steepness: B, 2 (Gaussian) and more: cameras pass much up to a frequency, and hardly anything beyond.
        radius: px, that the kernels are cut to.
    """
    f = torch.fft.fftfreq(8 * radius, device=blur.device)
    cut = 1 / (2**0.5 * torch.pi * blur)
    distance = (f[:, None].square() + f.square()).sqrt() / cut[:, None, None]
    kernels = torch.fft.fftshift(torch.fft.ifft2(torch.exp(-(distance ** steepness[:, None, None]))).real, (-2, -1))
    inside = slice(3 * radius, 5 * radius + 1)
    kernels = kernels[:, inside, inside]
    return kernels / kernels.sum((1, 2), keepdim=True)
