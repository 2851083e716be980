"""DWDN: Wiener deconvolution of learned features, refined at two scales.

Source: Dong, Roth, Schiele, NeurIPS 2020, https://arxiv.org/abs/2103.09962. 7,049,507 parameters.

    features  3 -> 16, B x 16 x H x W       conv 5 x 5, ReLU, 3 residual blocks
    Wiener    of each of the 16 maps        `restore.models.wiener_layer.FeatureWiener`
    half size 16 -> 32, U-Net 32/64/128, 3 residual blocks, conv -> 3
    full size 16 maps and the 32 of half size -> 32, the same U-Net and output again
"""

from __future__ import annotations

from torch import Tensor, cat, nn

from restore.models.wiener_layer import (
    DeconvolutionNetwork,
    Deconvolved,
    FeatureWiener,
    UNet,
    block5,
    half_size,
    resized,
    stage,
)


class DWDN(DeconvolutionNetwork):
    """Wiener deconvolution of learned features, refined at half and full size; it measures the noise itself.

    Args:
        exact_moments: see `FeatureWiener`; False is what the published weights were trained with.
    """

    paper = "https://arxiv.org/abs/2103.09962"

    def __init__(self, exact_moments: bool = False) -> None:
        super().__init__()
        self.features = stage(3, 16)
        self.wiener = FeatureWiener(exact_moments)
        self.at_half = stage(16, 32)
        self.at_full = stage(48, 32)
        self.unet = UNet(32)
        self.refine = nn.Sequential(*(block5(32) for _ in range(3)))
        self.tail = nn.Conv2d(32, 3, 5, padding=2)

    def stages(self, x: Tensor, psf: Tensor, noise_level: Tensor) -> Deconvolved:
        """Pictures of half (rounded up) and full size; the noise level is not used."""
        maps = self.wiener(self.features(x), psf)
        coarse = self.refine(self.unet(self.at_half(resized(maps, half_size(x)))))
        joined = cat([maps, resized(coarse, (x.shape[-2], x.shape[-1]))], 1)
        return Deconvolved([self.tail(coarse), self.tail(self.refine(self.unet(self.at_full(joined))))])
