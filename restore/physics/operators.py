"""Blur as a linear operator with its adjoint, for methods that need no more than these two.

Pictures are B x C x H x W; PSFs as in `restore.physics.fourier`.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.physics.fourier import convolve, correlate, fast_size, otf


class Blur(Protocol):
    """y = K x and x = K^T y: <K x, y> = <x, K^T y>."""

    def forward(self, x: Tensor) -> Tensor: ...

    def adjoint(self, y: Tensor) -> Tensor: ...


class CircularBlur:
    """The same PSF ... x h x w everywhere, the picture closed on itself."""

    def __init__(self, psf: Tensor, like: Tensor) -> None:
        self._transfer = otf(psf.to(like), (like.shape[-2], like.shape[-1]))
        self._turned = self._transfer.conj().resolve_conj()

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x).mul_(self._transfer), s=x.shape[-2:])

    def adjoint(self, y: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(y).mul_(self._turned), s=y.shape[-2:])


class ZeroBlur:
    """The same PSF everywhere, nothing beyond the border: scipy's mode "same"."""

    def __init__(self, psf: Tensor, like: Tensor) -> None:
        self._size = (like.shape[-2], like.shape[-1])
        self._wide = tuple(fast_size(n + k) for n, k in zip(self._size, psf.shape[-2:], strict=True))
        self._transfer = otf(psf.to(like), (self._wide[0], self._wide[1]))

    def forward(self, x: Tensor) -> Tensor:
        return self._inside(convolve(self._padded(x), self._transfer))

    def adjoint(self, y: Tensor) -> Tensor:
        return self._inside(correlate(self._padded(y), self._transfer))

    def _padded(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, self._wide[1] - self._size[1], 0, self._wide[0] - self._size[0]))

    def _inside(self, x: Tensor) -> Tensor:
        return x[..., : self._size[0], : self._size[1]]


class VaryingBlur:
    """A PSF that changes over the picture: y = sum_i psf_i * (map_i x), circular.

    Args:
        psfs: n x h x w.
        maps: n x h' x w' >= 0, resized to the picture (corners aligned) and made to sum to 1 in every pixel.
        like: what is blurred, or a part of it: B x C x H x W.
        size: height and width of the whole picture; beyond it the maps are continued.
        origin: row and column of `like`'s first pixel within the picture.
    """

    def __init__(
        self, psfs: Tensor, maps: Tensor, like: Tensor, size: tuple[int, int], origin: tuple[int, int] = (0, 0)
    ) -> None:
        shape = (like.shape[-2], like.shape[-1])
        self._transfers = otf(psfs.to(like), shape)
        rows, columns = (
            _lines(first, length, whole, few).to(like)
            for first, length, whole, few in zip(origin, shape, size, maps.shape[-2:], strict=True)
        )
        spread = rows @ maps.to(like) @ columns.mT
        self._maps = spread / spread.sum(0).clamp(min=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        shared = zip(self._transfers, self._maps, strict=True)
        spectrum = sum(torch.fft.rfft2(share * x) * transfer for transfer, share in shared)
        return torch.fft.irfft2(spectrum, s=x.shape[-2:])

    def adjoint(self, y: Tensor) -> Tensor:
        spectrum, size = torch.fft.rfft2(y), y.shape[-2:]
        shared = zip(self._transfers, self._maps, strict=True)
        parts = (share * torch.fft.irfft2(spectrum * transfer.conj(), s=size) for transfer, share in shared)
        return torch.stack(list(parts)).sum(0)


def _lines(first: int, length: int, whole: int, few: int) -> Tensor:
    """Linear interpolation of `few` samples over `whole` pixels, corners aligned, at pixels [first, first + length);
    beyond the ends the outer samples are repeated: length x few, float64."""
    pixel = torch.arange(first, first + length, dtype=torch.float64).clamp(0, whole - 1)
    place = pixel * ((few - 1) / max(whole - 1, 1))
    return (1 - (place[:, None] - torch.arange(few)).abs()).clamp(min=0)


def grid_maps(rows: int, columns: int) -> Tensor:
    """Weights of PSFs at the crossings of a regular grid, bilinear between: (rows columns) x rows x columns.

    Resized with the corners aligned, as `VaryingBlur` does, they are the bilinear weights at every pixel.
    """
    return torch.eye(rows * columns).view(rows * columns, rows, columns)
