"""Stacks of pages that are written: whole or absent."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restore.errors import FileError, UnsupportedError
from restore.io import stack as stack_module
from restore.io import streams
from restore.io.codecs import create_stack, probe_frames, target_info
from restore.picture import Metadata, Picture
from tests import corpus

from .stacks import pages, read, same, write


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 5),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    samples=st.sampled_from([1, 2, 3, 4, 8]),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    compression=st.sampled_from(["fast", "small", "none"]),
    big=st.booleans(),
)
def test_round_trip(count, size, samples, dtype, compression, big, tmp_path: Path) -> None:
    arrays = pages(count, samples, dtype, *size)
    with pytest.MonkeyPatch.context() as patch:
        if big:
            patch.setattr(streams, "BIG_TIFF_ABOVE", 0)
        write(tmp_path / "a.tif", arrays, compression=compression)
    assert (tmp_path / "a.tif").read_bytes()[:4] == (b"II+\0" if big else b"II*\0")
    assert same(read(tmp_path / "a.tif"), arrays)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert len(tif.pages) == count
        assert same([np.atleast_3d(page.asarray().reshape(*size, samples)) for page in tif.pages], arrays)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.tif"]


def test_the_size_of_the_whole_decides_about_big_tiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = pages(3)
    for limit, magic in ((3 * 99 - 1, b"II+\0"), (3 * 99, b"II*\0")):
        monkeypatch.setattr(streams, "BIG_TIFF_ABOVE", limit)
        write(tmp_path / "a.tif", arrays)
        assert (tmp_path / "a.tif").read_bytes()[:4] == magic


def test_a_stack_that_outgrows_its_offsets_is_an_error_not_a_broken_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(stack_module, "_CLASSIC", 100)
    with pytest.raises(FileError, match=r"a\.tif: outgrew a TIFF of 4 GB"):
        write(tmp_path / "a.tif", pages(3))
    assert list(tmp_path.iterdir()) == []


def test_every_page_keeps_its_own_metadata(tmp_path: Path) -> None:
    given_ = [
        Metadata(exif=corpus.exif(1, gps=True), xmp=b"<x/>", dpi=(300.0, 240.0)),
        Metadata(),
        Metadata(xmp=b"<y/>", dpi=(72.0, 72.0)),
    ]
    write(tmp_path / "a.tif", pages(3), given_)
    found = [info.metadata for info in probe_frames(tmp_path / "a.tif")]
    assert [(one.xmp, one.dpi) for one in found] == [(b"<x/>", (300.0, 240.0)), (None, None), (b"<y/>", (72.0, 72.0))]
    assert [one.exif is not None for one in found] == [True, False, False]


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.avif", "a"])
def test_only_tiff_takes_a_stack(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"cannot write a stack.*\. Write \.tif, or use --frames first"):
        create_stack(tmp_path / name, 100)
    assert list(tmp_path.iterdir()) == []


def test_nothing_appears_before_the_commit_and_nothing_is_left_after_an_abort(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"mine")
    array = pages(1)[0]
    info = target_info(Picture.from_array(array).info, path)
    for give_up in ("stack", "page", "bad rows"):
        stack = create_stack(path, 200)
        first = stack.next_frame(info)
        first.write_rows(array)
        first.commit()
        second = stack.next_frame(info)
        second.write_rows(array[:3])
        if give_up == "bad rows":
            with pytest.raises(ValueError, match="do not fit"):
                second.write_rows(array[:, :5])
        else:
            (stack if give_up == "stack" else second).abort()
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"] and path.read_bytes() == b"mine"
        for use in (stack.commit, lambda stack=stack: stack.next_frame(info)):
            with pytest.raises(ValueError, match="after commit or abort"):
                use()


def test_a_page_must_be_whole_before_the_next(tmp_path: Path) -> None:
    info = target_info(Picture.from_array(pages(1)[0]).info, tmp_path / "a.tif")
    stack = create_stack(tmp_path / "a.tif", 200)
    stack.next_frame(info)
    for use in (stack.commit, lambda: stack.next_frame(info)):
        with pytest.raises(ValueError, match="was not committed"):
            use()
    stack.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("broken", "words"), [("lost", "2 pages instead of 3"), ("wrong", "width 5 instead of 11")])
def test_a_stack_is_read_back_before_it_gets_its_name(broken, words, tmp_path, monkeypatch) -> None:
    if broken == "lost":  # the last directory is not linked
        finish = stack_module._Page._finish

        def forgetful(self):
            last = len(self._stack._pages) == 3
            if last:
                self._link = self._out.file.tell() - 4  # somewhere harmless, in its own pixels
            finish(self)

        monkeypatch.setattr(stack_module._Page, "_finish", forgetful)
    else:
        entries = streams.TiffSink._entries

        def narrow(self):
            return entries(self) | {256: (4, struct.pack("<I", 5))}

        monkeypatch.setattr(streams.TiffSink, "_entries", narrow)
    with pytest.raises(FileError, match=rf"a\.tif: was written wrong and is discarded \({words}"):
        write(tmp_path / "a.tif", pages(3), compression="none")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("restore.io.atomic.os.fsync", full)
    with pytest.raises(FileError, match=r"a\.tif: cannot write this file \(No space left on device\)"):
        write(tmp_path / "a.tif", pages(2))
    assert list(tmp_path.iterdir()) == []
