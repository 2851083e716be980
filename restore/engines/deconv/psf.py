"""Where a deconvolution's point spread function comes from: a file, a description, or the picture itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from restore.analysis.cepstrum import find_disc, find_line
from restore.analysis.sample import View
from restore.classical.blind import MOST_AT_EDGE, MOST_NEGATIVE, SURE, Estimate, confidence, estimate_psf
from restore.engines.blind_psf.candidates import SIDE
from restore.engines.blind_psf.search import judge_blur
from restore.errors import FileError, RestoreError
from restore.io.psf import load_single_psf, read_psfs
from restore.physics.color import srgb_to_linear, to_grey
from restore.physics.operators import grid_maps
from restore.physics.psf import Sanitised, disc, motion, sanitised, without_background
from restore.picture import PictureSource

_SUFFIXES = (".png", ".npy", ".npz", ".tif", ".tiff", ".jpg", ".bmp")
_CLEARLY = 0.05  # difference of two confidences
_MOST_NOTES = 4  # of a file of PSFs
_LEAST_SIDE = 32  # px, of pictures whose blur is estimated
_ESTIMATED = 512  # px, side of the part that a PSF of a given kind is estimated on


class Varying(NamedTuple):
    """PSFs n x h x w, and their weights over the picture, n x h' x w' (`restore.physics.operators.VaryingBlur`)."""

    psfs: Tensor
    maps: Tensor


class Loaded(NamedTuple):
    """A PSF as given.

    Attributes:
        psf: one, one that varies, or a folder with one for each picture.
        notes: what was done to it.
        side: the largest side in pixels.
        fingerprint: of its values.
        turned: whether those of the folder are turned by 180 degrees, and centred.
    """

    psf: Tensor | Varying | Path
    notes: tuple[str, ...]
    side: int
    fingerprint: str
    turned: tuple[bool, bool] = (False, False)


def load_psf(psf: str | Path | np.ndarray[Any, Any], *, centre: bool = False, flip: bool = False) -> Loaded:
    """A PSF from where it is, of sum 1. Raises `ConfigError` or `FileError`."""
    if isinstance(psf, np.ndarray):
        return _loaded(*load_single_psf(psf, centre=centre, flip=flip))
    path = Path(psf)
    if os.path.isdir(psf):  # noqa: PTH112 - any text may be asked for, also one that is no file name
        files = _files(path)
        loaded = [load_psf(file, centre=centre, flip=flip) for file in files.values()]
        seen = hashlib.sha256("".join([*files, *(each.fingerprint for each in loaded)]).encode()).hexdigest()
        return Loaded(path, (), max(each.side for each in loaded), seen, (flip, centre))
    if path.suffix.lower() == ".npz":
        try:
            return _varying(path, flip)
        except RestoreError as error:
            raise error.at(path) from error
    return _loaded(*load_single_psf(psf, centre=centre, flip=flip))


def psf_for(given: Loaded, source: PictureSource) -> tuple[Tensor | Varying, tuple[str, ...]]:
    """(PSF, notes) for a picture. Raises `FileError` if a folder has none of its name."""
    if not isinstance(given.psf, Path):
        return given.psf, given.notes
    stem = source.info.path.stem if source.info.path else ""
    files = _files(given.psf)
    file = files.get(stem) or files.get(f"{stem}_psf")
    if file is None:
        raise FileError(
            f"there is no PSF for {stem or 'a picture without a name'}", where=given.psf,
            fix=f"Put {stem}.png, {stem}.npy or {stem}_psf.png there",
        )  # fmt: skip
    own = load_psf(file, flip=given.turned[0], centre=given.turned[1])
    return psf_for(own, source)[0], (f"from {file.name}", *own.notes)


def _files(folder: Path) -> dict[str, Path]:
    """PSF files by stem. Raises `FileError` if there are none."""
    files = {p.stem: p for p in sorted(folder.iterdir()) if p.is_file() and p.suffix.lower() in _SUFFIXES}
    if not files:
        raise FileError("there is no PSF in this folder", where=folder, fix=f"PSFs end in {', '.join(_SUFFIXES)}")
    return files


def _varying(path: Path, flip: bool) -> Loaded:
    arrays = read_psfs(path)
    psfs, maps = (torch.from_numpy(arrays[name]) if name in arrays else None for name in ("psfs", "maps"))
    if psfs is None or psfs.ndim not in (3, 4) or (psfs.ndim == 3) != (maps is not None):
        raise FileError(
            "this does not describe a PSF that varies", where=path,
            fix="Save psfs (rows x columns x h x w of a regular grid), or psfs (n x h x w) with maps (n x H x W)",
        )  # fmt: skip
    if maps is None:
        maps = grid_maps(psfs.shape[0], psfs.shape[1])
        psfs = psfs.flatten(0, 1)
    if maps.ndim != 3 or len(maps) != len(psfs) or not bool(maps.isfinite().all()) or float(maps.min()) < 0:
        raise FileError("the maps are not one for each PSF, of weights of 0 or more", where=path)
    whole = [_whole(each.flip((0, 1)) if flip else each) for each in psfs]
    stacked = torch.stack([each.psf for each in whole])
    notes = tuple(f"{note} (number {i} of {len(whole)})" for i, each in enumerate(whole, 1) for note in each.notes)
    if len(notes) > _MOST_NOTES:
        notes = (*notes[:_MOST_NOTES], f"and {len(notes) - _MOST_NOTES} more such changes")
    seen = hashlib.sha256(stacked.numpy().tobytes() + maps.numpy().tobytes()).hexdigest()
    return Loaded(Varying(stacked, maps.float()), notes, max(stacked.shape[1:]), seen)


def _whole(psf: Tensor) -> Sanitised:
    """Checked, without a background, of sum 1, its frame kept, and what was changed."""
    sanitised(psf)
    light, notes = without_background(psf.double())
    if bool((light < 0).any()):
        light, notes = light.clamp(min=0), (*notes, f"{int((light < 0).sum())} negative values of the PSF became 0")
    return Sanitised((light / light.sum()).float(), notes)


def _loaded(psf: Tensor, notes: tuple[str, ...]) -> Loaded:
    return Loaded(psf, notes, max(psf.shape), hashlib.sha256(psf.contiguous().numpy().tobytes()).hexdigest())


def check_orientation(picture: Tensor, psf: Tensor) -> tuple[str, ...]:
    """What indicates that a given PSF is wrong for a picture C x H x W, in words."""
    if torch.allclose(psf, psf.flip((0, 1)), atol=0.05 * float(psf.max())) or min(picture.shape[-2:]) < 64:
        return ()
    luma = _luma(picture)
    given, turned = confidence(luma, psf), confidence(luma, psf.flip((0, 1)))
    if turned < given + _CLEARLY:
        return ()
    return (f"turned by 180 degrees it fits better ({turned:.2f} against {given:.2f}): try --flip-psf",)


def _luma(picture: Tensor) -> Tensor:
    return to_grey(picture[None])[0, 0]


def estimate(
    view: View, kind: str, size: int, progress: Callable[[float], None] | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """(PSF estimated from a picture, notes for the user); 1 x 1 where none is to be believed.

    Args:
        view: of the picture.
        kind: one of `restore.engines.deconv.options.ESTIMATES`.
        size: largest side of a shake, px. Candidates ("auto") are of at most `SIDE`; a larger one is estimated alone.
        progress: called with the finished share.
    """
    height, width = view.size
    if min(height, width) < _LEAST_SIDE:
        text = f"not estimated: a picture of {width} x {height} px is too small, left alone"
        return torch.ones(1, 1), (text,)
    if kind == "auto" and size <= SIDE:
        judged = judge_blur(view, one=True, progress=progress)
        if judged.solution is None:
            return torch.ones(1, 1), (f"{judged.summary}: left alone",)
        return judged.solution.psfs[0], (f"estimated: {judged.summary}",)
    luma = to_grey(srgb_to_linear(view.middle(_ESTIMATED)))[0, 0]
    return _of_kind(luma, "shake" if kind == "auto" else kind, size)


def _of_kind(luma: Tensor, kind: str, size: int) -> tuple[Tensor, tuple[str, ...]]:
    if kind == "line":
        line = find_line(luma)
        psf, text = motion(line.length, line.angle), f"a motion of {line.length:.1f} px at {line.angle:.0f} degrees"
    elif kind == "disc":
        circle = find_disc(luma)
        psf, text = disc(circle.radius), f"defocus of radius {circle.radius:.1f} px"
    else:
        found = estimate_psf(luma, size)
        if flaw := _flaw(found, size):
            return torch.ones(1, 1), (f"estimated: a shake, but {flaw}: left alone",)
        psf, text = found.psf, "a shake"
    sure = confidence(luma, psf)
    if sure < SURE:
        return torch.ones(1, 1), (
            f"estimated: {text}, but taking it out makes nothing sharper ({sure:.2f}): left alone",
        )
    return psf, (f"estimated: {text}, confidence {sure:.2f}",)


def _flaw(found: Estimate, size: int) -> str:
    """Why an estimated PSF is no blur, in words; "" where nothing speaks against it."""
    if found.at_edge > MOST_AT_EDGE:
        share = f"{found.at_edge:.1%} of it lies at the edge, {MOST_AT_EDGE:.0%} at most"
        return f"it fills its window of {size} px ({share}; give a larger --psf-size if the blur is larger)"
    if found.negative > MOST_NEGATIVE:
        return f"it is noise (negative values add up to {found.negative:.2f} of the others, {MOST_NEGATIVE} at most)"
    return ""
