"""What Python callers hold and keep: results, and pictures read from files and written to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from restore.errors import ConfigError, RestoreError, UnsupportedError, nearest
from restore.options import in_python, python_names
from restore.picture import FrameSource, Picture, PictureSource


@dataclass(frozen=True)
class Result:
    """What came of one picture (or of several taken together). Immutable.

    Attributes:
        pictures: by output name, the main one first.
        endings: of the files that go beside the main one, by output name; "" is the main one's.
        decisions: what was measured and chosen, in words.
        warnings: what the user should know.
        provenance: how it was made: task, settings (their fingerprint), version, device, precision, tiles, seconds.
    """

    pictures: Mapping[str, Picture]
    decisions: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    endings: Mapping[str, str] = field(default_factory=dict)

    @property
    def picture(self) -> Picture:
        """The main output."""
        return next(iter(self.pictures.values()))


@python_names
def read(path: str | Path, **options: Any) -> Picture:
    """Read a picture file into memory, upright, with its depth, alpha and metadata.

    Args:
        options: fields of `restore.io.options.ReadOptions` (frames="first", salvage=True, max_pixels, …).
    """
    from restore.io import read_picture
    from restore.io.options import ReadOptions

    return read_picture(Path(path), ReadOptions(**_known(options, ReadOptions)))


@python_names
def read_frames(path: str | Path, **options: Any) -> Iterator[Picture]:
    """The pages of a TIFF stack, or the numbered frames of a folder, one after another, as `read` gives one picture.

    They go into `Restorer.frames` (which takes the path as well), or each by itself into a call of a `Restorer`.
    """
    return _all_of(frames_of(Path(path), **options))


def frames_of(path: Path, **options: Any) -> FrameSource:
    """The frames of a clip, pages of a TIFF stack, or numbered frames of a folder, read one at a time; `options` as in
    `read`."""
    from restore.io.clip.names import is_clip
    from restore.io.clip.reader import ClipFile
    from restore.io.frames import FrameFolder, StackFrames
    from restore.io.options import ReadOptions
    from restore.io.picture_file import PictureFile

    reading = ReadOptions(**_known(options, ReadOptions))
    if is_clip(path):
        return ClipFile(path, reading)
    return FrameFolder(path, reading) if path.is_dir() else StackFrames(PictureFile(path, reading))


def _all_of(frames: FrameSource) -> Iterator[Picture]:
    """Each frame in memory; the sequence is closed at the end."""
    try:
        for source in frames:
            yield Picture(source.info, source.read_rows(0, source.info.height))
            source.close()
    except RestoreError as error:
        raise error.reworded(in_python)  # noqa: B904  the same error
    finally:
        frames.close()


@python_names
def write(picture: Picture | Result | np.ndarray, path: str | Path, *, output: str = "", **options: Any) -> None:
    """Write a picture, or all outputs of a `Result`, each file atomically; files of these names are replaced.

    Of a `Result` the main output goes to `path` and the others beside it, by their endings, as the command line does:
    `photo.png`, `photo_uncertainty.png`; where no output is the main one, all get their ending. Nothing is written
    if one of them cannot be.

    Args:
        output: the name of the one output of a `Result` to write, to `path` itself.
        options: fields of `restore.io.options.SaveOptions` (quality, depth, …).
    """
    from restore.io import write_picture
    from restore.io.codecs import target_info
    from restore.io.options import SaveOptions

    save = SaveOptions(**_known(options, SaveOptions))
    pictures = _files_of(picture, Path(path), output)
    for target, each in pictures.items():
        target_info(each.info, target, save)
    for target, each in pictures.items():
        write_picture(each, target, save)


def _files_of(picture: Picture | Result | np.ndarray, path: Path, output: str) -> dict[Path, Picture]:
    """Which picture `write` puts where."""
    if not isinstance(picture, Result):
        if output:
            raise ConfigError(
                f"a {type(picture).__name__} has no output {output!r}", fix="Give a Result, or leave output out"
            )
        return {path: Picture.from_array(picture) if isinstance(picture, np.ndarray) else picture}
    if output and output not in picture.pictures:
        raise ConfigError(f"the result has no output {output!r}", fix=f"It has {', '.join(picture.pictures)}")
    if output:
        return {path: picture.pictures[output]}
    files = {}
    for number, (name, each) in enumerate(picture.pictures.items()):
        ending = picture.endings.get(name, name if number else "")
        files[path.with_name(f"{path.stem}_{ending}{path.suffix}") if ending else path] = each
    return files


def _known(options: Mapping[str, Any], kind: type) -> Mapping[str, Any]:
    """The options, if all are fields of their class; else raises `ConfigError`."""
    known = list(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    for name in options:
        if name not in known:
            raise ConfigError(f"there is no option {name}", fix=f"{nearest(name, known)}They are {', '.join(known)}")
    return options


def opened(picture: PictureSource | np.ndarray | str | Path) -> PictureSource:
    """A source of what a caller calls a picture."""
    if isinstance(picture, np.ndarray):
        return Picture.from_array(picture)
    if isinstance(picture, PictureSource):
        return picture
    if not isinstance(picture, str | Path):
        fix = "Give a path, a NumPy array H x W or H x W x C, or what restore.read returns; for others numpy.asarray"
        raise UnsupportedError(f"a {type(picture).__name__} is no picture", fix=fix)
    from restore.io.codecs import open_picture

    return open_picture(Path(picture))
