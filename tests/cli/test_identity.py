"""From the bytes of a file to the bytes of a file: what is not restored comes out as it went in."""

import numpy as np
import pytest

from restore.io.codecs import create, open_picture
from restore.picture import Metadata, Picture
from tests import corpus
from tests.io.test_metadata import SRGB, XMP, upright_xmp

METADATA = Metadata(exif=corpus.exif(1, gps=True), xmp=upright_xmp(XMP), icc=SRGB, dpi=(300.0, 240.0))
GREY = Metadata(exif=METADATA.exif, xmp=METADATA.xmp, dpi=METADATA.dpi)  # an RGB profile does not describe grey


def _write(path, pixels):
    from dataclasses import replace

    picture = Picture.from_array(pixels)
    metadata = METADATA if picture.info.channels == 3 else GREY
    sink = create(path, replace(picture.info, metadata=metadata))
    sink.write_rows(picture.pixels)
    sink.commit()


def _read(path):
    source = open_picture(path)
    try:
        return source.info, np.array(source.read_rows(0, source.info.height))
    finally:
        source.close()


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("top", [200, 4095, 65535])
def test_sixteen_bits_survive_bit_for_bit_with_their_metadata(restore, tmp_path, suffix, samples, top):
    rng = np.random.default_rng(samples)
    pixels = rng.integers(0, top, (90, 71, samples), np.uint16, endpoint=True)
    _write(tmp_path / f"in.{suffix}", pixels)
    ran = restore("denoise", tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}", "--strength", "0", "--tile", "32")
    assert ran.code == 0, ran.err
    (before, stored), (after, result) = _read(tmp_path / f"in.{suffix}"), _read(tmp_path / f"out.{suffix}")
    np.testing.assert_array_equal(result, pixels)
    np.testing.assert_array_equal(result, stored)
    assert after.metadata == before.metadata
    assert (after.dtype, after.channels, after.alpha) == ("uint16", (samples + 1) // 2 * 2 - 1, samples in (2, 4))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_twelve_bit_data_in_a_16_bit_file_keeps_its_range(restore, tmp_path, suffix):
    rng = np.random.default_rng(0)
    clean = np.linspace(0, 4095, 120)[None, :] * np.ones((90, 1))
    pixels = np.clip(np.rint(clean + 150 * rng.standard_normal(clean.shape)), 0, 4095).astype(np.uint16)
    _write(tmp_path / f"in.{suffix}", pixels)
    out = tmp_path / f"out.{suffix}"
    ran = restore("denoise", tmp_path / f"in.{suffix}", out, "--method", "zero-shot")
    assert ran.code == 0 and "range: values 0 to 4095" in ran.err
    _, result = _read(out)
    result = result[..., 0].astype(float)
    assert 3900 < result.max() < 4400  # the file holds more than was guessed
    assert np.sqrt(np.mean((result - clean) ** 2)) < 0.4 * np.sqrt(np.mean((pixels - clean) ** 2))


def test_counts_in_a_float_file_keep_their_scale(restore, tmp_path):
    rng = np.random.default_rng(0)
    clean = 300 + 200 * np.sin(np.mgrid[0:90, 0:120][1] / 15)
    counts = rng.poisson(clean).astype(np.float32)
    _write(tmp_path / "in.tif", counts)
    ran = restore("denoise", tmp_path / "in.tif", tmp_path / "out.tif", "--method", "zero-shot")
    assert ran.code == 0, ran.err
    info, result = _read(tmp_path / "out.tif")
    assert info.dtype == "float32"
    assert np.sqrt(np.mean((result[..., 0] - clean) ** 2)) < 0.5 * np.sqrt(np.mean((counts - clean) ** 2))
