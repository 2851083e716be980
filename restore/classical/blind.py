"""The point spread function of a shaken picture, estimated from the picture itself, coarse to fine.

At every scale five times: a latent picture with few gradients (L0: Xu, Zheng, Jia, CVPR 2013), its strongest
gradients in every direction, and the PSF that takes them to the gradients of the blurred picture (conjugate
gradients); small and scattered values of the PSF are removed, and its centroid is brought to the middle, since blind
estimation knows no position.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.classical.boundary import extend
from restore.classical.hyper_laplacian import hyper_laplacian, weight_for
from restore.physics.batch import crop_or_pad
from restore.physics.blurred_noise import blurred_noise
from restore.physics.fourier import difference_power, fast_size, otf
from restore.physics.psf import sanitised

_ALTERNATIONS = 5
_SPARSITY, _LEAST_SPARSITY, _DECAY = 4e-3, 1e-4, 1.1
_REFINING = 2e-3  # sparsity of the latent pictures of `refine_psf`
_BETA = 1e5
_PER_DIRECTION = 20  # gradients kept in each of four directions, times the PSF's side
_RIDGE = 2.0
_STEPS = 25
SURE = 0.2
"""Confidence from which on a PSF is believed."""
MOST_AT_EDGE, MOST_NEGATIVE = 0.02, 0.45
"""What an `Estimate` that is believed has at most."""
_MARGIN = 12  # px of the border that carry no information
_LEAST_NOISE = 0.002
_ISLAND, _WEAK, _WEAKEST = 0.1, 0.05, 0.05


class Estimate(NamedTuple):
    """A PSF h x w of sum 1, and what tells whether to believe it.

    Attributes:
        confidence: of `confidence`.
        at_edge: its share in the outermost samples of the window that it was looked for in. A blur that fits there
            leaves them nearly empty (at most 0.01 for 73 shakes); one that fills its window is none.
        negative: sum of the negative values over that of the positive ones, before the former were removed. Light is
            not negative: 0.10 to 0.39 for those shakes, over 0.45 for 25 of 26 sharp pictures that looked like one.
    """

    psf: Tensor
    confidence: float
    at_edge: float
    negative: float


def estimate_psf(picture: Tensor, size: int = 25) -> Estimate:
    """Estimate the PSF of a blurred picture.

    Args:
        picture: H x W, luma in [0, 1]; a few hundred pixels a side are enough.
        size: largest side of the PSF, odd, px.
    """
    picture = picture.float()
    sparsity = _SPARSITY
    raw = psf = torch.zeros(3, 3, dtype=picture.dtype)
    psf[1, 1:] = 0.5
    latent = picture
    for side in _sides(size):
        y = _resized(picture, side / size)
        psf = _fitted(psf, side)
        threshold = math.inf
        for _ in range(_ALTERNATIONS):
            latent = sparse_latent(y, psf, sparsity)
            gx, gy, threshold = _strongest(latent, threshold, side)
            raw = _solved(gx, gy, y, side)
            psf = _cleaned(raw)
            sparsity = max(sparsity / _DECAY, _LEAST_SPARSITY)
    at_edge = _at_edge(psf)
    psf = torch.where(psf < _WEAKEST * psf.max(), 0.0, psf)
    psf = sanitised(psf, centred=True).psf
    return Estimate(psf, confidence(picture, psf), at_edge, _negative(raw))


def refine_psf(picture: Tensor, psf: Tensor, size: int, rounds: int = 2) -> Tensor:
    """A PSF h x w of a blurred picture H x W after further alternations at full size: size x size, of sum 1."""
    picture, psf = picture.double(), crop_or_pad(psf.double(), (size, size))
    threshold = math.inf
    for _ in range(rounds):
        latent = sparse_latent(picture, psf / psf.sum(), _REFINING)
        gx, gy, threshold = _strongest(latent, threshold, size)
        psf = _cleaned(_solved(gx, gy, picture, size))
    return sanitised(psf, centred=True).psf


def _at_edge(k: Tensor) -> float:
    """Share of the sum of k h x w >= 0 in its outermost samples."""
    return max(0.0, 1 - float(k[1:-1, 1:-1].sum() / k.sum()))


def _negative(k: Tensor) -> float:
    """Sum of the negative values of k over that of the positive ones; 0 where there are none."""
    return float(k.clamp(max=0).sum().neg() / k.clamp(min=0).sum().clamp(min=1e-12))


def confidence(picture: Tensor, psf: Tensor) -> float:
    """How much sparser the gradients of a picture H x W become when this PSF is taken out, 0 to 1.

    1 - r(deconvolved) / r(denoised), with r the ratio of the L1 and the L2 norm of the gradients (Krishnan, Tay,
    Fergus, CVPR 2011). The right PSF gives 0.3 to 0.5; one estimated from a sharp picture 0.1 and less, since what it
    leaves is ringing (measured on three photographs, see `SURE`).
    """
    picture = picture.double()
    weight = weight_for(max(blurred_noise([picture[None]]), _LEAST_NOISE))

    def ratio(kernel: Tensor) -> float:
        wide = extend(picture[None, None], kernel)
        x = wide.inside(hyper_laplacian(wide.pixels, kernel, weight))[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        gradients = torch.cat([x.diff(dim=-1).flatten(), x.diff(dim=-2).flatten()])
        return float(gradients.abs().mean() / gradients.square().mean().sqrt().clamp(min=1e-12))

    nothing = ratio(torch.ones(1, 1, dtype=torch.float64))
    return max(0.0, 1 - ratio(psf.double()) / max(nothing, 1e-12))


def sparse_latent(y: Tensor, psf: Tensor, sparsity: float) -> Tensor:
    """argmin |k * x - y|^2 + sparsity * (number of gradients that are not 0), by half-quadratic splitting: H x W"""
    wide = extend(y[None, None], psf)
    size = (wide.pixels.shape[-2], wide.pixels.shape[-1])
    transfer = otf(psf, size)
    data = transfer.conj() * torch.fft.rfft2(wide.pixels)
    power, roughness = transfer.abs().square(), difference_power(size, y)
    x, beta = wide.pixels, 2 * sparsity
    while beta < _BETA:
        down, right = x.roll(-1, -2) - x, x.roll(-1, -1) - x
        kept = (down.square() + right.square() >= sparsity / beta).to(x.dtype)
        down, right = down * kept, right * kept
        back = down.roll(1, -2) - down + right.roll(1, -1) - right
        x = torch.fft.irfft2((data + beta * torch.fft.rfft2(back)) / (power + beta * roughness), s=size)
        beta *= 2
    return wide.inside(x)[0, 0]


def _sides(size: int) -> list[int]:
    """Odd sides of the PSF, from about 5 px by steps of sqrt(2) to the full one."""
    count = max(1, math.ceil(2 * math.log2(size / 5))) if size > 5 else 0
    sides = [int(size * 0.5 ** (0.5 * k)) // 2 * 2 + 1 for k in range(count, 0, -1)]
    return [*sorted({side for side in sides if 3 <= side < size}), size]


def _resized(picture: Tensor, factor: float) -> Tensor:
    if factor >= 1:
        return picture
    height, width = (max(16, round(side * factor)) for side in picture.shape)
    return F.interpolate(picture[None, None], (height, width), mode="bilinear", antialias=True)[0, 0]


def _fitted(psf: Tensor, side: int) -> Tensor:
    """The PSF of the scale before, enlarged."""
    wide = F.interpolate(psf[None, None], (side, side), mode="bicubic", align_corners=False)[0, 0].clamp(min=0)
    return wide / wide.sum()


def _strongest(x: Tensor, threshold: float, side: int) -> tuple[Tensor, Tensor, float]:
    """(differences right, differences down) of x with the weak ones zeroed, and the threshold for the next time."""
    gx, gy = x.roll(-1, -1) - x, x.roll(-1, -2) - x
    gx[:, -1], gy[-1] = 0, 0
    size = torch.hypot(gx, gy)
    if threshold == math.inf:
        direction = (torch.atan2(gy, gx) % math.pi / (math.pi / 4)).long().clamp(max=3)
        count = _PER_DIRECTION * side
        tops = [size[direction == d].flatten() for d in range(4)]
        tops = [float(v.topk(min(count, len(v))).values[-1]) for v in tops if len(v)]
        threshold = min(tops, default=0.0)
    kept = size >= max(threshold, 1e-6)
    return gx * kept, gy * kept, threshold / _DECAY


def _solved(gx: Tensor, gy: Tensor, y: Tensor, side: int) -> Tensor:
    """argmin_k |k * gx - dx y|^2 + |k * gy - dy y|^2 + ridge |k|^2 on side x side, by conjugate gradients."""
    dx, dy = y.roll(-1, -1) - y, y.roll(-1, -2) - y
    dx[:, -1], dy[-1] = 0, 0
    size = (y.shape[-2], y.shape[-1])
    fx, fy = torch.fft.rfft2(gx), torch.fft.rfft2(gy)
    power = fx.abs().square() + fy.abs().square()
    right = torch.fft.irfft2(fx.conj() * torch.fft.rfft2(dx) + fy.conj() * torch.fft.rfft2(dy), s=size)

    def cut(field: Tensor) -> Tensor:
        half = side // 2
        return field.roll((half, half), (0, 1))[:side, :side]

    # k meets the gradients only through their autocorrelation at the lags that its own samples are apart
    lags = torch.arange(1 - side, side)
    correlation = torch.fft.irfft2(power, s=size)[(lags % size[0])[:, None], lags % size[1]]
    wide = fast_size(2 * side - 1)
    transfer = otf(correlation, (wide, wide))

    def apply(k: Tensor) -> Tensor:
        return (
            torch.fft.irfft2(transfer * torch.fft.rfft2(k, s=(wide, wide)), s=(wide, wide))[:side, :side] + _RIDGE * k
        )

    target = cut(right)
    k = torch.zeros_like(target)
    residual = target - apply(k)
    direction, energy = residual.clone(), residual.square().sum()
    for _ in range(_STEPS):
        if float(energy) < 1e-20:
            break
        image = apply(direction)
        step = energy / (direction * image).sum()
        k = k + step * direction
        residual = residual - step * image
        before, energy = energy, residual.square().sum()
        direction = residual + energy / before * direction
    return k


def _cleaned(k: Tensor) -> Tensor:
    """Without negative, weak and scattered values; of sum 1, its centroid in the middle."""
    k = torch.where(k < _WEAK * k.max(), 0.0, k.clamp(min=0))
    if not float(k.sum()) > 0:
        k = torch.zeros_like(k)
        k[k.shape[0] // 2, k.shape[1] // 2] = 1
    k = k / k.sum()
    _, labels = cv2.connectedComponents((k > 0).numpy().astype(np.uint8), connectivity=8)
    parts = torch.from_numpy(labels).long()
    mass = torch.bincount(parts.flatten(), k.flatten())
    k = torch.where(mass[parts] >= min(_ISLAND, float(mass.max())), k, 0.0)
    k = k / k.sum()
    down, right = (
        k.shape[axis] // 2 - round(float((k.sum(1 - axis) * torch.arange(k.shape[axis])).sum())) for axis in (0, 1)
    )
    return k.roll((down, right), (0, 1))
