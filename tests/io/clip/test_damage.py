"""Clips that are refused, or read as far as they can be: by name, and with every frame in its place."""

from __future__ import annotations

import numpy as np
import pytest

from restore.errors import DecodeError, FileError, TruncatedError, UnsupportedError
from restore.io.clip.declared import bytes_beyond_end
from restore.io.clip.reader import ClipFile
from restore.io.options import ReadOptions
from tests.clips import break_packet, cut, decoded, make, scene

from .test_reader import pixels

SALVAGE = ReadOptions(salvage=True)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_interlaced(tmp_path, name):
    made = make(tmp_path / name, options={"x264-params": "tff=1"})
    with pytest.raises(
        UnsupportedError, match=rf"{name}: is interlaced. Deinterlace it first, .*ffmpeg -i IN -vf bwdif"
    ):
        ClipFile(made.path)


def test_transparent(tmp_path):
    made = make(tmp_path / "a.mkv", codec="ffv1", pixel_format="bgra")
    with pytest.raises(UnsupportedError, match=r"a.mkv: has transparency \(bgra\).*Extract its frames as PNG"):
        ClipFile(made.path)


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.wav", "pcm_s16le"), ("a.mka", "aac")])
def test_sound_only(tmp_path, name, codec):
    import av

    with av.open(str(tmp_path / name), "w", format="matroska" if name == "a.mka" else None) as target:
        stream = target.add_stream(codec, rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        frame.sample_rate = 48000
        stream.codec_context.layout = "mono"
        target.mux(stream.encode(frame))
        target.mux(stream.encode())
    with pytest.raises(FileError, match=rf"{name}: holds sound and no pictures that move. Name a clip"):
        ClipFile(tmp_path / name)


def test_mp4_without_its_index(tmp_path):
    """It is at the end, and the end is missing: nothing can be read, with `salvage` neither."""
    made = make(tmp_path / "a.mp4")
    cut(made.path, 0.8)
    for options in (None, SALVAGE):
        with pytest.raises(
            DecodeError, match=r"a.mp4: is no clip that can be read, or it is not whole \(.+\). Copy it"
        ):
            ClipFile(made.path, options)


def test_mp4_that_is_cut(tmp_path):
    """Its index is at the beginning and promises frames that are missing."""
    made = make(tmp_path / "a.mp4", 40, container={"movflags": "+faststart"}, options={"x264-params": "keyint=5"})
    cut(made.path, 0.5)
    with pytest.raises(TruncatedError, match=r"a.mp4: .* not whole \(2\d of 40 frames lie beyond its end\).*--salvage"):
        ClipFile(made.path)
    clip = ClipFile(made.path, SALVAGE)
    assert 8 < clip.count < 32 and "of 40 frames lie beyond its end" in clip.notes[0]
    found = [pixels(source) for source in clip]
    assert len(found) == clip.count
    assert all(np.abs(one - frame).mean() < 20 for one, frame in zip(found[:-1], made.frames.astype(int), strict=False))


def test_mp4_that_lacks_one_byte(tmp_path):
    made = make(tmp_path / "a.mp4", 5, container={"movflags": "+faststart"})
    assert ClipFile(made.path).count == 5
    made.path.write_bytes(made.path.read_bytes()[:-1])
    with pytest.raises(TruncatedError, match="1 of 5 frames lie beyond its end"):
        ClipFile(made.path)


def test_mp4_whose_sound_is_cut(tmp_path):
    """All its frames are there."""
    made = make(tmp_path / "a.mp4", 8, sound="aac", container={"movflags": "+faststart"})
    made.path.write_bytes(made.path.read_bytes()[:-1])
    with pytest.raises(TruncatedError, match=r"a.mp4: .* \(1 of \d+ packets of sound lie beyond its end\).*--salvage"):
        ClipFile(made.path)
    assert ClipFile(made.path, SALVAGE).count == 8


def test_matroska_that_is_cut(tmp_path):
    made = make(tmp_path / "a.mkv", 60, options={"x264-params": "keyint=5"})
    cut(made.path, 0.5)
    with pytest.raises(TruncatedError, match=r"it says it is 0:02.400 long, and ends at 0:0[01]\.\d+"):
        ClipFile(made.path)
    clip = ClipFile(made.path, SALVAGE)
    assert 20 < clip.count < 40 and "it says it is 0:02.400 long" in clip.notes[0]
    assert len([pixels(source) for source in clip]) == clip.count


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.avi"])
@pytest.mark.parametrize("lacks", [1, 0.1])
def test_short_clips_that_are_cut(tmp_path, name, lacks):
    """Too short for their declared length to say so, and their last packet may be whole: the header counts bytes."""
    codec = "vp9" if name == "a.webm" else "h264"
    made = make(tmp_path / name, 8, codec=codec, options={"bf": "2"} if codec == "h264" else None)
    assert ClipFile(made.path).count == 8
    whole = made.path.read_bytes()
    lost = lacks if lacks == 1 else round(len(whole) * lacks)
    made.path.write_bytes(whole[:-lost])
    counted = "1 byte" if lost == 1 else f"{lost} bytes"
    with pytest.raises(TruncatedError, match=rf"{name}: .*its header counts {counted} more than it holds.*--salvage"):
        ClipFile(made.path)
    clip = ClipFile(made.path, SALVAGE)
    assert 1 <= clip.count <= 8 and f"its header counts {counted} more than it holds" in clip.notes[0]
    assert len([pixels(source) for source in clip]) == clip.count


def test_a_length_that_is_not_declared(tmp_path):
    """What is written to a pipe has none; nothing is missing."""
    made = make(tmp_path / "a.mkv", 8, container={"live": "1"})
    assert bytes_beyond_end(made.path) == 0 and ClipFile(made.path).count == 8


@pytest.mark.parametrize(("name", "number"), [("a.mp4", 7), ("a.mkv", 12), ("a.mp4", 19)])
def test_a_broken_packet(tmp_path, name, number):
    """No frame refers to another here: the one that is broken is named; with `salvage` another stands in its place."""
    made = make(tmp_path / name, 20, options={"x264-params": "keyint=1"})
    whole = [pixels(source) for source in ClipFile(made.path)]
    break_packet(made.path, number)
    clip = ClipFile(made.path)
    for expected, source in zip(whole[:number], clip, strict=False):
        assert np.array_equal(pixels(source), expected)
    place = f"{name}, frame {number + 1} at 0:00.{40 * number:03d}"
    with pytest.raises(DecodeError, match=rf"{place}: this frame (cannot be decoded|is damaged).*use --salvage"):
        pixels(clip.frame(number))
    if number < 19:
        assert np.array_equal(pixels(clip.frame(number + 1)), whole[number + 1])
    clip = ClipFile(made.path, SALVAGE)
    found = list(clip)
    assert len(found) == 20
    notes = [source.info.notes for source in found]
    assert all(bool(note) == (index == number) for index, note in enumerate(notes)), notes
    text = f"frame {number + 1} at 0:00.{40 * number:03d} cannot be decoded, its neighbour is shown"
    assert notes[number][0].endswith(text)
    shown = [pixels(source) for source in found]
    assert np.array_equal(shown[number], whole[number - 1])
    assert all(np.array_equal(shown[index], whole[index]) for index in range(20) if index != number)


def test_damage_that_a_decoder_conceals(tmp_path):
    """A few bytes: players show something in their place and say nothing."""
    made = make(tmp_path / "a.mp4", scene(9, 128, 160, noise=20), options={"x264-params": "keyint=1"})
    break_packet(made.path, 5, lightly=True)
    assert len(decoded(made.path)) == 9
    with pytest.raises(DecodeError, match=r"a.mp4, frame 6 at 0:00.200: this frame (cannot be decoded|is damaged)"):
        for source in ClipFile(made.path):
            source.close()


def test_the_first_packet_is_broken(tmp_path):
    made = make(tmp_path / "a.mkv", 6, options={"x264-params": "keyint=1"})
    whole = [pixels(source) for source in ClipFile(made.path)]
    break_packet(made.path, 0)
    with pytest.raises(DecodeError, match=r"a.mkv, frame 1 at 0:00.000: this frame"):
        next(iter(ClipFile(made.path)))
    found = [pixels(source) for source in ClipFile(made.path, SALVAGE)]
    assert len(found) == 6 and np.array_equal(found[0], whole[1]) and np.array_equal(found[5], whole[5])


@pytest.mark.parametrize("data", [b"", b"\x1aE\xdf\xa3" + bytes(3000), b"\0\0\0\x18ftypisom" + bytes(2000)])
def test_nothing_but_a_head(tmp_path, data):
    (tmp_path / "a.mkv").write_bytes(data)
    with pytest.raises(DecodeError, match=r"a.mkv: is no clip that can be read, or it is not whole"):
        ClipFile(tmp_path / "a.mkv")


def test_a_clip_that_changed_is_noticed(tmp_path):
    made = make(tmp_path / "a.mp4", 3)
    clip = ClipFile(made.path)
    clip.check_unchanged()
    made.path.write_bytes(made.path.read_bytes() + b"\0")
    with pytest.raises(FileError, match="changed"):
        clip.check_unchanged()


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        ClipFile(tmp_path / "none.mp4")
