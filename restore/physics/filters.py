"""Kernels, and filtering every sample of a batch with its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def filter_each(x: Tensor, kernels: Tensor) -> Tensor:
    """Correlate every sample with a kernel of its own, without padding.

    B x C x H x W, B x k x k -> B x C x (H - k + 1) x (W - k + 1)
    """
    from kornia.filters import filter2d

    return filter2d(x, kernels, padding="valid")


def box_mean(x: Tensor, radius: int) -> Tensor:
    """Means over (2 radius + 1)^2 px, at the border over what is there: B x C x H x W -> the same shape."""
    for dim, margin in ((-2, (0, 0, radius, radius)), (-1, (radius, radius))):
        size = x.shape[dim]
        padded = F.pad(x, margin)
        total = padded.narrow(dim, 0, size).clone()
        for shift in range(1, 2 * radius + 1):
            total += padded.narrow(dim, shift, size)
        place = torch.arange(size, device=x.device)
        count = (place + radius).clamp(max=size - 1) - (place - radius).clamp(min=0) + 1
        x = total.div_(count if dim == -1 else count[:, None])
    return x


def gaussian_taps(window: int, sigma: float) -> Tensor:
    """A Gaussian of std `sigma` px sampled at `window` places around the middle one, of sum 1: float64."""
    place = torch.arange(window, dtype=torch.float64) - window // 2
    taps = torch.exp(-0.5 * (place / sigma).square())
    return taps / taps.sum()


def sharpened(
    x: Tensor, weight: float = 0.5, window: int = 51, sigma: float = 8.0, threshold: float = 10 / 255
) -> Tensor:
    """Unsharp masking as Real-ESRGAN sharpens what it learns from: x + weight (x - blurred), clipped, where it matters.

    Where |x - blurred| exceeds the threshold, each channel by itself; the mask is blurred too, so that nothing changes
    abruptly. Computed in float32 (float64 for float64 input), borders reflected. Wang et al., ICCVW 2021,
    https://arxiv.org/abs/2107.10833

    Args:
        x: B x C x H x W in [0, 1]; sides of more than `window` // 2 px.
        window, sigma: of the Gaussian, px; OpenCV's own choice for 51 taps is 8.0.
    Raises:
        ValueError: smaller sides, for which there is nothing to reflect.
    """
    if min(x.shape[-2:]) <= window // 2:
        raise ValueError(f"sharpening needs sides of more than {window // 2} px, not {x.shape[-2]} x {x.shape[-1]}")
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        taps = gaussian_taps(window, sigma).to(x)
        detail = x - filter_separably(x, taps)
        share = filter_separably((detail.abs() > threshold).to(x), taps)
        return x + share * ((x + weight * detail).clamp(0, 1) - x)


def filter_separably(x: Tensor, taps: Tensor, border: str = "reflect") -> Tensor:
    """Filtered by the same odd number of taps along rows and columns: B x C x H x W -> the same shape.

    Args:
        border: how the picture goes on, a mode of `torch.nn.functional.pad`.
    """
    reach = len(taps) // 2
    flat = F.pad(x, (reach,) * 4, mode=border).flatten(0, 1)[:, None]
    return F.conv2d(F.conv2d(flat, taps[None, None, None]), taps[None, None, :, None]).view(x.shape)


def elliptic_distance(x: Tensor, y: Tensor, long: Tensor, short: Tensor, angle: Tensor) -> Tensor:
    """r^2 at places x (to the right) and y (down), r in units of the axes' stds; all broadcast.

    Args:
        long, short: std along the two axes, px.
        angle: from x to the long axis, towards y (clockwise on the screen), radians.
    """
    cos, sin = angle.cos(), angle.sin()
    return ((cos * x + sin * y) / long).square() + ((cos * y - sin * x) / short).square()


def elliptic_gaussian(x: Tensor, y: Tensor, long: Tensor, short: Tensor, angle: Tensor) -> Tensor:
    """exp(-r^2 / 2); arguments as of `elliptic_distance`."""
    return torch.exp(-0.5 * elliptic_distance(x, y, long, short, angle))


def gaussian_kernels(std: Tensor, roundness: Tensor, angle: Tensor, radius: int = 3) -> Tensor:
    """Elliptic Gaussians of sum 1, B x (2 radius + 1) x (2 radius + 1).

    Args:
        std: B, of the long axis in px; 0 gives a single one in the middle.
        roundness: B, short axis over long axis, 0 to 1.
        angle: B, of the long axis, radians.
    """
    place = torch.arange(-radius, radius + 1, device=std.device, dtype=torch.float32)
    long, short = std.clamp(min=0.05), (std * roundness).clamp(min=0.05)
    long, short, angle = (each[:, None, None] for each in (long, short, angle))
    kernels = elliptic_gaussian(place[None, None, :], place[None, :, None], long, short, angle)
    return kernels / kernels.sum((1, 2), keepdim=True)
