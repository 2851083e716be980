"""Sharp tiles blurred as the pictures at hand are: pairs to learn from, where there is no truth.

Source: He et al., "Domain-adaptive Video Deblurring via Test-time Blurring", ECCV 2024, whose blur is rendered by a
diffusion model (ID-Blau, CVPR 2024); here the tile is averaged along the blur (`restore.physics.blur_field`), in linear
light for most, clipped, with the noise that the average took put back, and compressed as the pictures are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.degradations.degradation import CLEAN, Role, Sample
from restore.engines.deblur.adaptation.domain import Domain
from restore.physics.batch import per_sample
from restore.physics.blur_field import FieldBlur
from restore.physics.blur_kernels import choice
from restore.physics.camera_blur import lit, photographed
from restore.physics.fourier import convolve, otf
from restore.physics.random import generator_for, normal
from restore.physics.shake import draw_paths, lines, rasterised

MARGIN = 32
"""px around a tile that blur may bring in; cut off afterwards."""
_LONGEST = 2 * MARGIN - 4  # px
_WIDE = 3.0, 25.0  # px, lengths where the domain is not known
_JITTER_LENGTH, _JITTER_ANGLE = (0.8, 1.25), math.radians(10)
_MILD = 2.0  # px, most of what is hardly blurred
_GAMMA = 0.25  # share that is averaged in gamma-encoded values
_LIGHTS = 1.0, 3.0
_NOISE = 1  # counter of the generators


@dataclass(frozen=True)
class Mixture:
    """How often a blur is of which kind.

    Attributes:
        field: of another place of the clip, with its layout; "line" where there is none.
        line: of a length and direction of the domain, jittered by `length` (factors) and 10 degrees.
        shake: a random path of a length of the domain.
        mild: of at most 2 px, half of them none at all.
        length: range of factors of lines.
    """

    field: float = 0.35
    line: float = 0.3
    shake: float = 0.1
    mild: float = 0.25
    length: tuple[float, float] = _JITTER_LENGTH


LEARNED = Mixture()
HELD_OUT = Mixture(field=0.0, line=0.5, shake=0.4, mild=0.1, length=(0.75, 1.25))
"""Another mixture for what is held out: what is learned must not be the recipe."""


class Reblur:
    """Input "picture": the tile blurred (of a window the frame in the middle; its neighbours stay as they are); target
    "result": the tile; both without `MARGIN`.

    Args:
        domain: the blur of the pictures at hand.
        frames: of a window.
    """

    conditions: tuple[str, ...] = ()

    def __init__(self, domain: Domain, mixture: Mixture = LEARNED, frames: int = 1) -> None:
        self._domain, self._mixture, self._frames = domain, mixture, frames
        self.roles: Mapping[str, Role] = CLEAN if frames == 1 else {"clean": Role(frames=frames)}

    @torch.no_grad()
    def draw(self, pictures: Mapping[str, Tensor], seed: int, step: int, first_index: int) -> Sample:
        """As `restore.degradations.degradation.Degradation`; pictures with a margin around them."""
        shown = pictures["clean"]
        sharp = shown if shown.ndim == 4 else shown[:, shown.shape[1] // 2]
        with torch.autocast(sharp.device.type, enabled=False):
            blurred = self._blurred(sharp.float(), seed, step, first_index)
        inner = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
        inputs = blurred
        if shown.ndim == 5:
            inputs = shown[inner].clone()
            inputs[:, shown.shape[1] // 2] = blurred
        return Sample({"picture": inputs}, {"result": sharp[inner]})

    def _blurred(self, x: Tensor, seed: int, step: int, first: int) -> Tensor:
        generators = [generator_for(seed, step, first + i) for i in range(len(x))]
        chances = torch.stack([torch.rand(8, generator=each) for each in generators])
        drawn = [self._draw(row.tolist(), x.shape[-1], each) for row, each in zip(chances, generators, strict=True)]
        linear = (chances[:, 5] >= _GAMMA).to(x.device)
        bright = linear.cpu() & (chances[:, 6] < 0.25)
        lights = torch.where(bright, _LIGHTS[0] + (_LIGHTS[1] - _LIGHTS[0]) * chances[:, 7], 1.0)
        light = lit(x, linear, lights)
        psf = torch.stack([each.psf for each in drawn])
        y = convolve(light, otf(psf.to(x), (x.shape[-2], x.shape[-1])))
        fields = {i: each.field for i, each in enumerate(drawn) if each.field is not None}
        if fields:
            at, field = torch.tensor(list(fields), device=x.device), torch.stack(list(fields.values())).to(x)
            y = y.index_copy(0, at, FieldBlur(field).forward(light[at]))
        left = torch.stack([each.left for each in drawn])
        added = self._domain.noise * (1 - left.square()).clamp(min=0).sqrt()
        sources = [generator_for(seed, step, first + i, _NOISE) for i in range(len(x))]
        noise = normal(x.shape, sources, torch.device("cpu"))
        inner = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
        quality = torch.full((len(x),), self._domain.quality)
        return photographed(y, linear, (per_sample(added) * noise).to(x), quality, inner)

    def _draw(self, chances: list[float], side: int, generator: torch.Generator) -> _Drawn:
        """The blur of one sample, `side` px high and wide."""
        weights = {name: getattr(self._mixture, name) for name in ("field", "line", "shake", "mild")}
        kind = choice(weights, chances[0])
        if kind == "field" and self._domain.fields:
            return _along(self._field(chances, side))
        length, angle = self._length_and_angle(chances)
        if kind == "mild":
            length = _MILD * max(0.0, 2 * chances[3] - 1)
        if kind == "shake":
            path = draw_paths([generator]) * length
        else:
            path = lines(torch.tensor([length]), torch.tensor([angle]))
        return _of_psf(rasterised(path, 2 * MARGIN + 1)[0])

    def _length_and_angle(self, chances: list[float]) -> tuple[float, float]:
        blurs = self._domain.blurs
        if not self._domain.known:
            least, most = _WIDE
            return least * (most / least) ** chances[1], math.pi * chances[2]
        blur = blurs[min(int(chances[1] * len(blurs)), len(blurs) - 1)]
        least, most = self._mixture.length
        jitter = _JITTER_ANGLE * math.sqrt(2) * float(torch.special.erfinv(torch.tensor(1.98 * chances[4] - 0.99)))
        length = blur.length * least * (most / least) ** chances[3]
        return min(length, _LONGEST), blur.angle + jitter

    def _field(self, chances: list[float], side: int) -> Tensor:
        """2 x side x side of a random place of a random frame, px."""
        domain = self._domain
        field = domain.fields[min(int(chances[1] * len(domain.fields)), len(domain.fields) - 1)]
        height, width = field.shape[-2:]
        part = min(max(2, round(side / domain.scale)), height, width)
        top, left = (int(chance * (whole - part)) for chance, whole in ((chances[2], height), (chances[3], width)))
        piece = field[None, :, top : top + part, left : left + part]
        piece = F.interpolate(piece, (side, side), mode="bilinear", align_corners=False)[0]
        longest = float(piece.square().sum(0).max().sqrt())
        return piece * min(1.0, _LONGEST / max(longest, 1e-6))


class _Drawn(NamedTuple):
    psf: Tensor  # 1 x h x w
    field: Tensor | None  # 2 x H x W, instead of the PSF
    left: Tensor  # share of the noise's std that is left


def _of_psf(psf: Tensor) -> _Drawn:
    return _Drawn(psf, None, psf.square().sum().sqrt())


def _along(field: Tensor) -> _Drawn:
    still = torch.zeros(1, 2 * MARGIN + 1, 2 * MARGIN + 1)
    still[0, MARGIN, MARGIN] = 1
    length = field.square().sum(0).sqrt().mean()
    return _Drawn(still, field, (1 / length.clamp(min=1)).sqrt())
