"""Point spread functions: made from a description, and sanitised.

    motion:LENGTH,ANGLE      a straight line, LENGTH px long, ANGLE degrees counter-clockwise from the right
    disc:RADIUS              out of focus, uniform in a circle
    gauss:SIGMA[,SIGMA2,ANGLE]

A PSF is h x w, float32, h and w odd, not negative, of sum 1; its centre is its middle sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from restore.errors import ConfigError, brief, counted
from restore.physics.filters import elliptic_gaussian

_FINE = 16  # samples a pixel and axis of discs and Gaussians
_DENSE = 64  # samples a pixel of lines
_SUPPORT = 0.005  # of the maximum
_LEAST_FRAME = 5  # px, side of a PSF that can have a background around it
_FLAT, _FLATTEST = 0.05, 0.5  # of the peak, of the background: how far a background's border may be from its median
_NOISE = 3.0  # stds of a background's noise
_BESIDE = 0.02  # of a sample, that optics leave beside it at least
_BETWEEN = 0.25  # px
_BRIGHT, _ASIDE = 0.05, 2.0  # of the maximum; px
_FORMS = "motion:LENGTH,ANGLE, disc:RADIUS or gauss:SIGMA"


def motion(length: float, angle: float) -> Tensor:
    """A line of `length` px (>= 1) at `angle` degrees, counter-clockwise from the right, bilinear between samples."""
    half = (length - 1) / 2
    dx, dy = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
    radius = math.ceil(half * max(abs(dx), abs(dy)) - 1e-6) + 1
    count = max(1, math.ceil(_DENSE * length))
    place = torch.linspace(-half, half, count, dtype=torch.float64) if half > 0 else torch.zeros(1, dtype=torch.float64)
    psf = torch.zeros(2 * radius + 1, 2 * radius + 1, dtype=torch.float64)
    x, y = place * dx + radius, place * dy + radius
    left, top = x.floor().long(), y.floor().long()
    right_share, lower_share = x - left, y - top
    for row, row_share in ((top, 1 - lower_share), (top + 1, lower_share)):
        for column, column_share in ((left, 1 - right_share), (left + 1, right_share)):
            inside = (row <= 2 * radius) & (column <= 2 * radius)
            psf.index_put_((row[inside], column[inside]), (row_share * column_share)[inside], accumulate=True)
    return _trimmed(psf)


def disc(radius: float) -> Tensor:
    """Uniform in a circle of `radius` px."""
    return _sampled(math.ceil(radius), lambda x, y: (x.square() + y.square() <= radius * radius).double())


def gauss(sigma: float, sigma2: float | None = None, angle: float = 0.0) -> Tensor:
    """A Gaussian of std `sigma` px along `angle` (degrees, counter-clockwise from the right), `sigma2` across."""
    across = sigma if sigma2 is None else sigma2
    axes = torch.tensor((sigma, across, -math.radians(angle)), dtype=torch.float64).unbind()
    return _sampled(math.ceil(3 * max(sigma, across)), lambda x, y: elliptic_gaussian(x, y, *axes))


def described(text: str) -> Tensor:
    """The PSF of a description ("motion:15,30"). Raises `ConfigError`."""
    kind, _, rest = text.partition(":")
    if kind not in _MAKERS:
        raise ConfigError(f"there is no blur called {brief(kind)}", fix=f"Give a file, {_FORMS}")
    make, counts, least, most = _MAKERS[kind]
    try:
        numbers = [float(word) for word in rest.split(",")]
    except ValueError:
        numbers = []
    sizes = numbers[: 1 if kind == "motion" else 2]  # the others are angles
    if len(numbers) not in counts or not all(map(math.isfinite, numbers)) or not all(least <= s <= most for s in sizes):
        raise ConfigError(
            f"the blur cannot be {brief(text)}", fix=f"Write {_FORMS}, sizes in pixels, {least:g} to {most:g}"
        )
    return make(*numbers)


_MAKERS: dict[str, tuple[Callable[..., Tensor], tuple[int, ...], float, float]] = {
    "motion": (motion, (2,), 1.0, 1000.0),
    "disc": (disc, (1,), 0.1, 500.0),
    "gauss": (gauss, (1, 2, 3), 0.1, 150.0),
}
"""kind -> its function, how many numbers it takes, least and greatest size in px"""


class Sanitised(NamedTuple):
    """A PSF fit for use, and what was changed in it, in words."""

    psf: Tensor
    notes: tuple[str, ...]


def sanitised(raw: Tensor, *, centred: bool = False, measured: bool = False) -> Sanitised:
    """Make any non-empty array a PSF.

    Args:
        raw: h x w, or h x w x channels, whose mean is taken.
        centred: move the centroid to the middle by whole pixels.
        measured: it may be a crop of a photographed point: a background is taken off (`without_background`), and where
            it lies aside in its frame (`_lies_aside`) it is centred, too.
    Raises:
        ConfigError: not finite, all zero, or not a picture at all.
    """
    notes: list[str] = []
    if raw.ndim == 3:
        if raw.shape[-1] > 1 and (spread := float((raw.amax(-1) - raw.amin(-1)).max())) > 0:
            share = spread / max(float(raw.abs().max()), 1e-300)
            notes.append(f"the PSF is coloured (channels up to {share:.1%} of its peak apart): their mean is used")
        raw = raw.double().mean(-1)
    if raw.ndim != 2 or not raw.numel():
        raise ConfigError(f"a PSF is a grey picture, not an array of shape {tuple(raw.shape)}", fix="Give h x w values")
    psf = raw.double()
    if not bool(psf.isfinite().all()):
        raise ConfigError("the PSF has NaN or infinite values", fix="Replace them, most likely by 0")
    if measured:
        psf, about = without_background(psf)
        notes += about
    if bool((psf < 0).any()):
        share = float(psf.clamp(max=0).sum().neg() / psf.abs().sum())
        notes.append(f"{int((psf < 0).sum())} negative values of the PSF became 0 ({share:.1%} of its light)")
        psf = psf.clamp(min=0)
    if not float(psf.sum()) > 0:
        raise ConfigError("the PSF is zero everywhere", fix="Give one with some light in it")
    psf, about = _odd(psf)
    notes += about
    if centred or (measured and _lies_aside(psf)):
        psf, (down, right) = _centred(psf)
        if down or right:
            moved = f"the PSF was moved by {down} px down and {right} px right, its centroid to its middle"
            notes.append(f"{moved}; so is the result")
    return Sanitised(_trimmed(psf), tuple(notes))


def without_background(psf: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """(a photographed PSF h x w without its background, what was taken off).

    A background is a border that is flat and not 0: its median is taken off, and what is then below `_NOISE` times
    the border's own noise becomes 0, or the rectified noise of a large frame would be a pedestal again; so do single
    samples with nothing around them (hot pixels, noise) where there is other light. A PSF that fills its frame has no
    such border, and stays as it is.
    """
    if min(psf.shape) < _LEAST_FRAME:
        return psf, ()
    border = torch.cat([psf[0], psf[-1], psf[1:-1, 0], psf[1:-1, -1]])
    level, peak = float(border.median()), float(psf.max())
    apart = (border - level).abs()
    noise = float((level - border).clamp(min=0).square().mean().mul(2).sqrt())  # light only adds to the other side
    flat = float(apart.quantile(0.9)) < _FLAT * (peak - level)
    pedestal = level if flat and noise <= _FLATTEST * abs(level) else 0.0
    if not flat or not (pedestal or float(psf.min()) < 0):
        return psf, ()
    notes = []
    psf = psf - pedestal
    if pedestal:
        notes.append(f"a background of {pedestal:.4g}, {pedestal / peak:.1%} of the PSF's peak, was taken off")
    weak = (psf != 0) & (psf < _NOISE * noise)
    if noise and bool(weak.any()):
        notes.append(f"{int(weak.sum())} values of the PSF below {_NOISE * noise:.3g}, its border's noise, became 0")
        psf = torch.where(weak, 0.0, psf)
    lone = _alone(psf)
    if notes and bool(lone.any()) and float(psf[~lone].max()) > 0:
        share = float(psf[lone].sum() / psf.clamp(min=0).sum())
        samples = counted(int(lone.sum()), "single sample")
        notes.append(f"{samples} of the PSF ({share:.1%} of its light) became 0: nothing is around")
        psf = torch.where(lone, 0.0, psf)
    return psf, tuple(notes)


def _alone(psf: Tensor) -> Tensor:
    """Where samples of light have next to none among their neighbours: bool, h x w."""
    rows, columns = psf.shape
    wide = torch.nn.functional.pad(psf, (1, 1, 1, 1))
    steps = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    around = torch.stack([wide[y : y + rows, x : x + columns] for y, x in steps]).amax(0)
    return (psf > 0) & (around < _BESIDE * psf)


def _odd(psf: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """(a PSF h x w >= 0 with odd sides, what was done).

    The middle sample of an even side is [side // 2], as Fourier transforms have it, and zeros are added at its end;
    but where the light lies evenly about the middle between two samples, it is moved by half a pixel onto a sample.
    """
    notes = []
    for axis, side in enumerate(psf.shape):
        if side % 2:
            continue
        width = "high" if axis == 0 else "wide"
        place = float((psf.sum(1 - axis) * torch.arange(side)).sum() / psf.sum())
        if side > 1 and abs(place - (side - 1) / 2) < _BETWEEN:
            psf = _half_a_pixel_on(psf, axis)
            notes.append(f"the PSF is {side} px {width}, its light between two samples: it was moved by 0.5 px")
        else:
            psf = torch.cat([psf, torch.zeros_like(psf.narrow(axis, 0, 1))], axis)
            notes.append(f"the PSF is {side} px {width}: 1 px of zeros was added")
    return psf, tuple(notes)


def _half_a_pixel_on(psf: Tensor, axis: int) -> Tensor:
    """The PSF at half a pixel before each sample and behind the last, by cubic interpolation; one sample longer."""
    rows = psf.movedim(axis, -1)
    wide = torch.nn.functional.pad(rows, (2, 2))
    moved = (9 * (wide[..., 1:-2] + wide[..., 2:-1]) - wide[..., :-3] - wide[..., 3:]) / 16
    return moved.clamp(min=0).movedim(-1, axis)


def _lies_aside(psf: Tensor) -> bool:
    """Whether a PSF lies aside in a frame that is larger than it is: its centroid and the middle of its support are
    both off the frame's middle. A trace that fills its frame has its place on purpose."""
    support = psf > _BRIGHT * psf.max()
    for axis, side in enumerate(psf.shape):
        rows = support.any(1 - axis).nonzero()[:, 0]
        middle = float(rows[0] + rows[-1]) / 2 - side // 2
        centroid = float((psf.sum(1 - axis) * torch.arange(side)).sum() / psf.sum()) - side // 2
        if min(abs(middle), abs(centroid)) >= _ASIDE and middle * centroid > 0:
            return True
    return False


def _centred(psf: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """The PSF with its centroid within half a pixel of the middle, and by how much it was moved (down, right)."""
    down, right = (
        round(float((psf.sum(1 - axis) * torch.arange(side)).sum() / psf.sum()) - side // 2) * -1
        for axis, side in enumerate(psf.shape)
    )
    wide = torch.nn.functional.pad(psf, (abs(right),) * 2 + (abs(down),) * 2)
    return wide.roll((down, right), (0, 1)), (down, right)


def _trimmed(psf: Tensor) -> Tensor:
    """Without the empty margin that is equally wide on opposite sides; of sum 1, float32."""
    support = psf > _SUPPORT * psf.max()
    margins = []
    for axis, side in enumerate(psf.shape):
        rows = support.any(1 - axis).nonzero()[:, 0]
        margins.append(min(int(rows[0]), side - 1 - int(rows[-1])))
    top, left = margins
    inner = psf[top : psf.shape[0] - top, left : psf.shape[1] - left]
    return (inner / inner.sum()).float()


def _sampled(radius: int, density: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """A density, averaged over every pixel of a square of 2 radius + 1 px."""
    side = 2 * radius + 1
    place = (torch.arange(side * _FINE, dtype=torch.float64) + 0.5) / _FINE - side / 2
    values = density(place[None, :], place[:, None])
    return _trimmed(values.view(side, _FINE, side, _FINE).mean((1, 3)))
