"""Broken, foreign and oversized files: one of our errors, quickly, naming the file, leaving nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restore.errors import DecodeError, LimitError, RestoreError, TruncatedError
from restore.io.codecs import ReadOptions, open_picture, probe
from tests import corpus

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

VERB = re.compile(
    r"\b(copy|add|export|re-export|develop|convert|name|unpack|use|download|extract|split|free|raise|save)\b", re.I
)


@pytest.mark.parametrize("case", corpus.hostile(), ids=str)
def test_refused_with_the_promised_error(case: corpus.Case, tmp_path: Path) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.data)
    start = time.monotonic()
    with pytest.raises(case.error) as caught:
        open_picture(path)
    assert time.monotonic() - start < (1 if case.error is LimitError else 10)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and case.word in message and VERB.search(message), message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("case", corpus.accepted(), ids=str)
def test_odd_files_are_read_and_noted(case: corpus.Case, tmp_path: Path) -> None:
    path = tmp_path / case.name
    path.write_bytes(case.data)
    picture = open_picture(path)
    assert picture.read_rows(0, picture.info.height).shape[:2] == (48, 64)
    assert any(case.word in note for note in picture.info.notes) or not case.word, picture.info.notes
    assert probe(path) == picture.info


def test_the_format_is_the_contents_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(corpus.encoded("jpg"))
    assert probe(path).format == "jpeg"


@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "bmp"])
def test_salvage_gives_the_readable_part(extension: str, tmp_path: Path) -> None:
    array = corpus.pattern(200, 100, 3)
    options = {"rowsperstrip": 10} if extension == "tif" else {}
    whole = corpus.encoded(extension, array, **options)
    path = tmp_path / f"half.{extension}"
    path.write_bytes(whole)
    reference = open_picture(path).read_rows(0, 200)
    if extension == "tif":  # tifffile writes the directory first: cutting the end cuts pixels
        path.write_bytes(whole[: len(whole) * 6 // 10])
    else:
        path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TruncatedError, match="--salvage"):
        open_picture(path)
    picture = open_picture(path, ReadOptions(salvage=True))
    assert (picture.info.height, picture.info.width) == (200, 100)
    rows = picture.read_rows(0, 200)
    part = slice(120, 200) if extension == "bmp" else slice(0, 50)  # BMP is stored bottom up
    assert np.array_equal(rows[part], reference[part])
    assert any("salvaged" in note for note in picture.info.notes)


def test_salvage_of_png_without_iend_is_whole(tmp_path: Path) -> None:
    array = corpus.pattern(dtype="uint8")
    path = tmp_path / "a.png"
    path.write_bytes(corpus.encoded("png", array)[:-12])
    picture = open_picture(path, ReadOptions(salvage=True))
    assert np.array_equal(picture.read_rows(0, 48), array)


def test_salvage_leaves_good_files_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(corpus.encoded("png"))
    assert open_picture(path, ReadOptions(salvage=True)).info == open_picture(path).info


def test_pixel_limit_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(corpus.encoded("png"))
    assert open_picture(path, ReadOptions(max_pixels=48 * 64)).info.pixels == 48 * 64
    with pytest.raises(LimitError, match=r"64 x 48 = 3,072 pixels.*--max-pixels 3072"):
        open_picture(path, ReadOptions(max_pixels=48 * 64 - 1))


def test_file_size_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(corpus.encoded("png"))
    with pytest.raises(LimitError, match="bytes"):
        probe(path, ReadOptions(max_bytes=100))


def test_bombs_are_refused_before_their_memory_is_taken(tmp_path: Path) -> None:
    bombs = [case for case in corpus.hostile() if case.name.startswith("huge")]
    bombs.append(corpus.Case("bomb.png", corpus.png_bomb(16_000)))
    assert len(bombs) > 6 and len(bombs[-1].data) < 1_000_000
    for case in bombs:
        (tmp_path / case.name).write_bytes(case.data)
        (tmp_path / f"good{Path(case.name).suffix}").write_bytes(corpus.encoded(Path(case.name).suffix[1:]))
    program = """
import resource, sys
from pathlib import Path
from restore.errors import LimitError
from restore.io.codecs import ReadOptions, open_picture
folder = Path(sys.argv[1])
for path in folder.glob("good*"):
    open_picture(path)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in [*folder.glob("huge*"), *folder.glob("bomb*")]:
    for salvage in (False, True):
        try:
            open_picture(path, ReadOptions(max_pixels=100_000_000, salvage=salvage))
        except LimitError:
            continue
        raise SystemExit(f"{path} was read")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 20_000  # KiB; the pixels of the smallest alone would be 750,000


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), extension=st.sampled_from([*corpus.FORMATS, "16.tif", "16.png"]))
def test_flipped_bytes_end_in_a_picture_or_in_our_error(data, extension: str, tmp_path: Path) -> None:
    assert_survives(data, extension, tmp_path)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), extension=st.sampled_from([*corpus.FORMATS, "16.tif", "16.png"]))
def test_flipped_bytes_at_length(data, extension: str, tmp_path: Path) -> None:
    assert_survives(data, extension, tmp_path)


def assert_survives(data, extension: str, folder: Path) -> None:
    wide = extension.startswith("16.")
    extension = extension.removeprefix("16.")
    if wide and extension == "png":
        import cv2

        whole = bytearray(cv2.imencode(".png", corpus.pattern(dtype="uint16"))[1].tobytes())
    else:
        whole = bytearray(corpus.encoded(extension, corpus.pattern(dtype="uint16") if wide else None))
    for _ in range(data.draw(st.integers(1, 6))):
        near_head = data.draw(st.booleans())
        at = data.draw(st.integers(0, min(len(whole), 400 if near_head else len(whole)) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    path = folder / f"flipped.{extension}"
    path.write_bytes(whole)
    start = time.monotonic()
    try:
        source = open_picture(path, ReadOptions(max_pixels=1_000_000, salvage=data.draw(st.booleans())))
        rows = source.read_rows(0, source.info.height)
        assert rows.shape == (source.info.height, source.info.width, source.info.samples)
        assert rows.dtype.name == source.info.dtype
        source.close()
    except RestoreError as error:
        assert str(path) in str(error)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "junk", [b"", b"\0" * 100, b"\xff" * 100, bytes(range(256)) * 4], ids=["none", "zeros", "ones", "all"]
)
def test_junk_of_any_kind(junk: bytes, tmp_path: Path) -> None:
    path = tmp_path / "junk.tif"
    path.write_bytes(junk)
    with pytest.raises(DecodeError):
        probe(path)
