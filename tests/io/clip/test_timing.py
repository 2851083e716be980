"""When frames are shown: the clip's own times, and places in between for frames that have none."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from restore.errors import LimitError, UnsupportedError
from restore.io.clip.reader import ClipFile
from restore.io.clip.timing import placed
from restore.io.options import ReadOptions
from tests.clips import Made, make, packets, scene, times

from .test_reader import pixels, read
from .writing import copied


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0, 40, 40, 80], [0, 40, 60, 80]), ([0, 40, 40, 40, 100], [0, 40, 60, 80, 100]), ([5, 45, 45], [5, 45, 85]),
        ([0, None, None, 90], [0, 30, 60, 90]), ([None, None, 100, 140], [20, 60, 100, 140]), ([7, None], [7, 47]),
        ([0, 0, 1, 1, 2, 50], [0, 1, 2, 3, 4, 50]), ([100, 900, 5000], [100, 900, 5000]),
    ],
)  # fmt: skip
def test_a_frame_without_a_time_is_placed_between_its_neighbours(given, expected):
    assert placed(given, Fraction(40)) == expected


def with_times(made: Made, target: Path, shown: list[int]) -> Path:
    """The same packets of pictures at other times, milliseconds; sound as it is."""
    with av.open(str(made.path)) as source, av.open(str(target), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        found, places = [], iter(shown)
        for packet in source.demux():
            if packet.size:
                if packet.stream.type == "video":
                    packet.pts = packet.dts = next(places)
                found.append(packet)
        for packet in sorted(found, key=lambda packet: packet.pts * packet.time_base):
            packet.stream = streams[packet.stream_index]
            out.mux(packet)
    return target


VARIABLE = [1000, 1040, 1080, 1500, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 4500]
PLACED = [1000, 1040, 1080, 1500, 1750, 2000, 2500, 3000, 3500, 4000, 4500, 4540]


def test_two_frames_of_one_time_leave_all_others_where_they_are(tmp_path):
    made = make(tmp_path / "in.mkv", 12, sound="aac", options={"bf": "0"})
    path = with_times(made, tmp_path / "double.mkv", VARIABLE)
    clip = ClipFile(path)
    assert [round(1000 * float(time * clip.facts.time_base)) for time in clip.facts.times] == PLACED
    assert clip.notes == ("2 frames have no time of their own; placed between their neighbours",)
    found = [pixels(one) for one in clip]
    assert len(found) == 12 and all(not np.array_equal(a, b) for a, b in pairwise(found))
    for index in (4, 3, 11, 10, 0):
        assert np.array_equal(pixels(clip.frame(index)), found[index])
    assert np.array_equal(read(path, start=1.7)[0], found[4])
    out, _ = copied(Made(path, made.frames), tmp_path / "out.mkv")
    assert [round(1000 * time) for time in times(out)] == PLACED
    assert packets(out) == packets(path), "and the sound"


def test_times_that_begin_again_are_not_used_and_that_is_said(tmp_path):
    """A transport stream, twice: by its times the halves would be shuffled."""
    made = make(tmp_path / "in.ts", 6, options={"bf": "0"})
    (tmp_path / "twice.ts").write_bytes(made.path.read_bytes() * 2)
    clip = ClipFile(tmp_path / "twice.ts")
    assert clip.notes == (
        "its times are not used, because they begin again in the middle: all frames are shown evenly",
    )
    assert [round(1000 * clip.time(index)) for index in range(12)] == [40 * index for index in range(12)]
    found = [pixels(one) for one in clip]
    assert all(np.array_equal(one, other) for one, other in zip(found[:6], found[6:], strict=True))


def late(path: Path) -> Made:
    """Sound from 0, pictures from 2 s on."""
    return make(path, 12, times=[2000 + 40 * index for index in range(12)], sound="aac")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_start_and_end_are_those_of_the_clip_and_not_of_its_first_picture(tmp_path, name):
    path = late(tmp_path / name).path
    assert ClipFile(path).count == 12 and ClipFile(path, ReadOptions(start=2.1)).count == 9
    assert ClipFile(path, ReadOptions(end=2.1)).count == 3
    assert ClipFile(path, ReadOptions(start=2.1)).where(0) == f"{path}, frame 4 at 0:02.120"
    with pytest.raises(UnsupportedError, match=r"no frame is shown from 0:00.100 to 0:01.000 \(it begins at 0:02.000"):
        ClipFile(path, ReadOptions(start=0.1, end=1.0))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_sound_before_the_first_picture_is_kept_in_its_place(tmp_path, name):
    made = late(tmp_path / name)
    for options, begin, first in (({"end": 2.2}, 0, 2000), ({"start": 1.0, "end": 2.2}, 1000, 1000),
                                  ({"start": 2.1}, 2120, 0), ({"count": 2}, 0, 2000)):  # fmt: skip
        out, _ = copied(made, tmp_path / "out.mkv", read=options)
        assert round(1000 * times(out)[0]) == first, options
        heard, before = packets(out), packets(made.path)
        place = [data for _, data in before].index(heard[0][1])
        assert abs(1000 * (before[place][0] - heard[0][0]) - begin) < 1.5
        assert before[place][0] - Fraction(begin, 1000) < Fraction(25, 1000), "none of it is missing"


def test_a_clip_larger_than_the_limit_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    made = make(tmp_path / "a.mp4", 3)
    monkeypatch.setattr(ClipFile, "_decoded", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(LimitError, match=r"a.mp4: is 96 x 64 = 6,144 pixels, more .* limit of 6,143. Use --max-pix"):
        ClipFile(made.path, ReadOptions(max_pixels=6143))


def changing(tmp_path: Path) -> Path:
    """Two clips, one after the other: each begins with its own header, as broadcasts do."""
    first = make(tmp_path / "1.ts", 10, size=(64, 96))
    second = make(tmp_path / "2.ts", scene(40, 96, 128), times=range(500, 2100, 40))
    (tmp_path / "both.ts").write_bytes(first.path.read_bytes() + second.path.read_bytes())
    return tmp_path / "both.ts"


def test_where_frames_change_their_size_the_advice_helps(tmp_path):
    both = changing(tmp_path)
    clip = ClipFile(both)
    assert (clip.info.width, clip.info.height) == (96, 64)
    text = (
        r"both.ts, frame 11 at 0:00.500: its frames change their size, from 96 x 64 to 128 x 96 px. "
        r"Process its parts apart: one with --end 0:00.500, the other with --start 0:00.500"
    )
    with pytest.raises(UnsupportedError, match=text):
        for source in clip:
            source.close()
    assert {one.shape for one in read(both, end=0.5)} == {(64, 96, 3)} and len(read(both, end=0.5)) == 10
    assert {one.shape for one in read(both, start=0.5)} == {(96, 128, 3)} and len(read(both, start=0.5)) == 40
