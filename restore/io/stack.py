"""A TIFF of many pages, written one after another into one file that appears when it is whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from restore.errors import FileError
from restore.io import streams
from restore.io.atomic import AtomicFile, write_error
from restore.io.options import SaveOptions
from restore.picture import Metadata, PictureInfo, PictureSink

_CLASSIC = 2**32 - (64 << 20)
"""Where the pixels of a classic TIFF must end: behind them metadata and a directory have to fit below 4 GiB."""


class StackSink:
    """A `FrameSink`: pages of one TIFF or BigTIFF. Nothing appears under the final name before `commit`.

    Args:
        nbytes: decoded bytes of all pages together: decides between TIFF and BigTIFF.
        header: what of a page's header the file holds (see `target_info`).
        check: reads the finished file back and raises if its pages are not like these.
        out: where the bytes go; None opens a file for `path`.
    """

    def __init__(
        self,
        path: Path,
        nbytes: int,
        options: SaveOptions,
        header: Callable[[PictureInfo], PictureInfo],
        check: Callable[[Path, list[PictureInfo]], None],
        out: AtomicFile | None = None,
    ) -> None:
        self.path, self.options, self._header, self._check = path, options, header, check
        self.big = nbytes > streams.BIG_TIFF_ABOVE
        self._pages: list[PictureInfo] = []
        self._page: _Page | None = None
        self._out = out or AtomicFile(path)
        try:
            self.link = streams.begin_tiff(self._out.file, self.big)
        except OSError as error:
            self.abort()
            raise write_error(error, path) from error

    def next_frame(self, info: PictureInfo) -> PictureSink:
        """A sink for the next page, like `info` as far as TIFF holds it; the page before must be committed.

        Its abort gives up the whole stack. Raises `ValueError` if it is not its turn.
        """
        self._check_turn()
        info = self._header(info)
        self._page = _Page(self, self._out, info)
        self._pages.append(replace(info, metadata=Metadata(), notes=()))  # what is checked, and no more
        return self._page

    def commit(self) -> None:
        """All pages are there: make the stack durable and visible, once its pages were read back."""
        self._check_turn()
        self._out.commit(lambda partial: self._check(partial, self._pages))

    def abort(self) -> None:
        """Forget everything; leaves no trace. Safe to call twice and after `commit`."""
        self._out.abort()

    def _check_turn(self) -> None:
        if self._out.file.closed:
            raise ValueError("a stack was used after commit or abort")
        if self._page is not None and not self._page.done:
            raise ValueError("a page of the stack was not committed")


class _PageFile:
    """The stack's file as a page sees it: committing ends the page only, aborting ends the stack."""

    def __init__(self, whole: AtomicFile) -> None:
        self.file, self.done, self._whole = whole.file, False, whole

    def commit(self, check: Callable[[Path], None]) -> None:
        self.done = True

    def abort(self) -> None:
        if not self.done:
            self._whole.abort()


class _Page(streams.TiffSink):
    """One page: its directory is linked from the one before."""

    def __init__(self, stack: StackSink, whole: AtomicFile, info: PictureInfo) -> None:
        self._stack, self._shared = stack, _PageFile(whole)
        super().__init__(stack.path, info, stack.options, lambda _: None, self._shared)

    @property
    def done(self) -> bool:
        return self._shared.done

    def _start(self) -> tuple[bool, int]:
        return self._stack.big, self._stack.link

    def _finish(self) -> None:
        if not self._big and self._out.file.tell() > _CLASSIC:
            raise FileError("outgrew a TIFF of 4 GB", where=self._path, fix="Write it in parts, and report this")
        super()._finish()
        self._stack.link = self._link
