"""Learning to see the PSF in a blurred picture: several candidates, of which the best of each sample is taught."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.degradations.degradation import Degradation, Sample
from restore.errors import ConfigError
from restore.models.psf_net import SIDE, PSFNet, Stage, halved
from restore.objectives.objective import Objective, Phase
from restore.physics.batch import crop_or_pad
from restore.physics.fourier import frequency, otf

if TYPE_CHECKING:
    from restore.data.batches import Batch

_GRID = (64, 64)
_NOISE = 4e-4  # variance over that of the picture: noise of 1/255 in pictures of std 0.2
_ROLL_OFF = 0.05  # radians a pixel below which the spectrum of pictures is taken as flat


class PSFEstimation(Objective):
    """One network (`restore.models.psf_net.PSFNet`), one phase ("estimate").

    Of every stage the squared error of the PSF over the true one's energy; of the last one's candidates that and, in
    nepers, the error which a Wiener filter by the candidate leaves in pictures of natural spectrum: the least over the
    candidates. The cross-entropy of their probabilities and the error of the predicted edges are added.

    Args:
        degradation: gives the condition "psf", of blur that does not change over the picture.
        edges: weight of the edges' error.
        chance: weight of the cross-entropy.
        stages: weight of the earlier stages' PSFs.
        filtered: weight of the Wiener filter's error.
        relaxed: share of the loss that the candidates which are not the best have in common, so that none of them dies.
    """

    def __init__(
        self,
        network: nn.Module,
        degradation: Degradation,
        edges: float = 0.1,
        chance: float = 0.1,
        stages: float = 0.5,
        filtered: float = 0.3,
        relaxed: float = 0.05,
    ) -> None:
        super().__init__()
        if not isinstance(network, PSFNet):
            raise ConfigError(f"{type(network).__name__} estimates no PSF", fix="Use model psf_net")
        if "psf" not in degradation.conditions:
            raise ConfigError("this degradation does not say by which PSF it blurs", fix="Use degradation camera_blur")
        self.network, self._degradation = network, degradation
        self.weights = {"edges": edges, "chance": chance, "stages": stages, "filtered": filtered, "relaxed": relaxed}
        self.phases = (Phase("estimate", list(network.parameters())),)

    @property
    def averaged(self) -> nn.Module:
        return self.network

    @property
    def degradation(self) -> Degradation:
        return self._degradation

    def forward(self, batch: Batch, phase: str, step: int) -> dict[str, Tensor]:
        sample = self.damaged(batch)
        truth = true_psf(sample)
        found = self.network.estimates(PSFNet.light(sample.inputs["picture"]))
        by_factor = {1: truth, 2: halved(truth)}
        by_factor[4] = halved(by_factor[2])
        earlier = torch.stack([_misfit(s.psf, by_factor[s.factor]).mean() for s in found.stages[:-1]])
        misfit = _misfit(found.candidates, truth)  # B x H
        gap = filter_error(found.candidates, truth).log() - filter_error(truth, truth).log()
        each = misfit + self.weights["filtered"] * gap
        best = each.argmin(1)
        share = self.weights["relaxed"]
        chosen = (1 - share) * each.amin(1).mean() + share * each.mean()
        chance = F.cross_entropy(found.logits, best)
        edges = _edge_error(found.stages, sample)
        loss = chosen + self.weights["stages"] * earlier.mean()
        loss = loss + self.weights["chance"] * chance + self.weights["edges"] * edges
        with torch.no_grad():
            likeliest = gap.gather(1, found.logits.argmax(1, keepdim=True)).mean()
            nothing = torch.zeros_like(truth)
            nothing[..., SIDE // 2, SIDE // 2] = 1
            trivial = filter_error(nothing, truth).log() - filter_error(truth, truth).log()
            decibels = {"gap_best": gap.amin(1).mean(), "gap_likeliest": likeliest, "gap_no_blur": trivial.mean()}
        parts = {"psf": misfit.amin(1).mean(), "first": earlier[0], "third": earlier[2], "chance": chance}
        return {"loss": loss, **parts, "edges": edges} | {name: 4.343 * x for name, x in decibels.items()}

    def preview(self, batch: Batch, network: nn.Module) -> dict[str, Tensor]:
        """Input: no blur; output: the likeliest candidate; target: the true PSF; each over the true one's maximum."""
        sample = self.damaged(batch)
        truth = true_psf(sample)
        given = network(sample.inputs["picture"])
        likeliest = given.sum((-2, -1)).argmax(1)
        psf = given[torch.arange(len(given)), likeliest][:, None]
        psf = psf / psf.sum((-2, -1), keepdim=True)
        nothing = torch.zeros_like(truth)
        nothing[..., SIDE // 2, SIDE // 2] = 1
        top = truth.amax((-2, -1), keepdim=True)
        return {"input": (nothing / top).clamp(0, 1), "output": (psf / top).clamp(0, 1), "target": truth / top}


def true_psf(sample: Sample) -> Tensor:
    """B x 1 x SIDE x SIDE of sum 1: the middle of the sample's PSFs."""
    psf = crop_or_pad(sample.conditions["psf"], (SIDE, SIDE))
    return psf / psf.sum((-2, -1), keepdim=True)


def filter_error(psf: Tensor, truth: Tensor) -> Tensor:
    """Share of a natural picture's power that a Wiener filter by a PSF leaves wrong: B x H x s x s, B x 1 x s x s ->
    B x H.

    The picture has a power spectrum of 1 / w^2, the noise is white.
    """
    spectrum = 1 / (frequency(_GRID, psf).square() + _ROLL_OFF**2)
    spectrum[0, 0] = 0
    spectrum = spectrum / spectrum.mean()
    relative = _NOISE / spectrum.clamp(min=1e-9)
    transfer, true = otf(psf, _GRID), otf(truth, _GRID)
    wiener = transfer.conj() / (transfer.abs().square() + relative)
    left = (1 - wiener * true).abs().square() * spectrum + _NOISE * wiener.abs().square()
    return left.mean((-2, -1)).clamp(min=1e-8)


def _misfit(psf: Tensor, truth: Tensor) -> Tensor:
    """Squared error over the true PSF's energy: B x H."""
    return (psf - truth).square().sum((-2, -1)) / truth.square().sum((-2, -1))


def _edge_error(stages: list[Stage], sample: Sample) -> Tensor:
    """Mean absolute error of the edges of all stages against the sharp picture's gradients, in stds of the picture."""
    light, sharp = (PSFNet.light(x) for x in (sample.inputs["picture"], sample.targets["result"]))
    height, width = (side // 16 * 16 for side in light.shape[-2:])
    light, sharp = light[..., :height, :width], sharp[..., :height, :width]
    sharp = sharp / light.std((-2, -1), keepdim=True).clamp(min=1e-3)
    errors = []
    for stage in stages:
        small = F.avg_pool2d(sharp, stage.factor) if stage.factor > 1 else sharp
        gradients = torch.cat((small.roll(-1, -1) - small, small.roll(-1, -2) - small), 1)
        inner = (..., slice(8, -8), slice(8, -8))
        errors.append((stage.edges[inner] - gradients[inner]).abs().clamp(max=4).mean())
    return torch.stack(errors).mean()
