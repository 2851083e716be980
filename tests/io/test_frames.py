"""Sequences in files: pages of an open stack, numbered pictures of a folder, and folders that appear whole."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from restore.errors import FileError, LimitError, UnsupportedError
from restore.io import frame_folder
from restore.io.atomic import AtomicFile
from restore.io.codecs import ReadOptions, SaveOptions
from restore.io.frame_folder import FolderSink
from restore.io.frames import FrameFolder, StackFrames, in_order
from restore.io.picture_file import PictureFile
from restore.picture import FrameSource, Picture
from tests import corpus

from .stacks import pages, same, write


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["f1", "f2", "f4"], "3"),
        (["f01", "f05", "f06", "f10"], "2 to 4, 7 to 9"),
        (["f0", "f10", "f30"], "20"),  # every tenth
        (["f0", "f10", "f20"], ""),
        (["take1_f1", "take1_f2", "take2_f9", "take2_f11"], "10"),
        ([f"f{3 * n + k}" for n in range(7) for k in (0, 1)], "2, 5, 8, 11, 14 and 1 more gaps"),
        (["f7"], ""),
    ],
)
def test_missing_numbers_are_told(tmp_path, names, missing):
    frames = FrameFolder(folder_of(tmp_path / "a", [f"{name}.png" for name in names]))
    assert frames.notes == ((f"numbers are missing between the frames: {missing}",) if missing else ())


def folder_of(folder: Path, names: list[str], **options) -> Path:
    folder.mkdir()
    for seed, name in enumerate(names):
        array = corpus.pattern(9, 11, seed=seed, **options)
        (folder / name).write_bytes(corpus.encoded(Path(name).suffix[1:].lower(), array))
    return folder


def arrays_of(frames: FrameSource) -> list[np.ndarray]:
    found = []
    for source in frames:
        found.append(source.read_rows(0, source.info.height).copy())
        source.close()
    return found


# --- stacks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream_above", [0, 1 << 30])
def test_pages_by_number_and_in_order(tmp_path, stream_above):
    arrays = pages(6)
    write(tmp_path / "a.tif", arrays)
    with PictureFile(tmp_path / "a.tif", ReadOptions(stream_above=stream_above)) as file:
        frames = StackFrames(file)
        assert isinstance(frames, FrameSource) and (frames.count, frames.info.width, frames.time(2)) == (6, 11, None)
        for index in (0, 3, 4, 1, 5, 5):
            source = frames.frame(index)
            assert np.array_equal(source.read_rows(0, 9), arrays[index])
        assert same(arrays_of(frames), arrays)
        assert frames.where(2) == f"{tmp_path / 'a.tif'}, page 3"
        with pytest.raises(IndexError):
            frames.frame(6)


def test_pages_in_ascending_order_are_passed_over_once(tmp_path, monkeypatch):
    write(tmp_path / "a.tif", pages(9))
    begun = []
    real = PictureFile.frames
    monkeypatch.setattr(PictureFile, "frames", lambda self: begun.append(1) or real(self))
    with PictureFile(tmp_path / "a.tif") as file:
        frames = StackFrames(file)
        for index in (1, 4, 8):
            frames.frame(index)
        assert len(begun) == 1
        frames.frame(0)
        assert len(begun) == 2


# --- folders that are read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["f_10.png", "f_9.png", "f_2.png"], ["f_2.png", "f_9.png", "f_10.png"]),
        (["0003.png", "0001.tif", "0002.jpg"], ["0001.tif", "0002.jpg", "0003.png"]),
        (["s2_f1.png", "s1_f10.png", "s1_f9.png"], ["s1_f9.png", "s1_f10.png", "s2_f1.png"]),
        (["IMG_2.PNG", "img_1.png"], ["img_1.png", "IMG_2.PNG"]),
        (["x007y.png"], ["x007y.png"]),
    ],
)
def test_the_numbers_give_the_order(tmp_path, names, order):
    frames = FrameFolder(folder_of(tmp_path / "in", names))
    assert list(frames.names) == order and frames.count == len(order) and isinstance(frames, FrameSource)
    assert [frames.where(index) for index in range(len(order))] == [tmp_path / "in" / name for name in order]
    assert frames.frame(0).info.path == tmp_path / "in" / order[0]


@pytest.mark.parametrize(
    ("names", "odd", "says"),
    [
        (["f1.png", "f2.png", "cover.png"], "cover.png", "its name has no number"),
        (["f1.png", "g2.png", "f3.png"], "g2.png", "differs from f1.png in more than the number"),
        (["f1.png", "f2_1.png", "f3.png"], "f2_1.png", "differs from f1.png in more than the number"),
        (["f1.png", "f01.png"], "f1.png", "has the same number as f01.png"),
        (["f1.png", "f1.jpg"], "f1.png", "has the same number as f1.jpg"),
        ([], "", "holds no numbered frames"),
    ],
)
def test_what_is_not_of_the_sequence_is_named(names, odd, says):
    with pytest.raises(FileError, match=says) as caught:
        in_order(names, Path("in"))
    assert str(caught.value).startswith(f"{Path('in') / odd}: ")


def test_foreign_files_and_clutter(tmp_path):
    folder = folder_of(tmp_path / "in", ["1.png", "2.png"])
    for name in ("Thumbs.db", ".DS_Store", ".3.png.0123abcd.partial", *(f"{n}.txt" for n in range(7))):
        (folder / name).write_bytes(b"x")
    (folder / "3.png").mkdir()
    frames = FrameFolder(folder)
    assert frames.names == ("1.png", "2.png")
    assert frames.notes == ("left out, not a frame: 0.txt, 1.txt, 2.txt, 3.png, 3.txt and 3 more",)
    with pytest.raises(FileError, match="not a folder"):
        FrameFolder(folder / "1.png")


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (corpus.pattern(9, 12), "is 12 x 9 with 3 channels of uint8, unlike the first frame, which is 11 x 9"),
        (corpus.pattern(9, 11, 1), "with 1 channel of uint8"),
        (corpus.pattern(9, 11, 4), "with 3 channels and alpha of uint8"),
    ],
)
def test_frames_have_one_size_and_kind(tmp_path, odd, says):
    folder = folder_of(tmp_path / "in", ["1.png", "2.png", "3.png"])
    (folder / "2.png").write_bytes(corpus.encoded("png", odd))
    with pytest.raises(UnsupportedError, match=rf"2\.png: .*{says}"):
        list(FrameFolder(folder).infos())
    with pytest.raises(LimitError, match=r"1\.png: .*--max-pixels"):
        list(FrameFolder(folder, ReadOptions(max_pixels=98)).infos())


def test_the_hash_is_of_names_and_bytes_and_takes_one_opening(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "in", ["1.png", "2.png", "3.png"])
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: opened.append(self.name) or real(self, *a, **k))
    frames = FrameFolder(folder, hashed=True)
    assert len(list(frames.infos())) == 3 and frames.info.width == 11
    first = frames.sha256()
    assert opened == ["1.png", "2.png", "3.png"]
    assert FrameFolder(folder).sha256() == first
    (folder / "notes.txt").write_bytes(b"x")
    assert FrameFolder(folder).sha256() == first
    (folder / "2.png").rename(folder / "4.png")
    assert FrameFolder(folder).sha256() != first
    (folder / "4.png").rename(folder / "2.png")
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes() + b"\0")
    assert FrameFolder(folder).sha256() != first


@pytest.mark.parametrize("change", ["written", "gone"])
def test_a_frame_that_changes_is_noticed(tmp_path, change):
    frames = FrameFolder(folder_of(tmp_path / "in", ["1.png", "2.png"]))
    list(frames.infos())
    frames.check_unchanged()
    if change == "gone":
        frames.where(1).unlink()
    else:
        frames.where(1).write_bytes(b"something else")
    with pytest.raises(FileError, match=r"2\.png: the file changed while it was read"):
        frames.check_unchanged()


# --- folders that are written --------------------------------------------------------------------------------


def fill(sink: FolderSink, arrays: list[np.ndarray]) -> None:
    for array in arrays:
        frame = sink.next_frame(Picture.from_array(array).info)
        frame.write_rows(array)
        frame.commit()
        frame.abort()  # says nothing after a commit


def sink_of(path: Path, count: int = 3, **options) -> FolderSink:
    return FolderSink(path, [f"{n}.png" for n in range(count)], SaveOptions(), **options)


def test_a_folder_appears_whole(tmp_path):
    arrays, path = pages(3), tmp_path / "out"
    sink = sink_of(path)
    fill(sink, arrays)
    assert not path.exists()
    sink.commit()
    sink.abort()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert same(arrays_of(FrameFolder(path)), arrays)


def test_a_held_folder_waits_for_its_name(tmp_path):
    for how in ("publish", "discard"):
        sink = sink_of(tmp_path / how, held=True)
        fill(sink, pages(3))
        sink.commit()
        sink.abort()
        assert not sink.path.exists() and sorted(entry.name for entry in sink.partial.iterdir()) == [
            "0.png", "1.png", "2.png",
        ]  # fmt: skip
        getattr(sink.staged, how)()
        assert not sink.partial.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["publish"]


@pytest.mark.parametrize("at", ["frame", "folder", "too few", "too many", "a frame too late", "bad picture"])
def test_what_is_given_up_leaves_no_trace(tmp_path, at):
    sink = sink_of(tmp_path / "out")
    array = pages(1)[0]
    fill(sink, [array] * (3 if at == "too many" else 2))
    if at == "frame":
        sink.next_frame(Picture.from_array(array).info).abort()
    elif at == "too few":
        with pytest.raises(ValueError, match="2 of 3 frames"):
            sink.commit()
    elif at == "too many":
        with pytest.raises(ValueError, match="more than 3 frames"):
            sink.next_frame(Picture.from_array(array).info)
    elif at == "a frame too late":
        sink.next_frame(Picture.from_array(array).info)
        for use in (sink.commit, lambda: sink.next_frame(Picture.from_array(array).info)):
            with pytest.raises(ValueError, match="was not committed"):
                use()
    elif at == "bad picture":
        with pytest.raises(UnsupportedError, match=rf"{tmp_path}/out/2\.png: PNG holds"):
            sink.next_frame(Picture.from_array(array.astype(np.float32)).info)
    sink.abort()
    sink.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_frame_that_cannot_be_written_closes_its_file(tmp_path, monkeypatch):
    made = []

    class Remembered(AtomicFile):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(self.file)

    monkeypatch.setattr(frame_folder, "AtomicFile", Remembered)
    with pytest.raises(UnsupportedError):
        sink_of(tmp_path / "out").next_frame(Picture.from_array(np.zeros((9, 11), np.float32)).info)
    assert [file.closed for file in made] == [True]


def test_an_existing_folder_needs_permission_and_keeps_what_is_not_replaced(tmp_path):
    path, arrays = tmp_path / "out", pages(3)
    path.mkdir()
    fill(sink := sink_of(path), arrays)
    sink.commit()  # an empty folder is no obstacle
    (path / "notes.txt").write_bytes(b"mine")
    with pytest.raises(FileError, match=r"out: exists already\. Add --overwrite"):
        sink_of(path)
    fill(sink := sink_of(path, overwrite=True), arrays[::-1])
    sink.commit()
    assert same(arrays_of(FrameFolder(path)), arrays[::-1])
    assert (path / "notes.txt").read_bytes() == b"mine" and len(list(path.iterdir())) == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="a file has this name"):
        sink_of(tmp_path / "file", overwrite=True)
    with pytest.raises(FileError, match="cannot write this file"):
        sink_of(tmp_path / "no" / "out")


# --- one file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["png", "jpg", "webp", "tif", "bmp", "gif", "avif"])
def test_hash_header_and_picture_come_from_one_opening_in_any_order(tmp_path, monkeypatch, name):
    path = tmp_path / f"a.{name}"
    path.write_bytes(corpus.encoded(name))
    opened = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: opened.append(self) or real(self, *a, **k))
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    opened.clear()
    with PictureFile(path) as file:
        assert file.sha256() == expected
        assert (file.info.height, file.info.width) == (48, 64)
        first = file.picture().read_rows(0, 48).copy()
        assert file.sha256() == expected and [info.width for info in file.infos()] == [64]
        assert np.array_equal(file.picture().read_rows(0, 48), first)
        file.check_unchanged()
    assert opened == [path]


@pytest.mark.parametrize("change", ["longer", "rewritten", "replaced", "gone"])
def test_a_file_that_changes_is_noticed(tmp_path, change):
    path = tmp_path / "a.png"
    path.write_bytes(corpus.encoded("png"))
    with PictureFile(path) as file:
        if change == "longer":
            path.write_bytes(path.read_bytes() + b"\0")
        elif change == "rewritten":
            os.utime(path, ns=(1, 1))
        elif change == "replaced":
            (tmp_path / "b.png").write_bytes(path.read_bytes())
            shutil.copystat(path, tmp_path / "b.png")
            (tmp_path / "b.png").replace(path)
        else:
            path.unlink()
        with pytest.raises(FileError, match=r"a\.png: the file changed while it was read\. Run it again"):
            file.check_unchanged()


def test_a_picture_by_rows_may_close_its_file(tmp_path):
    write(tmp_path / "a.tif", pages(1))
    file = PictureFile(tmp_path / "a.tif", ReadOptions(stream_above=0))
    source = file.picture(close_file=True)
    assert not isinstance(source, Picture) and source.read_rows(2, 4).shape == (2, 11, 1)
    source.close()
    assert file._file.closed
