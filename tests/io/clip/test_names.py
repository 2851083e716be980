"""Which files are clips: by what they begin with, not by their names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from restore.errors import UnsupportedError
from restore.io.clip.names import container_of, is_clip, is_clip_head, names_clip, written_clip
from restore.io.paths import default_output, written_name
from tests import corpus
from tests.clips import make

HEADS = {
    "matroska": b"\x1aE\xdf\xa3....", "ogg": b"OggS....", "flash": b"FLV\x01....", "avi": b"RIFF....AVI ",
    "wave": b"RIFF....WAVE", "asf": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "program": b"\0\0\x01\xba",
    "mpeg": b"\0\0\x01\xb3", "mxf": b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "y4m": b"YUV4MPEG2 W96",
    "mp4": b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "mov": b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
    "moov": b"\0\0\0\x08moov", "mdat": b"\0\0\0\x08mdat", "wide": b"\0\0\0\x08wide", "free": b"\0\0\0\x08free",
    "transport": (b"G\0\0\x10" + bytes(184)) * 6, "blu-ray": (bytes(4) + b"G\0\0\x30" + bytes(184)) * 6,
    "transport, cut": bytes(1000) + (b"G\0\0\x10" + bytes(184)) * 6,
    "blu-ray, cut": bytes(100) + (b"G\0\0\x10" + bytes(188)) * 6,
}  # fmt: skip
OTHERS = {
    "empty": b"", "png": b"\x89PNG\r\n\x1a\n", "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF", "tiff": b"II*\0",
    "webp": b"RIFF....WEBP", "text": b"Gifts",
    "avif": b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "avif sequence": b"\0\0\0\x1cftypavis\0\0\0\0msf1iso8mp41", "heic as iso": b"\0\0\0\x18ftypisom\0\0\0\0heicmif1",
    "cr3": b"\0\0\0\x18ftypcrx \0\0\0\0crx isom", "one sync byte": b"G" + bytes(2000), "grey": b"\x47" * 4096,
    "far away": bytes(1100) + (b"G\0\0\x10" + bytes(184)) * 6, "gif": b"GIF89a",
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_clips(name):
    assert is_clip_head(HEADS[name])


@pytest.mark.parametrize("name", OTHERS)
def test_others(name):
    assert not is_clip_head(OTHERS[name])


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi", "a.ts", "a.m2ts", "a.flv", "a.mpg", "a.y4m"])
def test_what_is_written_by_ffmpeg(tmp_path, name):
    codec = {"a.y4m": "rawvideo", "a.mpg": "mpeg2video"}.get(name, "h264")
    made = make(tmp_path / name, 12, codec=codec)
    renamed = made.path.rename(tmp_path / "photo.jpg")
    assert is_clip(renamed)


def test_a_photograph_that_is_called_a_clip_is_none(tmp_path):
    for name in ("jpeg", "png"):
        path = tmp_path / "a.mp4"
        path.write_bytes(corpus.encoded(name))
        assert not is_clip(path)
    assert not is_clip(tmp_path / "none.mp4") and not is_clip(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    assert not is_clip(tmp_path / "a.mp4") and not is_clip(tmp_path / "link.mp4")


def test_names():
    assert [written_clip(name) for name in ("a.mp4", "a.MOV", "b.avi", "c.m2ts")] == [
        "a.mp4", "a.MOV", "b.mkv", "c.mkv",
    ]  # fmt: skip
    assert written_name("clip.avi") == "clip.mkv" and written_name("clip.webm") == "clip.webm"
    assert default_output("in/clip.avi", "denoised") == Path("in/clip_denoised.mkv")
    assert default_output("in/clip.mp4", "denoised") == Path("in/clip_denoised.mp4")
    assert names_clip(Path("a.M4V")) and not names_clip(Path("a.avi"))
    assert [container_of(Path(f"a{suffix}")) for suffix in (".m4v", ".mov", ".mkv", ".webm")] == [
        "mp4", "mov", "matroska", "webm",
    ]  # fmt: skip
    with pytest.raises(UnsupportedError, match=r"a.avi: cannot write a clip as .avi. Use one of: .mp4 .m4v .mov .mkv"):
        container_of(Path("a.avi"))
    with pytest.raises(UnsupportedError, match="a file without an extension"):
        container_of(Path("a"))
