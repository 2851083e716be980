"""A sequence that is written as a folder of pictures, which appears when all of them are there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restore.errors import FileError
from restore.io.atomic import AtomicFile, partial_path, sync_folder, undone_on_failure, write_error
from restore.io.codecs import create
from restore.io.options import SaveOptions
from restore.picture import PictureInfo, PictureSink


@dataclass(frozen=True)
class StagedFolder:
    """A complete folder of frames under a temporary name, as `restore.io.atomic.StagedFile` is a file."""

    path: Path
    partial: Path
    target: Path
    names: tuple[str, ...]

    def publish(self) -> None:
        """Give the folder its name, or replace its frames one by one if it is there. On failure it is gone."""
        with undone_on_failure(self.discard, self.path):
            with contextlib.suppress(OSError):
                self.target.rmdir()  # only if it is empty
            if self.target.is_dir():
                for name in self.names:
                    (self.partial / name).replace(self.target / name)
                self.partial.rmdir()
            else:
                self.partial.rename(self.target)
        sync_folder(self.target)
        sync_folder(self.target.parent)

    def discard(self) -> None:
        """Remove the folder, unless it was published."""
        shutil.rmtree(self.partial, ignore_errors=True)


class FolderSink:
    """A `FrameSink`: one picture file a frame, in a hidden folder beside `path` until `commit`.

    Args:
        path: the folder to be; with `overwrite` its frames are replaced one by one, and what else it holds stays.
        names: file names of the frames, in order.
        held: `commit` only checks that all frames are there; `staged.publish()` gives the folder its name.
    Raises:
        FileError: `path` is a file, or holds something and may not be overwritten, or cannot be written beside.

    Attributes:
        partial: the hidden folder.
        staged: the same folder, as it is when `commit` has succeeded.
    """

    def __init__(
        self, path: Path, names: Sequence[str], options: SaveOptions, *, overwrite: bool = False, held: bool = False
    ) -> None:
        check_folder(path, overwrite=overwrite)
        self.path, self.names, self.options = path, tuple(names), options
        self._held, self._committed = held, False
        self._frames: list[_Frame] = []
        target = Path(os.path.realpath(path))
        self.partial = partial_path(target)
        self.staged = StagedFolder(path, self.partial, target, self.names)
        try:
            self.partial.mkdir()
        except OSError as error:
            raise write_error(error, path) from error

    def next_frame(self, info: PictureInfo) -> PictureSink:
        """The sink of the next frame; see `create` for errors. Raises `ValueError` if it is not its turn."""
        self._check_turn()
        if len(self._frames) == len(self.names):
            raise ValueError(f"more than {len(self.names)} frames were written")
        name = self.names[len(self._frames)]
        out = AtomicFile(self.path / name, target=self.partial / name)
        try:
            frame = _Frame(self, create(self.path / name, info, self.options, out))
        except BaseException:
            out.discard()
            self.discard()
            raise
        self._frames.append(frame)
        return frame

    def commit(self) -> None:
        """All frames are there: give the folder its name, unless it is held."""
        self._check_turn()
        if len(self._frames) != len(self.names):
            self.abort()
            raise ValueError(f"{len(self._frames)} of {len(self.names)} frames were written")
        sync_folder(self.partial)
        self._committed = True
        if not self._held:
            self.staged.publish()

    def abort(self) -> None:
        """Leave no trace. Safe to call at any time; after `commit` it does nothing."""
        if not self._committed:
            self.discard()

    def discard(self) -> None:
        """Remove the hidden folder, also after a commit that was held."""
        if self._frames:
            self._frames[-1].sink.abort()
        self.staged.discard()

    def _check_turn(self) -> None:
        if self._committed or not self.partial.exists():
            raise ValueError("a folder of frames was used after commit or abort")
        if self._frames and not self._frames[-1].done:
            raise ValueError("a frame was not committed")


class _Frame:
    """One frame's sink; aborting it gives up the folder."""

    def __init__(self, folder: FolderSink, sink: PictureSink) -> None:
        self.sink, self.done, self._folder = sink, False, folder

    @property
    def info(self) -> PictureInfo:
        return self.sink.info

    def write_rows(self, rows: np.ndarray) -> None:
        self.sink.write_rows(rows)

    def commit(self) -> None:
        self.sink.commit()
        self.done = True

    def abort(self) -> None:
        if not self.done:
            self._folder.abort()


def check_folder(path: Path, *, overwrite: bool) -> None:
    """Raise `FileError` unless frames may be written into a folder of this name."""
    if path.exists() and not path.is_dir():
        raise FileError("cannot write frames: a file has this name", where=path, fix="Name a folder")
    if not overwrite and path.is_dir() and any(path.iterdir()):
        raise FileError(
            "exists already", where=path, fix="Add --overwrite to replace its frames, or name another output"
        )
