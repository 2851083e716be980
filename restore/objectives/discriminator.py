"""PatchDiscriminator: distinguishes restored pictures from clean ones, patch by patch.

Source: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017,
https://arxiv.org/abs/1611.07004. Difference: spectral normalisation (Miyato et al., ICLR 2018,
https://arxiv.org/abs/1802.05957) in place of batch normalisation, whose statistics would mix real and fake.

Shapes for width w and depth 3:

    input          B x C x H x W          values in [0, 1]
    convolutions   B x w 2^i x H/2^(i+1) x W/2^(i+1)     4 x 4, stride 2, leaky ReLU 0.2; i = 0, 1, 2
    logits         B x 1 x H/8 x W/8      conv 3 x 3
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from restore.errors import ConfigError


class PatchDiscriminator(nn.Module):
    """B x channels x H x W -> logits B x 1 x H / 2^depth x W / 2^depth. Sides of at least 2^depth pixels.

    Args:
        width: features of the first convolution; doubled at each of the next.
        depth: convolutions that halve the resolution.
        spectral: normalise the convolutions' largest singular value; without it the discriminator learns faster, and
            needs another restraint (`r1` of the adversarial objective).
    """

    def __init__(self, channels: int = 3, width: int = 32, depth: int = 3, spectral: bool = True) -> None:
        super().__init__()
        if channels < 1 or not 1 <= width <= 512 or not 1 <= depth <= 6:
            raise ConfigError("these arguments describe no discriminator", fix="Give width 1 to 512 and depth 1 to 6")
        layers: list[nn.Module] = []
        restrain = spectral_norm if spectral else (lambda convolution: convolution)
        for level in range(depth):
            fine = channels if level == 0 else width << (level - 1)
            layers += [restrain(nn.Conv2d(fine, width << level, 4, 2, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, restrain(nn.Conv2d(width << (depth - 1), 1, 3, padding=1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x - 0.5)
