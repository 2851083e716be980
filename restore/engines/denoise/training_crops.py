"""Crops of the user's noisy pictures to learn from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from torch import Tensor

from restore.analysis.colours import ColourView
from restore.analysis.sample import sample_crops
from restore.analysis.value_range import find_scale
from restore.errors import ConfigError, RestoreError
from restore.inference.sequences import MEASURED_FRAMES, spread
from restore.io.clip.names import is_clip
from restore.io.clip.reader import ClipFile
from restore.io.codecs import ReadOptions, open_frames
from restore.io.paths import find_pictures
from restore.picture import PictureSource

_PICTURES, _SIDE, _GRID = 64, 512, 4  # at most: pictures read, px of a crop's side, crops along a side of one
_PIXELS = 16 << 20  # learned from at most, all channels

log = logging.getLogger(__name__)


def collect_crops(paths: Sequence[Path]) -> list[Tensor]:
    """Crops C x H x W in unit values that stand for pictures, clips and folders of pictures.

    A file that cannot be read is left out, and reported. Raises `ConfigError` if nothing is left.
    """
    files = [file for path in paths for file in (find_pictures(path) if path.is_dir() else [path])]
    step = max(1, len(files) // _PICTURES)
    files = files[::step][:_PICTURES]
    expected = sum(MEASURED_FRAMES if is_clip(file) else 1 for file in files)
    grid = max(1, min(_GRID, round((_PIXELS / _SIDE**2 / max(1, expected)) ** 0.5)))
    crops: list[Tensor] = []
    for file in files:
        if sum(x.numel() for x in crops) > _PIXELS:
            break
        try:
            for frame in _pictures(file):
                try:
                    crops += crops_of(frame, grid)
                finally:
                    frame.close()
                if sum(x.numel() for x in crops) > _PIXELS:
                    break
        except RestoreError as error:
            if len(files) == 1:
                raise
            log.warning("left out: %s", error)
    if not crops:
        where = ", ".join(map(str, paths))
        fix = "Give --adapt a folder of noisy pictures"
        raise ConfigError("there is no picture to learn from", where=where, fix=fix)
    if len({len(x) for x in crops}) > 1:
        fix = "Give --adapt pictures of one kind"
        raise ConfigError("the pictures to learn from differ in their channels", fix=fix)
    return crops


def _pictures(file: Path) -> Iterator[PictureSource]:
    """Frames of a clip, spread over it; else the picture, or every page."""
    if is_clip(file):
        with closing(ClipFile(file)) as clip:
            yield from map(clip.frame, spread(range(clip.count)))
        return
    yield from open_frames(file, ReadOptions(frames="all"))


def crops_of(frame: PictureSource, grid: int) -> list[Tensor]:
    """Crops of one picture, `grid` along each side at most: C x H x W, unit values."""
    view = ColourView(frame)
    return sample_crops(view, find_scale(view), _SIDE, grid)
