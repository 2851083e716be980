"""PSFNet: looks at a blurred picture and gives candidates of the PSF that blurred it, each with its probability.

Source: own design from published parts: the alternation of edge prediction and least squares of blind deconvolution
(Cho, Lee, "Fast motion deblurring", SIGGRAPH Asia 2009) unrolled over scales, with a network in the place of the edge
prediction and the least squares solved in the Fourier domain within it (Schuler, Hirsch, Harmeling, Schölkopf,
"Learning to deblur", TPAMI 2016, https://arxiv.org/abs/1406.7444); several answers of which the best is taught
("winner takes all": Guzman-Rivera et al., NeurIPS 2012; for deblurring Liu et al., https://arxiv.org/abs/2208.13029).

One pass for H candidates of S = 31 px:

    input       B x C x H x W         in [0, 1], sRGB; its luma in linear light goes on, of mean 0 and std 1
    pyramid     B x 1 x h x w         1/4, 1/2 and full size (means of 2 x 2)
    then for the stages 1/4, 1/4, 1/2, 1/2, 1, 1, 1:
      latent    B x 1 x h x w         a picture with few gradients that the PSF so far takes to the blurred one (L0)
      edges     B x 2 x h x w         its strongest gradients, weighed and corrected by a small U-Net
      solved    B x 1 x s x s         argmin_k |k * edges - gradients of the picture|^2 + ridge |k|^2, s = 7, 15, 31
      cleaned   B x 1 x s x s         convolutions see it, and the PSF so far: not negative, of sum 1
    candidates  B x H x S x S         of the last stage, not negative; the sum of each is its probability

One U-Net and one set of convolutions serve all stages. Before any training this is a short form of the classical
estimate (`restore.classical.blind`; L0: Xu, Zheng, Jia, CVPR 2013). No gradient goes from a stage to those before it.
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
_STAGES = (4, 4, 2, 2, 1, 1, 1)  # by what the picture is smaller
_SPARSITY = (1.2, 0.9, 0.6, 0.5, 0.4, 0.3, 0.2)  # of the latent pictures, whose std is 1
_WEAK = (0.8, 0.8, 0.85, 0.85, 0.9, 0.9, 0.9)  # share of the gradients that are weak
_BETA, _GROWTH = 1e4, 3.0
_SIDES = {4: 7, 2: 15, 1: SIDE}
_FLOOR = 1e-3  # std of a picture's luma that counts as flat
_THRESHOLD, _STEEP = 0.08, 50.0  # of what is kept of a PSF, over its maximum
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
        widths: tuple[int, ...] = (32, 64),
        blocks: tuple[int, ...] = (1, 3, 1),
        cleaner: int = 32,
    ) -> None:
        super().__init__()
        if not (1 <= candidates <= 64 and 1 <= cleaner <= 512):
            raise ConfigError("PSFNet: these arguments describe no network", fix="Give 1 to 64 candidates")
        self.candidates = candidates
        self.edges = PlainUNet(6, 0, widths, blocks, 2)
        nn.init.zeros_(self.edges.tail.weight)
        nn.init.zeros_(self.edges.tail.bias)  # type: ignore[arg-type]
        self.cleaner = _Cleaner(cleaner, 1)
        self.last = _Cleaner(cleaner, candidates)
        self.chance = nn.Linear(cleaner, candidates)
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
        psf[..., _SIDES[4] // 2, _SIDES[4] // 2 :][..., :2] = 0.5
        stages: list[Stage] = []
        factor = _STAGES[0]
        for i, size in enumerate(_STAGES[:-1]):
            psf, factor = (psf if size == factor else enlarged(psf)), size
            edges, solved = self._solve(i, pyramid[size], psf)
            stages.append(Stage(size, self.cleaner(solved, psf)[0], edges))
            psf = stages[-1].psf.detach()
        edges, solved = self._solve(len(_STAGES) - 1, y, psf)
        several, features = self.last(solved, psf)
        stages.append(Stage(1, several[:, :1], edges))
        return Estimates(stages, several, self.chance(features))

    def _solve(self, i: int, y: Tensor, psf: Tensor) -> tuple[Tensor, Tensor]:
        """(edges, the PSF that takes them to the picture's gradients) at a stage."""
        size = (y.shape[-2], y.shape[-1])
        window = _window(size, max(2, _TAPER // _STAGES[i]), y)
        framed = y * window
        with torch.no_grad():
            latent = sparse_latent(framed, otf(psf, size), _SPARSITY[i])
        gradients = torch.cat(_gradients(latent), 1)
        slope = gradients.square().sum(1, keepdim=True).sqrt()
        weak = slope.flatten(1).quantile(_WEAK[i], dim=1).clamp(min=1e-3)[:, None, None, None]
        scale = slope.new_full(slope.shape, 1 / _STAGES[i])
        seen = torch.cat([framed, latent, slope / weak, gradients / weak, scale], 1)
        learned = self.edges.of_planes(seen.contiguous(memory_format=torch.channels_last))[:, :3].float()
        gate = torch.sigmoid(4 * (slope / weak - 1).clamp(max=4) + learned[:, :1])
        edges = (gradients * gate + weak * learned[:, 1:]) * window
        wanted = torch.fft.rfft2(torch.cat(_gradients(framed), 1) * window)
        given = torch.fft.rfft2(edges)
        cross = (given.conj() * wanted).sum(1, keepdim=True)
        energy = given.abs().square().sum(1, keepdim=True)
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
    """Solved and earlier PSF, B x 1 x s x s each -> (`count` PSFs B x count x s x s of sum 1, features B x width)."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 5, padding=2)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(4)))
        self.whole = nn.Linear(width, width)
        self.tail = nn.Sequential(ResidualBlock(width), nn.Conv2d(width, count, 3, padding=1))
        nn.init.normal_(self.tail[1].weight, std=1e-3)  # type: ignore[arg-type]

    def forward(self, solved: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        solved = solved / solved.amax((-2, -1), keepdim=True).clamp(min=1e-6)
        earlier = before / before.amax((-2, -1), keepdim=True).clamp(min=1e-6)
        place = torch.linspace(-1, 1, solved.shape[-1], device=solved.device)
        radius = torch.hypot(place[:, None], place).expand_as(solved)
        features = self.body(self.head(torch.cat([solved, earlier, radius], 1)))
        pooled = F.relu(self.whole(features.mean((-2, -1))))
        raw = solved + self.tail(features + pooled[..., None, None]).float()
        kept = F.softplus(_STEEP * (raw - _THRESHOLD)) / _STEEP
        return kept / kept.sum((-2, -1), keepdim=True), pooled


def sparse_latent(y: Tensor, transfer: Tensor, sparsity: float) -> Tensor:
    """argmin |k * x - y|^2 + sparsity * (number of gradients that are not 0), circular, by half-quadratic splitting.

    B x 1 x H x W and the `otf` of k -> the same shape. The batched, shorter form of `restore.classical.blind`.
    """
    size = (y.shape[-2], y.shape[-1])
    data, power, roughness = transfer.conj() * torch.fft.rfft2(y), transfer.abs().square(), difference_power(size, y)
    x, beta = y, 2 * sparsity
    while beta < _BETA:
        right, down = _gradients(x)
        kept = (right.square() + down.square() >= sparsity / beta).to(x.dtype)
        right, down = right * kept, down * kept
        back = down.roll(1, -2) - down + right.roll(1, -1) - right
        x = torch.fft.irfft2((data + beta * torch.fft.rfft2(back)) / (power + beta * roughness + 1e-6), s=size)
        beta *= _GROWTH
    return x


def halved(psf: Tensor) -> Tensor:
    """PSFs of pictures at half the size: B x N x s x s -> B x N x (s - 1) / 2 x …, centres kept, sums nearly."""
    hat = psf.new_tensor([0.5, 1.0, 0.5])
    kernel = (hat[:, None] * hat)[None, None]
    small = F.conv2d(psf.flatten(0, 1)[:, None], kernel, stride=2)
    small = small.view(*psf.shape[:2], *small.shape[-2:])
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
