"""SSIM, MS-SSIM and the mix of MS-SSIM and L1 that is the default perceptual loss without weights.

    l  = (2 mu_x mu_y + C1) / (mu_x^2 + mu_y^2 + C1)      C1 = (0.01 L)^2, C2 = (0.03 L)^2, L = data_range
    cs = (2 s_xy + C2) / (s_x^2 + s_y^2 + C2)
    SSIM = mean l cs                                      Wang, Bovik, Sheikh, Simoncelli, TIP 2004
    MS-SSIM = (mean l cs)_M^w_M prod_{j<M} (mean cs)_j^w_j    Wang, Simoncelli, Bovik, Asilomar 2003
    ms_ssim_l1 = 0.84 (1 - MS-SSIM) + 0.16 mean|x - y|    Zhao, Gallo, Frosio, Kautz, TCI 2017; MS-SSIM as a training
                                                          loss: Snell et al., https://arxiv.org/abs/1511.06409

Means and variances are taken under a Gaussian window (11 taps, sigma 1.5) at the positions where it lies wholly
inside the picture; scales are halved by 2 x 2 means. An odd last row or column is left out when halving, and
repeated only where the window would not fit any more (sides of 161 to 175 px). Other packages pad all odd sides and
differ there by 0.004 to 0.006. The mean over positions is per picture and channel, then over channels: one value a
picture.

`ms_ssim_l1_full_loss` is the mix as Zhao et al. wrote it, without a pyramid: five windows at full resolution.

All is computed in float32 (float64 for float64 input) whatever the autocast. With a = x + y and b = x - y the same
quantities read l = 1 - mu_b^2 / ((mu_a^2 + mu_b^2)/2 + C1) and cs = 1 - s_b^2 / ((s_a^2 + s_b^2)/2 + C2); the
variances do not change when each picture's mean is taken off first, which keeps their digits on flat pictures.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import ConfigError
from restore.losses.pixel import at_least_float32, l1_loss
from restore.physics.filters import gaussian_taps

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, fine to coarse; fewer are scaled to sum 1
ALPHA = 0.84  # share of MS-SSIM in the mix as in the paper; the authors' released code and kornia have 0.025
SIGMAS = (0.5, 1.0, 2.0, 4.0, 8.0)  # px, of the windows at full resolution
FLOOR = 1e-3  # below it the loss continues the factors of MS-SSIM with a slope that is finite and never zero


class TooSmallError(ConfigError, ValueError):
    """A picture is smaller than the windows of SSIM or MS-SSIM."""


def ssim(x: Tensor, y: Tensor, *, data_range: float = 1.0, window: int = 11, sigma: float = 1.5) -> Tensor:
    """SSIM of two batches B x C x H x W, picture by picture: B values, at most 1.

    Args:
        data_range: difference of white and black (1 for [0, 1], 255 for 8 bits).
        window, sigma: taps (odd) and standard deviation of the Gaussian, px.
    Raises:
        ValueError: the shapes differ.
        TooSmallError: a side is shorter than the window.
    """
    _check(x, y, window, 1)
    with torch.autocast(x.device.type, enabled=False):
        luminance, contrast = _factors(*_planes(x, y), data_range, window, sigma)
        return _by_picture((luminance * contrast).mean((-2, -1)), x)


def ms_ssim(
    x: Tensor,
    y: Tensor,
    *,
    data_range: float = 1.0,
    window: int = 11,
    sigma: float = 1.5,
    levels: int = 5,
    floor: float = 0.0,
) -> Tensor:
    """MS-SSIM of two batches B x C x H x W, picture by picture: B values, at most 1.

    Args:
        data_range, window, sigma: as for `ssim`, the same at every scale.
        levels: scales, 1 to 5. The weights of fewer than 5 are divided by their sum; such values compare only with
            values of as many levels.
        floor: for a loss (`FLOOR`): a factor v below it counts as floor^2 / (2 floor - v), which is positive and
            grows with v, so that structures of the wrong sign have a gradient. 0: negative factors count as 0.
    Raises:
        ValueError: the shapes differ.
        TooSmallError: a side is below `least_side(window, levels)`: 161 by default.
    """
    _check(x, y, window, levels)
    with torch.autocast(x.device.type, enabled=False):
        a, b = _planes(x, y)
        factors = []
        for level in range(levels):
            if level:
                need = least_side(window, levels - level)
                a, b = _halved(a, need), _halved(b, need)
            luminance, contrast = _factors(a, b, data_range, window, sigma)
            last = level == levels - 1
            factors.append((luminance * contrast if last else contrast).mean((-2, -1)))
        factor = _continued(torch.stack(factors, -1), floor)  # 1 x P x levels
        return _by_picture(factor.pow(factor.new_tensor(scale_weights(levels))).prod(-1), x)


def least_side(window: int = 11, levels: int = 5) -> int:
    """Shortest side in px that MS-SSIM can take: 161, 81, 41 with 5, 4, 3 levels."""
    return (window - 1) * 2 ** (levels - 1) + 1


def scale_weights(levels: int = 5) -> tuple[float, ...]:
    """Exponents of the scales, fine to coarse: those of the paper for 5, else divided by their sum."""
    if not 1 <= levels <= len(WEIGHTS):
        raise ConfigError(f"MS-SSIM has 1 to {len(WEIGHTS)} levels, not {levels}")
    total = 1.0 if levels == len(WEIGHTS) else sum(WEIGHTS[:levels])
    return tuple(weight / total for weight in WEIGHTS[:levels])


def ssim_loss(x: Tensor, y: Tensor, *, data_range: float = 1.0, window: int = 11, sigma: float = 1.5) -> Tensor:
    """1 - SSIM, mean over the batch: a scalar in [0, 2]. Options as for `ssim`."""
    return 1 - ssim(x, y, data_range=data_range, window=window, sigma=sigma).mean()


def ms_ssim_loss(
    x: Tensor,
    y: Tensor,
    *,
    data_range: float = 1.0,
    window: int = 11,
    sigma: float = 1.5,
    levels: int = 5,
    floor: float = FLOOR,
) -> Tensor:
    """1 - MS-SSIM, mean over the batch: a scalar in [0, 1]. Options as for `ms_ssim`.

    Far from the target (structures of the wrong sign) its gradient is finite and not zero, but tiny: use
    `ms_ssim_l1_loss` from random weights on.
    """
    options = {"data_range": data_range, "window": window, "sigma": sigma}
    return 1 - ms_ssim(x, y, levels=levels, floor=floor, **options).mean()


def ms_ssim_l1_loss(
    x: Tensor,
    y: Tensor,
    *,
    alpha: float = ALPHA,
    data_range: float = 1.0,
    window: int = 11,
    sigma: float = 1.5,
    levels: int = 5,
    floor: float = FLOOR,
) -> Tensor:
    """alpha (1 - MS-SSIM) + (1 - alpha) mean|x - y| / data_range: a scalar. Options as for `ms_ssim`."""
    options = {"data_range": data_range, "window": window, "sigma": sigma}
    structure = ms_ssim_loss(x, y, levels=levels, floor=floor, **options)
    return alpha * structure + (1 - alpha) * l1_loss(x, y) / data_range


def ms_ssim_l1_full_loss(
    x: Tensor,
    y: Tensor,
    *,
    alpha: float = ALPHA,
    data_range: float = 1.0,
    sigmas: Sequence[float] = SIGMAS,
    padding: str = "reflect",
) -> Tensor:
    """The mix at full resolution (Zhao et al., eq. 12): a scalar, in three times the time of `ms_ssim_l1_loss`.

        mean over positions and channels of alpha (1 - l_M prod_j cs_j) + (1 - alpha) G_M * |x - y| / data_range

    Luminance l and the weight G of the L1 part come from the last window, M; windows reach two of its sigmas.

    Args:
        sigmas: standard deviations of the Gaussian windows, px, ascending.
        padding: of the border, "reflect" or "zeros". kornia's `MS_SSIMLoss(alpha=0.84, compensation=1)` has zeros,
            which bias a band of 16 px.
    Raises:
        ValueError: the shapes differ.
        TooSmallError: a side is no longer than a window reaches.
    """
    if padding not in ("reflect", "zeros"):
        raise ConfigError(f"the padding of MS-SSIM cannot be {padding!r}", fix="Give reflect or zeros")
    reach = int(2 * sigmas[-1])
    _check(x, y, 1, 1)
    if min(x.shape[-2:]) <= reach:
        raise TooSmallError(
            f"MS-SSIM at full resolution needs sides of at least {reach + 1} px",
            why=f"the pictures are {x.shape[-2]} x {x.shape[-1]}",
            fix="Use larger crops or smaller sigmas",
        )

    def padded(planes: Tensor, margin: int) -> Tensor:
        return F.pad(planes, (margin,) * 4, mode="reflect" if padding == "reflect" else "constant")

    with torch.autocast(x.device.type, enabled=False):
        a, b = _planes(x, y)
        similarity = torch.ones_like(a)
        for sigma in sigmas:
            margin = min(reach, math.ceil(5 * sigma))
            luminance, contrast = _factors(padded(a, margin), padded(b, margin), data_range, 2 * margin + 1, sigma)
            similarity = similarity * (luminance * contrast if sigma == sigmas[-1] else contrast)
        taps = _taps(2 * reach + 1, sigmas[-1], a.dtype, a.device)
        error = _blur(padded((a - b).abs(), reach), taps)
        return alpha * (1 - similarity.mean()) + (1 - alpha) * error.mean() / data_range


def _check(x: Tensor, y: Tensor, window: int, levels: int) -> None:
    if x.shape != y.shape or x.ndim != 4:
        raise ValueError(f"SSIM compares two batches B x C x H x W, not {tuple(x.shape)} and {tuple(y.shape)}")
    if window < 1 or window % 2 == 0:
        raise ConfigError(f"the window of SSIM has an odd number of taps, not {window}")
    scale_weights(levels)
    height, width = x.shape[-2:]
    if min(height, width) >= least_side(window, levels):
        return
    if levels == 1:
        what, ways = f"SSIM with {window} taps", "a smaller window"
    else:
        fewer = ", ".join(f"levels={n} (from {least_side(window, n)} px)" for n in range(levels - 1, 1, -1))
        smaller = f"window=7 (from {least_side(7, levels)} px)" if window > 7 else "a smaller window"
        what, ways = f"MS-SSIM with {window} taps and {levels} levels", f"{fewer or 'SSIM'}, {smaller}"
    raise TooSmallError(
        f"{what} needs sides of at least {least_side(window, levels)} px",
        why=f"the pictures are {height} x {width}",
        fix=f"Use larger crops, {ways}; values compare only with values of the same options",
    )


def _planes(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """All channels of all pictures side by side, 1 x (B C) x H x W, in float32 or float64.

    So many channels, one group each, the last in memory, is what depthwise convolutions are fast on.
    """
    kind = torch.promote_types(at_least_float32(x).dtype, y.dtype)
    x, y = (each.to(kind).flatten(0, 1)[None].contiguous(memory_format=torch.channels_last) for each in (x, y))
    return x, y


def _by_picture(values: Tensor, x: Tensor) -> Tensor:
    return values.view(x.shape[:2]).mean(1)


def _factors(x: Tensor, y: Tensor, data_range: float, window: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Maps of (l, cs), 1 x P x (H - window + 1) x (W - window + 1), of planes 1 x P x H x W."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    level_x, level_y = (each.detach().mean((-2, -1), keepdim=True) for each in (x, y))
    x, y = x - level_x, y - level_y
    taps = _taps(window, sigma, x.dtype, x.device)
    mean_x, mean_y = _blur(x, taps), _blur(y, taps)  # a target without gradient stays out of the graph
    mean_a, mean_b = mean_x + mean_y, mean_x - mean_y
    variance_a = (_blur((x + y).square(), taps) - mean_a.square()).clamp(min=0)
    variance_b = (_blur((x - y).square(), taps) - mean_b.square()).clamp(min=0)
    contrast = 1 - variance_b / ((variance_a + variance_b) / 2 + c2)
    power_a, power_b = (mean_a + (level_x + level_y)).square(), (mean_b + (level_x - level_y)).square()
    return 1 - power_b / ((power_a + power_b) / 2 + c1), contrast


def _halved(planes: Tensor, need: int) -> Tensor:
    """2 x 2 means; an odd last row or column is left out, or repeated where less than `need` px would remain."""
    odd = [side % 2 if side // 2 < need else 0 for side in planes.shape[-2:]]
    if any(odd):
        planes = F.pad(planes, (0, odd[1], 0, odd[0]), mode="replicate")
    return F.avg_pool2d(planes, 2)


def _blur(planes: Tensor, taps: Tensor) -> Tensor:
    """Every plane of 1 x P x H x W under the window, where it lies inside."""
    count = planes.shape[1]
    rows, columns = taps.view(1, 1, -1, 1), taps.view(1, 1, 1, -1)
    planes = F.conv2d(planes, rows.expand(count, -1, -1, -1), groups=count)
    return F.conv2d(planes, columns.expand(count, -1, -1, -1), groups=count)


@functools.lru_cache(maxsize=16)
def _taps(window: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # kept, and used later where gradients are needed
        return gaussian_taps(window, sigma).to(dtype).to(device)


def _continued(factor: Tensor, floor: float) -> Tensor:
    """max(factor, 0), or for a floor above 0 a positive, increasing continuation of it below the floor."""
    if floor <= 0:
        return factor.clamp(min=0)
    below = floor * floor / (2 * floor - factor.clamp(max=floor))
    return torch.where(factor < floor, below, factor)
