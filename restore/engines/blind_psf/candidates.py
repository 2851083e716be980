"""Candidates of the PSF that blurred a part of a picture: estimates in windows of several sizes, what a network makes
of them, and straight lines and discs.

An estimate (`restore.classical.blind`) is good where its window fits the blur and spoils the picture where it does not,
and its confidence does not tell which. So small windows are tried too, and a network that saw thousands of such
estimates beside the truth answers with H candidates of its own, taught winner-takes-all: several outputs, as in Liu et
al. (https://arxiv.org/abs/2208.13029), where the ambiguity is real and the target small.

    evidence    4 x 31 x 31     estimates for windows of 9, 15, 23 and 31 px; 4 x 3 facts: confidence, share at the
                                edge, negative share
    features    B x w x 31 x 31 estimates over their maxima, facts as planes, distance from the middle; residual blocks
    candidates  B x H x 31 x 31 a weighted mean of the estimates, corrected; not negative, of sum 1
    logits      B x H           of their probabilities

Straight motion and defocus have a shape that is known but for one or two numbers, which are read off the cepstrum
(`restore.analysis.cepstrum`) and off the second moments of the likeliest candidate. Where blur is of that kind and
large enough, the cepstrum's are nearly exact, and estimates never are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.analysis.cepstrum import find_disc, find_line
from restore.classical.blind import estimate_psf
from restore.engines.blind_psf.fitted import PSF_FILE, fitted
from restore.models.blocks import ResidualBlock
from restore.physics.batch import crop_or_pad
from restore.physics.psf import disc, motion

WINDOWS = (9, 15, 23, 31)
SIDE = WINDOWS[-1]
HEADS, SHAPES = 4, 4
ORIGINS = len(WINDOWS) + HEADS + SHAPES
_LONGEST, _WIDEST = SIDE - 2.0, SIDE / 2 - 1  # px, length of a line and radius of a disc
FACTS = 3
_THRESHOLD, _STEEP = 0.04, 60.0  # of what is kept, over a candidate's maximum


class Evidence(NamedTuple):
    """Estimates 4 x 31 x 31 of sum 1, and facts about each, 4 x 3."""

    maps: Tensor
    facts: Tensor


class Candidate(NamedTuple):
    """A PSF to be tried.

    Attributes:
        psf: 31 x 31, of sum 1.
        origin: where it comes from, in words.
        number: of its kind: of the window, then of the network's candidate, the likeliest first, then of the shape.
        facts: confidence and negative share of an estimate, or a tenth of how far the cepstrum's peak stands out;
            probability of the network's candidate, and of its likeliest; -1 where there is none.
    """

    psf: Tensor
    origin: str
    number: int
    facts: tuple[float, float, float, float]


def evidence(light: Tensor) -> Evidence:
    """What is estimated of a plane H x W of linear light, sides of 64 px and more."""
    found = [estimate_psf(light, side) for side in WINDOWS]
    maps = torch.stack([crop_or_pad(each.psf, (SIDE, SIDE)) for each in found]).float()
    facts = torch.tensor([(each.confidence, each.at_edge, each.negative) for each in found])
    return Evidence(maps, facts)


def candidates(light: Tensor) -> list[Candidate]:
    """Of a plane H x W of linear light: the estimates, the network's by falling probability, lines and discs."""
    return listed(light, evidence(light))


@torch.inference_mode()
def listed(light: Tensor, seen: Evidence) -> list[Candidate]:
    """The candidates of a plane of which these estimates are known."""
    psfs, logits = network()(seen.maps[None], seen.facts[None])
    chances = logits[0].softmax(0)
    most = float(chances.max())
    made = []
    for i, side in enumerate(WINDOWS):
        facts = float(seen.facts[i, 0]), float(seen.facts[i, 2]), -1.0, most
        made.append(Candidate(centred(seen.maps[i]), f"estimate in {side} px", i, facts))
    for rank, i in enumerate(chances.argsort(descending=True).tolist()):
        chance = float(chances[i])
        origin = f"network, probability {chance:.2f}"
        made.append(Candidate(centred(psfs[0, i]), origin, len(WINDOWS) + rank, (-1.0, -1.0, chance, most)))
    shapes = _shapes(light, likeliest(made).psf)
    for number, (psf, origin, clear) in enumerate(shapes, len(WINDOWS) + HEADS):
        made.append(Candidate(crop_or_pad(psf, (SIDE, SIDE)), origin, number, (clear / 10, -1.0, -1.0, most)))
    return made


def _shapes(light: Tensor, likely: Tensor) -> list[tuple[Tensor, str, float]]:
    """PSF, name and clearness of the lines and discs that the cepstrum shows, and those as wide as a likely PSF."""
    line, circle = find_line(light), find_disc(light)
    place = torch.arange(SIDE, dtype=likely.dtype) - SIDE // 2
    xx, yy = (float((likely.sum(axis) * place.square()).sum()) for axis in (0, 1))
    xy = float((likely * place[:, None] * place).sum())
    along = 0.5 * (xx + yy + math.hypot(xx - yy, 2 * xy))  # variance on the longer axis
    angle = math.degrees(0.5 * math.atan2(-2 * xy, xx - yy)) % 180
    lines = [(line.length, line.angle, line.confidence), (1 + math.sqrt(12 * along), angle, 0.0)]
    discs = [(circle.radius, circle.confidence), (math.sqrt(2 * (xx + yy)), 0.0)]
    made = []
    for length, degrees, clear in lines:
        length = min(length, _LONGEST)
        made.append((motion(length, degrees), f"line of {length:.1f} px at {degrees:.0f} degrees", clear))
    for radius, clear in discs:
        radius = min(max(radius, 0.6), _WIDEST)
        made.append((disc(radius), f"disc of radius {radius:.1f} px", clear))
    return made


def likeliest(found: Sequence[Candidate]) -> Candidate:
    """The network's likeliest candidate."""
    return next(each for each in found if each.number == len(WINDOWS))


def centred(psf: Tensor) -> Tensor:
    """A PSF s x s with its centroid in the middle to a part of a pixel: half a pixel off costs a result 1 to 2 dB."""
    side = psf.shape[-1]
    place = torch.arange(side, dtype=psf.dtype) - side // 2
    for _ in range(2):  # interpolation, and what leaves the window, move it once more
        down, right = (float((psf.sum(1 - axis) * place).sum() / psf.sum()) for axis in (0, 1))
        move = torch.tensor([[1.0, 0.0, 2 * right / side], [0.0, 1.0, 2 * down / side]], dtype=psf.dtype)
        grid = F.affine_grid(move[None], [1, 1, side, side], align_corners=False)
        psf = F.grid_sample(psf[None, None], grid, mode="bicubic", align_corners=False)[0, 0].clamp(min=0)
    return psf / psf.sum()


class PSFNetwork(nn.Module):
    """Evidence -> candidates; see the module.

    Args:
        heads: number of candidates.
        width: feature channels.
        blocks: residual blocks.
    """

    def __init__(self, heads: int = HEADS, width: int = 48, blocks: int = 6) -> None:
        super().__init__()
        self.heads = heads
        self.head = nn.Conv2d(len(WINDOWS) * (1 + FACTS) + 1, width, 5, padding=2)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.whole = nn.Linear(width, width)
        self.tail = nn.Sequential(ResidualBlock(width), nn.Conv2d(width, heads, 3, padding=1))
        self.shares = nn.Linear(width, heads * len(WINDOWS))
        self.chance = nn.Linear(width, heads)
        nn.init.normal_(self.tail[1].weight, std=1e-3)  # type: ignore[arg-type]

    def forward(self, maps: Tensor, facts: Tensor) -> tuple[Tensor, Tensor]:
        """B x 4 x 31 x 31 of sum 1, B x 4 x 3 -> (B x H x 31 x 31 of sum 1, B x H logits)."""
        scaled = maps / maps.amax((-2, -1), keepdim=True).clamp(min=1e-6)
        planes = facts.flatten(1)[..., None, None].expand(-1, -1, *maps.shape[-2:])
        place = torch.linspace(-1, 1, maps.shape[-1], device=maps.device)
        radius = torch.hypot(place[:, None], place).expand(len(maps), 1, -1, -1)
        features = self.body(self.head(torch.cat([scaled, planes, radius], 1)))
        pooled = F.relu(self.whole(features.mean((-2, -1))))
        shares = self.shares(pooled).unflatten(1, (self.heads, -1)).softmax(-1)  # B x H x windows
        mean = torch.einsum("bhw,bwyx->bhyx", shares, scaled)
        raw = mean + self.tail(features + pooled[..., None, None])
        kept = F.softplus(_STEEP * (raw - _THRESHOLD)) / _STEEP
        return kept / kept.sum((-2, -1), keepdim=True).clamp(min=1e-6), self.chance(pooled)


@cache
def network() -> PSFNetwork:
    """The fitted network."""
    return fitted(PSFNetwork, PSF_FILE)
