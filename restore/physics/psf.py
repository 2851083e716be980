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

from restore.errors import ConfigError, brief
from restore.physics.filters import elliptic_gaussian

_FINE = 16  # samples a pixel and axis of discs and Gaussians
_DENSE = 64  # samples a pixel of lines
_SUPPORT = 0.005  # of the maximum
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
    """A PSF fit for use, and what was wrong with it, in words."""

    psf: Tensor
    notes: tuple[str, ...]


def sanitised(raw: Tensor, *, centred: bool = False, floor: bool = False) -> Sanitised:
    """Make any non-empty array a PSF.

    Args:
        raw: h x w, or h x w x channels, whose mean is taken.
        centred: move the centroid to the middle by whole pixels; it translates the result, and is reported.
        floor: values below a twentieth of the maximum are the grey floor of a picture and become 0.
    Raises:
        ConfigError: not finite, all zero, or not a picture at all.
    """
    notes = []
    if raw.ndim == 3:
        if raw.shape[-1] > 1 and not torch.equal(raw, raw[..., :1].expand_as(raw)):
            notes.append("the PSF is coloured: the mean of its channels is used")
        raw = raw.double().mean(-1)
    if raw.ndim != 2 or not raw.numel():
        raise ConfigError(f"a PSF is a grey picture, not an array of shape {tuple(raw.shape)}", fix="Give h x w values")
    psf = raw.double()
    if not bool(psf.isfinite().all()):
        raise ConfigError("the PSF has NaN or infinite values", fix="Replace them, most likely by 0")
    if bool((psf < 0).any()):
        notes.append(f"{int((psf < 0).sum())} negative values of the PSF became 0")
        psf = psf.clamp(min=0)
    if floor and bool((psf.min() > 0) & (psf.min() < psf.max())):
        notes.append("values of the PSF below a twentieth of its maximum became 0 (a grey floor)")
        psf = torch.where(psf < psf.max() / 20, 0.0, psf)
    if not float(psf.sum()) > 0:
        raise ConfigError("the PSF is zero everywhere", fix="Give one with some light in it")
    psf = _odd(psf)
    if centred:
        psf, (down, right) = _centred(psf)
        if down or right:
            notes.append(f"the PSF was moved by {down} px down and {right} px right to its centroid; so is the result")
    return Sanitised(_trimmed(psf), tuple(notes))


def _odd(psf: Tensor) -> Tensor:
    """Zeros added below and right of even sides; the middle sample [h // 2, w // 2] stays what it was."""
    height, width = psf.shape
    return torch.nn.functional.pad(psf, (0, 1 - width % 2, 0, 1 - height % 2))


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
