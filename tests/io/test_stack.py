"""Stacks of pages: what is read is every picture of the file, what is written is whole or absent."""

from __future__ import annotations

import struct
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restore.errors import DecodeError, FileError, LimitError, RestoreError, TruncatedError, UnsupportedError
from restore.io import codecs, streams, tiff_pages
from restore.io import stack as stack_module
from restore.io.codecs import (
    ReadOptions,
    SaveOptions,
    create_stack,
    open_frames,
    open_picture,
    probe,
    probe_frames,
    target_info,
)
from restore.picture import Metadata, Picture
from tests import corpus

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def pages(count: int, samples: int = 1, dtype: str = "uint8", height: int = 9, width: int = 11) -> list[np.ndarray]:
    return [corpus.pattern(height, width, samples, dtype, seed=seed) for seed in range(count)]


def read(path: Path, **options) -> list[np.ndarray]:
    found = []
    for source in open_frames(path, ReadOptions(**options)):
        found.append(source.read_rows(0, source.info.height).copy())
        source.close()
    return found


def write(path: Path, arrays: list[np.ndarray], metadata: list[Metadata] | None = None, **options) -> None:
    save = SaveOptions(**options)
    stack = create_stack(path, sum(array.nbytes for array in arrays), save)
    for index, array in enumerate(arrays):
        info = Picture.from_array(array, alpha=False).info
        info = replace(info, metadata=metadata[index] if metadata else Metadata())
        page = stack.next_page(target_info(info, path, save))
        for row in range(0, len(array), 4):
            page.write_rows(array[row : row + 4])
        page.commit()
        page.abort()  # says nothing after a commit
    stack.commit()
    stack.abort()


def same(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, np.atleast_3d(b)) for a, b in pairs)


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
    real = codecs._decoded

    def watched(*args):
        assert all(one() is None for one in decoded), "the frame before is gone when the next is decoded"
        picture = real(*args)
        decoded.append(weakref.ref(picture))
        return picture

    monkeypatch.setattr(codecs, "_decoded", watched)
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


# --- writing -------------------------------------------------------------------------------------------------


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
        first = stack.next_page(info)
        first.write_rows(array)
        first.commit()
        second = stack.next_page(info)
        second.write_rows(array[:3])
        if give_up == "bad rows":
            with pytest.raises(ValueError, match="do not fit"):
                second.write_rows(array[:, :5])
        else:
            (stack if give_up == "stack" else second).abort()
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"] and path.read_bytes() == b"mine"
        for use in (stack.commit, lambda stack=stack: stack.next_page(info)):
            with pytest.raises(ValueError, match="after commit or abort"):
                use()


def test_a_page_must_be_whole_before_the_next(tmp_path: Path) -> None:
    info = target_info(Picture.from_array(pages(1)[0]).info, tmp_path / "a.tif")
    stack = create_stack(tmp_path / "a.tif", 200)
    stack.next_page(info)
    for use in (stack.commit, lambda: stack.next_page(info)):
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


def test_junk_is_a_decode_error(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(bytes(range(256)))
    with pytest.raises(DecodeError):
        read(tmp_path / "a.tif")
