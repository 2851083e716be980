"""Where a deconvolution's point spread function comes from: a file, a description, or the picture itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from restore.analysis.cepstrum import find_disc, find_line
from restore.classical.blind import SURE, confidence, estimate_psf
from restore.io.psf import read_psf, save_psf
from restore.physics.color import to_luma
from restore.physics.psf import described, disc, motion, sanitised
from restore.picture import PictureSource

ESTIMATES = ("auto", "line", "disc", "shake")
"""What a PSF may be estimated as."""
_CLEARLY = 0.05  # difference of two confidences
_SURE_LINE, _SURE_DISC = 12.0, 10.0  # standard deviations of the cepstrum; a crooked shake reaches 9


def load_psf(
    psf: str | Path | np.ndarray[Any, Any], *, centre: bool = False, flip: bool = False
) -> tuple[Tensor, tuple[str, ...]]:
    """(PSF h x w of sum 1, what was done to it). Raises `ConfigError` or `FileError`."""
    if isinstance(psf, np.ndarray):
        values = torch.from_numpy(np.array(psf, dtype=np.float64))
        return sanitised(_turned(values) if flip else values, centred=centre)
    path = Path(psf)
    if path.suffix or path.exists():
        known = str(psf).partition(":")[0] in ("motion", "disc", "gauss")
        if path.exists() or not known:
            array, eight_bit = read_psf(path)
            values = torch.from_numpy(array)
            return sanitised(_turned(values) if flip else values, centred=centre, floor=eight_bit)
    return described(str(psf)), ()


def _turned(values: Tensor) -> Tensor:
    return values.flip((0, 1)) if values.ndim > 1 else values


def doubts(picture: Tensor, psf: Tensor) -> tuple[str, ...]:
    """What makes a given PSF look wrong for a picture C x H x W, in words."""
    if torch.allclose(psf, psf.flip((0, 1)), atol=0.05 * float(psf.max())) or min(picture.shape[-2:]) < 64:
        return ()
    luma = _luma(picture)
    given, turned = confidence(luma, psf), confidence(luma, psf.flip((0, 1)))
    if turned < given + _CLEARLY:
        return ()
    return (f"turned by 180 degrees it fits better ({turned:.2f} against {given:.2f}): try --flip-psf",)


def _luma(picture: Tensor) -> Tensor:
    return to_luma(picture[None])[0, 0] if len(picture) == 3 else picture.mean(0)


def estimated(picture: Tensor, kind: str, size: int) -> tuple[Tensor, tuple[str, ...]]:
    """(PSF found in a picture C x H x W, what to tell); a single one where none is found that makes it sharper."""
    luma = _luma(picture)
    line, circle = find_line(luma), find_disc(luma)
    if kind == "auto":
        kind = "disc" if circle.confidence > max(_SURE_DISC, line.confidence) else "line"
        kind = kind if max(line.confidence - _SURE_LINE, circle.confidence - _SURE_DISC) > 0 else "shake"
    if kind == "line":
        psf, text = motion(line.length, line.angle), f"a motion of {line.length:.1f} px at {line.angle:.0f} degrees"
    elif kind == "disc":
        psf, text = disc(circle.radius), f"defocus of radius {circle.radius:.1f} px"
    else:
        psf, text = estimate_psf(luma, size).psf, "a shake"
    sure = confidence(luma, psf)
    if sure < SURE:
        return torch.ones(1, 1), (
            f"estimated: {text}, but taking it out makes nothing sharper ({sure:.2f}): left alone",
        )
    return psf, (f"estimated: {text}, confidence {sure:.2f}",)


def write_psf(where: Path, psf: Tensor, source: PictureSource) -> None:
    """Write a PSF to a file (16-bit picture, its maximum white, or .npy), or by the picture's name into a folder."""
    if not where.suffix:
        name = source.info.path.stem if source.info.path else "picture"
        where = where / f"{name}_psf.png"
    where.parent.mkdir(parents=True, exist_ok=True)
    save_psf(where, psf.cpu().numpy())
