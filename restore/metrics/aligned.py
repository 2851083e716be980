"""PSNR after the best global shift: blind deblurring may move a picture by some pixels or parts of one, unseen.

    max(PSNR(x, y), PSNR(shifted x, y)),  both over the same pixels

The shift is that of the peak of the pictures' cross-correlation to 1/100 px, 8 px at most along each axis, applied in
the Fourier domain, of the picture mirrored at its borders so that no step is there.

Source: Guizar-Sicairos et al., "Efficient subpixel image registration algorithms", Optics Letters 2008; Koehler et al.,
"Recording and playback of camera shake", ECCV 2012 (PSNR after alignment).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.metrics.pixel import prepared, psnr
from restore.physics.noise import quantise

MOST = 8
"""Largest shift along each axis in px."""
MARGIN = 12
"""Pixels left out on each side beyond the border: what a shift moves in from outside is not known."""
_FINE = 100  # parts of a pixel
_TEXTURE = 1e-6  # std of what can be aligned


def psnr_aligned(x: Tensor, y: Tensor, *, border: int = 0, rounded: bool = False) -> Tensor:
    """PSNR in dB over all channels after the best global shift of x, B values.

    Args:
        x, y: B x C x H x W, white = 1.
        border: pixels left out on each side; `MARGIN` more are.
        rounded: clip and round to 8 bits first, and the shifted picture once more.
    Raises:
        ConfigError: the border leaves nothing. ValueError: the shapes differ.
    """
    prepared(x, y, border=border + MARGIN)
    x, y = prepared(x, y, border=border, rounded=rounded)
    plain = psnr(x, y, border=MARGIN)
    moved = torch.stack([_shifted(a, find_shift(a, b)) for a, b in zip(x, y, strict=True)])
    return torch.maximum(plain, psnr(quantise(moved) if rounded else moved, y, border=MARGIN))


def find_shift(x: Tensor, y: Tensor) -> tuple[float, float]:
    """(down, right) in px by which x must be moved to lie over y, C x H x W each; (0, 0) where it is above `MOST`."""
    first = _peak(x, y)
    if first is None or max(map(abs, first)) > MOST:
        return 0.0, 0.0
    rest = _peak(_shifted(x, first), y)  # windows that do not move with the pictures draw a shift to 0, a little
    down, right = (a + b for a, b in zip(first, rest or (0.0, 0.0), strict=True))
    return (down, right) if max(abs(down), abs(right)) <= MOST else (0.0, 0.0)


def _peak(x: Tensor, y: Tensor) -> tuple[float, float] | None:
    """Where the cross-correlation is largest; None for pictures without texture."""
    from skimage.registration import phase_cross_correlation

    a, b = (_windowed(each.double().mean(0)).cpu().numpy() for each in (x, y))
    if min(float(a.std()), float(b.std())) < _TEXTURE:
        return None
    shift, _, _ = phase_cross_correlation(b, a, upsample_factor=_FINE, normalization=None)  # type: ignore[arg-type]
    return float(shift[0]), float(shift[1])


def _windowed(x: Tensor) -> Tensor:
    """H x W without its mean, fading out at the borders, which would otherwise correlate with themselves."""
    rows, columns = (torch.hann_window(side + 2, periodic=False, dtype=x.dtype)[1:-1].to(x.device) for side in x.shape)
    weight = torch.outer(rows, columns)
    return (x - (x * weight).sum() / weight.sum()) * weight


def _shifted(x: Tensor, shift: tuple[float, float]) -> Tensor:
    """C x H x W moved (down, right), mirrored beyond its borders."""
    if shift == (0.0, 0.0):
        return x
    wide = F.pad(x.double(), (MARGIN,) * 4, mode="reflect")
    height, width = wide.shape[-2:]
    rows = torch.fft.fftfreq(height, dtype=wide.dtype, device=wide.device)[:, None] * shift[0]
    columns = torch.fft.rfftfreq(width, dtype=wide.dtype, device=wide.device) * shift[1]
    turn = torch.polar(torch.ones_like(rows + columns), -2 * math.pi * (rows + columns))
    moved = torch.fft.irfft2(torch.fft.rfft2(wide) * turn, s=(height, width))
    return moved[:, MARGIN:-MARGIN, MARGIN:-MARGIN].to(x.dtype)
