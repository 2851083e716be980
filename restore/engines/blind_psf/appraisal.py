"""What taking a candidate PSF out of a part of a picture is expected to gain, without the truth.

A small regression (perceptrons with two hidden layers, their mean) over figures that tell ringing and over-sharpening
from detail: what the judge sees (`restore.engines.blind_psf.judge`), how far light would have to be negative or beyond
white, how sparse gradients and how strong the finest details become, the PSF's shape, and how far it is from the
likeliest candidate. Over-sharpened pictures look crisp: the judge alone mistook them, the negative light gives them
away. Fitted, with more weight on expecting too much, by `tools/fit_appraisal.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.analysis.sharpness import edge_softness
from restore.classical.boundary import extend
from restore.classical.hyper_laplacian import hyper_laplacian
from restore.engines.blind_psf.candidates import ORIGINS, SIDE, Candidate
from restore.engines.blind_psf.fitted import APPRAISAL_FILE, fitted
from restore.engines.blind_psf.judge import error_maps
from restore.physics.blurred_noise import blurred_noise
from restore.physics.color import linear_to_srgb, srgb_to_linear, to_grey
from restore.physics.psf import sanitised

MEMBERS, HIDDEN = 5, 48
INEXACT = 1000.0
"""Of the data against the prior of hyper-Laplacian deconvolution. On 60 estimates 1000 gained most in the mean; 4000,
which is right for an exact PSF, lost 1.6 dB where 1000 gained 0.2."""
_POINT = 0.9  # of a PSF in one sample: no blur
_BORDER = 12  # px of a part that are not looked at
COUNT = 19 + ORIGINS


class Seen(NamedTuple):
    """Figures of a part that do not depend on candidates.

    Attributes:
        pixels: 1 x C x h x w, sRGB.
        grey: 1 x 1 x h x w.
        noise: std, units of [0, 1].
        softness: of its edges.
        sparsity: of its gradients.
        finest: std of its finest details.
    """

    pixels: Tensor
    grey: Tensor
    noise: float
    softness: float
    sparsity: float
    finest: float


def look_at(pixels: Tensor) -> Seen:
    """The figures of a part 1 x C x h x w."""
    grey = to_grey(pixels)
    return Seen(
        pixels, grey, blurred_noise([pixels[0]]), edge_softness([pixels[0]]) or 1.0, _sparsity(grey), _finest(grey)
    )


def features(seen: Seen, candidate: Candidate, likeliest: Candidate) -> Tensor:
    """What the regression sees of a candidate in a part: `COUNT` numbers."""
    psf = candidate.psf
    light = _solved(seen.pixels, sanitised(psf).psf, INEXACT)
    restored = linear_to_srgb(light).clamp(0, 1)
    inner = (..., slice(_BORDER, -_BORDER), slice(_BORDER, -_BORDER))
    before, after = error_maps(seen.pixels, restored)[0][:, 2:-2, 2:-2]
    light, grey = light[inner], to_grey(restored)[inner]
    blurred = seen.grey[inner]
    place = torch.arange(SIDE) - SIDE // 2
    radius = float((psf * (place[:, None].square() + place.square())).sum().sqrt())
    away = float((psf - likeliest.psf).square().sum() / likeliest.psf.square().sum())
    negative = float(F.relu(-light).mean() / light.abs().mean().clamp(min=1e-6))
    step = float((grey - blurred).abs().mean() / (seen.grey.diff(dim=-1).abs().mean() + 1e-3))
    black = [float((x <= 1 / 255).float().mean()) for x in (grey, blurred)]
    numbers = [
        float(10 * (before.sum() / after.sum()).log10()), float(10 * (before / after).log10().mean()),
        math.log10(negative + 1e-5), math.log10(float(F.relu(light - 1).mean()) + 1e-6), math.log10(away + 1e-3),
        radius, float(psf.max()), math.log10(seen.noise + 1e-3), seen.softness, edge_softness([restored[0]]) or 1.0,
        seen.sparsity, _sparsity(grey), math.log10(_finest(grey) / max(seen.finest, 1e-4)), step, black[0] - black[1],
        *candidate.facts,
    ]  # fmt: skip
    return torch.tensor([*numbers, *(float(candidate.number == i) for i in range(ORIGINS))])


def _solved(x: Tensor, psf: Tensor, weight: float) -> Tensor:
    """Linear light of a picture 1 x C x H x W in sRGB without the blur of a PSF, neither clipped nor encoded."""
    wide = extend(srgb_to_linear(x.float()), psf.to(x.device))
    return wide.inside(hyper_laplacian(wide.pixels, psf, weight))


def solve(x: Tensor, psf: Tensor, weight: float = INEXACT) -> Tensor:
    """A picture 1 x C x H x W in sRGB without the blur of a PSF: the same shape, not clipped."""
    return linear_to_srgb(_solved(x, psf, weight))


def _sparsity(x: Tensor) -> float:
    """Mean over root mean square of the differences: small where few are large."""
    steps = torch.cat([x.diff(dim=-1).flatten(), x.diff(dim=-2).flatten()])
    return float(steps.abs().mean() / steps.square().mean().sqrt().clamp(min=1e-9))


def _finest(x: Tensor) -> float:
    """Std of what a mean of 3 x 3 takes out."""
    mean = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return float((x - mean).square().mean().clamp(min=1e-12).sqrt())


class Appraisal(nn.Module):
    """Features -> dB of expected gain: the mean of a few perceptrons, B x `COUNT` -> B."""

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(COUNT))
        self.register_buffer("spread", torch.ones(COUNT))
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Linear(COUNT, HIDDEN), nn.GELU(), nn.Dropout(0.2), nn.Linear(HIDDEN, HIDDEN), nn.GELU(),
                nn.Linear(HIDDEN, 1),
            )
            for _ in range(MEMBERS)
        )  # fmt: skip

    def scaled(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.spread).clamp(-4, 4)

    def forward(self, x: Tensor) -> Tensor:
        scaled = self.scaled(x)
        return torch.stack([member(scaled)[..., 0] for member in self.members]).mean(0)


@torch.inference_mode()
def expected(parts: Sequence[Seen], candidate: Candidate, likeliest: Candidate) -> Tensor:
    """dB that a candidate is expected to gain in each part; of a point, which is no blur, nothing."""
    if float(candidate.psf.max()) > _POINT:
        return torch.zeros(len(parts))
    return _appraisal()(torch.stack([features(part, candidate, likeliest) for part in parts]))


@cache
def _appraisal() -> Appraisal:
    return fitted(Appraisal, APPRAISAL_FILE)
