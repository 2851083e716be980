"""The frames that a deblurrer adapts to: parts of pictures, pages of stacks, groups of neighbouring frames of clips."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from restore.analysis.colours import ColourView
from restore.analysis.sample import sample_crops
from restore.analysis.value_range import find_scale
from restore.errors import ConfigError, RestoreError
from restore.io.clip.names import is_clip
from restore.io.clip.reader import ClipFile
from restore.io.codecs import open_frames
from restore.io.options import ReadOptions
from restore.io.paths import find_pictures
from restore.io.tensors import to_unit
from restore.picture import PictureSource

_FILES = 64  # read at most
_PIXELS = 16 << 20  # of all frames together
_SIDE = 768  # px, of the parts of a large picture
_FRAME_SIDE = 1280  # px, of the middle of a clip's frames
_LEAST_FRAMES = 9  # of a clip, however large they are
_GROUP = 3  # neighbouring frames of a clip
_TABLE_50 = 57.625  # mean of libjpeg's luminance table of quality 50

log = logging.getLogger(__name__)


class Frame(NamedTuple):
    """What is seen of one frame or picture.

    Attributes:
        pixels: C x H x W, unit values.
        sequence: frames of one clip have one number, and so have parts of one picture.
        number: in time, from 0; parts of a picture count on by more than neighbours do.
    """

    pixels: Tensor
    sequence: int
    number: int

    def follows(self, other: Frame) -> bool:
        """Whether it is the next frame of the same clip."""
        return self.sequence == other.sequence and self.number == other.number + 1


def collect_frames(paths: Sequence[Path]) -> list[Frame]:
    """Frames that stand for pictures, clips, and folders of pictures, in their order.

    A file that cannot be read is left out, and reported. Raises `ConfigError` if nothing is left, or if they differ in
    their channels.
    """
    files = [file for path in paths for file in (find_pictures(path) if path.is_dir() else [path])]
    files = files[:: max(1, -(-len(files) // _FILES))]
    share = _PIXELS // max(1, len(files))
    frames: list[Frame] = []
    for number, file in enumerate(files):
        try:
            of_file = _of_clip(file, share) if is_clip(file) else _of_pages(file, share)
            frames += [Frame(pixels, number, at) for at, pixels in of_file]
        except RestoreError as error:
            if len(files) == 1:
                raise
            log.warning("left out: %s", error)
    if not frames:
        where = ", ".join(map(str, paths))
        raise ConfigError("there is nothing to adapt to", where=where, fix="Name pictures, a folder of them, or a clip")
    if len({len(each.pixels) for each in frames}) > 1:
        fix = "Adapt to pictures of one kind"
        raise ConfigError("the pictures to adapt to differ in their channels", fix=fix)
    return frames


def frames_of(source: PictureSource) -> list[Frame]:
    """Parts of one picture; of frames that are measured together each by itself."""
    several = getattr(source, "frames", None)
    if several:
        return [
            Frame(pixels, 0, 2 * _GROUP * i)
            for i, each in enumerate(several)
            for _, pixels in _parts(each, _PIXELS // len(several))
        ]
    return [Frame(pixels, 0, at) for at, pixels in _parts(source, _PIXELS)]


def _of_pages(file: Path, share: int) -> Iterator[tuple[int, Tensor]]:
    at = seen = 0
    for page in open_frames(file, ReadOptions(frames="all")):
        try:
            for _, pixels in _parts(page, share):
                yield at, pixels
                at += 2 * _GROUP  # no neighbours
                seen += pixels.shape[-2] * pixels.shape[-1]
        finally:
            page.close()
        if seen >= share:
            return


def _parts(source: PictureSource, share: int) -> Iterator[tuple[int, Tensor]]:
    """A regular grid of parts of a picture, or all of it."""
    view = ColourView.of(source)
    grid = max(1, round((share / _SIDE**2) ** 0.5))
    for i, pixels in enumerate(sample_crops(view, find_scale(view), _SIDE, grid)):
        yield 2 * _GROUP * i, pixels


def _of_clip(file: Path, share: int) -> Iterator[tuple[int, Tensor]]:
    """Groups of neighbouring frames, spread over a clip: of large frames the middle."""
    clip = ClipFile(file)
    try:
        height, width = (min(side, _FRAME_SIDE) for side in (clip.info.height, clip.info.width))
        most = max(_LEAST_FRAMES, share // (height * width))
        top, left = (clip.info.height - height) // 2, (clip.info.width - width) // 2
        for index in _spread(clip.count, most):
            frame = clip.frame(index)
            try:
                rows = frame.read_rows(top, top + height)[:, left : left + width]
                yield index, to_unit(rows, find_scale(frame))[0].contiguous()
            finally:
                frame.close()
    finally:
        clip.close()


def _spread(count: int, most: int) -> list[int]:
    """Indices of at most so many frames: all of them, or groups of neighbours evenly over the clip."""
    if count <= most:
        return list(range(count))
    groups = most // _GROUP
    starts = [round(i * (count - _GROUP) / max(1, groups - 1)) for i in range(groups)]
    return sorted({start + k for start in starts for k in range(_GROUP)})


def windows(frames: Sequence[Frame], size: int) -> list[Tensor]:
    """For every frame the `size` frames around it, itself in the middle: T x C x H x W; where a neighbour is not there
    the one before it in the window is repeated."""
    around = range(-(size // 2), size // 2 + 1)
    return [torch.stack([_beside(frames, i, k).pixels for k in around]) for i in range(len(frames))]


def _beside(frames: Sequence[Frame], index: int, offset: int) -> Frame:
    step = 1 if offset > 0 else -1
    for _ in range(abs(offset)):
        after = index + step
        if not 0 <= after < len(frames) or not _neighbours(frames[index], frames[after]):
            break
        index = after
    return frames[index]


def _neighbours(one: Frame, other: Frame) -> bool:
    return (one.follows(other) or other.follows(one)) and one.pixels.shape == other.pixels.shape


def jpeg_quality(paths: Sequence[Path]) -> float:
    """Quality of the JPEG files among some paths and in their folders, the median; 0 where there are none.

    As libjpeg scales its example tables: the mean of the luminance table over that of quality 50.
    """
    from PIL import Image

    found = []
    for file in (file for path in paths for file in (find_pictures(path) if path.is_dir() else [path])):
        if file.suffix.lower() not in (".jpg", ".jpeg") or len(found) >= _FILES:
            continue
        try:
            with Image.open(file) as picture:
                table = getattr(picture, "quantization", {}).get(0)
        except (OSError, ValueError):
            continue  # reading it says why
        if table:
            scale = 100 * sum(table) / 64 / _TABLE_50
            found.append(5000 / scale if scale > 100 else (200 - scale) / 2)
    return min(max(float(sorted(found)[len(found) // 2]), 1.0), 100.0) if found else 0.0
