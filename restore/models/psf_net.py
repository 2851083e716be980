"""PSFNet: looks at a blurred picture and gives candidates of the PSF that blurred it, each with its probability.

Source: own design from published parts: the alternation of edge prediction and least squares of blind deconvolution
(Cho, Lee, "Fast motion deblurring", SIGGRAPH Asia 2009) unrolled over scales, with a network in the place of the edge
prediction and the least squares solved in the Fourier domain within it (Schuler, Hirsch, Harmeling, Schölkopf,
"Learning to deblur", TPAMI 2016, https://arxiv.org/abs/1406.7444); several answers of which the best is taught
("winner takes all": Guzman-Rivera et al., NeurIPS 2012; for deblurring Liu et al., https://arxiv.org/abs/2208.13029).

One pass for H candidates of S = 31 px:

    input       B x C x H x W         in [0, 1], sRGB; its luma goes on, in the light or as it is (`encoded`)
    pyramid     B x 1 x h x w         1/4, 1/2 and full size (means of 2 x 2)
    then for the stages 1/4, 1/2, 1, 1:
      latent    B x 3 x h x w         the picture and two Wiener deconvolutions of it by the PSF so far
      edges     B x 2 x h x w         predicted gradients of the sharp picture: a small U-Net
      solved    B x 1 x s x s         argmin_k |k * edges - gradients of the picture|^2 + ridge |k|^2, s = 7, 15, 31
      cleaned   B x 1 x s x s         convolutions see it, and the PSF so far: not negative, of sum 1
    candidates  B x H x S x S         of the last stage, not negative; the sum of each is its probability

Where a picture lies cannot be told from it: PSFs have their centroid in the middle.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models.blocks import ResidualBlock
from restore.models.plain_unet import PlainUNet
from restore.models.spec import ModelSpec, Output
from restore.physics.color import srgb_to_linear, to_grey
from restore.physics.fourier import difference_power, otf

SIDE = 31
_STAGES = (4, 2, 1, 1)  # by what the picture is smaller
_SIDES = {4: 7, 2: 15, 1: SIDE}
_FLOOR = 1e-3  # std of a picture's luma that counts as flat
_TAPER = 12  # px at the border over which the window falls, at full size


class Stage(NamedTuple):
    """What a stage found: PSF B x 1 x s x s, and the edges B x 2 x h x w of the picture at 1 / `factor`, of std 1."""

    factor: int
    psf: Tensor
    edges: Tensor


class Estimates(NamedTuple):
    """All stages; the candidates B x H x S x S, of sum 1 each, and the logits of their probabilities, B x H."""

    stages: list[Stage]
    candidates: Tensor
    logits: Tensor


class PSFNet(nn.Module):
    """Candidates of a PSF of up to 31 px for a picture that one PSF blurred.

    Args:
        candidates: how many.
        widths, blocks: of the U-Nets that predict edges.
        cleaner: feature channels of what cleans the solved PSFs.

    Raises `ConfigError` for arguments that describe no network.
    """

    def __init__(
        self,
        candidates: int = 4,
        widths: tuple[int, ...] = (32, 48),
        blocks: tuple[int, ...] = (1, 3, 1),
        cleaner: int = 24,
    ) -> None:
        super().__init__()
        if not (1 <= candidates <= 64 and 1 <= cleaner <= 512):
            raise ConfigError("PSFNet: these arguments describe no network", fix="Give 1 to 64 candidates")
        self.candidates = candidates
        self.edges = nn.ModuleList(PlainUNet(3, 0, widths, blocks, 2) for _ in _STAGES)
        last = len(_STAGES) - 1
        self.cleaners = nn.ModuleList(
            _Cleaner(cleaner, candidates if i == last else 1, i == last) for i in range(len(_STAGES))
        )
        self.regularity = nn.Parameter(torch.tensor([[-6.0, -3.0]] * len(_STAGES)))  # logs of the Wiener weights
        self.ridge = nn.Parameter(torch.full((len(_STAGES),), -4.0))

    def forward(self, x: Tensor) -> Tensor:
        """B x C x H x W in [0, 1] -> B x H x 31 x 31: not negative, the sum of each its probability."""
        found = self.estimates(self.light(x))
        return found.candidates * found.logits.softmax(1)[..., None, None]

    @staticmethod
    def light(x: Tensor) -> Tensor:
        """sRGB pictures B x C x H x W as one plane of linear light, in which cameras blur: B x 1 x H x W."""
        return to_grey(srgb_to_linear(x.float()))

    def estimates(self, light: Tensor) -> Estimates:
        """What all stages find of pictures B x 1 x H x W; sides are cut to multiples of 16."""
        height, width = (side // 16 * 16 for side in light.shape[-2:])
        y = light[..., :height, :width]
        y = y - y.mean((-2, -1), keepdim=True)
        y = y / y.std((-2, -1), keepdim=True).clamp(min=_FLOOR)
        pyramid = {1: y, 2: F.avg_pool2d(y, 2), 4: F.avg_pool2d(y, 4)}
        psf = y.new_zeros(len(y), 1, _SIDES[4], _SIDES[4])
        psf[..., _SIDES[4] // 2, _SIDES[4] // 2] = 1
        stages: list[Stage] = []
        factor = _STAGES[0]
        logits = y.new_zeros(len(y), self.candidates)
        several = psf
        for i, size in enumerate(_STAGES):
            if size != factor:
                psf, factor = enlarged(psf), size
            edges, solved = self._solve(i, pyramid[size], psf)
            several, logits = self.cleaners[i](solved, psf)
            psf = several[:, :1]
            stages.append(Stage(size, psf, edges))
        return Estimates(stages, several, logits)

    def _solve(self, i: int, y: Tensor, psf: Tensor) -> tuple[Tensor, Tensor]:
        """(edges, the PSF that takes them to the picture's gradients) at a stage."""
        size = (y.shape[-2], y.shape[-1])
        window = _window(size, max(2, _TAPER // _STAGES[i]), y)
        framed = y * window
        transfer = otf(psf, size)
        roughness = difference_power(size, y)
        power = transfer.abs().square()
        spectrum = torch.fft.rfft2(framed) * transfer.conj()
        weights = self.regularity[i].exp()
        latents = [torch.fft.irfft2(spectrum / (power + w * (roughness + 0.02)), s=size) for w in weights]
        with torch.autocast(y.device.type, dtype=torch.bfloat16, enabled=torch.is_autocast_enabled(y.device.type)):
            seen = torch.cat([framed, *latents], 1).contiguous(memory_format=torch.channels_last)
            predicted = self.edges[i].of_planes(seen)[:, :2].float()
        sharp = latents[0].clamp(-8, 8)
        edges = torch.cat(_gradients(sharp), 1) * 0.3 + predicted
        edges = edges * window
        gradients = torch.cat(_gradients(framed), 1) * window
        seen_by, wanted = torch.fft.rfft2(edges), torch.fft.rfft2(gradients)
        cross = (seen_by.conj() * wanted).sum(1, keepdim=True)
        energy = seen_by.abs().square().sum(1, keepdim=True)
        ridge = self.ridge[i].exp() * energy.mean((-2, -1), keepdim=True) + 1e-6
        solved = torch.fft.irfft2(cross / (energy + ridge), s=size)
        return edges, _middle(solved, psf.shape[-1])

    def spec(self) -> ModelSpec:
        """What this network needs and promises, from its arguments alone."""
        return ModelSpec(
            task="psf",
            outputs=(Output("psf", channels=self.candidates, mixes=False),),
            fixed=SIDE,
            min_size=4 * 2 * _SIDES[4],
            tiling="whole",
            parameters=sum(p.numel() for p in self.parameters()),
        )


class _Cleaner(nn.Module):
    """Solved and earlier PSF -> `count` PSFs and, where `last`, the logits of their probabilities."""

    def __init__(self, width: int, count: int, last: bool) -> None:
        super().__init__()
        self.head = nn.Conv2d(2, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(3)))
        self.global_ = nn.Linear(width, width)
        self.tail = nn.Sequential(ResidualBlock(width), nn.Conv2d(width, count, 3, padding=1))
        self.chance = nn.Linear(width, count) if last else None
        self.count = count

    def forward(self, solved: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        peak = solved.amax((-2, -1), keepdim=True).clamp(min=1e-6)
        base = solved / peak
        earlier = before / before.amax((-2, -1), keepdim=True).clamp(min=1e-6)
        features = self.body(self.head(torch.cat([base, earlier], 1)))
        pooled = F.relu(self.global_(features.mean((-2, -1))))
        raw = base + self.tail(features + pooled[..., None, None])  # B x count x s x s
        kept = F.softplus(12 * (raw - 0.15)) / 12
        psf = kept / kept.sum((-2, -1), keepdim=True)
        logits = self.chance(pooled) if self.chance is not None else pooled.new_zeros(len(psf), self.count)
        return psf, logits


def halved(psf: Tensor) -> Tensor:
    """PSFs of pictures at half the size: B x N x s x s -> B x N x (s - 1) / 2 x …, centres kept, sums nearly."""
    hat = psf.new_tensor([0.5, 1.0, 0.5])
    kernel = (hat[:, None] * hat)[None, None]
    small = F.conv2d(psf.flatten(0, 1)[:, None], kernel, stride=2).view(
        *psf.shape[:2], *((psf.shape[-1] - 1) // 2,) * 2
    )
    return small / small.sum((-2, -1), keepdim=True).clamp(min=1e-12)


def enlarged(psf: Tensor) -> Tensor:
    """PSFs of pictures of twice the size, bilinear: B x N x s x s -> B x N x (2 s + 1) x …; sums and centres kept."""
    hat = psf.new_tensor([0.5, 1.0, 0.5])
    kernel = (hat[:, None] * hat)[None, None]
    large = F.conv_transpose2d(psf.flatten(0, 1)[:, None], kernel / 4, stride=2)
    return large.view(*psf.shape[:2], *large.shape[-2:])


def _gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.roll(-1, -1) - x, x.roll(-1, -2) - x


def _middle(x: Tensor, side: int) -> Tensor:
    """The samples around the origin of a circular field."""
    half = side // 2
    return x.roll((half, half), (-2, -1))[..., :side, :side]


def _window(size: tuple[int, int], taper: int, like: Tensor) -> Tensor:
    """1 inside, falling to 0 over `taper` px at the border: H x W."""

    def line(side: int) -> Tensor:
        place = torch.arange(side, dtype=like.dtype, device=like.device)
        away = torch.minimum(place, side - 1 - place)
        return 0.5 - 0.5 * torch.cos(torch.pi * ((away + 0.5) / taper).clamp(max=1))

    return line(size[0])[:, None] * line(size[1])
