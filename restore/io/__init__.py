"""Bytes <-> pictures: decoding, encoding, metadata, streaming and paths; files of weights -> named tensors. Knows
nothing of networks.

* here: `read_picture`, `write_picture`, for a whole picture at once
* `codecs`: `probe`, `open_picture`, `target_info`, `create`
* `picture_file`: `PictureFile`, a file opened once for its hash, headers and pictures
* `frames`: sequences of frames: TIFF stacks and folders of numbered frames
* `options`: `ReadOptions`, `SaveOptions` (light: no codec is loaded)
* `weights_file`, `home`: reading untrusted weights; the user's folder of this program
* `paths`: `find_pictures`, `default_output`, `check_output` (light)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from restore.io.options import ReadOptions, SaveOptions
    from restore.picture import Picture, PictureInfo


def read_picture(path: str | os.PathLike[str], options: ReadOptions | None = None) -> Picture:
    """The picture at `path` in memory, upright, with its depth, alpha and metadata. Errors as `codecs.probe`."""
    from restore.io.codecs import open_picture
    from restore.picture import Picture

    source = open_picture(path, options)
    try:
        return Picture(source.info, source.read_rows(0, source.info.height))
    finally:
        source.close()


def write_picture(picture: Picture, path: str | os.PathLike[str], save: SaveOptions | None = None) -> None:
    """Write a picture atomically, in the format of the extension; nothing half-written stays.

    Samples are converted if another depth is asked for: white to white, rounded to even and clipped for integers.

    Raises:
        UnsupportedError: the format does not hold such samples (see `codecs.target_info`). FileError.
    """
    from restore.io.codecs import create

    sink = create(path, picture.info, save)
    try:
        sink.write_rows(_converted(picture, sink.info))
        sink.commit()
    finally:
        sink.abort()


def _converted(picture: Picture, target: PictureInfo) -> np.ndarray:
    """The samples of a picture in the depth of a target."""
    import numpy as np

    from restore.picture import ValueScale

    info = picture.info
    if (info.dtype, info.bits) == (target.dtype, target.bits):
        return picture.pixels
    unit = ValueScale.nominal(info).to_unit(picture.pixels.astype(np.float64))
    stored = ValueScale.nominal(target).from_unit(unit)
    return (stored if target.dtype == "float32" else np.rint(stored).clip(0, target.white)).astype(target.dtype)
