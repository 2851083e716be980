"""Clips through the command line."""

from __future__ import annotations

import subprocess
import time
from fractions import Fraction
from subprocess import PIPE

import cv2
import numpy as np
import pytest

from restore.inference.ledger import LEDGER_NAME
from restore.io.clip.reader import ClipFile
from tests import corpus
from tests.clips import ROTATED, break_packet, cut, make, packets, scene, times

from .conftest import command, environment, run_command


def read(path) -> np.ndarray:
    return np.stack([one.read_rows(0, one.info.height) for one in ClipFile(path)])


def noisy(frames: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, frames.shape)
    return np.clip(np.rint(frames + noise), 0, 255).astype(np.uint8)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_clip_with_everything(restore, tmp_path):
    made = make(
        tmp_path / "in.mp4", noisy(scene(12), 20), times=[0, 40, 80, 300, 320, 330, 500, 900, 905, 950, 1300, 1310],
        sound="aac", matrix=ROTATED, chapters=True,
    )  # fmt: skip
    ran = restore("denoise", made.path, tmp_path / "out.mp4")
    assert ran.code == 0 and "warning" not in ran.err, ran.err
    assert "frames: 12" in ran.err and "measured: once, on 12 of the frames" in ran.err
    out = tmp_path / "out.mp4"
    assert times(out) == times(made.path) and packets(out) == packets(made.path)
    assert ClipFile(out).facts.matrix == ROTATED
    error = [np.abs(frames - scene(12).astype(float)).mean() for frames in (read(out), read(made.path))]
    assert error[0] < 0.7 * error[1], "it is denoised"
    assert names(tmp_path) == ["in.mp4", "out.mp4"]


def test_strength_zero_gives_the_frames_back(restore, tmp_path):
    made = make(tmp_path / "in.mkv", 6, codec="ffv1", pixel_format="bgr0")
    ran = restore("denoise", made.path, tmp_path / "out.mkv", "--strength", "0", "--codec", "ffv1")
    assert ran.code == 0, ran.err
    assert np.array_equal(read(tmp_path / "out.mkv"), made.frames)


def test_ten_bits(restore, tmp_path):
    made = make(
        tmp_path / "in.mkv", scene(4).astype(np.uint16) * 257, codec="hevc", pixel_format="yuv420p10le",
        colours=(9, 16, 9, 1),
    )  # fmt: skip
    ran = restore("denoise", made.path, tmp_path / "out.mkv", "--strength", "0", "--codec", "ffv1")
    assert ran.code == 0, ran.err
    assert np.array_equal(read(tmp_path / "out.mkv"), read(made.path)) and read(made.path).dtype == np.uint16
    tags = ClipFile(tmp_path / "out.mkv").facts.tags
    assert (tags.primaries, tags.transfer) == (9, 16)


def test_a_part_of_it(restore, tmp_path):
    made = make(tmp_path / "in.mp4", 25, sound="aac")
    ran = restore("degrade", "none", made.path, tmp_path / "out.mp4", "--start", "0:00.2", "--end", "0.6", "--json")
    assert ran.code == 0 and ran.json["files"][0]["decisions"]["frames"] == "10"
    assert times(tmp_path / "out.mp4") == [Fraction(40 * index, 1000) for index in range(10)]
    ran = restore("degrade", "none", made.path, tmp_path / "few.mp4", "--count", "3")
    assert len(times(tmp_path / "few.mp4")) == 3
    ran = restore("degrade", "none", made.path, tmp_path / "none.mp4", "--start", "9")
    assert ran.code == 1 and "no frame is shown from 0:09.000 (it ends at 0:00.960)" in ran.err
    for words, text in ((("--start", "1:75"), "--start"), (("--count", "0"), "--count"), (("--crf", "64"), "--crf"),
                        (("--codec", "xvid"), "--codec"), (("--fps", "0"), "--fps")):  # fmt: skip
        ran = restore("degrade", "none", made.path, tmp_path / "none.mp4", *words)
        assert ran.code == 2 and text in ran.err
    assert not (tmp_path / "none.mp4").exists()


def test_options_of_clips_are_not_for_pictures(restore, tmp_path):
    (tmp_path / "a.png").write_bytes(corpus.encoded("png"))
    ran = restore("degrade", "none", tmp_path / "a.png", tmp_path / "b.png", "--start", "1")
    assert ran.code == 1
    assert "a.png: --start is for clips, and this is a still picture. Leave it out" in ran.err
    assert not (tmp_path / "b.png").exists()


READ = "Clips are .3g2 .3gp .asf .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .vob .webm .wmv .y4m"
UNREAD = f"is no clip that can be read (unknown file signature). {READ}; for others: ffmpeg -i IN -c copy OUT.mkv, or"


@pytest.mark.parametrize(("name", "data", "text"), [
    ("a.mp4", b"", "cannot read an empty file. Copy it again"),
    ("a.mp4", b"hello world, " * 99, "is neither a clip nor a picture: it looks like text. Name a clip"),
    ("a.mp4", bytes(5000), UNREAD), ("a.nut", b"nut/multimedia container\0" + bytes(90), UNREAD),
    ("a.ivf", b"DKIF\0\0\x20\0VP90" + bytes(90), UNREAD), ("a.dv", b"\x1f\x07\0\x3f" + bytes(90), UNREAD),
    ("a.h264", b"\0\0\0\1\x67\x64" + bytes(90), UNREAD),
])  # fmt: skip
def test_what_is_no_clip_is_told_what_it_is(restore, tmp_path, name, data, text):
    (tmp_path / name).write_bytes(data)
    words = ("--count", "3") if name == "a.mp4" else ()
    ran = restore("degrade", "none", tmp_path / name, tmp_path / "out.mp4", *words)
    assert ran.code == 1 and f"{name}: {text}" in ran.err and len(ran.err.splitlines()) == 1, ran.err
    assert names(tmp_path) == [name]


def test_a_still_picture_called_a_clip_has_no_count(restore, tmp_path):
    (tmp_path / "a.mp4").write_bytes(corpus.encoded("jpeg"))
    ran = restore("degrade", "none", tmp_path / "a.mp4", tmp_path / "b.mp4", "--count", "3")
    assert ran.code == 1 and "a.mp4: --count is for clips, and this is a still picture. Leave it out" in ran.err


def test_a_transport_stream_that_was_cut_anywhere(restore, tmp_path):
    made = make(tmp_path / "in.ts", 60, options={"x264-params": "keyint=5"}, sound="aac")
    (tmp_path / "cut.ts").write_bytes(made.path.read_bytes()[188 * 90 + 77 :])
    ran = restore("degrade", "none", tmp_path / "cut.ts", tmp_path / "out.mkv", "--salvage")
    assert (tmp_path / "out.mkv").exists() and 30 < len(times(tmp_path / "out.mkv")) < 60, ran.err


def test_a_clip_keeps_its_times_whatever_the_rate(restore, tmp_path):
    path = make(tmp_path / "in.mp4", 3).path
    for words in ((tmp_path / "out.mp4",), (tmp_path / "out", "--frames-dir")):
        ran = restore("degrade", "none", path, *words, "--fps", "30")
        assert ran.code == 1 and "in.mp4: --fps is for numbered pictures: a clip keeps its times. Leave" in ran.err
    assert names(tmp_path) == ["in.mp4"]


def test_frames_out_and_in(restore, tmp_path):
    made = make(tmp_path / "in.mp4", 8, options={"preset": "medium"})
    frames = tmp_path / "frames"
    assert restore("degrade", "none", made.path, frames, "--frames-dir").code == 0
    assert names(frames) == [f"frame_{number:06d}.png" for number in range(1, 9)]
    first = cv2.imread(str(frames / "frame_000001.png"))[..., ::-1]
    assert np.array_equal(first, read(made.path)[0])
    ran = restore("degrade", "none", frames, tmp_path / "out.mp4", "--frames-dir", "--fps", "29.97")
    assert ran.code == 0, ran.err
    rate = Fraction(30000, 1001)
    assert [float(one) for one in times(tmp_path / "out.mp4")] == pytest.approx(
        [float(n / rate) for n in range(8)], abs=1e-4
    )
    assert np.abs(read(tmp_path / "out.mp4").astype(float) - read(made.path)).mean() < 3
    assert restore("degrade", "none", made.path, "--frames-dir").code == 0
    assert len(names(tmp_path / "in_degraded")) == 8


def test_a_folder_is_no_clip_without_the_option(restore, tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "1.png").write_bytes(corpus.encoded("png"))
    ran = restore("degrade", "none", tmp_path / "frames", tmp_path / "out.mp4")
    assert ran.code == 2 and f"out.mp4 names a clip, and {tmp_path / 'frames'} is a folder. Add --frames-dir" in ran.err
    assert names(tmp_path) == ["frames"]
    ran = restore("degrade", "none", tmp_path / "frames" / "1.png", tmp_path / "out", "--frames-dir")
    assert ran.code == 2 and "--frames-dir is for clips and folders of numbered frames" in ran.err


@pytest.mark.parametrize("words", [("out.mp4",), ()])
def test_a_photograph_called_a_clip(restore, tmp_path, words):
    (tmp_path / "in.mp4").write_bytes(corpus.encoded("jpeg"))
    ran = restore("denoise", tmp_path / "in.mp4", *(tmp_path / word for word in words))
    assert ran.code == 1 and names(tmp_path) == ["in.mp4"]
    line = ": a still picture is not written as a clip. Use one of: .png .jpg"
    assert line in ran.err and len(ran.err.splitlines()) == 1
    assert restore("denoise", tmp_path / "in.mp4", tmp_path / "out.png").code == 0


def test_what_is_refused_leaves_nothing(restore, tmp_path):
    """One sentence each, and nothing under the final name."""
    broken, short = make(tmp_path / "broken.mp4", 9, options={"x264-params": "keyint=1"}), make(tmp_path / "short.mp4")
    break_packet(broken.path, 4)
    cut(short.path, 0.7)
    make(tmp_path / "fields.mp4", 3, options={"x264-params": "tff=1"})
    make(tmp_path / "clear.mkv", 3, codec="ffv1", pixel_format="bgra")
    make(tmp_path / "sound.mkv", 3, sound="pcm_s16le")
    for name, target, text in (
        ("broken.mp4", "out.mp4", "broken.mp4, frame 5 at 0:00.160: this frame cannot be decoded"),
        ("short.mp4", "out.mp4", "short.mp4: is no clip that can be read, or it is not whole"),
        ("fields.mp4", "out.mp4", "fields.mp4: is interlaced. Deinterlace it first, for example: ffmpeg"),
        ("clear.mkv", "out.mkv", "clear.mkv: has transparency (bgra)"),
        ("sound.mkv", "out.webm", "out.webm: .webm cannot hold its sound (pcm_s16le). Write .mkv, which holds any"),
        ("sound.mkv", "out.png", "out.png: cannot write a clip as .png"),
    ):
        before = names(tmp_path)
        ran = restore("degrade", "none", tmp_path / name, tmp_path / target)
        assert ran.code == 1 and text in ran.err and len(ran.err.splitlines()) == 1, ran.err
        assert names(tmp_path) == before
    ran = restore("degrade", "none", broken.path, tmp_path / "out.mp4", "--salvage")
    assert ran.code == 1 and "frame 5 at 0:00.160 cannot be decoded, its neighbour is shown" in ran.err
    assert len(times(tmp_path / "out.mp4")) == 9


def test_in_folders_clips_are_left_out_by_name(restore, tmp_path):
    folder = tmp_path / "in"
    make(folder / "a.mp4", 3)
    (folder / "b.png").write_bytes(corpus.encoded("png"))
    ran = restore("degrade", "none", folder, tmp_path / "out", "--json")
    assert ran.code == 0 and names(tmp_path / "out") == ["b.png", LEDGER_NAME]
    (skipped,) = [entry for entry in ran.json["files"] if entry["status"] == "skipped"]
    assert skipped["input"].endswith("a.mp4") and skipped["reason"] == "a clip: name it itself"
    ran = restore("degrade", "none", folder, tmp_path / "other", "--dry-run")
    assert "a.mp4: skipped: a clip: name it itself" in ran.out


def test_each_shot_has_its_own_noise(restore, tmp_path):
    frames = np.concatenate([noisy(scene(10, seed=1) * 0.4, 5), noisy(255 - scene(10, seed=5) * 0.4, 25)])
    made = make(tmp_path / "in.mkv", frames, codec="ffv1", pixel_format="bgr0")
    ran = restore("denoise", made.path, tmp_path / "out.mkv", "--json")
    decisions = ran.json["files"][0]["decisions"]
    assert decisions["measured"] == "once for each of 2 shots, on up to 10 of their frames"
    first, second = (
        float(text.split("sigma ")[1].split()[0]) for text in (decisions["noise"], decisions["from frame 11"])
    )
    assert 4 < first < 6.5 and 21 < second < 29
    ran = restore("denoise", made.path, tmp_path / "again.mkv")
    assert f"from frame 11: noise sigma {second} (measured), white" in ran.err
    ran = restore("denoise", made.path, tmp_path / "each.mkv", "--measure", "each", "--count", "3", "--json")
    assert "measured" not in ran.json["files"][0]["decisions"]


def test_dry_run_and_comparison(restore, tmp_path):
    made = make(tmp_path / "in.mp4", 5)
    ran = restore("degrade", "none", made.path, tmp_path / "out.mp4", "--dry-run")
    assert ran.code == 0 and "(5 frames of 96 x 64, 3 x 8 bit, none)" in ran.out and names(tmp_path) == ["in.mp4"]
    ran = restore("degrade", "none", made.path, tmp_path / "out.mkv", "--dry-run", "--codec", "prores", "--crf", "5")
    assert ran.code == 1 and "--crf is not for prores" in ran.out + ran.err
    ran = restore("degrade", "none", made.path, tmp_path / "out.mp4", "--compare")
    assert ran.code == 0 and names(tmp_path) == ["in.mp4", "out.mp4", "out_compare.png"]
    assert cv2.imread(str(tmp_path / "out_compare.png")).shape[1] >= 2 * 96


def test_what_is_not_carried_is_said(restore, tmp_path):
    made = make(tmp_path / "in.mkv", 3, subtitles=True)
    ran = restore("degrade", "none", made.path, tmp_path / "out.mp4")
    assert ran.code == 0 and "warning" in ran.err and ".mp4 cannot hold its subtitles (srt): not carried" in ran.err


def test_existing_clips_are_kept_without_overwrite(restore, tmp_path):
    made = make(tmp_path / "in.mp4", 3)
    (tmp_path / "out.mp4").write_bytes(b"mine")
    ran = restore("degrade", "none", made.path, tmp_path / "out.mp4")
    assert ran.code == 1 and (tmp_path / "out.mp4").read_bytes() == b"mine" and "--overwrite" in ran.err
    assert restore("degrade", "none", made.path, tmp_path / "out.mp4", "--overwrite").code == 0
    assert len(times(tmp_path / "out.mp4")) == 3
    ran = restore("degrade", "none", made.path, made.path, "--overwrite")
    assert ran.code != 0 and len(times(made.path)) == 3


def test_clips_that_are_only_read_become_matroska(restore, tmp_path):
    made = make(tmp_path / "in.avi", 3, codec="mpeg4")
    assert restore("degrade", "none", made.path).code == 0
    assert names(tmp_path) == ["in.avi", "in_degraded.mkv"] and len(times(tmp_path / "in_degraded.mkv")) == 3


@pytest.mark.slow
def test_killed_half_way_and_resumed(tmp_path):
    """By kill -9, after the first segment: the same bytes as a run that nothing stopped."""
    made = make(tmp_path / "in.mp4", noisy(scene(120, 128, 160), 12), sound="aac")
    whole, out = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    words = ("denoise", made.path, out, "--method", "classical", "--threads", "1")
    assert run_command(*words[:2], whole, *words[3:]).returncode == 0
    with subprocess.Popen(command(*words), env=environment(), stdout=PIPE, stderr=PIPE) as process:
        limit = time.monotonic() + 60
        while not list(tmp_path.glob(".out.mp4.*.parts/000000.nut")) and time.monotonic() < limit:
            time.sleep(0.02)
        process.kill()
        process.communicate()
    assert not out.exists() and list(tmp_path.glob(".out.mp4.*.parts/000000.nut"))
    ran = run_command(*words, "--resume")
    assert ran.returncode == 0, ran.stderr
    assert out.read_bytes() == whole.read_bytes()
    assert names(tmp_path) == ["in.mp4", "out.mp4", LEDGER_NAME, "whole.mp4"]


@pytest.mark.parametrize("task", [("degrade", "none"), ("denoise", "--strength", "0"), ("upscale", "--scale", "2")])
def test_a_crop_is_a_clip_of_its_own_size(restore, tmp_path, task):
    """Neither stretched nor of another shape; with odd sides in all of the chroma, as a clip of odd sides."""
    path = make(tmp_path / "in.mkv", 3, aspect=Fraction(4, 3)).path
    factor = 2 if task[0] == "upscale" else 1
    for crop, (x, y, width, height), odd in (("8,6,40,32", (8, 6, 40, 32), False), ("3,5,31,33", (3, 5, 31, 33), True)):
        out = tmp_path / f"{width}.mkv"
        codec = () if odd else ("--codec", "ffv1")
        ran = restore(*task, path, out, "--crop", crop, *codec)
        assert ran.code == 0, ran.err
        assert ("odd sides" in ran.err) == (odd and factor == 1)
        found = read(out)
        assert found.shape == (3, factor * height, factor * width, 3)
        assert not odd or ClipFile(out).facts.aspect == Fraction(4, 3)
        if factor == 1:
            error = np.abs(found - read(path)[:, y : y + height, x : x + width].astype(float)).mean()
            assert error < 3 if odd else error == 0
    ran = restore(*task, path, tmp_path / "no.mkv", "--crop", "80,0,40,32")
    assert ran.code == 1 and "the crop 80,0,40,32 is not inside the picture of 96 x 64" in ran.err
    assert names(tmp_path) == ["31.mkv", "40.mkv", "in.mkv"]


def test_a_strength_mixes_what_was_averaged_with_the_input(restore, tmp_path):
    """Not what was mixed is averaged: the grain that is kept would be gone."""
    path = make(tmp_path / "in.mkv", noisy(scene(7)[:1].repeat(7, 0), 20), codec="ffv1", pixel_format="bgr0").path
    crop = ("--crop", "8,4,64,48", "--codec", "ffv1")
    for strength in ("1", "0.6"):
        ran = restore("denoise", path, tmp_path / f"{strength}.mkv", "--strength", strength, *crop)
        assert ran.code == 0 and "temporal: what 5 frames show alike is averaged" in ran.err, ran.err
    before, full = read(path)[:, 4:52, 8:72].astype(float), read(tmp_path / "1.mkv").astype(float)
    expected = before + 0.6 * (full - before)
    assert np.abs(read(tmp_path / "0.6.mkv") - expected).max() <= 0.5 + 1e-4
    assert np.abs(before - full).mean() > 8
    ran = restore("denoise", path, tmp_path / "off.mkv", "--strength", "0.6", "--temporal", "off", *crop)
    assert ran.code == 0 and np.abs(read(tmp_path / "off.mkv") - expected).max() > 1, "averaging matters here"
