"""Clips that are written: every frame at its time, the same bytes whether or not the run was stopped."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest

from restore.errors import FileError
from restore.io.clip.reader import ClipFile
from restore.picture import Picture
from tests.clips import ROTATED, decoded, make, scene, times

from .test_reader import read
from .writing import copied, finish, from_frames, put, sink_of

VARIABLE = [0, 40, 80, 300, 320, 330, 500, 900, 905, 950, 1300, 1310]


@pytest.fixture
def short(monkeypatch):
    """Segments of four frames."""
    monkeypatch.setattr("restore.io.clip.sink.SEGMENT", 4)


def difference(a, b) -> float:
    return float(np.abs(np.stack(a).astype(float) - np.stack(b)).mean())


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_frames_times_and_order(tmp_path, short, name):
    made = make(tmp_path / "in.mp4", 12, times=VARIABLE)
    out, notes = copied(made, tmp_path / name)
    assert notes == ()
    assert [round(1000 * time) for time in times(out)] == VARIABLE
    assert difference(read(out), read(made.path)) < 2
    with av.open(str(out)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert any(packet.pts < before.pts for before, packet in pairwise(packets)), "no B-frames"
    stamped = [packet for packet in packets if packet.dts is not None]
    assert all(packet.dts <= packet.pts for packet in stamped)
    assert all(a.dts < b.dts for a, b in pairwise(stamped))
    if name == "out.mkv":  # in the others a packet lasts until the next is decoded
        facts = ClipFile(out).facts
        assert facts.end * facts.time_base == Fraction(1350, 1000)


@pytest.mark.parametrize(
    ("codec", "name"),
    [("h264", "out.mp4"), ("hevc", "out.mp4"), ("hevc", "out.mkv"), ("vp9", "out.webm"), ("vp9", "out.mp4"),
     ("ffv1", "out.mkv"), ("prores", "out.mov"), ("av1", "out.mp4")],
)  # fmt: skip
def test_every_codec_in_segments(tmp_path, short, name, codec):
    made = make(tmp_path / "in.mp4", 9)
    out, _ = copied(made, tmp_path / name, codec=codec)
    found, expected = read(out), read(made.path)
    if codec == "prores":
        expected = [np.rint(frame * (1023 / 255)) for frame in expected]
    assert len(found) == 9 and times(out) == times(made.path)
    assert difference(found, expected) <= {"ffv1": 0, "prores": 6}.get(codec, 3)
    assert {0, 4, 8} <= {index for index, frame in enumerate(decoded(out)) if frame.key_frame}
    assert np.array_equal(read(out, start=0.17)[0], found[5])  # it can be sought in


def test_rotation_aspect_and_colours_are_kept(tmp_path):
    made = make(tmp_path / "in.mp4", 3, matrix=ROTATED, aspect=Fraction(4, 3), colours=(9, 16, 9, 1))
    for name in ("out.mp4", "out.mkv"):
        out, _ = copied(made, tmp_path / name)
        facts = ClipFile(out).facts
        assert (facts.matrix, facts.aspect) == (ROTATED, Fraction(4, 3))
        assert facts.tags == ClipFile(made.path).facts.tags and facts.tags.transfer == 16


def test_ten_bits_of_hdr(tmp_path):
    """PQ is neither opened nor narrowed: what the file holds is what is written."""
    frames = scene(4).astype(np.uint16) * 257
    made = make(tmp_path / "in.mkv", frames, codec="hevc", pixel_format="yuv420p10le", colours=(9, 16, 9, 1))
    out, notes = copied(made, tmp_path / "out.mp4")
    clip = ClipFile(out)
    assert notes == () and clip.info.bits == 10 and clip.facts.pixel_format == "yuv420p10le"
    assert (clip.facts.tags.primaries, clip.facts.tags.transfer, clip.facts.tags.matrix) == (9, 16, 9)
    assert difference(read(out), read(made.path)) < 10  # of 1023
    with av.open(str(out)) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_odd_sides_and_one_frame(tmp_path):
    made = make(tmp_path / "in.webm", 1, codec="vp9", size=(45, 63))
    out, notes = copied(made, tmp_path / "out.mp4")
    assert notes[0].startswith("63 x 45 px are odd sides")
    assert read(out)[0].shape == (45, 63, 3) and difference(read(out), read(made.path)) < 3
    assert times(out) == [0] and ClipFile(out).facts.pixel_format == "yuv444p"
    out, notes = copied(made, tmp_path / "out.webm")
    assert notes == () and read(out)[0].shape == (45, 63, 3)


def test_pictures_without_a_clip(tmp_path, short):
    frames = scene(10)
    out = from_frames(frames, tmp_path / "out.mp4", Fraction(24000, 1001))
    assert times(out) == [index * Fraction(1001, 24000) for index in range(10)]
    assert difference(read(out), frames) < 5
    exact = from_frames(frames, tmp_path / "exact.mkv", codec="ffv1")
    assert np.array_equal(np.stack(read(exact)), frames)
    deep = from_frames(frames.astype(np.uint16) * 257, tmp_path / "deep.mkv", codec="ffv1")
    assert np.array_equal(np.stack(read(deep)), np.rint(frames * (1023 / 255)))


def done(made, target, *, resume: bool = True, **options) -> int:
    """How many frames a run would begin with."""
    sink = sink_of(made, target, resume=resume, **options)
    sink.abort()
    return sink.done


class TestSegments:
    @pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
    def test_the_same_bytes_whether_or_not_it_was_stopped(self, tmp_path, short, name):
        made = make(tmp_path / "in.mp4", 14, sound="aac")
        whole, _ = copied(made, tmp_path / "whole" / name)
        again, _ = copied(made, tmp_path / "again" / name)
        assert again.read_bytes() == whole.read_bytes()
        frames = read(made.path)
        target = tmp_path / "stopped" / name
        for stop, done in ((6, 0), (3, 4), (9, 4)):  # frames that each run adds, and those that it begins with
            sink = sink_of(made, target, resume=True)
            assert sink.done == done
            sink.begin_at(sink.done)
            put(sink, frames[sink.done : sink.done + stop]).abort()
            assert not target.exists()
        sink = sink_of(made, target, resume=True)
        assert sink.done == 12
        finish(put(sink, frames[12:]))
        assert target.read_bytes() == whole.read_bytes()
        assert [path.name for path in target.parent.iterdir()] == [name]

    def test_what_is_half_written_is_not_used(self, tmp_path, short):
        made = make(tmp_path / "in.mp4", 9)
        sink = put(sink_of(made, tmp_path / "out.mp4"), read(made.path)[:6])
        (sink.parts / "000001.partial").write_bytes(b"half of it")
        sink.abort()
        assert done(made, tmp_path / "out.mp4") == 4
        assert "000000.nut" in {path.name for path in sink.parts.iterdir()}

    def test_the_last_segment_is_made_again(self, tmp_path, short):
        """So that a run that goes on from there has something to say of what it chose."""
        made = make(tmp_path / "in.mp4", 8)
        put(sink_of(made, tmp_path / "out.mp4"), read(made.path)).abort()
        assert done(made, tmp_path / "out.mp4") == 4

    def test_of_other_work_they_are_not_used(self, tmp_path, short):
        made, target = make(tmp_path / "in.mp4", 12), tmp_path / "out.mp4"
        put(sink_of(made, target), read(made.path)[:8]).abort()
        assert (done(made, target, key="c" * 64), done(made, target)) == (0, 8)

    def test_without_resume_they_are_removed_and_no_others(self, tmp_path, short):
        made = make(tmp_path / "in.mp4", 12)
        for name in ("out.mp4", "out.mp4.2.mp4", "out[1].mp4"):
            put(sink_of(made, tmp_path / name), read(made.path)[:8]).abort()
        assert done(made, tmp_path / "out.mp4", key="c" * 64, resume=False) == 0
        assert done(made, tmp_path / "out.mp4") == 0
        for name in ("out.mp4.2.mp4", "out[1].mp4"):
            assert done(made, tmp_path / name) == 8
            assert done(made, tmp_path / name, resume=False) == 0

    def test_several_outputs_go_on_from_the_one_that_is_behind(self, tmp_path, short):
        made, target = make(tmp_path / "in.mp4", 12), tmp_path / "out.mp4"
        frames = read(made.path)
        expected = copied(made, tmp_path / "whole.mp4")[0].read_bytes()
        put(sink_of(made, target), frames[:8]).abort()
        sink = sink_of(made, target, resume=True)
        for place in (1, 12):
            with pytest.raises(ValueError, match=f"frame {place} does not begin a segment"):
                sink.begin_at(place)
        sink.begin_at(4)
        assert finish(put(sink, frames[4:])).read_bytes() == expected


def test_nothing_under_the_final_name_before_all_is_there(tmp_path, short):
    made, target = make(tmp_path / "in.mp4", 6), tmp_path / "out.mp4"
    sink = put(sink_of(made, target), read(made.path)[:5])
    with pytest.raises(ValueError, match="5 of 6 frames were written"):
        sink.commit()
    assert not target.exists()
    put(sink, read(made.path)[5:]).commit()
    assert not target.exists() and sink.partial.exists()
    with pytest.raises(ValueError, match="more than 6 frames"):
        sink.next_frame(Picture.from_array(made.frames[0]).info)
    sink.discard()
    assert not target.exists() and not sink.partial.exists()


def test_a_frame_that_is_given_up_gives_up_the_clip(tmp_path):
    made, target = make(tmp_path / "in.mp4", 3), tmp_path / "out.mp4"
    target.write_bytes(b"mine")
    sink = put(sink_of(made, target), made.frames[:1])
    sink.next_frame(Picture.from_array(made.frames[0]).info).abort()
    sink.abort()
    assert target.read_bytes() == b"mine" and sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_a_clip_that_does_not_read_back_is_refused(tmp_path, monkeypatch):
    """A frame is lost on the way: found before anything has the final name."""
    made, target = make(tmp_path / "in.mp4", 6), tmp_path / "out.mp4"
    sink = put(sink_of(made, target), made.frames)
    whole = type(sink)._packets
    monkeypatch.setattr(type(sink), "_packets", lambda self: list(whole(self))[:-1])
    with pytest.raises(FileError, match=r"out.mp4: the written clip does not read back as it should"):
        sink.commit()
    sink.abort()
    assert not target.exists()


def test_a_folder_that_is_none(tmp_path):
    made = make(tmp_path / "in.mp4", 3)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match=r"out.mp4"):
        sink_of(made, tmp_path / "file" / "out.mp4")


def test_a_frame_of_another_size_is_refused_and_not_stretched(tmp_path):
    made = make(tmp_path / "in.mp4", 3)
    sink = sink_of(made, tmp_path / "out.mp4")
    with pytest.raises(ValueError, match="a frame of 32 x 48 px in a clip of 96 x 64 px"):
        sink.next_frame(Picture.from_array(made.frames[0][:48, :32]).info)
    with pytest.raises(ValueError, match=r"a frame of \(48, 32, 3\) in a clip of 96 x 64 px"):
        sink.add(made.frames[0][:48, :32])
    sink.abort()
