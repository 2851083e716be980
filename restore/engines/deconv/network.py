"""A trained network that takes out a known blur, as a function of circular pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from restore.engines.network import NetworkEngine
from restore.physics.low_light import HEADROOM
from restore.zoo import load
from restore.zoo.resolver import available

DAYLIGHT, LOW_LIGHT = "deconv", "deconv_low_light"
"""Names of the shipped weights of the two regimes."""
WITHOUT_WEIGHTS = "or work without weights: --method hyper-laplacian"


def shipped() -> bool:
    """Whether the weights that are chosen unasked are on this machine."""
    return DAYLIGHT in available()


class DeconvolutionNetwork(NetworkEngine):
    """A network that is given picture, PSF and noise level."""

    provides = ("psf", "noise_level")

    @torch.inference_mode()
    def deconvolve(self, y: Tensor, psf: Tensor, sigma: float) -> Tensor:
        """B x C x H x W -> the same; other than three channels are given one by one, as grey.

        Args:
            psf: h x w, of sum 1.
            sigma: std of the noise, units of [0, 1].
        """
        network = self.cast(torch.float32, y.device)
        level = torch.full((len(y), 1, 1, 1), sigma, device=y.device)
        return network.run(y[:, None], psf=psf.to(y).expand(len(y), 1, -1, -1), noise_level=level)["result"]


def network_of(weights: str | Path) -> DeconvolutionNetwork:
    """The network of a name of the zoo or of a file. Raises `WeightsError`."""
    loaded = load(weights, "deconv", otherwise=WITHOUT_WEIGHTS)
    return DeconvolutionNetwork(loaded.net, loaded.spec, loaded.name, loaded.sha256)


def headroom(white: float) -> float:
    """By what a picture that is clipped at `white` is multiplied for the low-light network, which saw lights clipped
    at 1 / 1.2 and gives them back brighter."""
    return 1 / (HEADROOM * white)
