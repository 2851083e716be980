"""JPEG: what lies behind its end is not the picture's; kinds that are not read are named, not called damaged."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from restore.errors import DecodeError, LimitError, TruncatedError, UnsupportedError
from restore.io import read_picture
from restore.io.codecs import ReadOptions, probe
from restore.io.jpeg import structure
from tests import corpus

MP4 = b"MotionPhoto_Data\0\0\0\x18ftypmp42\0\0\0\0isommp42"
PLAIN = corpus.encoded("jpg")


def tail(megabytes: int) -> bytes:
    """What a compressed video looks like: an MP4's head and random bytes, among them 16 false scans a megabyte."""
    return MP4 + np.random.default_rng(0).integers(0, 256, megabytes << 20, np.uint8).tobytes()


def put(folder: Path, data: bytes, name: str = "a.jpg") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def with_segment(data: bytes, payload: bytes, marker: int = 0xE5) -> bytes:
    """The same JPEG with one more segment before all others."""
    return data[:2] + bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload + data[2:]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("megabytes", [2, 14, 30])
def test_a_video_behind_a_jpeg_is_neither_searched_nor_carried(megabytes, progressive, tmp_path) -> None:
    plain, behind = corpus.encoded("jpg", progressive=progressive), tail(megabytes)
    assert megabytes < 14 or behind.count(b"\xff\xda") > 200
    picture = read_picture(put(tmp_path, plain + behind))
    assert np.array_equal(picture.pixels, np.asarray(Image.open(BytesIO(plain))))
    assert picture.info.notes == (f"{len(behind):,} bytes after the end of the JPEG not carried",)


@pytest.mark.parametrize(
    ("behind", "size"),
    [(b"", 0), (b"\0", 1), (b"\xff\xd9", 2), (PLAIN, len(PLAIN)), (b"\xff\xda" * 1000, 2000), (bytes(4096), 4096)],
)
def test_the_first_end_counts(behind: bytes, size: int, tmp_path: Path) -> None:
    info = read_picture(put(tmp_path, PLAIN + behind)).info
    words = f"{size:,} byte{'s' if size > 1 else ''} after the end of the JPEG not carried"
    assert info.notes == ((words,) if size else ())


def test_what_looks_like_an_end_inside_a_segment_is_none(tmp_path: Path) -> None:
    for payload in (PLAIN, b"\xff\xd9" * 9, b"\xff\xda" * 300, b""):
        data = with_segment(with_segment(PLAIN, payload), payload, 0xFE)
        found = structure(BytesIO(data + b"behind"))
        assert (found.end, found.scans, found.size) == (len(data), 1, (64, 48))
        assert np.array_equal(read_picture(put(tmp_path, data)).pixels, np.asarray(Image.open(BytesIO(PLAIN))))


def test_restarts_stuffing_and_fill_bytes_end_nothing() -> None:
    noisy = np.random.default_rng(1).integers(0, 256, (400, 400, 3), np.uint8)
    data = corpus.encoded("jpg", noisy, quality=98, restart_marker_blocks=3)
    assert len(data) > 200_000 and data.count(b"\xff\x00") > 100 and data.count(b"\xff\xd3") > 20
    filled = data[:-2] + b"\xff" * 5 + b"\xd9"
    assert structure(BytesIO(data + MP4)).end == len(data)
    assert structure(BytesIO(filled + MP4)).end == len(filled)


@pytest.mark.parametrize("at", [(1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_an_end_across_two_blocks_that_are_read_is_seen(at: int) -> None:
    start = PLAIN.index(b"\xff\xda") + 14  # behind the scan's header, where the search begins
    data = PLAIN[:start] + bytes(at - 1) + b"\xff\xd9"
    assert structure(BytesIO(data + b"behind")).end == len(data)


def test_scans_are_counted_up_to_the_end_and_no_further(tmp_path: Path) -> None:
    assert structure(BytesIO(corpus.many_scans(1000))).scans > 1000
    with pytest.raises(LimitError, match="over 200 scans"):
        read_picture(put(tmp_path, corpus.many_scans(1000)))
    assert structure(BytesIO(corpus.many_scans(150) + tail(14))).scans < 200


def test_a_cut_jpeg_is_still_cut_and_can_be_salvaged(tmp_path: Path) -> None:
    path = put(tmp_path, PLAIN[: len(PLAIN) * 2 // 3])
    with pytest.raises(TruncatedError):
        read_picture(path)
    picture = read_picture(path, ReadOptions(salvage=True))
    whole = np.asarray(Image.open(BytesIO(PLAIN)))
    assert np.array_equal(picture.pixels[:8, :16], whole[:8, :16]) and (picture.pixels[-8:] == 128).all()
    another = put(tmp_path, PLAIN[: len(PLAIN) * 2 // 3] + PLAIN)  # it ends where the next picture begins
    assert probe(another).notes == (f"{len(PLAIN):,} bytes after the end of the JPEG not carried",)
    for cut in (3, 20, 160):
        with pytest.raises(DecodeError):
            read_picture(put(tmp_path, PLAIN[:cut]))


@pytest.mark.parametrize("kind", ["png", "webp", "avif"])
def test_what_lies_behind_other_pictures_is_counted_too(kind: str, tmp_path: Path) -> None:
    data = corpus.encoded(kind)
    plain = read_picture(put(tmp_path, data, "plain"))
    behind = tail(1)
    picture = read_picture(put(tmp_path, data + behind, "more"))
    name = {"webp": "WebP"}.get(kind, kind.upper())
    assert plain.info.notes == () and np.array_equal(picture.pixels, plain.pixels)
    assert picture.info.notes == (f"{len(behind):,} bytes after the end of the {name} not carried",)


def test_a_box_file_that_is_cut_is_not_one_with_bytes_behind(tmp_path: Path) -> None:
    with pytest.raises(TruncatedError, match="bytes are there"):
        probe(put(tmp_path, corpus.encoded("avif")[:-9], "a.avif"))


# --- kinds that are not read ---------------------------------------------------------------------------------

GREY = corpus.pattern(40, 56, 1, "uint16")[:, :, 0]
GREY_12 = (GREY >> 4).astype(np.uint16)


def with_frame(marker: int, height: int | None = None, components: int | None = None) -> bytes:
    """A JPEG whose frame header says something else."""
    data = bytearray(corpus.encoded("jpg", corpus.pattern(samples=1)))
    at = data.index(b"\xff\xc0")
    data[at + 1] = marker
    if height is not None:
        data[at + 5 : at + 7] = height.to_bytes(2, "big")
    if components is not None:
        data[at + 9] = components
    return bytes(data)


KINDS = {
    "12 bits": (imagecodecs.jpeg8_encode(GREY_12, bitspersample=12, level=95), "a JPEG of 12 bits a sample, only of 8"),
    "lossless 16": (imagecodecs.ljpeg_encode(GREY), "a lossless JPEG (16 bits a sample)"),
    "lossless 8": (
        imagecodecs.jpeg8_encode(corpus.pattern(40, 56), lossless=True),
        "a lossless JPEG (8 bits a sample)",
    ),
    "JPEG-LS": (imagecodecs.jpegls_encode(GREY), "JPEG-LS"),
    "hierarchical": (with_frame(0xC5), "a JPEG of this kind (hierarchical, or arithmetic lossless)"),
    "two components": (with_frame(0xC0, components=2), "a JPEG of 2 components, only of 1, 3 or 4"),
    "height behind": (with_frame(0xC0, height=0), "a JPEG whose height stands behind its samples (DNL marker)"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_jpeg_that_is_not_read_is_named(kind: str, tmp_path: Path) -> None:
    data, words = KINDS[kind]
    with pytest.raises(UnsupportedError) as caught:
        probe(put(tmp_path, data))
    assert caught.value.what == f"cannot read {words}" and caught.value.fix.startswith("Convert it to ")
    assert "damaged" not in str(caught.value) and "Copy" not in str(caught.value)


@pytest.mark.parametrize("kind", ["12 bits", "lossless 16", "lossless 8", "JPEG-LS"])
def test_the_way_out_that_is_named_leads_out(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsupportedError) as caught:
        probe(put(tmp_path, KINDS[kind][0], "in.jpg"))
    exec(caught.value.fix.split("in Python: ")[1], {"tifffile": tifffile, "imagecodecs": imagecodecs})
    picture = read_picture("out.tif")
    exact = {"12 bits": None, "lossless 8": corpus.pattern(40, 56)}.get(kind, GREY[:, :, None])
    if exact is None:
        assert picture.info.dtype == "uint16" and np.abs(picture.numpy().astype(int) - GREY_12).mean() < 20
    else:
        assert np.array_equal(picture.pixels, exact)


def test_12_bit_and_lossless_jpeg_inside_a_tiff_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for array, options in ((GREY_12, {"bitspersample": 12}), (GREY, {"lossless": True, "bitspersample": 16})):
        tifffile.imwrite(
            path, array, photometric="minisblack", tile=(32, 32), compression="jpeg", compressionargs=options
        )
        assert np.array_equal(read_picture(path).numpy(), tifffile.imread(path))


@pytest.mark.parametrize(
    ("name", "at", "value", "words"),
    [
        ("bmp", 30, 4, "cannot read this kind of BMP (Unsupported BMP compression (4))"),
        ("bmp", 28, 2, "cannot read this kind of BMP (Unsupported BMP pixel depth (2))"),
    ],
)
def test_what_a_decoder_does_not_support_is_not_called_damaged(name, at, value, words, tmp_path) -> None:
    data = bytearray(corpus.encoded(name))
    data[at] = value
    with pytest.raises(UnsupportedError) as caught:
        probe(put(tmp_path, bytes(data)))
    fix = "Convert it to PNG or TIFF with a program that opens it; if none does, the file is damaged"
    assert str(caught.value) == f"{tmp_path / 'a.jpg'}: {words}. {fix}"


def test_a_png_in_apples_private_form_is_named(tmp_path: Path) -> None:
    data = corpus.encoded("png")
    with pytest.raises(UnsupportedError, match=r"Apple's private form \(CgBI chunk\)\. Revert it first"):
        probe(put(tmp_path, data[:8] + b"\0\0\0\4CgBI\x50\0\x20\x02\x2b\xd5\xb3\x7f" + data[8:]))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"SIMPLE  =                    T / file does conform", "a FITS file"),
        (bytes(128) + b"DICM\2\0\0\0UL", "a DICOM file"),
        (b"II\xbc\x01\x20\0\0\0" + bytes(20), "JPEG XR"),
        (b"qoif\0\0\0\x10" + bytes(20), "QOI"),
        (b"ZISRAWFILE" + bytes(40), "a Zeiss CZI file"),
    ],
)
def test_other_formats_of_pictures_are_named(head: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=f"is not a picture: it looks like {words}"):
        probe(put(tmp_path, head))
