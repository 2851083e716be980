"""A clip as frames: what PyAV decodes, by the matrix that is declared, each at its time, in any order."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from restore.errors import UnsupportedError
from restore.io.clip.reader import ClipFile
from restore.io.options import ReadOptions
from tests.clips import ROTATED, decoded, make, planes_of, scene, times, to_rgb


def pixels(source) -> np.ndarray:
    rows = source.read_rows(0, source.info.height).copy()
    source.close()
    return rows


def read(path, **options) -> list[np.ndarray]:
    return [pixels(source) for source in ClipFile(path, ReadOptions(**options))]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_the_declared_matrix_and_range(tmp_path, matrix, bits, full):
    frames = scene(2) if bits == 8 else scene(2).astype(np.uint16) * 257
    kind = "yuv444p" if bits == 8 else "yuv444p10le"
    made = make(tmp_path / "a.mkv", frames, codec="ffv1", pixel_format=kind, colours=(1, 1, matrix, 2 if full else 1))
    found = read(made.path)
    for actual, frame in zip(found, decoded(made.path), strict=True):
        assert actual.dtype == ("uint8" if bits == 8 else "uint16")
        expected = to_rgb(planes_of(frame), matrix, bits, full=full)
        assert np.abs(actual - expected).max() < (1.5 if bits == 8 else 4.5)  # libswscale: 940 of 10 bits is 1020
    assert np.abs(found[0] - frames[0] * ((2**bits - 1) / np.iinfo(frames.dtype).max)).max() < 4 * 2 ** (bits - 8)


@pytest.mark.parametrize(("height", "matrix"), [(64, 6), (720, 1)])
def test_undeclared_it_depends_on_the_height(tmp_path, height, matrix):
    made = make(tmp_path / "a.mkv", scene(1, height, 32), codec="ffv1", pixel_format="yuv444p")
    (actual,), (frame,) = read(made.path), decoded(made.path)
    assert np.abs(actual - to_rgb(planes_of(frame), matrix, 8)).max() < 1.5
    assert np.abs(actual - to_rgb(planes_of(frame), 7 - matrix, 8)).max() > 3


def test_a_grey_clip_of_the_range_of_video(tmp_path):
    made = make(tmp_path / "a.mkv", 1, codec="hevc", pixel_format="gray", colours=(1, 1, 1, 1))
    (actual,), (frame,) = read(made.path), decoded(made.path)
    luma = np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(64, -1)[:, :96]
    assert actual.shape == (64, 96, 1)
    assert np.abs(actual[..., 0] - (luma.astype(float) - 16) * 255 / 219).max() <= 0.5


def test_pixels_without_a_matrix_are_bit_exact(tmp_path):
    made = make(tmp_path / "a.mkv", 3, codec="ffv1", pixel_format="bgr0")
    assert np.array_equal(np.stack(read(made.path)), made.frames)


def test_ten_bits_stay_ten(tmp_path):
    made = make(tmp_path / "a.mp4", scene(3).astype(np.uint16) * 257, codec="hevc", pixel_format="yuv420p10le")
    clip = ClipFile(made.path)
    assert (clip.info.bits, clip.info.dtype, clip.info.white) == (10, "uint16", 1023)
    first = pixels(clip.frame(0))
    assert 900 > first.max() > 600 and len(np.unique(first)) > 300  # more than 8 bits give


def test_header_and_times(tmp_path):
    shown = [0, 40, 80, 300, 320, 330, 500, 900]
    made = make(
        tmp_path / "a.mp4", 8, times=shown, matrix=ROTATED, aspect=Fraction(4, 3), colours=(9, 16, 9, 1), sound="aac"
    )  # fmt: skip
    clip = ClipFile(made.path)
    assert (clip.count, clip.info.height, clip.info.width, clip.info.channels) == (8, 64, 96, 3)
    assert [round(1000 * clip.time(index)) for index in range(8)] == shown
    assert [time * clip.facts.time_base for time in clip.facts.times] == times(made.path)
    assert (clip.facts.end - clip.facts.times[-1]) * clip.facts.time_base == Fraction(40, 1000)
    assert clip.facts.matrix == ROTATED and clip.facts.aspect == Fraction(4, 3)
    tags = clip.facts.tags
    assert (tags.primaries, tags.transfer, tags.matrix, tags.range) == (9, 16, 9, 1)
    assert clip.where(3) == f"{made.path}, frame 4 at 0:00.300"
    assert clip.notes == ()


ORDERS = {
    "closed.mp4": ("h264", "keyint=10:bframes=3", {}),
    "open.mp4": ("h264", "open-gop=1:keyint=10:min-keyint=4:bframes=3:b-adapt=0", {}),
    "open_hevc.mp4": ("hevc", "log-level=none:pools=1:open-gop=1:keyint=10:min-keyint=4:bframes=3:b-adapt=0", {}),
    "transport.ts": ("h264", "keyint=10:bframes=3", {"sound": "aac"}),
    "plain.avi": ("h264", "keyint=10:bframes=0", {}),
    "stored.avi": ("h264", "keyint=10:bframes=3", {}),
    "flash.flv": ("h264", "keyint=10:bframes=3", {}),
    "program.mpg": ("mpeg2video", "", {"options": {"bf": "2", "g": "10"}}),
    "golden.webm": ("vp9", "", {"options": {"auto-alt-ref": "1", "lag-in-frames": "10", "g": "10"}}),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
def test_frames_in_any_order_are_those_of_the_iteration(tmp_path, name):
    """However the container seeks, and whatever a group of frames refers to."""
    codec, parameters, more = ORDERS[name]
    if parameters:
        more = {**more, "options": {"preset": "medium", f"x26{'5' if codec == 'hevc' else '4'}-params": parameters}}
    made = make(tmp_path / name, 30, codec=codec, **more)
    clip = ClipFile(made.path)
    expected = [pixels(source) for source in clip]
    assert len(expected) == clip.count == 30
    assert all(np.abs(one - frame).mean() < 30 for one, frame in zip(expected, made.frames.astype(int), strict=True))
    plain = [frame.reformat(format="gray").to_ndarray() for frame in decoded(made.path)]
    steps = [np.abs(b - a.astype(int)).mean() for a, b in pairwise(plain)]
    assert min(steps) > 1  # every frame is another, or this shows nothing
    for index in (29, 0, 15, 9, 8, 19, 20, 21, 3, 28):
        assert np.array_equal(pixels(clip.frame(index)), expected[index]), index


def test_start_end_and_count(tmp_path):
    made = make(tmp_path / "a.mp4", 25, options={"x264-params": "keyint=10"})
    everything = read(made.path)
    for options, span in (
        ({"start": 0.2}, (5, 25)), ({"start": 0.21}, (6, 25)), ({"end": 0.4}, (0, 10)), ({"count": 7}, (0, 7)),
        ({"start": 0.4, "end": 0.8}, (10, 20)), ({"start": 0.6, "end": 9.0, "count": 3}, (15, 18)),
    ):  # fmt: skip
        clip = ClipFile(made.path, ReadOptions(**options))
        assert clip.count == span[1] - span[0]
        assert np.array_equal([pixels(one) for one in clip], everything[span[0] : span[1]])
        assert np.array_equal(pixels(clip.frame(clip.count - 1)), everything[span[1] - 1])
        assert clip.time(0) == 0 and f"frame {span[0] + 1} at" in clip.where(0)
    with pytest.raises(
        UnsupportedError, match=r"no frame is shown from 0:05.000 \(it ends at 0:00.960\). Name another"
    ):
        ClipFile(made.path, ReadOptions(start=5.0))


def test_a_cover_is_not_the_picture_and_a_second_track_is_named(tmp_path):
    made = make(tmp_path / "a.mp4", 5, cover=True)
    clip = ClipFile(made.path)
    assert (clip.count, clip.info.width, clip.notes) == (5, 96, ())
    made = make(tmp_path / "b.mkv", 5, cover=True)  # Matroska does not mark it: a second track
    assert ClipFile(made.path).notes == ("1 more video track not carried: only the first is restored",)


def test_one_frame(tmp_path):
    made = make(tmp_path / "a.mp4", 1)
    clip = ClipFile(made.path)
    assert clip.count == 1 and pixels(clip.frame(0)).shape == (64, 96, 3)
    assert (clip.facts.end - clip.facts.times[0]) * clip.facts.time_base == Fraction(1, 25)
    with pytest.raises(IndexError):
        clip.frame(1)


def test_small_versions_are_those_of_the_pixels(tmp_path):
    made = make(tmp_path / "a.mkv", 1, codec="ffv1", pixel_format="bgr0")
    (source,) = ClipFile(made.path)
    grey = made.frames[0].astype(float) @ (0.299, 0.587, 0.114)
    means = grey.reshape(8, 8, 12, 8).mean((1, 3))
    assert np.abs(source.small(8, 12) - means).max() < 20  # swscale's own range
