"""Wiener deconvolution with a choice of regularisers, and its weight by generalised cross-validation.

    X = conj(H) Y / (|H|^2 + lambda R)

    R: identity 1 | grad |differences|^2, the default | laplacian grad^2, as scikit-image's | power |w|^2.5, the
    spectrum of natural pictures | a spectrum of one's own (noise power over signal power)

    GCV(lambda) = sum |(1 - F) Y|^2 / (sum (1 - F))^2,  F = |H|^2 / (|H|^2 + lambda R)

(Golub, Heath, Wahba, Technometrics 1979.) With t = R / |H|^2, 1 - F = lambda t / (1 + lambda t): both sums are taken
once, in bins of log t, whatever the number of lambdas.
"""

from __future__ import annotations

import torch
from torch import Tensor

from restore.errors import ConfigError
from restore.physics.fourier import Size, difference_power, frequency, multiplicity, otf

REGULARISERS = ("identity", "grad", "laplacian", "power")
_POWER = 1.25
_BINS = 2048
_RANGE = (1e-12, 1e12)  # of t
_LAMBDAS = (-5.0, 1.0, 61)  # powers of ten, count


def regulariser(name: str, size: Size, like: Tensor) -> Tensor:
    """R by name: H x (W // 2 + 1), >= 0. Raises `ConfigError`."""
    if name == "identity":
        return torch.ones(size[0], size[1] // 2 + 1, dtype=like.dtype, device=like.device)
    if name == "grad":
        return difference_power(size, like)
    if name == "laplacian":
        return difference_power(size, like).square()
    if name == "power":
        power = frequency(size, like).pow(2 * _POWER)
        power[0, 0] = power[0, min(1, power.shape[1] - 1)]
        return power
    raise ConfigError(f"there is no regulariser {name!r}", fix=f"Use {', '.join(REGULARISERS)}")


def wiener(y: Tensor, psf: Tensor, weight: float | Tensor, prior: str | Tensor = "grad") -> Tensor:
    """Deconvolve circular pictures: B x C x H x W, PSF ... x h x w -> B x C x H x W.

    Args:
        weight: lambda, one number or a tensor that broadcasts with the spectra.
        prior: R, a name of `REGULARISERS`, or values H x (W // 2 + 1).
    """
    size = (y.shape[-2], y.shape[-1])
    transfer = otf(psf.to(y), size)
    prior = regulariser(prior, size, y) if isinstance(prior, str) else prior
    return torch.fft.irfft2(torch.fft.rfft2(y) * filter_of(transfer, weight, prior), s=size)


def filter_of(transfer: Tensor, weight: float | Tensor, prior: Tensor) -> Tensor:
    """The Wiener filter of a transfer function; 0 where nothing came through and nothing is asked."""
    power = transfer.real.square() + transfer.imag.square()
    return transfer.conj() / (power + weight * prior).clamp(min=torch.finfo(power.dtype).tiny)


def gcv(y: Tensor, psf: Tensor, prior: str | Tensor = "grad") -> float:
    """The lambda that generalised cross-validation chooses for circular pictures B x C x H x W, all channels together.

    On pictures whose border was extended it errs to the small side: double it there.
    """
    size = (y.shape[-2], y.shape[-1])
    transfer = otf(psf.to(y), size)
    prior = regulariser(prior, size, y) if isinstance(prior, str) else prior
    spectrum = torch.fft.rfft2(y)
    energy = spectrum.real.square() + spectrum.imag.square()
    power = transfer.real.square() + transfer.imag.square()
    low, high = (torch.tensor(v, dtype=torch.float64).log() for v in _RANGE)
    ratio = (prior / power.clamp(min=torch.finfo(power.dtype).tiny)).expand(energy.shape)
    place = ((ratio.clamp(*_RANGE).log() - low) * ((_BINS - 1) / (high - low))).round_().long()
    count = multiplicity(size, y).expand(energy.shape)
    valid = ratio > 0
    place, count, energy = place[valid].flatten(), count[valid].double(), energy[valid].double()
    energies = torch.bincount(place, energy * count, _BINS)
    counts = torch.bincount(place, count, _BINS)
    t = torch.linspace(float(low), float(high), _BINS, dtype=torch.float64, device=y.device).exp()
    weights = torch.logspace(*_LAMBDAS, dtype=torch.float64, device=y.device)
    passed = 1 / (1 + 1 / (weights[:, None] * t))  # 1 - F
    scores = (passed.square() @ energies) / (passed @ counts).square().clamp(min=1e-300)
    return float(weights[scores.argmin()])
