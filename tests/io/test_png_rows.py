"""PNGs by rows against libpng's whole picture: every kind, any order of rows; damage is found where it is."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restore.errors import DecodeError, TruncatedError
from restore.io.codecs import PictureFile, ReadOptions, open_picture
from restore.io.png_chunks import SIGNATURE, chunk
from restore.picture import Picture

KINDS = [
    (0, 1),
    (0, 2),
    (0, 4),
    (0, 8),
    (0, 16),
    (2, 8),
    (2, 16),
    (3, 1),
    (3, 2),
    (3, 4),
    (3, 8),
    (4, 8),
    (4, 16),
    (6, 8),
    (6, 16),
]
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
BY_ROWS = ReadOptions(stream_above=0)


def png(
    colour_type: int, depth: int, *, width=37, height=29, clear=False, seed=0, piece=200, interlace=0, grey=False
) -> bytes:
    """A PNG with all five filters and several IDAT chunks; what the filters mean is for the reader to say."""
    rng = np.random.default_rng(0)
    row = (width * SAMPLES[colour_type] * depth + 7) // 8
    lines = rng.integers(0, 256, (height, row + 1), np.uint8)
    lines[:, 0] = rng.integers(0, 5, height)
    data = zlib.compress(lines.tobytes(), 6)
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlace))]
    if colour_type == 3:
        colours = rng.integers(0, 256, (2**depth, 1 if grey else 3), np.uint8)
        parts.append(chunk(b"PLTE", np.broadcast_to(colours, (2**depth, 3)).tobytes()))
    if clear:
        key = {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: bytes(range(min(2**depth, 256) // 2 + 1))}[colour_type]
        parts.append(chunk(b"tRNS", key))
    parts += [chunk(b"IDAT", data[at : at + piece]) for at in range(0, len(data), piece)]
    return b"".join([SIGNATURE, *parts, chunk(b"IEND", b"")])


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def pixels(path: Path) -> np.ndarray:
    with PictureFile(path) as file:
        picture = file.picture()
        assert isinstance(picture, Picture)
        return picture.pixels


@pytest.mark.parametrize(
    ("colour_type", "depth", "clear"),
    [(*kind, False) for kind in KINDS] + [(*kind, True) for kind in KINDS if kind[0] <= 3],
)
def test_rows_are_those_of_the_whole_picture(tmp_path, monkeypatch, colour_type, depth, clear):
    monkeypatch.setattr("restore.io.png_rows._BAND", 300)
    path = write(tmp_path / "a.png", png(colour_type, depth, clear=clear))
    whole = pixels(path)
    with PictureFile(path, BY_ROWS) as file:
        rows = file.picture()
        assert not isinstance(rows, Picture) and rows.info.height == 29
        for start, stop in ((0, 29), (0, 7), (5, 20), (18, 19), (18, 29), (3, 3), (28, 29), (10, 12)):
            assert np.array_equal(rows.read_rows(start, stop), whole[start:stop]), (start, stop)


def test_a_grey_palette_is_grey(tmp_path):
    for clear in (False, True):
        path = write(tmp_path / "a.png", png(3, 4, grey=True, clear=clear))
        with PictureFile(path, BY_ROWS) as file:
            rows = file.picture()
            assert rows.info.channels == 1 and np.array_equal(rows.read_rows(0, 29), pixels(path))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 40), st.integers(1, 40), st.integers(1, 90), st.data())
def test_any_size_and_any_order_of_rows(tmp_path_factory, kind, width, height, piece, data):
    path = write(tmp_path_factory.mktemp("png") / "a.png", png(*kind, width=width, height=height, piece=piece))
    whole = pixels(path)
    with PictureFile(path, BY_ROWS) as file:
        rows = file.picture()
        for _ in range(4):
            start = data.draw(st.integers(0, height))
            stop = data.draw(st.integers(start, height))
            assert np.array_equal(rows.read_rows(start, stop), whole[start:stop])


def test_what_is_read_whole(tmp_path):
    """Interlaced pictures, and those that EXIF turns, come with their last rows first or at once."""
    path = write(tmp_path / "a.png", png(2, 8, width=1, height=1, interlace=1))
    assert isinstance(open_picture(path, BY_ROWS), Picture)


@pytest.mark.parametrize(
    ("damage", "error", "says"),
    [
        (lambda data: data.replace(b"IEND", b"IXND", 1), TruncatedError, "no IEND chunk"),
        (lambda data: data[: data.rindex(b"IDAT") - 4] + chunk(b"IEND", b""), TruncatedError, "rows are missing"),
        (lambda data: data[:-30] + bytes([data[-30] ^ 1]) + data[-29:], DecodeError, "bad CRC|damaged"),
        (lambda data: data.replace(b"IDAT\x78", b"IDAT\0", 1), DecodeError, "damaged"),
        (lambda data: data[:-16] + bytes([data[-16] ^ 1]) + data[-15:], DecodeError, "bad CRC"),
    ],
    ids=["end", "short", "bit", "stream", "sum"],
)  # fmt: skip
def test_damage_is_an_error_that_names_the_file(tmp_path, damage, error, says):
    path = write(tmp_path / "broken.png", damage(png(2, 8)))
    with pytest.raises(error, match=f"broken.png.*({says})"), PictureFile(path, BY_ROWS) as file:
        file.picture().read_rows(0, 29)


@pytest.mark.slow
def test_memory_stays_far_below_the_picture(tmp_path):
    """A picture of 12,000 x 12,000 (432 MB of samples) is restored within 200 MiB above the imports."""
    from tests.fresh import printed_by

    program = f"""
import resource, sys, zlib, struct
sys.path.insert(0, ".")
import restore.api, restore.cli.main, torch, imagecodecs, cv2
from restore.io.png_chunks import SIGNATURE, chunk
path = {str(tmp_path / "huge.png")!r}
with open(path, "wb") as file:
    file.write(SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 12000, 12000, 8, 2, 0, 0, 0)))
    deflate = zlib.compressobj(1)
    for row in range(12000):
        if data := deflate.compress(b"\\1" + bytes([row % 7]) * 36000):
            file.write(chunk(b"IDAT", data))
    file.write(chunk(b"IDAT", deflate.flush()) + chunk(b"IEND", b""))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
words = ["denoise", path, {str(tmp_path / "out.png")!r}, "--method", "classical", "--strength", "0", "-q"]
restore.cli.main.main([*words, "--threads", "1"])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    assert float(printed_by(program)) < 200
