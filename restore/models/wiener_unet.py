"""WienerUNet: a compact INFWIDE of plain 3 x 3 convolutions, whose Wiener steps alternate with one shared U-Net.

Source: own design from published parts. Deconvolution in image and in feature space behind a branch that first makes
the clean, unclipped blurred picture: INFWIDE (Zhang et al., TIP 2023, https://arxiv.org/abs/2207.08201). Data steps
with a prior network that takes the level, trained through all steps: USRNet (Zhang, Van Gool, Timofte, CVPR 2020,
https://arxiv.org/abs/2003.10428), its levels those of DPIR (https://arxiv.org/abs/2008.13751). For circular pictures:

    y'    = y + denoise(y, sigma)                                           (only with `denoise`)
    f     = features(y): B x F x H x W, each deconvolved with a weight of its own on the first differences
    z_k   = argmin |psf * z - y'|^2 + a_k (sigma / level_k)^2 |z - x_(k-1)|^2        x_0 = y'
    x_k   = refine(z_k, level_k, f)                                         `PlainUNet`, the same in every step

level_k falls evenly in its logarithm from 49/255 to sigma; a_k is learned. Differences from INFWIDE: 3 x 3 instead of
5 x 5 convolutions at half resolution; one scale; steps instead of a second branch; the level is given, not guessed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ConfigError
from restore.models.blocks import ResidualBlock
from restore.models.plain_unet import PlainUNet
from restore.models.wiener_layer import DeconvolutionNetwork, Deconvolved
from restore.physics.batch import per_sample
from restore.physics.fourier import data_step, difference_power, otf

_FIRST = 49 / 255
_STEP = 4  # px, that the U-Nets need sides to be a multiple of
_LEAST = 0.2 / 255  # level, below the rounding to 8 bits


class WienerUNet(DeconvolutionNetwork):
    """Wiener steps that alternate with one shared U-Net, for circular pictures.

    Args:
        steps: Wiener steps and passes of the shared U-Net.
        denoise: a U-Net of its own makes the clean blurred picture first, for low light.
        features: maps that are deconvolved beside the picture.
        widths, blocks: of the U-Nets, of two levels.
    """

    def __init__(
        self,
        steps: int = 3,
        denoise: bool = False,
        features: int = 8,
        widths: Sequence[int] = (48, 96),
        blocks: Sequence[int] = (2, 3, 2),
    ) -> None:
        super().__init__()
        if not 1 <= steps <= 16 or features < 1 or len(widths) != 2:
            what = f"WienerUNet: {steps} steps, {features} features, {len(widths)} widths"
            raise ConfigError(what, fix="Give 1 to 16 steps, 1 feature or more, 2 widths")
        self.steps = steps
        self.denoise = PlainUNet(3, 1, widths, blocks) if denoise else None
        self.features = nn.Sequential(nn.Conv2d(3, features, 3, padding=1), nn.ReLU(), ResidualBlock(features))
        self.refine = PlainUNet(3, 1 + features, widths, blocks)
        self.log_trust = nn.Parameter(torch.full((steps,), math.log(0.23)))  # a_k
        self.log_weight = nn.Parameter(torch.full((features,), math.log(24.0)))  # of features, at level 1

    def stages(self, x: Tensor, psf: Tensor, noise_level: Tensor) -> Deconvolved:
        """One picture, and the clean blurred one of networks that denoise first."""
        level = noise_level.to(x.dtype).mean((1, 2, 3)).clamp(_LEAST, _FIRST)  # B
        blurred = None if self.denoise is None else x.float() + _correction(self.denoise, x, level)
        y = x.float() if blurred is None else blurred
        maps = self.features(x)
        with torch.autocast(x.device.type, enabled=False):
            transfer = otf(psf.float() / psf.float().sum((-2, -1), keepdim=True), (x.shape[-2], x.shape[-1]))
            maps = self._deconvolved(maps.float(), transfer, level)
        estimate = y
        for k, log_trust in enumerate(self.log_trust):
            now = _FIRST * (level / _FIRST) ** (1.0 if self.steps == 1 else k / (self.steps - 1))
            alpha = per_sample(log_trust.exp() * (level / now).square())
            with torch.autocast(x.device.type, enabled=False):
                z = data_step(y, estimate, transfer, alpha)
            estimate = z + _correction(self.refine, z, now, maps)
        return Deconvolved([estimate], blurred)

    def _deconvolved(self, maps: Tensor, transfer: Tensor, level: Tensor) -> Tensor:
        size = (maps.shape[-2], maps.shape[-1])
        weight = self.log_weight.exp()[:, None, None] * per_sample(level).pow(1.5)
        power = transfer.real.square() + transfer.imag.square()
        spectrum = torch.fft.rfft2(maps) * transfer.conj() / (power + weight * difference_power(size, maps) + 1e-6)
        return torch.fft.irfft2(spectrum, s=size)

    @torch.no_grad()
    def begin_with(self, other: nn.Module) -> bool:
        """Start both U-Nets from a denoiser, a `PlainUNet` of the same widths and blocks with a level map; False for
        any other network, of which nothing is taken."""
        if not isinstance(other, PlainUNet):
            return False
        state = other.state_dict()
        for net in (self.refine, self.denoise):
            if net is None:
                continue
            own_state = net.state_dict()
            for name, value in state.items():
                if name == "head.weight":  # inputs that the denoiser did not have start at zero
                    own_state[name].zero_()[:, : value.shape[1]] = value
                else:
                    own_state[name] = value
            net.load_state_dict(own_state)
        return True


def _correction(net: PlainUNet, x: Tensor, level: Tensor, *maps: Tensor) -> Tensor:
    """What a U-Net adds to a picture that it gets with the level as a plane, and further maps, float32."""
    height, width = x.shape[-2:]
    planes = torch.cat([x, per_sample(level).expand(-1, -1, height, width), *maps], 1)
    planes = F.pad(planes, (0, -width % _STEP, 0, -height % _STEP), mode="replicate")
    planes = planes.contiguous(memory_format=torch.channels_last)
    return net.of_planes(planes)[..., :height, :width].float()
