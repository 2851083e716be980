"""Stacks of pages that are read: every picture of the file, and never fewer in silence."""

from __future__ import annotations

import struct
import weakref
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restore.errors import DecodeError, LimitError, RestoreError, TruncatedError, UnsupportedError
from restore.io import picture_file, tiff_pages
from restore.io.codecs import (
    ReadOptions,
    open_frames,
    open_picture,
    probe,
    probe_frames,
)
from restore.picture import Picture
from tests import corpus

from .stacks import pages, read, same, write

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def single_directory(path: Path, array: np.ndarray) -> Path:
    """A stack as ImageJ writes the large ones: one directory, the pixels of the others behind its own."""
    tifffile.imwrite(path, array, imagej=True)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        order, start = tif.byteorder, tif.pages.first.offset
        assert [page.dataoffsets[0] for page in tif.pages] == [
            tif.pages.first.dataoffsets[0] + index * array[0].nbytes for index in range(len(array))
        ]
    link = start + 2 + 12 * struct.unpack_from(f"{order}H", data, start)[0]
    struct.pack_into("4s", data, link, bytes(4))
    path.write_bytes(data)
    return path


# --- reading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["png", "jpg", "webp", "tif", "bmp"])
def test_a_file_of_one_picture_has_one_frame(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{name}"
    path.write_bytes(corpus.encoded(name))
    only = open_picture(path)
    (frame,) = open_frames(path)
    assert frame.info == only.info
    assert np.array_equal(frame.read_rows(0, 48), only.read_rows(0, 48))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_pages_of_other_programs_in_order(bigtiff: bool, big_endian: bool, tmp_path: Path) -> None:
    arrays = pages(5, dtype="uint16")
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=bigtiff, byteorder=">" if big_endian else "<") as writer:
        for array in arrays:
            writer.write(array[:, :, 0], compression="zlib", photometric="minisblack")
    assert same(read(tmp_path / "a.tif"), arrays)
    assert [info.notes for info in probe_frames(tmp_path / "a.tif")] == [()] * 5


def test_pages_may_differ_and_keep_their_orientation(tmp_path: Path) -> None:
    first, second = corpus.pattern(9, 11, 3), corpus.pattern(20, 7, 1, "uint16")
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(first, photometric="rgb")
        writer.write(second[:, :, 0], photometric="minisblack", extratags=[(274, 3, 1, 6, True)])
    assert same(read(tmp_path / "a.tif"), [first, np.rot90(second, -1)])


def test_thumbnails_and_masks_are_no_frames(tmp_path: Path) -> None:
    first, second = pages(2)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(first[:, :, 0])
        writer.write(first[::4, ::4, 0], subfiletype=1)
        writer.write(second[:, :, 0], subfiletype=2)  # "a page of many" is a picture
        writer.write(first[:, :, 0] > 128, photometric="mask", subfiletype=4)
    assert same(read(tmp_path / "a.tif"), [first, second])


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(
    ("shape", "dtype"), [((6, 9, 11), "uint16"), ((4, 9, 11), "float32"), ((5, 9, 11, 3), "uint8")]
)
def test_imagej(shape: tuple[int, ...], dtype: str, single: bool, tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(0, 255, shape).astype(dtype)
    path = tmp_path / "a.tif"
    if single:
        single_directory(path, array)
    else:
        tifffile.imwrite(path, array, imagej=True)
    assert same(read(path), list(array))
    assert same(read(path, stream_above=0), list(array))
    with pytest.raises(UnsupportedError, match=r"more than one picture.*--frames all .*--frames first"):
        probe(path)
    assert np.array_equal(
        open_picture(path, ReadOptions(frames="first")).read_rows(0, shape[1]), np.atleast_3d(array[0])
    )


def test_a_cut_imagej_stack_of_one_directory_is_truncated(tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(0, 255, (6, 9, 11), np.uint16)
    path = single_directory(tmp_path / "a.tif", array)
    with tifffile.TiffFile(path) as tif:
        start = tif.pages.first.dataoffsets[0]
    path.write_bytes(path.read_bytes()[: start + 4 * array[0].nbytes + 50])
    with pytest.raises(TruncatedError, match="4 of its 6 pictures are there"):
        read(path)
    assert same(read(path, salvage=True), list(array[:4]))
    assert "4 of its 6" in next(iter(probe_frames(path, ReadOptions(salvage=True)))).notes[-1]


def test_imagej_pages_that_are_not_linked_are_missed(tmp_path: Path) -> None:
    path, array = tmp_path / "a.tif", np.random.default_rng(1).integers(0, 255, (6, 9, 11), np.uint16)
    tifffile.imwrite(path, array, imagej=True)
    link(path, 2, 0)
    with pytest.raises(TruncatedError, match="3 of its 6 pictures are there"):
        read(path)
    assert same(read(path, salvage=True), list(array[:3]))


def test_what_imagej_claims_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((9, 11), np.uint8), description="ImageJ=1.11a\nimages=99999999999\n")
    with pytest.raises(LimitError, match="99,999,999,999 pictures"):
        read(path)


def test_streamed_pages_share_the_file_and_closing_one_keeps_the_others(tmp_path: Path) -> None:
    arrays = pages(4, samples=3)
    write(tmp_path / "a.tif", arrays)
    sources = open_frames(tmp_path / "a.tif", ReadOptions(stream_above=0))
    for array, source in zip(arrays, sources, strict=True):
        assert not isinstance(source, Picture)
        assert np.array_equal(source.read_rows(3, 7), array[3:7])
        source.close()


def test_one_frame_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.tif", pages(6))
    decoded: list[weakref.ref] = []
    real = picture_file._decoded

    def watched(*args):
        assert all(one() is None for one in decoded), "the frame before is gone when the next is decoded"
        picture = real(*args)
        decoded.append(weakref.ref(picture))
        return picture

    monkeypatch.setattr(picture_file, "_decoded", watched)
    sources = open_frames(tmp_path / "a.tif")
    for _ in range(6):
        next(sources)
    assert len(decoded) == 6


def test_limits_hold_for_every_page(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", [corpus.pattern(9, 11, 1), corpus.pattern(10, 11, 1)])
    assert len(read(tmp_path / "a.tif", max_pixels=110)) == 2
    with pytest.raises(LimitError, match=r"a\.tif, page 2: is 11 x 10 = 110 pixels.*--max-pixels 110"):
        read(tmp_path / "a.tif", max_pixels=109)


@pytest.mark.parametrize("name", ["gif", "webp", "png", "avif"])
def test_animations_are_not_read_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{name}"
    path.write_bytes(corpus.animated(name))
    with pytest.raises(UnsupportedError) as caught:
        read(path, frames="all")
    assert str(caught.value) == (
        f"{path}: is an animation, and only TIFF stacks are read whole. "
        "Use --frames first to take its first picture"
    )  # fmt: skip


def test_open_picture_never_drops_pages_in_silence(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", pages(2))
    with pytest.raises(UnsupportedError, match="more than one picture"):
        open_picture(tmp_path / "a.tif", ReadOptions(frames="all"))


# --- hostile -------------------------------------------------------------------------------------------------


def link(path: Path, page: int, offset: int) -> None:
    """Let the directory of a page be followed by what is at `offset`."""
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[page].offset
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], offset)
    path.write_bytes(data)


@pytest.mark.parametrize("back_to", [0, 1, 2])
def test_loops(back_to: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write(path, pages(3))
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[back_to].offset
    link(path, 2, offset)
    for frames in ("one", "first", "all"):
        with pytest.raises(LimitError, match="directories form a loop"):
            read(path) if frames == "all" else probe(path, ReadOptions(frames=frames))


def test_a_link_that_leaves_the_file_is_a_truncated_stack(tmp_path: Path) -> None:
    path, arrays = tmp_path / "a.tif", pages(5)
    write(path, arrays)
    link(path, 2, 1 << 30)
    with pytest.raises(TruncatedError, match=r"a\.tif: cannot read all of this TIFF stack.*directory 4 .*--salvage"):
        read(path)
    assert same(read(path, salvage=True), arrays[:3])
    notes = [info.notes for info in probe_frames(path, ReadOptions(salvage=True))]
    assert notes == [("damaged file salvaged, pages are missing: directory 4 lies outside the file",), (), ()]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_cut_stacks_are_never_shorter_in_silence(share: float, tmp_path: Path) -> None:
    path, arrays = tmp_path / "a.tif", pages(8)
    write(path, arrays)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(TruncatedError, match=r"a\.tif.*ends early"):
        read(path)
    tifffile.imwrite(path, np.stack(arrays)[..., 0], imagej=True)  # all directories of the others at the end
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(TruncatedError, match=r"a\.tif.*ends early"):
        read(path)


def test_a_cut_page_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write(path, pages(3), compression="none")
    with tifffile.TiffFile(path) as tif:
        entry = tif.pages[1].tags[279]  # type: ignore[union-attr]
        data = bytearray(path.read_bytes())
        struct.pack_into("<I", data, entry.valueoffset, 1 << 20)
    path.write_bytes(data)
    with pytest.raises(TruncatedError, match=r"a\.tif, page 2: .*ends early"):
        read(path)


def test_many_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(corpus.tiff_chain(tiff_pages.MAX_FRAMES + 1))
    with pytest.raises(LimitError, match=r"over 65,536 directories\. Split"):
        read(path)
    arrays = pages(300)
    write(path, arrays)
    assert same(read(path), arrays)
    monkeypatch.setattr(tiff_pages, "MAX_FRAMES", 300)
    assert len(read(path)) == 300
    monkeypatch.setattr(tiff_pages, "MAX_FRAMES", 299)
    with pytest.raises(LimitError, match="over 299 directories"):
        read(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_end_in_pictures_or_in_our_error(data, tmp_path: Path) -> None:
    path = tmp_path / "flipped.tif"
    write(path, pages(3), compression=data.draw(st.sampled_from(["none", "fast"])))
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        for source in open_frames(path, ReadOptions(max_pixels=1_000_000, salvage=data.draw(st.booleans()))):
            rows = source.read_rows(0, source.info.height)
            assert rows.shape == (source.info.height, source.info.width, source.info.samples)
    except RestoreError as error:
        assert str(error).startswith(str(path))


def test_junk_is_a_decode_error(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(bytes(range(256)))
    with pytest.raises(DecodeError):
        read(tmp_path / "a.tif")
