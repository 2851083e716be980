"""Orientation, EXIF, XMP, ICC and resolution: applied once, carried whole, dropped only with a note."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from restore.io import tags
from restore.io.codecs import SaveOptions, create, open_picture, probe
from restore.io.metadata import upright, upright_exif, upright_xmp
from restore.picture import Metadata, Picture, PictureInfo
from tests import corpus

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def write(path: Path, array: np.ndarray, metadata: Metadata, **options) -> PictureInfo:
    from dataclasses import replace

    info = replace(Picture.from_array(array).info, metadata=metadata)
    sink = create(path, info, SaveOptions(**options))
    sink.write_rows(array)
    sink.commit()
    return sink.info


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_pillow_shows(orientation: int) -> None:
    array = corpus.pattern(5, 7)
    image = Image.fromarray(array)
    image.getexif()[0x0112] = orientation
    assert np.array_equal(upright(array, orientation), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "tif", "avif"])
def test_orientation_is_applied_once_and_reset(orientation: int, extension: str, tmp_path: Path) -> None:
    array = corpus.pattern(24, 40)
    block = b"Exif\0\0" + corpus.exif(orientation)
    if extension == "tif":
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
        data = buffer.getvalue()
    elif extension == "avif":
        data = corpus.encoded("avif", array, exif=block, quality=100, subsampling="4:4:4")
    else:
        exact = {"webp": {"lossless": True}, "jpg": {"quality": 95, "subsampling": 0}, "png": {}}[extension]
        data = corpus.encoded(extension, array, exif=block, **exact)
    path = tmp_path / f"a.{extension}"
    path.write_bytes(data)
    picture = open_picture(path)
    assert isinstance(picture, Picture)
    expected = upright(array, orientation)
    assert picture.pixels.shape == expected.shape
    assert np.abs(picture.pixels.astype(int) - expected).mean() < (4 if extension in ("jpg", "avif") else 1e-9)
    if picture.info.metadata.exif:
        assert stored_orientation(picture.info.metadata.exif) == 1
    again = tmp_path / f"again.{'png' if extension == 'avif' else extension}"
    write(again, picture.pixels, picture.info.metadata)
    assert (probe(again).height, probe(again).width) == expected.shape[:2]


def stored_orientation(exif: bytes) -> int:
    loaded = Image.Exif()
    loaded.load(b"Exif\0\0" + exif)
    return loaded.get(0x0112, 1)


def test_exif_changes_in_its_orientation_only() -> None:
    notes: list[str] = []
    before = corpus.exif(6, gps=True)
    after, orientation = upright_exif(b"Exif\0\0" + before, notes)
    assert orientation == 6 and after is not None and not notes
    assert [i for i in range(len(before)) if before[i] != after[i]] == [before.index(b"\x12\x01\x03\0") + 8]


def test_big_endian_exif() -> None:
    block = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 8, 0, 0)
    after, orientation = upright_exif(block, [])
    assert orientation == 8 and after is not None and stored_orientation(after) == 1


def test_the_thumbnail_is_dropped_bytes_and_all() -> None:
    thumbnail = corpus.encoded("jpg", corpus.pattern(8, 8))
    after, _ = upright_exif(corpus.exif(1, thumbnail=thumbnail), [])
    assert after is not None and thumbnail[:100] not in after
    loaded = Image.Exif()
    loaded.load(b"Exif\0\0" + after)
    assert not loaded.get_ifd(1)


@pytest.mark.parametrize("damage", [b"II*\0\xff\xff\xff\x7f", b"garbage", b"II*\0\x08\0\0\0\xff\xff", b"II"])
def test_damaged_exif_is_dropped_with_a_note(damage: bytes) -> None:
    notes: list[str] = []
    assert upright_exif(damage, notes) == (None, 1) and "EXIF dropped" in notes[0]


def test_xmp_orientation_is_reset_both_ways() -> None:
    assert upright_xmp(XMP) == XMP.replace(b'"6"', b'"1"')
    element = b"<tiff:Orientation>8</tiff:Orientation>"
    assert upright_xmp(element) == element.replace(b"8", b"1")


def test_xmp_orientation_does_not_turn_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(corpus.encoded("jpg", xmp=XMP))
    info = probe(path)
    assert (info.height, info.width) == (48, 64) and b'tiff:Orientation="1"' in (info.metadata.xmp or b"")


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif", "avif"])
def test_everything_survives_a_round_trip(extension: str, tmp_path: Path) -> None:
    metadata = Metadata(exif=corpus.exif(1, gps=True), xmp=upright_xmp(XMP), icc=SRGB, dpi=(300.0, 240.0))
    path = tmp_path / f"a.{extension}"
    info = write(path, corpus.pattern(), metadata)
    found = probe(path).metadata
    assert found.icc == SRGB and found.xmp == metadata.xmp
    assert found.dpi == (None if extension in ("webp", "avif") else (300.0, 240.0))
    loaded = Image.Exif()
    loaded.load(b"Exif\0\0" + (found.exif or b""))
    assert loaded.get_ifd(0x8769)[0xA002] == 64 and loaded.get_ifd(0x8825)[5] is not None
    if extension not in ("tif", "avif"):  # TIFF has its own directories; in AVIF upright needs no tag
        assert found.exif == metadata.exif
    assert any("DPI" in note for note in info.notes) == (extension in ("webp", "avif"))
    with Image.open(path) as image:  # and other programs see it too
        assert image.info["icc_profile"] == SRGB
        assert image.getexif().get_ifd(0x8769)[0xA002] == 64


def test_tiff_to_tiff_keeps_text_tags_and_drops_layout_text(tmp_path: Path) -> None:
    path, again, third = tmp_path / "a.tif", tmp_path / "b.tif", tmp_path / "c.tif"
    image = Image.fromarray(corpus.pattern())
    exif = image.getexif()
    exif[271], exif[306], exif[33432] = "Maker", "2026:01:02 03:04:05", "## m%%"
    exif.get_ifd(0x8769)[0x927C] = b"maker note"
    exif.get_ifd(0x8769)[0x829A] = 0.5
    image.save(path, exif=exif.tobytes())
    path.write_bytes(path.read_bytes().replace(b"## m%%", "© mé".encode()))  # Pillow writes ASCII only
    write(again, corpus.pattern(), probe(path).metadata)
    with Image.open(again) as found:
        exif = found.getexif()
        assert (exif[271], exif[306], exif[33432]) == (
            "Maker",
            "2026:01:02 03:04:05",
            "© mé".encode().decode("latin-1"),
        )
    with again.open("rb") as file:
        details = tags.read(file).directories[0x8769]
    assert details[0x927C] == b"maker note" and float(details[0x829A]) == 0.5
    assert probe(again).metadata == probe(path).metadata
    tifffile.imwrite(third, corpus.pattern(), metadata={"axes": "YXS"})
    assert b"shape" not in (probe(third).metadata.exif or b"")


def test_pixel_size_in_exif_follows_the_output(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write(path, corpus.pattern(96, 128), Metadata(exif=corpus.exif(1)))
    loaded = Image.Exif()
    loaded.load(b"Exif\0\0" + (probe(path).metadata.exif or b""))
    assert (loaded.get_ifd(0x8769)[0xA002], loaded.get_ifd(0x8769)[0xA003]) == (128, 96)


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif", "avif"])
def test_strip_metadata_leaves_no_position(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{extension}"
    metadata = Metadata(exif=corpus.exif(1, gps=True), xmp=b"<x>GPSLatitude</x>", icc=SRGB, dpi=(300.0, 300.0))
    write(path, corpus.pattern(), metadata, strip_metadata=True)
    data = path.read_bytes()
    assert b"GPSLatitude" not in data and struct.pack("<HHI", 5, 4, 1) not in data
    assert probe(path).metadata.exif is None and probe(path).metadata.icc == SRGB


# --- ICC -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("icc", "word"),
    [
        (b"not a profile", "damaged"),
        (SRGB[:200], "damaged"),
        (SRGB[:16] + b"CMYK" + SRGB[20:], "is for CMYK"),
        (SRGB[:16] + b"GRAY" + SRGB[20:], "is for GRAY"),
    ],
)
def test_a_broken_profile_is_dropped_with_a_note(icc: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(corpus.encoded("jpg", icc_profile=icc))
    info = probe(path)
    assert info.metadata.icc is None
    assert any(word in note and "dropped" in note for note in info.notes)


def renamed_profile(name: str) -> bytes:
    """An sRGB profile with another description (v4 'mluc' text, UTF-16)."""
    old = "sRGB built-in"
    assert old.encode("utf-16-be") in SRGB
    return SRGB.replace(old.encode("utf-16-be"), name.ljust(len(old))[: len(old)].encode("utf-16-be"))


@pytest.mark.parametrize(
    ("name", "word"),
    [("Display P3", "wide-gamut"), ("Adobe RGB", "wide-gamut"), ("Rec2100 PQ", "HDR"), ("BT.2020", "wide")],
)
def test_wide_and_hdr_profiles_are_noted_and_kept(name: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(corpus.encoded("jpg", icc_profile=renamed_profile(name)))
    info = probe(path)
    assert info.metadata.icc == renamed_profile(name)
    assert any(word in note for note in info.notes), info.notes


def test_coded_colour_in_png_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(corpus.png_with((b"cICP", bytes([9, 16, 0, 1]))))
    assert any("Rec.2020 PQ" in note for note in probe(path).notes)


def test_unusual_gamma_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(corpus.png_with((b"gAMA", struct.pack(">I", 100_000))))
    assert any("gAMA" in note for note in probe(path).notes)


def test_compressed_xmp_in_png(tmp_path: Path) -> None:
    import zlib

    path = tmp_path / "a.png"
    payload = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x:xmpmeta/>")
    path.write_bytes(corpus.png_with((b"iTXt", payload)))
    assert probe(path).metadata.xmp == b"<x:xmpmeta/>"


def test_huge_metadata_is_dropped_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(corpus.png_with((b"eXIf", corpus.exif() + bytes(17 << 20))))
    info = probe(path)
    assert info.metadata.exif is None and any("dropped" in note for note in info.notes)


def test_what_jpeg_cannot_hold_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    info = write(path, corpus.pattern(), Metadata(exif=corpus.exif() + bytes(70_000), xmp=bytes(70_000)))
    assert sum("not carried" in note for note in info.notes) == 2
    assert probe(path).metadata.exif is None


def test_dpi_turns_with_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(corpus.encoded("png", exif=b"Exif\0\0" + corpus.exif(6), dpi=(300, 150)))
    assert probe(path).metadata.dpi == (150.0, 300.0)


def test_avif_profile_survives(tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    path.write_bytes(corpus.encoded("avif", icc_profile=SRGB))
    assert probe(path).metadata.icc == SRGB
    assert imagecodecs.avif_check(path.read_bytes())


def test_heic_is_turned_once(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    array, buffer = corpus.pattern(24, 40), io.BytesIO()
    heif.from_bytes("RGB", (40, 24), array.tobytes()).save(buffer, quality=-1, exif=b"Exif\0\0" + corpus.exif(6))
    path = tmp_path / "a.heic"
    path.write_bytes(buffer.getvalue())
    picture = open_picture(path)
    assert picture.info.metadata.exif is None or stored_orientation(picture.info.metadata.exif) == 1
    assert picture.read_rows(0, picture.info.height).shape == (40, 24, 3)
