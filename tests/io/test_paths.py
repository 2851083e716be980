"""Where pictures are found and where results go, decided and checked before any work."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from restore.errors import FileError
from restore.io.codecs import open_picture, probe
from restore.io.paths import (
    READABLE,
    WRITABLE,
    Skipped,
    check_name,
    check_output,
    default_output,
    find_pictures,
)
from tests import corpus


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_extensions_are_known() -> None:
    assert WRITABLE.keys() < READABLE and ".heic" in READABLE and ".heic" not in WRITABLE


def test_pictures_are_found_sorted_and_below(tmp_path: Path) -> None:
    names = ["b.png", "a.JPG", "sub/c.tif", "sub/deep/d.webp", "z.heic"]
    touch(*(tmp_path / name for name in names))
    touch(tmp_path / ".hidden.png", tmp_path / "Thumbs.db", tmp_path / ".DS_Store", tmp_path / ".b.png.12ab.partial")
    touch(tmp_path / "notes.txt", tmp_path / "noextension")
    skipped: list[Skipped] = []
    found = [path.relative_to(tmp_path).as_posix() for path in find_pictures(tmp_path, skipped.append)]
    assert found == ["a.JPG", "b.png", "sub/c.tif", "sub/deep/d.webp", "z.heic"]
    assert {skip.path.name for skip in skipped if not skip.clutter} == {"notes.txt", "noextension"}
    assert len(skipped) == 6


def test_pipes_sockets_devices_and_loops_are_skipped_with_a_reason(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self.png").symlink_to("self.png")
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "folder.png").mkdir()
    short = Path(os.path.relpath(tmp_path / "sock.png"))
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.bind(str(short))
        except OSError:
            touch(tmp_path / "sock.txt")  # the path is too long for a socket here
        skipped: list[Skipped] = []
        assert [path.name for path in find_pictures(tmp_path, skipped.append)] == ["a.png"]
    reasons = {skip.path.name: skip.reason for skip in skipped}
    assert "pipe" in reasons["pipe.png"] and "device" in reasons["zero.png"]
    assert "link back" in reasons["loop"]
    (tmp_path / "below").mkdir()
    touch(tmp_path / "below/b.png")
    (tmp_path / "below/up").symlink_to("..")
    assert [path.name for path in find_pictures(tmp_path / "below")] == ["b.png"]
    assert "cannot be reached" in reasons["self.png"] and "cannot be reached" in reasons["gone.png"]


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "missing", "loop"])
def test_opening_what_is_no_file_does_not_hang(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    for read in (probe, open_picture):
        with pytest.raises(FileError, match=r"x\.png: cannot read this"):
            read(path)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="not a folder"):
        find_pictures(tmp_path / "nothing")


def test_listing_is_lazy(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png", tmp_path / "b" / "2.png")
    found = find_pictures(tmp_path)
    assert next(found).name == "1.png"
    touch(tmp_path / "b" / "3.png")
    assert [path.name for path in found] == ["2.png", "3.png"]


def test_a_file_deleted_after_listing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(corpus.encoded("png"))
    path = next(find_pictures(tmp_path))
    path.unlink()
    with pytest.raises(FileError, match="there is no such file"):
        open_picture(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo.jpg", "photo_denoised.jpg"),
        ("PHOTO.JPG", "PHOTO_denoised.JPG"),
        ("a.b.tif", "a.b_denoised.tif"),
        ("x.heic", "x_denoised.png"),
        ("x.gif", "x_denoised.png"),
        ("noextension", "noextension_denoised.png"),
    ],
)
def test_default_output(name: str, expected: str) -> None:
    assert default_output(Path("in") / name, "denoised") == Path("in") / expected


@pytest.mark.parametrize("how", ["same", "dots", "symbolic", "hard"])
def test_the_input_is_not_an_output_unless_asked(how: str, tmp_path: Path) -> None:
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    touch(source)
    (tmp_path / "sub").mkdir()
    if how == "symbolic":
        target.symlink_to(source)
    elif how == "hard":
        target.hardlink_to(source)
    else:
        target = source if how == "same" else tmp_path / "sub" / ".." / "a.png"
    with pytest.raises(FileError, match=r"is the input itself: writing would replace it\. Name another output$"):
        check_output(source, target, overwrite=True)
    check_output(source, target, in_place=True)


def test_existing_outputs_need_permission(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "b.png")
    with pytest.raises(FileError, match=r"exists already.*--overwrite"):
        check_output(tmp_path / "a.png", tmp_path / "b.png")
    check_output(tmp_path / "a.png", tmp_path / "b.png", overwrite=True)
    (tmp_path / "dangling.png").symlink_to("nowhere.png")
    with pytest.raises(FileError, match="exists already"):
        check_output(tmp_path / "a.png", tmp_path / "dangling.png")


@pytest.mark.parametrize("name", ["CON.png", "nul", "com1.tif", "Lpt9.jpg", "aux"])
def test_names_windows_reserves(name: str) -> None:
    with pytest.raises(FileError, match="Windows reserves"):
        check_name(Path("out") / name)


@pytest.mark.parametrize("name", ["console.png", "com10.png", "nullify.tif", "-a.png", "new\nline.png", "é" * 127])
def test_names_that_are_fine(name: str) -> None:
    check_name(Path("out") / name)


@pytest.mark.parametrize(("name", "word"), [("é" * 128, "over 255 bytes"), ("a\0b.png", "not a file name")])
def test_names_that_are_not(name: str, word: str) -> None:
    with pytest.raises(FileError, match=word):
        check_name(Path("out") / name)


def test_a_failing_disk_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a.png")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(FileError, match=r"a\.png: cannot read.*Input/output error"):
        open_picture(tmp_path / "a.png")


@pytest.mark.slow
def test_100_000_files_are_listed_in_flat_memory(tmp_path: Path) -> None:
    import tracemalloc

    for index in range(100_000):
        (tmp_path / f"{index:06}.png").touch()
    tracemalloc.start()
    assert sum(1 for _ in find_pictures(tmp_path)) == 100_000
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()
