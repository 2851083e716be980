"""Opening what somebody hands over: regular files of a bounded size, and errors that name them."""

from __future__ import annotations

import io
import os
import zipfile

import pytest

from restore.errors import ConfigError, FileError, LimitError, WeightsError
from restore.io.regular_file import checked_members, foreign_errors, open_regular, read_regular


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("folder", "cannot read this: it is a folder, not a file. Name it"),
        ("pipe", "cannot read this: it is a pipe, socket or device, not a file. Name it"),
        ("device", "cannot read this: it is a pipe, socket or device, not a file. Name it"),
        ("missing", "cannot read this file (there is no such file). Check the path"),
        ("dangling", "cannot read this file (there is no such file). Check the path"),
        ("loop", "cannot read this file (Too many levels of symbolic links). Check the path and permissions"),
    ],
)
def test_what_is_no_file_is_refused_without_waiting(tmp_path, kind, why):
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "missing":
        path.symlink_to({"device": "/dev/zero", "dangling": "nowhere", "loop": "x"}[kind])
    with pytest.raises(WeightsError) as caught:
        open_regular(path, 10, fix="Name it", refusal=WeightsError)
    assert str(caught.value) == f"{path}: {why}"


def test_the_limit_is_exact(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(ConfigError, match=r"x: is 5 bytes, more than the limit of 4\. Name a file"):
        read_regular(path, 4, refusal=ConfigError)
    with pytest.raises(LimitError, match="Raise it"):
        open_regular(path, 4, raise_limit="Raise it")


def test_a_link_to_a_file_is_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 5) == b"12345"


@pytest.mark.parametrize(
    ("raised", "why"),
    [
        (ValueError("a\n b"), "a b"), (KeyError(), "KeyError"), (RecursionError("deep"), "deep"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (MemoryError(), "it asks for more memory than there is"), (AssertionError("x" * 999), "x" * 200),
    ],
)  # fmt: skip
def test_whatever_a_parser_raises_names_the_file(tmp_path, raised, why):
    with pytest.raises(FileError) as caught, foreign_errors(tmp_path, "this is no such thing", FileError, "Mend it"):
        raise raised
    assert str(caught.value) == f"{tmp_path}: this is no such thing ({why}). Mend it"
    assert caught.value.__cause__ is raised


def test_our_own_errors_pass_and_get_the_name(tmp_path):
    with pytest.raises(ConfigError) as caught, foreign_errors(tmp_path, "", FileError, ""):
        raise ConfigError("wrong")
    assert str(caught.value) == f"{tmp_path}: wrong"


def test_members_that_would_unpack_to_more():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", bytes(100))
        archive.writestr("b", bytes(100))
    with zipfile.ZipFile(buffer) as archive:
        assert [each.filename for each in checked_members(archive, 200)] == ["a", "b"]
        with pytest.raises(FileError, match=r"2 members of 200 bytes, and 199 are the most"):
            checked_members(archive, 199)
