"""Point spread functions in files: pictures of any depth, and `.npy` arrays."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from restore.errors import FileError, LimitError, RestoreError
from restore.io import read_picture, write_picture
from restore.io.atomic import AtomicFile
from restore.io.options import ReadOptions
from restore.io.regular_file import checked_members, foreign_errors, open_regular
from restore.physics.psf import Sanitised, described, sanitised
from restore.picture import Picture, PictureSource

_DESCRIBED = ("motion", "disc", "gauss")
MAX_VALUES, MAX_PIXELS = 32 << 20, 16 << 20
"""Numbers of an array (256 MiB as float64), and pixels of a picture, that are read as a PSF."""
_MAX_BYTES = 8 * MAX_VALUES + (1 << 20)
_SAVE, _SMALLER = "Save it with numpy.save", "Cut it to where it has light"


def load_single_psf(psf: str | Path | np.ndarray[Any, Any], *, centre: bool = False, flip: bool = False) -> Sanitised:
    """One PSF h x w, of sum 1, from an array, a file or a description ("motion:21,75"), and what was done to it.

    Args:
        centre, flip: of arrays and files: move the centroid to the middle; turn it by 180 degrees.
    Raises:
        ConfigError: no such description, an array that is no PSF. FileError: a file that holds none.
    """
    if isinstance(psf, np.ndarray):
        return _sanitised(np.array(psf, dtype=np.float64), centre, flip)
    if not os.path.exists(psf) and (not Path(psf).suffix or str(psf).partition(":")[0] in _DESCRIBED):  # noqa: PTH110
        return Sanitised(described(str(psf)), ())  # os.path: any text may be asked for, also one that is no file name
    path = Path(psf)
    values = read_psf(path)
    try:
        return _sanitised(values, centre, flip)
    except RestoreError as error:
        raise error.at(path) from error


def _sanitised(values: np.ndarray[Any, Any], centre: bool, flip: bool) -> Sanitised:
    raw = torch.from_numpy(values)
    return sanitised(raw.flip((0, 1)) if flip and raw.ndim > 1 else raw, centred=centre, measured=True)


def read_psf(path: Path) -> np.ndarray[Any, Any]:
    """The values, h x w x channels or h x w, of a file.

    Raises `FileError` for a file that is neither a picture nor an array of numbers, or `LimitError` for one that is
    larger than a PSF may be.
    """
    if path.suffix.lower() == ".npy":
        with _opened(path) as file, foreign_errors(path, "this is no array of numbers", FileError, _SAVE):
            return _numbers(file)
    try:
        picture = read_picture(path, ReadOptions(max_pixels=MAX_PIXELS, max_bytes=_MAX_BYTES))
    except LimitError as error:
        raise LimitError(error.what, where=path, fix=_SMALLER) from error
    return picture.pixels[..., : picture.info.channels].astype(np.float64)


def read_psfs(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an .npz file, none of them empty. Raises `FileError`."""
    fix = "Save them with numpy.savez"
    with _opened(path) as opened, foreign_errors(path, "this is no file of arrays", FileError, fix):
        with zipfile.ZipFile(opened) as archive:
            arrays = {}
            for member in checked_members(archive, 2 * _MAX_BYTES):
                with archive.open(member) as file:
                    arrays[member.filename.removesuffix(".npy")] = _numbers(file)
        return arrays


def _opened(path: Path) -> IO[bytes]:
    return open_regular(path, 2 * _MAX_BYTES, fix="Name a file that holds a PSF")


def _numbers(file: IO[bytes]) -> np.ndarray[Any, Any]:
    """The array of an .npy file, as float64. What it claims is checked first.

    Raises `FileError` without a path, and whatever numpy raises on a header that is none.
    """
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if dtype.kind not in "biuf":
        raise FileError(f"a PSF cannot have values of type {dtype}", fix="Save real numbers")
    count = math.prod(shape)
    if not 0 < count <= MAX_VALUES or min(shape, default=1) < 1:
        size = " x ".join(map(str, shape))
        raise FileError(f"a PSF of {size} values is not read", why=f"1 to {MAX_VALUES:,} are", fix=_SMALLER)
    data = file.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise FileError(f"the array ends after {len(data):,} of {count * dtype.itemsize:,} bytes", fix="Copy it again")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C").astype(np.float64, order="C")


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


def write_psf(where: Path, psf: Tensor, source: PictureSource) -> None:
    """Write a PSF to a file (16-bit picture, its maximum white, or .npy), or by the picture's name into a folder.

    Raises `FileError` if there is a file already, unless it holds the same PSF (a run that is resumed).
    """
    if not where.suffix:
        name = source.info.path.stem if source.info.path else "picture"
        where = where / f"{name}_psf.png"
    if where.exists() or where.is_symlink():
        if _holds(where, psf):
            return
        raise FileError("exists already: no PSF is written over it", where=where, fix="Move it, or name another file")
    where.parent.mkdir(parents=True, exist_ok=True)
    save_psf(where, psf.cpu().numpy())


def _holds(where: Path, psf: Tensor) -> bool:
    """Whether a file is what would be written, to the rounding of 8 bits."""
    try:
        there = load_single_psf(where).psf.float()
    except RestoreError:
        return False
    wanted = psf.cpu().float()
    return there.shape == wanted.shape and torch.allclose(there / there.max(), wanted / wanted.max(), atol=1 / 255)
