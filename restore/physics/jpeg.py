"""What JPEG does to pictures, batched on the device: 8 x 8 DCT, quantisation, chroma at half resolution.

Entropy coding is lossless and left out. Tables and their scaling with quality: ITU-T T.81 Annex K, and libjpeg's
`jpeg_set_quality`; colours: JFIF 1.02; chroma goes up by libjpeg's triangle filter ("fancy upsampling"). Rounding
has no gradient: no training goes through it here.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.physics.batch import constant
from restore.physics.color import LUMA
from restore.physics.dct import dct_matrix
from restore.physics.resample import halve

_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99,
    99, 99, 99, *(99,) * 32,
)  # fmt: skip


def jpeg(x: Tensor, quality: Tensor, *, subsampled: bool = True) -> Tensor:
    """Compress and decompress: B x C x H x W with values in [0, 1] (clipped) -> the same shape, 8-bit values.

    Args:
        x: C = 1 (grey) or 3 (RGB); any H and W.
        quality: B, 1 to 100, as libjpeg's.
        subsampled: chroma at half resolution (4:2:0, the usual) or full (4:4:4).
    """
    height, width = x.shape[-2:]
    block = 16 if x.shape[1] == 3 and subsampled else 8
    codes = (x.clamp(0, 1) * 255).round_()
    if height % block or width % block:
        codes = F.pad(codes, (0, -width % block, 0, -height % block), mode="replicate")
    if x.shape[1] == 3:
        luma, chroma = _to_ycc(codes)
        chroma = _through_dct(halve(chroma).round_() if subsampled else chroma, _tables(quality, _CHROMA))
        if subsampled:
            chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
        codes = _to_rgb(_through_dct(luma, _tables(quality, _LUMA)), chroma)
    else:
        codes = _through_dct(codes - 128, _tables(quality, _LUMA)) + 128
    return codes[..., :height, :width].round_().clamp_(0, 255) / 255


def _to_ycc(codes: Tensor) -> tuple[Tensor, Tensor]:
    """B x 3 x H x W of 0..255 -> luma minus 128, B x 1 x H x W, and chroma around 0, B x 2 x H x W; whole numbers."""
    red, green, blue = codes.unbind(1)
    luma = (LUMA[0] * red).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
    chroma = torch.stack(((blue - luma).div_(1.772), (red - luma).div_(1.402)), 1)
    return luma.sub_(128).round_()[:, None], chroma.round_()


def _to_rgb(luma: Tensor, chroma: Tensor) -> Tensor:
    """The way back, not rounded."""
    luma = luma[:, 0] + 128
    blueness, redness = chroma.unbind(1)
    green = luma.sub(blueness, alpha=0.344136).sub_(redness, alpha=0.714136)
    return torch.stack((luma.add(redness, alpha=1.402), green, luma.add(blueness, alpha=1.772)), 1)


def _tables(quality: Tensor, base: tuple[int, ...]) -> Tensor:
    """Quantisation steps at B qualities (1 to 100): B x 8 x 8."""
    quality = quality.float().clamp(1, 100)
    scale = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    steps = constant(base, quality.device).view(1, 8, 8)
    return ((steps * scale[:, None, None] + 50) / 100).floor().clamp_(1, 255)


def _through_dct(x: Tensor, tables: Tensor) -> Tensor:
    """Blockwise DCT, rounding to multiples of the tables, and back: B x C x 8h x 8w, B x 8 x 8 -> the same."""
    batch, _, height, width = x.shape
    basis = _dct(x.device)
    steps = tables.repeat(1, 1, width // 8).view(batch, 1, 8 * width)  # of a band of blocks, so that rows stay long
    coefficients = (basis @ x.reshape(-1, 8, width)).view(-1, 8) @ basis.T
    bands = coefficients.view(batch, -1, 8 * width)
    rounded = torch.div(bands, steps).round_().mul_(steps)
    return (basis.T @ (rounded.view(-1, 8) @ basis).view(-1, 8, width)).view(batch, -1, height, width)


@cache
@torch.inference_mode(False)
def _dct(device: torch.device) -> Tensor:
    return dct_matrix(8).to(device)
