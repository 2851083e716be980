"""Sound, subtitles, data, covers, chapters and tags: copied as they are, or named."""

from __future__ import annotations

from fractions import Fraction

import av
import pytest

from restore.errors import UnsupportedError
from restore.io.clip.tracks import plain_time
from tests.clips import Made, make, packets, times

from .writing import copied

OWN_OF_MP4 = {"major_brand", "minor_version", "compatible_brands"}


def chapters(path) -> list[tuple[float, float, str]]:
    with av.open(str(path)) as container:
        return [
            (float(one["start"] * one["time_base"]), float(one["end"] * one["time_base"]), one["metadata"]["title"])
            for one in container.chapters()
        ]


@pytest.mark.parametrize("source", ["in.mp4", "in.mkv", "in.mov"])
@pytest.mark.parametrize("target", ["out.mp4", "out.mkv", "out.mov"])
def test_sound_is_the_same_bytes_at_the_same_times(tmp_path, source, target):
    made = make(tmp_path / source, 30, sound="aac", options={"preset": "medium"})
    out, notes = copied(made, tmp_path / target)
    before, after = packets(made.path), packets(out)
    assert [data for _, data in after] == [data for _, data in before] and len(after) > 50
    assert notes == ()
    coarse = Fraction(1, 1000) if ".mkv" in source + target else 0
    assert all(abs(a - b) <= coarse for (a, _), (b, _) in zip(after, before, strict=True))
    assert all(abs(a - b) <= coarse for a, b in zip(times(out), times(made.path), strict=True))
    assert times(out)[0] == 0 and before[0][0] < 0  # the encoder's lead, which is not the pictures' time


@pytest.mark.parametrize(
    ("sound", "target", "kept"),
    [("pcm_s16le", "out.mp4", True), ("pcm_s16le", "out.mkv", True), ("pcm_s16le", "out.mov", True),
     ("pcm_s16le", "out.webm", False), ("aac", "out.webm", False), ("libopus", "out.webm", True)],
)  # fmt: skip
def test_sound_that_a_container_does_not_hold_is_refused_before_any_work(tmp_path, sound, target, kept):
    made = make(tmp_path / "in.mkv", 5, sound=sound)
    if kept:
        out, _ = copied(made, tmp_path / target)
        assert b"".join(data for _, data in packets(out)) == b"".join(data for _, data in packets(made.path))
    else:
        with pytest.raises(
            UnsupportedError, match=rf"out.webm: .webm cannot hold its sound \({sound}\). Write .mkv, wh"
        ):
            copied(made, tmp_path / target)
        assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_subtitles_attachments_chapters_and_tags(tmp_path):
    made = make(
        tmp_path / "in.mkv", 30, sound="aac", subtitles=True, attachment=True, chapters=True,
        tags={"title": "A walk", "artist": "Me"},
    )  # fmt: skip
    out, notes = copied(made, tmp_path / "out.mkv")
    assert notes == ()
    assert packets(out, "subtitle") == packets(made.path, "subtitle") and len(packets(out, "subtitle")) == 4
    with av.open(str(made.path)) as source, av.open(str(out)) as container:
        (before,), (after,) = (
            [one for one in each.streams if one.type == "attachment"] for each in (source, container)
        )
        assert after.metadata == before.metadata
        assert container.metadata["title"] == "A walk" and container.metadata["ARTIST"] == "Me"
    assert chapters(out) == chapters(made.path) == [(0, 0.2, "One"), (0.2, 0.4, "Two")]


def test_what_mp4_does_not_hold_is_named(tmp_path):
    made = make(tmp_path / "in.mkv", 12, subtitles=True, attachment=True, chapters=True)
    out, notes = copied(made, tmp_path / "out.mp4")
    assert notes == (
        ".mp4 cannot hold its subtitles (srt): not carried",
        ".mp4 cannot hold its attachment (an unknown kind): not carried",
    )
    assert [name for _, _, name in chapters(out)] == ["One", "Two"]


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
def test_chapters_of_mp4_are_chapters_and_no_track_that_is_lost(tmp_path, target):
    made = make(tmp_path / "in.mp4", 12, chapters=True, tags={"title": "A walk"})
    out, notes = copied(made, tmp_path / target)
    assert notes == ()
    assert chapters(out) == [(0, 0.2, "One"), (0.2, 0.4, "Two")]
    with av.open(str(out)) as container:
        assert container.metadata["title"] == "A walk"
        assert OWN_OF_MP4.isdisjoint(container.metadata) or target == "out.mp4"


PRIVATE = {
    "title": "A walk", "artist": "Me", "comment": "ill", "creation_time": "2020-02-03T04:05:06.000000Z",
    "location": "+48.1371+011.5754/",
}  # fmt: skip


@pytest.mark.parametrize("source", ["in.mp4", "in.mkv", "in.mov"])
@pytest.mark.parametrize("target", ["out.mp4", "out.mkv"])
def test_stripped_of_metadata(tmp_path, source, target):
    """Where, when and by whom go; languages and the titles of chapters stay."""
    made = make(tmp_path / source, 12, sound="aac", chapters=True, tags=PRIVATE)
    tagged = tmp_path / f"tagged_{source}"
    with av.open(str(made.path)) as before, av.open(str(tagged), "w") as after:
        after.metadata.update(before.metadata)
        after.set_chapters([{**one, "metadata": {**one["metadata"], "artist": "Me"}} for one in before.chapters()])
        tracks = {one.index: after.add_stream_from_template(one) for one in before.streams if one.type != "data"}
        for track in tracks.values():
            track.metadata.update({"language": "ger", "title": "mine", "handler_name": "My phone"})
        for packet in before.demux(list(map(before.streams.__getitem__, tracks))):
            if packet.size:
                packet.stream = tracks[packet.stream_index]
                after.mux(packet)
    made = Made(tagged, made.frames)
    kept, _ = copied(made, tmp_path / f"kept_{target}")
    bare, notes = copied(made, tmp_path / target, strip_metadata=True)
    assert notes == () and chapters(bare) == chapters(tagged)
    said = []
    for path in (kept, bare):
        with av.open(str(path)) as clip:
            every = [clip.metadata, *(one.metadata for one in clip.streams)]
            said.append(
                {text for each in (*every, *(one["metadata"] for one in clip.chapters())) for text in each.values()}
            )
            assert all(one.metadata["language"] == "ger" for one in clip.streams if one.type in ("video", "audio"))
    private = {*PRIVATE.values(), "mine", "My phone"}
    assert len(private & said[0]) >= 3 and not private & said[1]
    for value in (b"48.1371", b"2020-02-03", b"My phone", b"mine"):
        assert value not in bare.read_bytes()


def test_stripped_of_data(tmp_path):
    made = make(tmp_path / "in.ts", 12, data=True)
    _, notes = copied(made, tmp_path / "out.mkv", strip_metadata=True)
    assert notes == ("its data (an unknown kind) are metadata: not carried",)


def test_tags_that_mp4_does_not_hold_are_named(tmp_path):
    made = make(tmp_path / "in.mkv", 5, tags={"FOO": "bar", "title": "A walk", "CAMERA": "mine"})
    out, notes = copied(made, tmp_path / "out.mp4")
    assert notes == (".mp4 cannot hold its tags CAMERA, FOO: not carried",)
    with av.open(str(out)) as container:
        assert container.metadata["title"] == "A walk" and "FOO" not in container.metadata
    out, notes = copied(made, tmp_path / "out.mkv")
    assert notes == ()
    with av.open(str(out)) as container:
        assert container.metadata["FOO"] == "bar"
    assert copied(made, tmp_path / "bare.mp4", strip_metadata=True)[1] == ()


def test_telemetry_is_named(tmp_path):
    """A track of data (KLV of a drone) goes where it can, and is named where it cannot."""
    made = make(tmp_path / "in.ts", 12, data=True)
    out, notes = copied(made, tmp_path / "out.mkv")
    assert notes == (".mkv cannot hold its data (an unknown kind): not carried",)
    assert times(out)[0] >= 0 and len(times(out)) == 12


def test_a_cover_is_kept(tmp_path):
    made = make(tmp_path / "in.mp4", 5, cover=True)
    out, notes = copied(made, tmp_path / "out.mp4")
    assert notes == ()
    with av.open(str(out)) as container, av.open(str(made.path)) as source:
        kept, cover = container.streams.video[1], source.streams.video[1]
        assert kept.disposition == cover.disposition
        assert [bytes(one) for one in container.demux(kept)] == [bytes(one) for one in source.demux(cover)]


def test_a_part_of_a_clip(tmp_path):
    """Its times begin at 0, and sound, subtitles and chapters are those of that part."""
    made = make(tmp_path / "in.mkv", 30, sound="aac", subtitles=True, chapters=True)
    out, _ = copied(made, tmp_path / "out.mkv", read={"start": 0.12, "end": 0.32})
    assert times(out) == [Fraction(40 * index, 1000) for index in range(5)]
    start, end = Fraction(120, 1000), Fraction(320, 1000)
    inside = [(time - start, data) for time, data in packets(made.path) if start <= time < end]
    assert packets(out) == inside and len(inside) in (9, 10)
    assert packets(out, "subtitle") == [
        (time - start, data) for time, data in packets(made.path, "subtitle") if start <= time < end
    ]
    assert chapters(out) == [(0, 0.08, "One"), (0.08, 0.2, "Two")]
    rest, _ = copied(made, tmp_path / "rest.mkv", read={"start": 0.24})
    assert len(times(rest)) == 24 and chapters(rest) == [(0, 0.16, "Two")]
    assert packets(rest)[-1][1] == packets(made.path)[-1][1]


def test_times_of_sound_and_pictures_are_interleaved(tmp_path):
    """So that a player need not look far ahead."""
    made = make(tmp_path / "in.mp4", 60, sound="aac", options={"preset": "medium"})
    out, _ = copied(made, tmp_path / "out.mkv")
    with av.open(str(out)) as container:
        order = [packet.stream_index for packet in container.demux() if packet.size]
    longest = max(len(run) for run in "".join(map(str, order)).split("0"))
    assert longest < 12


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.000"), (62.5, "1:02.500"), (3602.0004, "1:00:02.000"), (59.9996, "1:00.000")]
)
def test_plain_times(seconds, text):
    assert plain_time(seconds) == text
