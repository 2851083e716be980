"""Noise as it leaves a camera: sensor noise on the Bayer mosaic, taken through the steps that develop a picture.

Shot and read noise are white and simple on the sensor (Poisson-Gaussian: Foi et al., IEEE TIP 2008); demosaicing,
white balance, the colour matrix, the tone curve and in-camera smoothing make them correlated in space and between
colours, and dependent on the signal (Brooks et al., "Unprocessing Images", CVPR 2019). All but the tone curve are
linear, so they are applied to the noise alone: the scene passes as if developed perfectly, and the clean picture
given stays the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.physics.batch import constant, per_sample
from restore.physics.color import LUMA
from restore.physics.filters import filter_each, gaussian_kernels
from restore.physics.random import Generators, normal

Range = tuple[float, float]
_DEMOSAIC, _SMOOTH = 2, 6  # radii, px; their sum is even, so that the margin keeps the phase of the mosaic
_COARSE = 2.0  # px, std: what noise reduction takes for the scene
_TOE = 0.003  # of the tone curve: bounds its slope at black to about that of sRGB

# Estimates of a missing colour from the mosaic, 5 x 5, in the order: from the cross of neighbours, from the
# two beside, the two above and below, the four on the diagonals.
_BILINEAR = (
    ((0, 0, 0, 0, 0), (0, 0, 0.25, 0, 0), (0, 0.25, 0, 0.25, 0), (0, 0, 0.25, 0, 0), (0, 0, 0, 0, 0)),
    ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0.5, 0, 0.5, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
    ((0, 0, 0, 0, 0), (0, 0, 0.5, 0, 0), (0, 0, 0, 0, 0), (0, 0, 0.5, 0, 0), (0, 0, 0, 0, 0)),
    ((0, 0, 0, 0, 0), (0, 0.25, 0, 0.25, 0), (0, 0, 0, 0, 0), (0, 0.25, 0, 0.25, 0), (0, 0, 0, 0, 0)),
)
# Malvar, He, Cutler, "High-quality linear interpolation for demosaicing", ICASSP 2004; in sixteenths.
_MALVAR = (
    ((0, 0, -2, 0, 0), (0, 0, 4, 0, 0), (-2, 4, 8, 4, -2), (0, 0, 4, 0, 0), (0, 0, -2, 0, 0)),
    ((0, 0, 1, 0, 0), (0, -2, 0, -2, 0), (-2, 8, 10, 8, -2), (0, -2, 0, -2, 0), (0, 0, 1, 0, 0)),
    ((0, 0, -2, 0, 0), (0, -2, 8, -2, 0), (1, 0, 10, 0, 1), (0, -2, 8, -2, 0), (0, 0, -2, 0, 0)),
    ((0, 0, -3, 0, 0), (0, 4, 0, 4, 0), (-3, 0, 12, 0, -3), (0, 4, 0, 4, 0), (0, 0, -3, 0, 0)),
)


class Camera(NamedTuple):
    """A batch of cameras with their settings; every field has shape B.

    Attributes:
        iso: sensitivity; the amplification is iso / 100.
        full_well: photoelectrons at white, ISO 100.
        read_noise: std of the noise of reading out, electrons.
        red, blue: white balance gains against green, >= 1.
        saturation: strength of the colour matrix; 1 is none, above it mixes the channels' noise.
        gamma: of the tone curve.
        malvar: demosaicing, from bilinear (0) to that of Malvar et al. (1).
        luma_blur, chroma_blur: std of in-camera smoothing, px.
        chroma: share of the chroma noise, as a factor of its std, that in-camera noise reduction leaves beside that.
        fine: share of luma noise finer than 2 px (std of a Gaussian) that noise reduction leaves; it cannot
            separate coarser noise from the scene.
        sharpen: amount of unsharp masking of luma at 1 px, 0 none.
        phase: 0 to 3 (rounded down): where on the RGGB pattern the top left pixel lies, 2 row + column.
    """

    iso: Tensor
    full_well: Tensor
    read_noise: Tensor
    red: Tensor
    blue: Tensor
    saturation: Tensor
    gamma: Tensor
    malvar: Tensor
    luma_blur: Tensor
    chroma_blur: Tensor
    chroma: Tensor
    fine: Tensor
    sharpen: Tensor
    phase: Tensor


@dataclass(frozen=True)
class CameraRanges:
    """Kinds of cameras, as the (lowest, highest) of each field of `Camera`; iso and full_well log-uniform."""

    iso: Range
    full_well: Range
    read_noise: Range
    red: Range = (1.4, 2.4)
    blue: Range = (1.3, 2.2)
    saturation: Range = (1.0, 1.5)
    gamma: Range = (2.0, 2.4)
    malvar: Range = (0.0, 1.0)
    luma_blur: Range = (0.0, 0.5)
    chroma_blur: Range = (0.0, 1.5)
    chroma: Range = (1.0, 1.0)
    fine: Range = (1.0, 1.0)
    sharpen: Range = (0.0, 0.6)
    phase: Range = (0.0, 4.0)


PRESETS: dict[str, CameraRanges] = {
    "raw": CameraRanges((800, 25600), (30e3, 90e3), (2, 6), luma_blur=(0, 0), chroma_blur=(0, 0), sharpen=(0, 0)),
    "dslr": CameraRanges(
        (800, 25600),
        (30e3, 90e3),
        (2, 6),
        luma_blur=(0.5, 1.2),
        chroma_blur=(1.0, 2.2),
        chroma=(0.2, 1.0),
        fine=(0.3, 1.0),
    ),
    "phone": CameraRanges(
        (200, 6400),
        (4e3, 12e3),
        (2, 5),
        luma_blur=(0.4, 1.2),
        chroma_blur=(1.0, 2.2),
        chroma=(0.2, 1.0),
        fine=(0.3, 1.0),
    ),
    "smoothed": CameraRanges(
        (1600, 51200),
        (15e3, 60e3),
        (2, 6),
        luma_blur=(0.8, 1.6),
        chroma_blur=(1.5, 2.4),
        chroma=(0.1, 0.7),
        fine=(0.1, 0.6),
        sharpen=(0, 0.3),
    ),
}
"""raw: developed without smoothing; dslr, phone: large and small pixels; smoothed: strong in-camera noise reduction.
Cameras smooth chroma far more than luma, so what is left is mostly luma, alike in all channels."""

_LOGARITHMIC = ("iso", "full_well")
CAMERA_DRAWN = (*Camera._fields, "preset")


def draw_cameras(presets: dict[str, CameraRanges], chance: Tensor) -> Camera:
    """Random cameras, one of the presets each, from numbers uniform in [0, 1): B x len(`CAMERA_DRAWN`)."""
    which = (chance[:, -1] * len(presets)).long().clamp(max=len(presets) - 1)
    fields = {}
    for column, name in enumerate(Camera._fields):
        bounds = torch.tensor([getattr(ranges, name) for ranges in presets.values()], dtype=torch.float32)
        bounds = (bounds.log() if name in _LOGARITHMIC else bounds)[which]
        value = torch.lerp(bounds[:, 0], bounds[:, 1], chance[:, column])
        fields[name] = value.exp() if name in _LOGARITHMIC else value
    return Camera(**fields)


def add_camera(x: Tensor, camera: Camera, generators: Generators) -> Tensor:
    """Camera noise: B x C x H x W in [0, 1] -> the same shape, not clipped at the end (the sensor's clipping is in it).

    Grey pictures (C = 1) get the luma of what a colour camera gives them.
    """
    margin = _DEMOSAIC + _SMOOTH
    scene = F.pad(x.expand(-1, 3, -1, -1), (margin,) * 4, mode="replicate")
    inner = scene[..., _DEMOSAIC:-_DEMOSAIC, _DEMOSAIC:-_DEMOSAIC]
    gamma = per_sample(camera.gamma)
    light = _to_light(scene, gamma)
    noise = _develop(_sensor_noise(light, camera, generators), camera)
    light = light[..., _DEMOSAIC:-_DEMOSAIC, _DEMOSAIC:-_DEMOSAIC]
    noise = _to_picture(noise.add_(light).clamp_(0, 1), gamma).sub_(inner)
    luma, red, blue = _smooth(noise, camera)
    if x.shape[1] == 1:
        return x + luma[:, None]
    green = red.mul(-LUMA[0] / LUMA[1]).sub_(blue, alpha=LUMA[2] / LUMA[1])  # so that luma is luma
    return torch.stack((red, green, blue), 1).add_(luma[:, None]).add_(x)


def _to_light(x: Tensor, gamma: Tensor) -> Tensor:
    """Inverse of :func:`_to_picture`."""
    low, high = _TOE ** (1 / gamma), (1 + _TOE) ** (1 / gamma)
    return torch.lerp(low, high, x.clamp(0, 1)).log2_().mul_(gamma).exp2_().sub_(_TOE).clamp_(min=0)


def _to_picture(light: Tensor, gamma: Tensor) -> Tensor:
    """Tone curve: a power 1 / gamma, shifted by the toe so that its slope at black is finite; 0 -> 0, 1 -> 1."""
    low, high = _TOE ** (1 / gamma), (1 + _TOE) ** (1 / gamma)
    return (light + _TOE).log2_().div_(gamma).exp2_().sub_(low).div_(high - low)


def _sensor_noise(light: Tensor, camera: Camera, generators: Generators) -> Tensor:
    """Poisson-Gaussian noise of the mosaic, in units of white before white balance: B x 1 x H x W.

    A pixel of signal s (in units of white) holds full_well 100 / iso s electrons, with variance equal to their
    number plus read_noise squared; normal for this many electrons.
    """
    red, green, blue = (colour[:, None] for colour in light.unbind(1))
    on_red_row, on_red_column = _pattern(light, camera.phase)
    red, blue = red / per_sample(camera.red), blue / per_sample(camera.blue)  # what the sensor saw
    signal = torch.where(on_red_row, torch.where(on_red_column, red, green), torch.where(on_red_column, green, blue))
    electrons = per_sample(camera.full_well * 100 / camera.iso)
    std = (signal * electrons + per_sample(camera.read_noise).square()).sqrt() / electrons
    return std * normal(std.shape, generators, std.device)


def _develop(mosaic: Tensor, camera: Camera) -> Tensor:
    """Demosaic, white balance, colour matrix: B x 1 x H x W -> B x 3 x (H - 4) x (W - 4)."""
    bilinear, malvar = constant(_BILINEAR, mosaic.device), constant(_MALVAR, mosaic.device) / 16
    filters = torch.lerp(bilinear, malvar, per_sample(camera.malvar))  # B x 4 x 5 x 5
    cross, beside, above, diagonal = (filter_each(mosaic, each) for each in filters.unbind(1))
    here = mosaic[..., _DEMOSAIC:-_DEMOSAIC, _DEMOSAIC:-_DEMOSAIC]
    row, column = _pattern(here, camera.phase)  # the crop by 2 keeps the phase
    red = torch.where(row, torch.where(column, here, beside), torch.where(column, above, diagonal))
    green = torch.where(row == column, cross, here)
    blue = torch.where(row, torch.where(column, diagonal, above), torch.where(column, beside, here))
    red, blue = red * per_sample(camera.red), blue * per_sample(camera.blue)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return torch.lerp(luma, torch.cat((red, green, blue), 1), per_sample(camera.saturation))


def _smooth(noise: Tensor, camera: Camera) -> tuple[Tensor, Tensor, Tensor]:
    """Smooth luma and colour differences, sharpen luma.

    B x 3 x H x W -> Y, R - Y, B - Y, each B x (H - 8) x (W - 8)
    """
    red, green, blue = noise.unbind(1)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    round_, flat = torch.ones_like(camera.gamma), torch.zeros_like(camera.gamma)
    soft = gaussian_kernels(camera.luma_blur, round_, flat, _SMOOTH)
    softer = gaussian_kernels((camera.luma_blur.square() + 1).sqrt(), round_, flat, _SMOOTH)
    coarse = gaussian_kernels((camera.luma_blur.square() + _COARSE**2).sqrt(), round_, flat, _SMOOTH)
    sharpened = torch.lerp(coarse, soft, camera.fine[:, None, None]) + camera.sharpen[:, None, None] * (soft - softer)
    colour = gaussian_kernels(camera.chroma_blur, round_, flat, _SMOOTH)
    colour = colour * camera.chroma[:, None, None]
    kernels = torch.stack((sharpened, colour, colour), 1).view(-1, *soft.shape[1:])
    planes = torch.stack((luma, red - luma, blue - luma), 1)
    y = filter_each(planes.view(-1, 1, *luma.shape[1:]), kernels)
    y = y.view(-1, 3, *y.shape[-2:])
    return y[:, 0], y[:, 1], y[:, 2]


def _pattern(x: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """Which rows hold red, B x 1 x H x 1, and which columns, B x 1 x 1 x W."""
    phase = phase.long()
    rows = torch.arange(x.shape[-2], device=x.device).view(1, 1, -1, 1)
    columns = torch.arange(x.shape[-1], device=x.device).view(1, 1, 1, -1)
    return (rows + per_sample(phase // 2)) % 2 == 0, (columns + per_sample(phase % 2)) % 2 == 0
