"""Nothing appears under the final name until it is whole, checked and durable; nothing is converted in silence."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from restore.errors import ConfigError, FileError, UnsupportedError
from restore.io.codecs import SaveOptions, create, open_picture, probe, target_info
from restore.picture import Picture, PictureInfo, PictureSink
from tests import corpus

WRITABLE = [".png", ".tif", ".jpg", ".webp", ".bmp", ".avif"]


def picture(samples: int = 3, dtype: str = "uint8", height: int = 48, width: int = 64) -> Picture:
    return Picture.from_array(corpus.pattern(height, width, samples, dtype), alpha=samples in (2, 4))


# --- what a format holds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extension", "dtype", "words"),
    [
        (".jpg", "uint16", "JPEG holds 8 bits.*--depth 8 or write .png or .tif"),
        (".webp", "uint16", "WEBP holds 8 bits.*--depth 8"),
        (".avif", "uint16", "AVIF holds 8 bits.*--depth 8"),
        (".bmp", "uint16", "BMP holds 8 bits.*--depth 8"),
        (".png", "float32", "PNG holds 8 or 16 bits.*--depth 16 or write .tif"),
        (".jpg", "float32", "JPEG holds 8 bits.*--depth 8 or write .tif"),
    ],
)
def test_depth_is_never_cut_in_silence(extension: str, dtype: str, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        target_info(picture(dtype=dtype).info, f"out{extension}")


@pytest.mark.parametrize("extension", [".jpg", ".bmp"])
def test_alpha_is_never_dropped_in_silence(extension: str) -> None:
    with pytest.raises(UnsupportedError, match=r"no transparency\. Write \.png"):
        target_info(picture(4).info, f"out{extension}")


def test_bands_go_into_tiff_only() -> None:
    five = Picture.from_array(corpus.pattern(samples=5)).info
    assert target_info(five, "out.tif").channels == 5
    with pytest.raises(UnsupportedError, match=r"5 channels\. Write \.tif"):
        target_info(five, "out.png")


@pytest.mark.parametrize(
    ("depth", "dtype", "bits"),
    [("8", "uint8", 8), ("16", "uint16", 16), ("float", "float32", 32), ("auto", "uint16", 16)],
)
def test_depth_option(depth, dtype: str, bits: int) -> None:
    target = target_info(picture(dtype="uint16").info, "out.tif", SaveOptions(depth=depth))
    assert (target.dtype, target.bits, target.format) == (dtype, bits, "tiff")
    assert target_info(target, "out.tif", SaveOptions(depth=depth)) == target  # asking twice changes nothing


def test_significant_bits_fill_the_format_except_from_tiff_to_tiff() -> None:
    ten = PictureInfo(4, 4, 3, dtype="uint16", bits=10, format="avif")
    assert target_info(ten, "out.png").white == 65535
    assert target_info(ten, "out.tif").white == 65535
    twelve = replace(ten, bits=12, format="tiff")
    assert target_info(twelve, "out.tif").white == 4095 and target_info(twelve, "out.png").white == 65535


def test_twelve_bits_survive_tiff(tmp_path: Path) -> None:
    info = replace(picture(dtype="uint16").info, bits=12, format="tiff")
    sink = create(tmp_path / "a.tif", info)
    sink.write_rows(picture(dtype="uint16").pixels >> 4)
    sink.commit()
    assert probe(tmp_path / "a.tif").bits == 12


@pytest.mark.parametrize("name", ["out.xyz", "out", "out.gif", "out.heic"])
def test_unknown_extensions_list_the_known(name: str) -> None:
    with pytest.raises(UnsupportedError, match=r"\.png \.jpg \.jpeg \.webp \.tif \.tiff \.bmp \.avif"):
        target_info(picture().info, name)


@pytest.mark.parametrize(("extension", "limit"), [(".jpg", 65535), (".webp", 16383)])
def test_sizes_beyond_a_format(extension: str, limit: int) -> None:
    info = PictureInfo(10, limit + 1, 3)
    with pytest.raises(UnsupportedError, match=f"at most {limit} pixels.*\\.tif"):
        target_info(info, f"out{extension}")
    assert target_info(replace(info, width=limit), f"out{extension}").width == limit


def test_quality_is_checked() -> None:
    with pytest.raises(ConfigError, match="from 1 to 100"):
        SaveOptions(quality=0)


# --- wrong rows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", WRITABLE)
@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64", "bool"])
def test_rows_of_another_type_are_an_error_and_never_saturate(extension: str, dtype: str, tmp_path: Path) -> None:
    sink = create(tmp_path / f"a{extension}", picture().info)
    with pytest.raises(ValueError, match=f"rows of {dtype}"):
        sink.write_rows(np.zeros((48, 64, 3), dtype))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(48, 64, 4), (48, 63, 3), (48, 64), (49, 64, 3)])
def test_rows_of_another_shape_are_an_error(shape: tuple[int, ...], tmp_path: Path) -> None:
    sink = create(tmp_path / "a.png", picture().info)
    with pytest.raises(ValueError, match="rows"):
        sink.write_rows(np.zeros(shape, np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extension", WRITABLE)
def test_too_few_rows_are_not_a_picture(extension: str, tmp_path: Path) -> None:
    sink = create(tmp_path / f"a{extension}", picture().info)
    sink.write_rows(picture().pixels[:47])
    with pytest.raises(ValueError, match="47 of 48 rows"):
        sink.commit()
    assert list(tmp_path.iterdir()) == []


# --- atomic --------------------------------------------------------------------------------------------------


def replacing(path: Path, rows: int) -> PictureSink:
    """A sink with so many of 48 rows, over a file that is there already."""
    path.write_bytes(b"precious")
    sink = create(path, picture().info)
    sink.write_rows(picture().pixels[:rows])
    return sink


@pytest.mark.parametrize("extension", WRITABLE)
def test_abort_leaves_the_old_file_and_no_trace(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{extension}"
    sink = replacing(path, rows=20)
    assert path.read_bytes() == b"precious"
    sink.abort()
    sink.abort()
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"precious"


@pytest.mark.parametrize("extension", WRITABLE)
def test_abort_after_commit_keeps_the_result(extension: str, tmp_path: Path) -> None:
    sink = create(tmp_path / f"a{extension}", picture().info)
    sink.write_rows(picture().pixels)
    sink.commit()
    sink.abort()
    assert [file.name for file in tmp_path.iterdir()] == [f"a{extension}"]


@pytest.mark.parametrize("fault", ["fsync", "replace", "header"])
def test_a_fault_at_the_end_leaves_the_old_file(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    sink = replacing(path, rows=48)

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    if fault == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    elif fault == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        sink._out.file.flush()  # type: ignore[attr-defined]
        sink._out.file.seek(16)  # type: ignore[attr-defined]
        sink._out.file.write(b"\0\0\0\1")  # type: ignore[attr-defined]
        sink._out.file.seek(0, 2)  # type: ignore[attr-defined]
    with pytest.raises(FileError, match=r"a\.png"):
        sink.commit()
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"precious"


def test_a_wrong_size_on_disk_is_found(tmp_path: Path) -> None:
    sink = create(tmp_path / "a.bmp", picture().info)
    sink.write_rows(picture().pixels)
    sink._info = replace(sink.info, height=47)  # type: ignore[attr-defined]
    sink._written, sink._pixels = 47, sink._pixels[:47]  # type: ignore[attr-defined]
    with pytest.raises(FileError, match="height 47 instead of 48"):
        sink.commit()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extension", WRITABLE)
def test_a_full_disk_leaves_the_old_file_and_no_trace(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{extension}"
    path.write_bytes(b"precious")
    program = """
import resource, signal, sys
import numpy as np
from restore.errors import FileError
from restore.io.codecs import create
from restore.picture import Picture
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
array = np.random.default_rng(0).integers(0, 255, (400, 400, 3), np.uint8)
try:
    sink = create(sys.argv[1], Picture.from_array(array).info)
    for start in range(0, 400, 50):
        sink.write_rows(array[start : start + 50])
    sink.commit()
except FileError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert result.returncode == 0 and result.stderr == ""
    assert str(path) in result.stdout and "File too large" in result.stdout
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"precious"


def test_an_interrupt_while_writing_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = create(tmp_path / "a.tif", picture().info)

    def interrupt(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(sink), "_packed", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sink.write_rows(picture().pixels)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"No such file.*Create the folder"):
        create(tmp_path / "no" / "a.png", picture().info)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="Not a directory"):
        create(tmp_path / "file" / "a.png", picture().info)


def test_a_folder_of_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(FileError, match="a folder has this name"):
        create(tmp_path / "a.png", picture().info)


def test_a_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:  # root may write anywhere: the answer is faked
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(FileError, match=r"Permission denied.*Check the permissions"):
        create(tmp_path / "a.png", picture().info)


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real.png").write_bytes(b"old")
    (tmp_path / "link.png").symlink_to("real.png")
    sink = create(tmp_path / "link.png", picture().info)
    sink.write_rows(picture().pixels)
    sink.commit()
    assert (tmp_path / "link.png").is_symlink()
    assert probe(tmp_path / "real.png").pixels == 48 * 64


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_follow_the_umask(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        sink = create(tmp_path / "a.png", picture().info)
        sink.write_rows(picture().pixels)
        sink.commit()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize(
    "name",
    [
        "with space.png",
        "quo'te\".png",
        "emoji 🌸.png",
        "漢字.png",
        "-dash.png",
        "new\nline.png",
        "é.png",
        "e\u0301.png",
    ],
)
def test_names_of_all_kinds(name: str, tmp_path: Path) -> None:
    sink = create(tmp_path / name, picture().info)
    sink.write_rows(picture().pixels)
    sink.commit()
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert np.array_equal(open_picture(tmp_path / name).read_rows(0, 48), picture().pixels)


def test_the_longest_name_works_and_a_longer_one_is_refused(tmp_path: Path) -> None:
    longest = "é" * 125 + "a.png"
    assert len(longest.encode()) == 255
    sink = create(tmp_path / longest, picture().info)
    sink.write_rows(picture().pixels)
    sink.commit()
    assert probe(tmp_path / longest).format == "png"
    with pytest.raises(FileError, match="too long"):
        create(tmp_path / ("a" * 252 + ".png"), picture().info)


# --- memory --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_memory_does_not_grow_with_height(extension: str, tmp_path: Path) -> None:
    program = """
import resource, sys
import numpy as np
from restore.io.codecs import ReadOptions, create, open_picture
from restore.picture import PictureInfo
height = int(sys.argv[2])
band = (np.arange(256 * 4000 * 3).reshape(256, 4000, 3) * 7).astype(np.uint16)
sink = create(sys.argv[1], PictureInfo(height, 4000, 3, dtype="uint16", bits=16))
for _ in range(0, height, 256):
    sink.write_rows(band)
sink.commit()
if sys.argv[1].endswith(".tif"):
    source = open_picture(sys.argv[1], ReadOptions(stream_above=0))
    for start in range(0, height, 256):
        assert (source.read_rows(start, start + 256) == band).all()
    source.close()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = []
    for height in (1024, 16384):
        result = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / f"a{extension}"), str(height)],
            capture_output=True, text=True, timeout=300, env={"PYTHONPATH": ":".join(sys.path)},
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        peaks.append(int(result.stdout))
    assert peaks[1] - peaks[0] < 20_000, peaks  # KiB, while the picture grows by 360,000
