"""Kinds of samples: one test per trap of the decoders."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from restore.errors import UnsupportedError
from restore.io.codecs import ReadOptions, open_picture, probe
from restore.picture import Picture
from tests import corpus


def read(tmp_path: Path, name: str, data: bytes, **options) -> Picture:
    path = tmp_path / name
    path.write_bytes(data)
    picture = open_picture(path, ReadOptions(**options))
    assert isinstance(picture, Picture)
    assert picture.pixels.shape == (picture.info.height, picture.info.width, picture.info.samples)
    assert options.get("salvage") or probe(path, ReadOptions(**options)) == picture.info
    return picture


def by_cv2(extension: str, array: np.ndarray) -> bytes:
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(array.shape[2] if array.ndim == 3 else 1)
    return cv2.imencode(extension, array[:, :, order] if order else array)[1].tobytes()


def by_pillow(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("extension", [".png", ".tif"])
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_16_bit_is_lossless(extension: str, samples: int, tmp_path: Path) -> None:
    array = corpus.pattern(samples=samples, dtype="uint16")
    array[0, :3] = 0x1234
    picture = read(tmp_path, "a" + extension, by_cv2(extension, array))
    assert (picture.info.dtype, picture.info.bits, picture.info.white) == ("uint16", 16, 65535)
    assert np.array_equal(picture.pixels, array)
    assert picture.info.alpha == (samples == 4)


def test_a_dark_16_bit_picture_stays_16_bit(tmp_path: Path) -> None:
    array = corpus.pattern(dtype="uint16") % 200
    assert read(tmp_path, "a.png", by_cv2(".png", array)).info.bits == 16


def test_float_tiff_is_lossless_beyond_white_and_not_finite(tmp_path: Path) -> None:
    array = corpus.pattern(dtype="float32") * 3 - 1
    array[0, 0] = [np.nan, np.inf, -np.inf]
    for data in (by_cv2(".tif", array), corpus.encoded("tif", array)):
        picture = read(tmp_path, "a.tif", data)
        assert picture.info.dtype == "float32" and picture.info.white == 1.0
        assert np.array_equal(picture.pixels, array, equal_nan=True)


def test_half_float_tiff_widens_exactly(tmp_path: Path) -> None:
    array = corpus.pattern(dtype="float16")
    picture = read(tmp_path, "a.tif", corpus.encoded("tif", array))
    assert np.array_equal(picture.pixels, array.astype(np.float32))
    assert "half-precision" in picture.info.notes[0]


@pytest.mark.parametrize("dtype", ["int16", "uint32", "float64", "int8"])
def test_sample_types_nobody_can_guess_are_refused(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 8), dtype))
    with pytest.raises(UnsupportedError, match=rf"{dtype} samples.*float32"):
        probe(path)


@pytest.mark.parametrize("bands", [2, 5, 8])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_scientific_bands(bands: int, planar: str, tmp_path: Path) -> None:
    array = corpus.pattern(samples=bands, dtype="uint16")
    stored = array if planar == "contig" else np.moveaxis(array, -1, 0)
    data = corpus.encoded("tif", stored, photometric="minisblack", planarconfig=planar)
    picture = read(tmp_path, "a.tif", data)
    assert (picture.info.channels, picture.info.alpha) == (bands, False)
    assert np.array_equal(picture.pixels, array)


def test_nine_bands_are_refused_by_number(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 8, 9), np.uint8), photometric="minisblack", planarconfig="contig")
    with pytest.raises(UnsupportedError, match="9 bands"):
        probe(path)


@pytest.mark.parametrize("format", ["png", "tiff", "bmp"])
def test_1_bit_becomes_8_bit_grey(format: str, tmp_path: Path) -> None:
    bits = corpus.pattern(samples=1)[:, :, 0] > 128
    picture = read(tmp_path, "a", by_pillow(Image.fromarray(bits), format))
    assert picture.info.channels == 1 and "1-bit" in picture.info.notes[0]
    assert np.array_equal(picture.pixels[:, :, 0], bits * np.uint8(255))


@pytest.mark.parametrize("compression", ["group4", "group3", "packbits", "tiff_lzw"])
def test_fax_tiff(compression: str, tmp_path: Path) -> None:
    bits = corpus.pattern(samples=1)[:, :, 0] > 128
    picture = read(tmp_path, "a.tif", by_pillow(Image.fromarray(bits), "tiff", compression=compression))
    assert np.array_equal(picture.pixels[:, :, 0], bits * np.uint8(255))


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_png(bits: int, tmp_path: Path) -> None:
    levels = corpus.pattern(samples=1)[:, :, 0] >> (8 - bits)
    raw = b"".join(
        b"\0" + np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel()).tobytes() for row in levels
    )
    chunks = corpus.png_chunks(corpus.png_header(64, 48, bits, 0))
    import zlib

    chunks[1] = (b"IDAT", zlib.compress(raw))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(corpus.png_chunk(*chunk) for chunk in chunks)
    picture = read(tmp_path, "a.png", data)
    assert np.array_equal(picture.pixels[:, :, 0], levels * np.uint8(255 // (2**bits - 1)))


@pytest.mark.parametrize("format", ["png", "tiff", "bmp", "gif"])
def test_palette_is_expanded(format: str, tmp_path: Path) -> None:
    image = Image.fromarray(corpus.pattern()).quantize(16)
    picture = read(tmp_path, "a", by_pillow(image, format))
    assert picture.info.channels == 3 and not picture.info.alpha and "palette" in picture.info.notes[0]
    assert np.array_equal(picture.pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("format", ["png", "tiff", "gif"])
def test_palette_of_greys_stays_grey(format: str, tmp_path: Path) -> None:
    image = Image.fromarray(corpus.pattern(samples=1)[:, :, 0] // 16, "P")
    image.putpalette([value for level in range(256) for value in [255 - level] * 3])
    picture = read(tmp_path, "a", by_pillow(image, format))
    assert picture.info.channels == 1
    assert np.array_equal(picture.pixels[:, :, 0], 255 - corpus.pattern(samples=1)[:, :, 0] // 16)


@pytest.mark.parametrize("format", ["png", "gif"])
def test_palette_transparency_becomes_alpha(format: str, tmp_path: Path) -> None:
    image = Image.fromarray(corpus.pattern()).quantize(16)
    picture = read(tmp_path, "a", by_pillow(image, format, transparency=3))
    assert picture.info.alpha
    assert np.array_equal(picture.pixels[:, :, 3] == 0, np.asarray(image) == 3)


def test_grey_key_transparency_becomes_alpha(tmp_path: Path) -> None:
    array = corpus.pattern(samples=1)[:, :, 0] // 64
    picture = read(tmp_path, "a.png", by_pillow(Image.fromarray(array), "png", transparency=1))
    assert (picture.info.channels, picture.info.alpha) == (1, True)
    assert np.array_equal(picture.pixels[:, :, 1], np.where(array == 1, 0, 255))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_grey_alpha_keeps_its_greyness(dtype: str, tmp_path: Path) -> None:
    array = corpus.pattern(samples=2, dtype=dtype)
    picture = read(tmp_path, "a.png", imagecodecs.png_encode(array))
    assert (picture.info.channels, picture.info.alpha) == (1, True)
    assert np.array_equal(picture.pixels, array)


def test_interlaced_png(tmp_path: Path) -> None:
    raw = b""  # Adam7 by hand: no installed encoder writes it
    array = corpus.pattern(16, 24, 3)
    for x, y, dx, dy in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        raw += b"".join(b"\0" + row.tobytes() for row in array[y::dy, x::dx])
    import struct
    import zlib

    ihdr = struct.pack(">IIBBBBB", 24, 16, 8, 2, 0, 0, 1)
    parts = [(b"IHDR", ihdr), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(corpus.png_chunk(*part) for part in parts)
    assert np.array_equal(read(tmp_path, "a.png", data).pixels, array)
    half = data[: len(data) // 2]
    assert read(tmp_path, "b.png", half, salvage=True).pixels.shape == (16, 24, 3)


# --- colour models -------------------------------------------------------------------------------------------


def test_cmyk_jpeg_by_formula(tmp_path: Path) -> None:
    inks = corpus.pattern(samples=4)
    data = by_pillow(Image.fromarray(inks, "CMYK"), "jpeg", quality=100, subsampling=0)
    picture = read(tmp_path, "a.jpg", data)
    c, m, y, k = (inks[..., i].astype(float) / 255 for i in range(4))
    expected = 255 * np.stack([(1 - c) * (1 - k), (1 - m) * (1 - k), (1 - y) * (1 - k)], axis=-1)
    assert np.abs(picture.pixels - expected).mean() < 1.5  # JPEG's own loss
    assert picture.info.channels == 3 and "CMYK converted" in picture.info.notes[-1]


def test_ycck_jpeg_is_not_inverted(tmp_path: Path) -> None:
    """Adobe writes YCCK with inverted inks; paper white must come out white."""
    inks = np.zeros((16, 16, 4), np.uint8)
    cmyk = by_pillow(Image.fromarray(inks, "CMYK"), "jpeg", quality=100)
    assert read(tmp_path, "a.jpg", cmyk).pixels.min() > 250


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate"])
def test_cmyk_tiff_is_not_taken_for_alpha(compression: str, tmp_path: Path) -> None:
    inks = corpus.pattern(samples=4)
    image = Image.fromarray(inks, "CMYK")
    picture = read(tmp_path, "a.tif", by_pillow(image, "tiff", compression=compression))
    assert (picture.info.channels, picture.info.alpha) == (3, False)
    assert np.array_equal(picture.pixels, np.asarray(image.convert("RGB")))
    assert "CMYK" in picture.info.notes[0]


def test_lab_tiff(tmp_path: Path) -> None:
    rgb = Image.fromarray(corpus.pattern())
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(rgb, srgb, lab, outputMode="LAB")
    assert image is not None
    picture = read(tmp_path, "a.tif", by_pillow(image, "tiff"))
    error = np.abs(picture.pixels.astype(int) - np.asarray(rgb).astype(int))
    assert error.mean() < 2 and "Lab converted" in picture.info.notes[0]


def test_jpeg_in_tiff(tmp_path: Path) -> None:
    array = corpus.pattern(128, 128)
    picture = read(tmp_path, "a.tif", by_pillow(Image.fromarray(array), "tiff", compression="jpeg", quality=95))
    assert np.abs(picture.pixels.astype(int) - array).mean() < 4


def test_white_is_zero(tmp_path: Path) -> None:
    array = corpus.pattern(samples=1, dtype="uint16")
    data = corpus.encoded("tif", array[:, :, 0], photometric="miniswhite")
    assert np.array_equal(read(tmp_path, "a.tif", data).pixels, 65535 - array)


def test_premultiplied_alpha_becomes_straight(tmp_path: Path) -> None:
    straight = corpus.pattern(samples=4, dtype="uint16")
    straight[..., 3] = np.maximum(straight[..., 3], 20_000)
    stored = straight.copy()
    stored[..., :3] = np.rint(straight[..., :3] * (straight[..., 3:] / 65535.0))
    data = corpus.encoded("tif", stored, photometric="rgb", extrasamples=["assocalpha"])
    picture = read(tmp_path, "a.tif", data)
    assert np.abs(picture.pixels.astype(int) - straight).max() <= 2
    assert np.array_equal(picture.pixels[..., 3], straight[..., 3])
    assert "premultiplied" in picture.info.notes[0]


@pytest.mark.parametrize("extension", [".png", ".tif"])
@pytest.mark.parametrize("alpha", [0, 65535])
def test_constant_alpha_keeps_the_colour_below(extension: str, alpha: int, tmp_path: Path) -> None:
    array = corpus.pattern(samples=4, dtype="uint16")
    array[..., 3] = alpha
    assert np.array_equal(read(tmp_path, "a" + extension, by_cv2(extension, array)).pixels, array)


@pytest.mark.parametrize("depth", [8, 10, 12])
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_avif_depths(depth: int, samples: int, tmp_path: Path) -> None:
    array = corpus.pattern(samples=samples, dtype="uint16") >> (16 - depth)
    array = array.astype(np.uint8 if depth == 8 else np.uint16)
    coded = array[:, :, 0] if samples == 1 else array
    data = imagecodecs.avif_encode(coded, level=100, bitspersample=depth)
    picture = read(tmp_path, "a.avif", data)
    assert (picture.info.bits, picture.info.white) == (depth, 2**depth - 1)
    assert picture.info.dtype == ("uint8" if depth == 8 else "uint16")
    assert (picture.info.channels, picture.info.alpha) == ((1, False) if samples == 1 else (3, samples == 4))
    assert np.array_equal(picture.pixels, array)


@pytest.mark.parametrize(("mode", "depth"), [("RGB", 8), ("RGB;16", 10), ("RGB;16", 12), ("RGBA", 8), ("L", 8)])
def test_heic_depths(mode: str, depth: int, tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    samples = {"RGB": 3, "RGBA": 4, "L": 1}[mode.split(";")[0]]
    array = corpus.pattern(samples=samples, dtype="uint8" if depth == 8 else "uint16")
    was = heif.options.SAVE_HDR_TO_12_BIT
    heif.options.SAVE_HDR_TO_12_BIT = depth == 12
    try:
        buffer = io.BytesIO()
        heif.from_bytes(mode, (64, 48), array.tobytes()).save(buffer, quality=-1)
    finally:
        heif.options.SAVE_HDR_TO_12_BIT = was
    picture = read(tmp_path, "a.heic", buffer.getvalue())
    assert (picture.info.bits, picture.info.format, picture.info.alpha) == (depth, "heic", samples == 4)
    expected = array if depth == 8 else array >> (16 - depth)
    error = np.abs(picture.pixels.astype(int) - expected)  # chroma is stored at half size
    assert error.mean() < 6 * 2 ** (depth - 8) and np.median(error) <= 6 * 2 ** (depth - 8)


def test_heic_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(64))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'restore-toolkit\[heic\]'"):
        probe(path)


def test_packed_12_bit_and_max_sample_value(tmp_path: Path) -> None:
    array = corpus.pattern(samples=1, dtype="uint16")[:, :, 0] >> 4
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, extratags=[(281, 3, 1, 4095, True)])
    picture = read(tmp_path, "a.tif", buffer.getvalue())
    assert (picture.info.bits, picture.info.white) == (12, 4095)
    assert np.array_equal(picture.pixels[:, :, 0], array)


@pytest.mark.parametrize("name", ["gif", "webp", "png", "avif", "tif"])
def test_first_frame_on_request(name: str, tmp_path: Path) -> None:
    picture = read(tmp_path, f"a.{name}", corpus.animated(name), frames="first")
    assert "only the first picture" in picture.info.notes[-1]
    expected = corpus.pattern(seed=1)
    assert np.abs(picture.pixels[..., :3].astype(int) - expected).mean() < (0.5 if name in ("png", "tif") else 12)


def test_thumbnails_and_masks_are_not_pages(tmp_path: Path) -> None:
    array, buffer = corpus.pattern(), io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(array, photometric="rgb")
        writer.write(array[::4, ::4], photometric="rgb", subfiletype=1)
        writer.write(array[:, :, 0] > 128, photometric="mask", subfiletype=4)
    assert np.array_equal(read(tmp_path, "a.tif", buffer.getvalue()).pixels, array)


def test_imagej_stack_in_one_directory_is_a_stack(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((10, 8, 8), np.uint16), imagej=True)
    with pytest.raises(UnsupportedError, match="--frames first"):
        probe(path)


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("extension", [".png", ".tif", ".bmp", ".jpg", ".webp", ".avif"])
def test_constant_pictures(value: int, extension: str, tmp_path: Path) -> None:
    array = np.full((9, 11, 3), value, np.uint8)
    pixels = read(tmp_path, "a" + extension, corpus.encoded(extension[1:], array)).pixels
    assert np.abs(pixels.astype(int) - array).max() <= 1
