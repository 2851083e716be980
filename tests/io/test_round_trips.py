"""What is written is what is read, bit for bit, by us and by other programs; rows equal the whole."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from restore.io import streams
from restore.io.codecs import ReadOptions, SaveOptions, create, open_picture, probe
from restore.picture import Picture, PictureSource
from tests import corpus

relaxed = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def save(path: Path, array: np.ndarray, band: int = 1000, alpha: bool | None = None, **options) -> None:
    sink = create(path, Picture.from_array(array, alpha=alpha).info, SaveOptions(**options))
    for start in range(0, len(array), band):
        sink.write_rows(array[start : start + band])
    sink.commit()


def load(path: Path) -> np.ndarray:
    source = open_picture(path)
    return source.read_rows(0, source.info.height)


def random_array(data, samples: int, dtype: str) -> np.ndarray:
    height, width = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70))
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    if dtype == "float32":
        return rng.normal(0, 1000, (height, width, samples)).astype(np.float32)
    array = rng.integers(0, np.iinfo(dtype).max, (height, width, samples), dtype, endpoint=True)
    return array if seed % 3 else (array // 200 + np.arange(width, dtype=dtype)[None, :, None])  # smooth: filters vary


@relaxed
@given(data=st.data(), samples=st.integers(1, 4), dtype=st.sampled_from(["uint8", "uint16"]))
def test_png_is_exact(data, samples: int, dtype: str, tmp_path: Path) -> None:
    array = random_array(data, samples, dtype)
    options = {"compression": data.draw(st.sampled_from(["fast", "small", "none"]))}
    save(tmp_path / "a.png", array, data.draw(st.integers(1, 80)), **options)
    assert np.array_equal(load(tmp_path / "a.png"), array)


@relaxed
@given(data=st.data(), samples=st.integers(1, 8), dtype=st.sampled_from(["uint8", "uint16", "float32"]))
def test_tiff_is_exact(data, samples: int, dtype: str, tmp_path: Path) -> None:
    array = random_array(data, samples, dtype)
    alpha = samples > 1 and data.draw(st.booleans())
    options = {"compression": data.draw(st.sampled_from(["fast", "small", "none"]))}
    save(tmp_path / "a.tif", array, data.draw(st.integers(1, 80)), alpha, **options)
    assert np.array_equal(load(tmp_path / "a.tif"), array)
    info = probe(tmp_path / "a.tif")
    assert (info.channels, info.alpha, info.dtype) == (samples - alpha, alpha, dtype) or samples == 4
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif").reshape(array.shape), array)


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_all_16_bit_codes(extension: str, tmp_path: Path) -> None:
    array = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    save(tmp_path / f"a{extension}", array)
    assert np.array_equal(load(tmp_path / f"a{extension}"), array)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_other_programs_read_our_png(samples: int, dtype: str, tmp_path: Path) -> None:
    array = corpus.pattern(samples=samples, dtype=dtype)
    save(tmp_path / "a.png", array, 7)
    found = cv2.imdecode(np.fromfile(tmp_path / "a.png", np.uint8), cv2.IMREAD_UNCHANGED)
    order = {1: [0], 2: [0, 3], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[samples]
    assert np.array_equal(np.atleast_3d(found)[:, :, order], array)
    with Image.open(tmp_path / "a.png") as image:
        image.verify()


@pytest.mark.parametrize("samples", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("compression", ["fast", "none"])
def test_other_programs_read_our_tiff(samples: int, dtype: str, compression: str, tmp_path: Path) -> None:
    array = corpus.pattern(samples=samples, dtype=dtype)
    save(tmp_path / "a.tif", array, 7, compression=compression)
    assert np.array_equal(np.atleast_3d(tifffile.imread(tmp_path / "a.tif")), array)
    if (dtype, samples) != ("uint8", 4):  # there OpenCV premultiplies, one more reason not to read with it
        found = cv2.imdecode(np.fromfile(tmp_path / "a.tif", np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(np.atleast_3d(found)[:, :, {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[samples]], array)
    if dtype == "uint8":
        with Image.open(tmp_path / "a.tif") as image:
            assert np.array_equal(np.atleast_3d(np.asarray(image)), array)


def test_big_tiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "BIG_TIFF_ABOVE", 0)
    array = corpus.pattern(samples=3, dtype="uint16")
    info = Picture.from_array(array).info
    info = replace(
        info, metadata=replace(info.metadata, exif=corpus.exif(1, gps=True), dpi=(300.0, 300.0), xmp=b"<x/>")
    )
    sink = create(tmp_path / "a.tif", info)
    sink.write_rows(array)
    sink.commit()
    assert (tmp_path / "a.tif").read_bytes()[:4] == b"II+\0"
    assert np.array_equal(tifffile.imread(tmp_path / "a.tif"), array) and np.array_equal(
        load(tmp_path / "a.tif"), array
    )
    found = probe(tmp_path / "a.tif").metadata
    assert found.dpi == (300.0, 300.0) and found.xmp == b"<x/>" and found.exif is not None


@pytest.mark.parametrize("extension", [".png", ".tif"])
@pytest.mark.parametrize("compression", ["fast", "small", "none"])
def test_the_bytes_do_not_depend_on_the_bands(extension: str, compression: str, tmp_path: Path) -> None:
    array = corpus.pattern(500, 900, 3, "uint16")
    contents = set()
    for band in (500, 1, 7, 256):
        save(tmp_path / f"a{extension}", array, band, compression=compression)
        contents.add((tmp_path / f"a{extension}").read_bytes())
    assert len(contents) == 1
    assert np.array_equal(load(tmp_path / f"a{extension}"), array)


@pytest.mark.parametrize("extension", [".jpg", ".webp", ".avif"])
def test_lossy_formats_are_close_at_full_chroma(extension: str, tmp_path: Path) -> None:
    array = np.zeros((64, 64, 3), np.uint8)
    array[::2, :, 0] = 255  # red lines one pixel high: gone with halved chroma
    save(tmp_path / f"a{extension}", array)
    error = np.abs(load(tmp_path / f"a{extension}").astype(int) - array).mean()
    assert error < (5 if extension == ".jpg" else 70)  # lossy WebP always halves chroma
    smooth = corpus.pattern()
    save(tmp_path / f"b{extension}", smooth)
    assert np.abs(load(tmp_path / f"b{extension}").astype(int) - smooth).mean() < 4


def test_quality_matters(tmp_path: Path) -> None:
    for extension in (".jpg", ".webp", ".avif"):
        save(tmp_path / f"a{extension}", corpus.pattern(), quality=95)
        save(tmp_path / f"b{extension}", corpus.pattern(), quality=30)
        assert (tmp_path / f"a{extension}").stat().st_size > (tmp_path / f"b{extension}").stat().st_size


@pytest.mark.parametrize("samples", [1, 2])
def test_grey_webp_reads_back_as_equal_samples(samples: int, tmp_path: Path) -> None:
    array = corpus.pattern(samples=samples)
    sink = create(tmp_path / "a.webp", Picture.from_array(array).info)
    assert any("grey" in note for note in sink.info.notes)
    sink.write_rows(array)
    sink.commit()
    found = load(tmp_path / "a.webp")
    assert found.shape[2] == samples + 2
    assert np.abs(found[:, :, 0].astype(int) - array[:, :, 0]).mean() < 4


# --- streamed TIFF -------------------------------------------------------------------------------------------

LAYOUTS = [
    {},
    {"rowsperstrip": 1},
    {"rowsperstrip": 7},
    {"rowsperstrip": 7, "compression": "zlib", "predictor": True},
    {"rowsperstrip": 16, "compression": "lzw"},
    {"rowsperstrip": 200, "compression": "zstd"},
    {"tile": (16, 32)},
    {"tile": (32, 16), "compression": "zlib"},
    {"tile": (48, 48), "compression": "packbits", "byteorder": ">"},
    {"rowsperstrip": 9, "byteorder": ">"},
    {"bigtiff": True, "rowsperstrip": 20},
    {"planarconfig": "separate", "rowsperstrip": 11},
    {"planarconfig": "separate", "tile": (16, 16), "compression": "zlib"},
]


def streamed(path: Path) -> PictureSource:
    source = open_picture(path, ReadOptions(stream_above=0))
    assert not isinstance(source, Picture)
    return source


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_streamed_rows_are_the_whole(layout: dict, dtype: str, tmp_path: Path) -> None:
    array = corpus.pattern(101, 53, 3, dtype)
    layout = dict(layout)
    stored = np.moveaxis(array, -1, 0) if layout.get("planarconfig") == "separate" else array
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **layout)
    assert np.array_equal(load(tmp_path / "a.tif"), array)
    source = streamed(tmp_path / "a.tif")
    for start in range(0, 101, 10):  # bands with a halo
        rows = source.read_rows(max(0, start - 4), min(101, start + 14))
        assert np.array_equal(rows, array[max(0, start - 4) : start + 14])
    for start, stop in ((90, 101), (0, 3), (50, 50), (0, 101), (33, 34)):
        assert np.array_equal(source.read_rows(start, stop), array[start:stop])
    assert source.read_rows(0, 5).flags.c_contiguous
    source.close()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_streamed_rows_are_upright(orientation: int, tmp_path: Path) -> None:
    array = corpus.pattern(31, 20)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, array, photometric="rgb", rowsperstrip=4, compression="zlib", extratags=[(274, 3, 1, orientation, True)]
    )
    whole = load(path)
    source = open_picture(path, ReadOptions(stream_above=0))
    bands = [source.read_rows(i, min(i + 6, source.info.height)) for i in range(0, source.info.height, 6)]
    source.close()
    assert np.array_equal(np.concatenate(bands), whole)


def test_each_segment_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from restore.io.tiff_rows import TiffRows

    decoded: list[int] = []
    original = TiffRows._segment
    monkeypatch.setattr(TiffRows, "_segment", lambda self, index: decoded.append(index) or original(self, index))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, corpus.pattern(200, 50), photometric="rgb", rowsperstrip=16, compression="zlib")
    source = streamed(path)
    for start in range(0, 200, 10):
        source.read_rows(max(0, start - 8), min(200, start + 18))
    source.close()
    assert sorted(decoded) == list(range(13))


def test_a_file_cut_while_streaming_says_so(tmp_path: Path) -> None:
    from restore.errors import TruncatedError

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, corpus.pattern(200, 50), photometric="rgb", rowsperstrip=16)
    source = streamed(path)
    source.read_rows(0, 10)
    with path.open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(TruncatedError, match=r"a\.tif"):
        source.read_rows(190, 200)
    source.close()


def test_palette_and_cmyk_stream_too(tmp_path: Path) -> None:
    for image in (Image.fromarray(corpus.pattern()).quantize(16), Image.fromarray(corpus.pattern(samples=4), "CMYK")):
        buffer = io.BytesIO()
        image.save(buffer, "tiff")
        (tmp_path / "a.tif").write_bytes(buffer.getvalue())
        source = streamed(tmp_path / "a.tif")
        assert np.array_equal(source.read_rows(10, 20), np.asarray(image.convert("RGB"))[10:20])
        source.close()
