"""What lies beyond the border of a blurred picture, so that circular deconvolution does not ring from there.

liu-jia    harmonic: the picture goes on smoothly and closes on itself, solving Laplace's equation in the added
           strips (Liu, Jia, "Reducing boundary artifacts in image deconvolution", ICIP 2008); the default
edgetaper  repeated border, then blended with its own circular blur near the border, four times
reflect    mirrored by the PSF's size
none       the picture is taken for circular
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import ConfigError
from restore.physics.fourier import convolve, fast_size, otf

Boundary = Literal["liu-jia", "edgetaper", "reflect", "none"]
BOUNDARIES: tuple[str, ...] = get_args(Boundary)
_TAPERS = 4


class Extended(NamedTuple):
    """A picture with a border, and where the picture is in it.

    Attributes:
        pixels: B x C x H' x W'.
        top, left, height, width: of the picture.
    """

    pixels: Tensor
    top: int
    left: int
    height: int
    width: int

    def known(self) -> Tensor:
        """1 x 1 x H' x W', bool: where the picture is, and not its extended border."""
        mask = torch.zeros(1, 1, *self.pixels.shape[-2:], dtype=torch.bool, device=self.pixels.device)
        self.inside(mask)[:] = True
        return mask

    def inside(self, x: Tensor) -> Tensor:
        """The picture's part of a tensor of the extended size."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]


def extend(x: Tensor, psf: Tensor, boundary: str = "liu-jia") -> Extended:
    """Extend a blurred picture B x C x H x W for circular deconvolution with a PSF ... x h x w.

    Raises `ConfigError` for an unknown boundary.
    """
    height, width = x.shape[-2:]
    reach = psf.shape[-2:]
    if boundary == "none":
        return Extended(x, 0, 0, height, width)
    if boundary == "liu-jia":
        rows, columns = (fast_size(side + max(1, k - 1)) - side for side, k in zip((height, width), reach, strict=True))
        return Extended(liu_jia(x, rows, columns), 0, 0, height, width)
    if boundary not in BOUNDARIES:
        raise ConfigError(f"there is no boundary {boundary!r}", fix=f"Use {', '.join(BOUNDARIES)}")
    margins = [k // 2 + 1 if boundary == "edgetaper" else k for k in reach]
    more = [fast_size(side + 2 * m) - side - 2 * m for side, m in zip((height, width), margins, strict=True)]
    border = (margins[1], margins[1] + more[1], margins[0], margins[0] + more[0])
    if boundary == "reflect" and (border[3] >= height or border[1] >= width):
        boundary = "edgetaper"  # nothing left to mirror
    padded = F.pad(x, border, mode="reflect" if boundary == "reflect" else "replicate")
    if boundary == "edgetaper":
        for _ in range(_TAPERS):
            padded = edgetaper(padded, psf)
    return Extended(padded, margins[0], margins[1], height, width)


def edgetaper(x: Tensor, psf: Tensor) -> Tensor:
    """Blend a picture with its circular blur near the border, by the PSF's autocorrelation: B x C x H x W."""
    size = x.shape[-2:]
    rows, columns = (_taper(psf.sum(axis), side) for axis, side in ((-1, size[0]), (-2, size[1])))
    share = (1 - rows)[..., :, None] * (1 - columns)[..., None, :]
    blurred = convolve(x, otf(psf, (size[0], size[1])))
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    return torch.lerp(blurred, x, share).clamp(low, high)


def _taper(projection: Tensor, length: int) -> Tensor:
    """Circular autocorrelation of a projected PSF over length - 1 samples, its first sample repeated: ... x length"""
    power = torch.fft.rfft(projection, n=length - 1).abs().square()
    correlation = torch.fft.irfft(power, n=length - 1)
    correlation = correlation / correlation.amax(-1, keepdim=True)
    return torch.cat([correlation, correlation[..., :1]], -1)


def liu_jia(x: Tensor, rows: int, columns: int) -> Tensor:
    """Add rows below and columns to the right, harmonic between the border and the one opposite.

    B x C x H x W -> B x C x (H + rows) x (W + columns)
    """
    below = _strip(x[..., -1, :], x[..., 0, :], rows)  # rows x W
    right = _strip(x[..., :, -1], x[..., :, 0], columns).mT  # H x columns
    corner = _harmonic(right[..., -1, :], right[..., 0, :], below[..., :, -1], below[..., :, 0])
    return torch.cat([torch.cat([x, right], -1), torch.cat([below, corner], -1)], -2)


def _strip(first: Tensor, last: Tensor, count: int) -> Tensor:
    """`count` rows between two rows ... x W: linear on both sides, harmonic inside."""
    share = torch.arange(1, count + 1, dtype=first.dtype, device=first.device) / (count + 1)
    left = torch.lerp(first[..., :1], last[..., :1], share)
    right = torch.lerp(first[..., -1:], last[..., -1:], share)
    inner = _harmonic(first[..., 1:-1], last[..., 1:-1], left, right)
    strip = torch.cat([left[..., None], inner, right[..., None]], -1)
    return strip[..., : first.shape[-1]]  # a row of one pixel is its own left and right


def _harmonic(top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Solution of Laplace's equation in a rectangle with these values around it: ... x n x m from sides m and n."""
    n, m = left.shape[-1], top.shape[-1]
    around = top.new_zeros(*top.shape[:-1], n, m)
    if not n or not m:
        return around
    around[..., 0, :] += top
    around[..., -1, :] += bottom
    around[..., :, 0] += left
    around[..., :, -1] += right
    powers = [2 - 2 * (torch.arange(1, k + 1, dtype=top.dtype, device=top.device) * (math.pi / (k + 1))).cos()
              for k in (n, m)]  # fmt: skip
    spectrum = _sine(_sine(around).mT).mT / (powers[0][:, None] + powers[1])
    return _sine(_sine(spectrum).mT).mT * (4 / ((n + 1) * (m + 1)))


def _sine(x: Tensor) -> Tensor:
    """DST-I along the last axis, sum_j x_j sin(pi (j + 1) (k + 1) / (n + 1)); twice it is (n + 1) / 2."""
    zero = x.new_zeros(*x.shape[:-1], 1)
    odd = torch.cat([zero, x, zero, -x.flip(-1)], -1)
    return -torch.fft.rfft(odd).imag[..., 1 : x.shape[-1] + 1] / 2
