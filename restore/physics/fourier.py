"""Convolution with a point spread function in the Fourier domain: one OTF convention for all of deconvolution.

Pictures are ... x H x W, PSFs ... x h x w (leading axes broadcast). Convolution is true convolution (the PSF is
flipped against `conv2d`), and the PSF's centre is its sample [h // 2, w // 2], for odd and even sides, as in
`scipy.ndimage.convolve`. All spectra are those of `rfft2`: ... x H x (W // 2 + 1).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS = 512  # convolved at once, to save memory
Size = tuple[int, int]


def otf(psf: Tensor, size: Size) -> Tensor:
    """Transfer function of a PSF on a circular picture of this size: ... x h x w -> ... x H x (W // 2 + 1) complex.

    Raises `ValueError` if the PSF is larger than the picture.
    """
    height, width = psf.shape[-2:]
    if height > size[0] or width > size[1]:
        raise ValueError(f"a PSF of {height} x {width} px is larger than the picture of {size[0]} x {size[1]} px")
    padded = psf.new_zeros(*psf.shape[:-2], *size)
    padded[..., :height, :width] = psf
    return torch.fft.rfft2(padded.roll((-(height // 2), -(width // 2)), (-2, -1)))


def convolve(x: Tensor, transfer: Tensor) -> Tensor:
    """Circular convolution with a PSF given by its `otf`."""
    return torch.fft.irfft2(torch.fft.rfft2(x) * transfer, s=x.shape[-2:])


def convolve_reflected(x: Tensor, psf: Tensor) -> Tensor:
    """Convolution of a picture that goes on reflected at its borders (repeated, where it is smaller than the PSF).

    ... x C x H x W and a PSF h x w of odd sides, or one for each of leading axes -> the same shape as x.
    """
    height, width = x.shape[-2:]
    down, across = (side // 2 for side in psf.shape[-2:])
    mode = "reflect" if down < height and across < width else "replicate"
    wide = F.pad(x, (across, across, down, down), mode=mode)
    rows = min(height, _ROWS)
    size = fast_size(rows + 2 * down), fast_size(wide.shape[-1])  # zeros beyond wrap into the margin alone
    transfer = otf(psf, size)

    def band(top: int) -> Tensor:
        part = wide[..., top : top + rows + 2 * down, :]
        whole = torch.fft.irfft2(torch.fft.rfft2(part, s=size) * transfer, s=size)
        return whole[..., down : down + min(rows, height - top), across : across + width]

    return band(0) if rows == height else torch.cat([band(top) for top in range(0, height, rows)], -2)


def correlate(x: Tensor, transfer: Tensor) -> Tensor:
    """The adjoint of `convolve`."""
    return torch.fft.irfft2(torch.fft.rfft2(x) * transfer.conj(), s=x.shape[-2:])


def data_step(y: Tensor, x: Tensor, transfer: Tensor, alpha: Tensor | float) -> Tensor:
    """argmin over z of |k * z - y|^2 + alpha |z - x|^2, for circular y and x of one shape and the `otf` of k."""
    power = transfer.real.square() + transfer.imag.square()
    spectrum = (transfer.conj() * torch.fft.rfft2(y) + alpha * torch.fft.rfft2(x)) / (power + alpha)
    return torch.fft.irfft2(spectrum, s=y.shape[-2:])


def difference_power(size: Size, like: Tensor) -> Tensor:
    """Power of the first differences, (2 - 2 cos wx) + (2 - 2 cos wy): H x (W // 2 + 1), type and device of `like`."""
    rows = torch.arange(size[0], dtype=like.dtype, device=like.device) * (2 * math.pi / size[0])
    columns = torch.arange(size[1] // 2 + 1, dtype=like.dtype, device=like.device) * (2 * math.pi / size[1])
    return (2 - 2 * rows.cos())[:, None] + (2 - 2 * columns.cos())


def frequency(size: Size, like: Tensor) -> Tensor:
    """Angular frequency |w| in radians a pixel: H x (W // 2 + 1), type and device of `like`."""
    rows = torch.fft.fftfreq(size[0], dtype=like.dtype, device=like.device)
    columns = torch.fft.rfftfreq(size[1], dtype=like.dtype, device=like.device)
    return torch.hypot(rows[:, None], columns) * (2 * math.pi)


def multiplicity(size: Size, like: Tensor) -> Tensor:
    """How often each column of an `rfft2` stands in the full spectrum: W // 2 + 1 ones and twos."""
    count = torch.full((size[1] // 2 + 1,), 2.0, dtype=like.dtype, device=like.device)
    count[0] = 1
    if size[1] % 2 == 0:
        count[-1] = 1
    return count


def fast_size(least: int) -> int:
    """The smallest whole number from `least` on without prime factors above 5: what FFTs are fast on."""
    size = max(1, least)
    while not _is_smooth(size):
        size += 1
    return size


def _is_smooth(number: int) -> bool:
    for prime in (2, 3, 5):
        while number % prime == 0:
            number //= prime
    return number == 1
