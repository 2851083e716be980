"""A network that learned without clean pictures, kept from removing more than the noise.

Such a network guesses a pixel from what is around it, and what cannot be guessed (texture) goes with the noise. With
r = f(x) - x, what it removes, n the noise, of variance v, and e = f(x) - s its error, independent of n,

    y = x + w r,  E (y - s)^2 = (1 - w)^2 v + w^2 E e^2,  E r^2 = v + E e^2,  hence the best w is v / E r^2.

E r^2 is the mean of r^2 over 9 x 9 px and over the channels; a quarter more than v, by chance or because noise differs
over the picture, is no excess yet. v is that of the picture where least is removed (the 2 % quantile over 17 x 17
px), for there the network guesses right. So correlated noise needs no other measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from restore.analysis.sample import sample_crops
from restore.analysis.value_range import find_scale
from restore.inference.engine import Condition, Engine, EngineOptions, Outputs, Place
from restore.physics.filters import box_mean
from restore.picture import PictureSource

RADIUS = 4  # px, over which what is removed is averaged
SLACK = 1.25  # of the noise's variance
_WIDE, _LEAST = 8, 0.02  # px and share of the picture for the variance of the noise
_CROP, _GRID = 192, 4  # px and number along a side of the crops that stand for a large picture
_INSIDE = (0.02, 0.98)  # brightness; noise beyond is clipped


class NoiseBoundedEngine:
    """A denoiser that removes no more than the noise: where it would, the picture itself is mixed in.

    Args:
        network: what denoises; one picture in, one of the same size out.
        sigma: std of the noise in 8-bit units; None: measured where the network removes least.
    """

    def __init__(self, network: Engine, sigma: float | None = None) -> None:
        self._network, self._sigma = network, sigma
        self.fingerprint = f"noise-bounded {'' if sigma is None else f'{sigma:g}'}: {network.fingerprint}"
        self.spec = replace(network.spec, radius=network.spec.radius + RADIUS)

    def cast(self, dtype: torch.dtype, device: torch.device) -> NoiseBoundedEngine:
        return NoiseBoundedEngine(self._network.cast(dtype, device), self._sigma)

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        condition = self._network.prepare(sources, options)
        if self._sigma is None:
            source = sources["picture"]
            crops = sample_crops(source, find_scale(source), _CROP, _GRID)
            measuring = NoiseBoundedEngine(self._network.cast(torch.float32, options.device))
            variance, how = measuring._variance([x.to(options.device) for x in crops], condition), "measured"
        else:
            variance, how = (self._sigma / 255) ** 2, "given"
        noise = {"noise": f"sigma {255 * variance**0.5:.1f} ({how}), no more is taken away"}
        return replace(condition, data=(condition, variance), decisions=condition.decisions | noise)

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        """B x 1 x C x H x W unit values -> B x C x H x W."""
        inner, variance = condition.data
        removed = self._removed(x, inner, places)
        excess = (_energy(removed, RADIUS) - SLACK * variance).clamp(min=0)
        return {"result": x[:, 0] + (variance / (variance + excess).clamp(min=1e-12)) * removed}

    def _removed(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Tensor:
        """What the network removes: B x C x H x W."""
        return self._network(x, condition, places)["result"] - x[:, 0]

    def _variance(self, crops: Sequence[Tensor], condition: Condition) -> float:
        """Of the noise: where least is removed, of the places that clipping has not touched if there are any."""
        statistics = []
        multiple = self.spec.multiple_of
        for crop in crops:
            height, width = (side // multiple * multiple for side in crop.shape[-2:])
            x = crop[None, None, :, :height, :width]
            energy = _energy(self._removed(x, condition, [Place(0, 0, height, width)]), _WIDE)
            light = box_mean(x[:, 0].mean(1, keepdim=True), _WIDE)
            statistics.append(torch.stack([energy, light])[..., ::2, ::2].flatten(1))
        energy, light = torch.cat(statistics, 1).cpu()
        inside = (light > _INSIDE[0]) & (light < _INSIDE[1])
        energy = energy[inside] if inside.any() else energy
        return float(energy.sort().values[int(_LEAST * (len(energy) - 1))])


def _energy(x: Tensor, radius: int) -> Tensor:
    """B x C x H x W -> B x 1 x H x W: mean square over channels and a neighbourhood."""
    return box_mean(x.square().mean(1, keepdim=True), radius)
