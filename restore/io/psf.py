"""Point spread functions in files: pictures of any depth, and `.npy` arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from restore.errors import FileError
from restore.io import read_picture, write_picture
from restore.io.atomic import AtomicFile
from restore.physics.psf import Sanitised, described, sanitised
from restore.picture import Picture

_DESCRIBED = ("motion", "disc", "gauss")


def load_single_psf(psf: str | Path | np.ndarray[Any, Any], *, centre: bool = False, flip: bool = False) -> Sanitised:
    """One PSF h x w, of sum 1, from an array, a file or a description ("motion:21,75"), and what was done to it.

    Args:
        centre, flip: of arrays and files: move the centroid to the middle; turn it by 180 degrees.
    Raises:
        ConfigError: no such description, an array that is no PSF. FileError: a file that holds none.
    """
    if isinstance(psf, np.ndarray):
        values, eight_bit = np.array(psf, dtype=np.float64), False
    elif Path(psf).exists() or (Path(psf).suffix and str(psf).partition(":")[0] not in _DESCRIBED):
        values, eight_bit = read_psf(Path(psf))
    else:
        return Sanitised(described(str(psf)), ())
    raw = torch.from_numpy(values)
    return sanitised(raw.flip((0, 1)) if flip and raw.ndim > 1 else raw, centred=centre, floor=eight_bit)


def read_psf(path: Path) -> tuple[np.ndarray[Any, Any], bool]:
    """(values h x w x channels or h x w, whether they are 8-bit codes, which may have a grey floor) of a file.

    Raises `FileError` for a file that is neither a picture nor an array of numbers.
    """
    if path.suffix.lower() == ".npy":
        return _numbers(path, _load(path)), False
    picture = read_picture(path)
    return picture.pixels[..., : picture.info.channels].astype(np.float64), picture.info.dtype == "uint8"


def read_psfs(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an .npz file. Raises `FileError`."""
    with _load(path) as file:
        return {name: _numbers(path, file[name]) for name in file.files}


def _load(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise FileError(
            "this is no array of numbers", where=path, why=str(error), fix="Save one with numpy.save"
        ) from error


def _numbers(path: Path, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if values.dtype.kind not in "biuf":
        raise FileError(f"a PSF cannot have values of type {values.dtype}", where=path, fix="Save real numbers")
    return values.astype(np.float64)


def save_psf(path: Path, psf: np.ndarray[Any, Any]) -> None:
    """Write a PSF h x w: `.npy` as it is, pictures with 16 bits and its maximum white (8 where the format has no more).

    Raises `FileError`.
    """
    if path.suffix.lower() == ".npy":
        file = AtomicFile(path)
        np.save(file.file, psf)
        file.commit(lambda _: None)
        return
    codes = np.rint(psf / psf.max() * 65535).astype(np.uint16)
    write_picture(Picture.from_array(codes), path)
