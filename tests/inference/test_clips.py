"""Clips in a batch: every frame through the restorer, whole or absent, resumed at a segment, few frames in memory."""

from __future__ import annotations

import gc
import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import restore.inference.sequences as sequences_module
from restore.errors import ExitCode, ModelError
from restore.inference.batch import BatchOptions, run_batch
from restore.inference.inputs import inspect
from restore.inference.ledger import Ledger
from restore.io.clip.reader import ClipFile, ClipFrame
from restore.io.codecs import ReadOptions, SaveOptions
from restore.models.spec import ModelSpec
from tests.clips import break_packet, make, packets, scene, times

from .clips import as_folder, averaged, averaging
from .toys import MAP, Computes, job, records, two_outputs

LOSSLESS = SaveOptions(codec="ffv1")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Segments of four frames."""
    monkeypatch.setattr("restore.io.clip.sink.SEGMENT", 4)


def exact(path: Path, frames: np.ndarray | int, **options):
    """A clip whose pixels are those it was made of."""
    return make(path, frames, codec="ffv1", pixel_format="bgr0", **options)


def read(path: Path, **options) -> np.ndarray:
    return np.stack([one.read_rows(0, one.info.height) for one in ClipFile(path, ReadOptions(**options))])


def run(jobs, restorer, ledger=None, **options):
    settings = BatchOptions(**({"save": LOSSLESS, "workers": 1} | options))
    return run_batch(jobs if isinstance(jobs, list) else [jobs], restorer, settings, ledger=ledger)


def restoring(function, fails_at: int | None = None, error: BaseException | None = None) -> Computes:
    """A restorer of single frames that fails at a call."""
    restorer = Computes(lambda arrays: {"result": function(arrays[0])}, ModelSpec("toy"))
    compute = restorer.function

    def failing(arrays):
        if fails_at is not None and len(restorer.applied) > fails_at:
            raise error or ModelError("not finite")
        return compute(arrays)

    restorer.function = failing
    return restorer


@pytest.mark.parametrize("workers", [1, 3])
def test_every_frame_is_restored_and_recorded(tmp_path, workers):
    made = exact(tmp_path / "in.mkv", 10, sound="aac")
    with Ledger(tmp_path / "ledger") as ledger:
        summary = run(job(made.path, tmp_path / "out.mkv"), restoring(lambda a: 255 - a), ledger, workers=workers)
    assert (summary.ok, summary.exit_code) == (1, ExitCode.OK)
    assert np.array_equal(read(tmp_path / "out.mkv"), 255 - made.frames)
    assert times(tmp_path / "out.mkv") == times(made.path) and packets(tmp_path / "out.mkv") == packets(made.path)
    (entry,) = records(tmp_path / "ledger")
    assert entry["decisions"]["frames"] == "10" and entry["decisions"]["measured"] == "once, on 10 of the frames"
    assert entry["outputs"]["result"]["bytes"] == (tmp_path / "out.mkv").stat().st_size


@pytest.mark.parametrize("size", [3, 5])
def test_a_window_sees_its_neighbours(tmp_path, size):
    made = exact(tmp_path / "in.mkv", 9)
    assert run(job(made.path, tmp_path / "out.mkv"), averaging(size)).ok == 1
    assert np.array_equal(read(tmp_path / "out.mkv"), averaged(made.frames, size))


def test_measured_once_for_each_shot(tmp_path):
    night, day = scene(6, seed=1) // 4, 255 - scene(8, seed=2) // 4
    made = exact(tmp_path / "in.mkv", np.concatenate([night, day]))
    restorer = averaging(3)
    with Ledger(tmp_path / "ledger") as ledger:
        assert run(job(made.path, tmp_path / "out.mkv"), restorer, ledger).ok == 1
    assert [len(tall) // 64 for (tall,) in restorer.prepared] == [6, 8]
    means = [float(tall.mean()) for (tall,) in restorer.prepared]
    assert [(one.scope, one.mean) for one in restorer.applied] == [("clip", means[0])] * 6 + [("clip", means[1])] * 8
    assert np.array_equal(read(tmp_path / "out.mkv"), np.concatenate([averaged(night, 3), averaged(day, 3)])), (
        "a window does not look beyond its shot"
    )
    (entry,) = records(tmp_path / "ledger")
    assert entry["decisions"] == {
        "mean": f"{means[0]:.3f}", "frames": "14", "measured": "once for each of 2 shots, on up to 8 of their frames",
        "from frame 7": f"mean {means[1]:.3f}",
    }  # fmt: skip
    each = averaging(3)
    run(job(made.path, tmp_path / "each.mkv"), each, measure="each")
    assert len(each.prepared) == 14


def test_of_many_frames_sixteen_are_measured(tmp_path):
    made = exact(tmp_path / "in.mkv", 40)
    restorer = averaging(1)
    run(job(made.path, tmp_path / "out.mkv"), restorer)
    ((tall,),) = restorer.prepared
    assert (
        np.array_equal(tall, np.concatenate(made.frames[sequences_module.spread(range(40))])) and len(tall) == 16 * 64
    )


class TestResume:
    def resumed(self, made, out, restorer, **options):
        with Ledger(out.parent, resume=True) as ledger:
            return run(job(made.path, out), restorer, ledger, **options)

    @pytest.mark.parametrize("error", [ModelError("not finite"), KeyboardInterrupt()])
    @pytest.mark.parametrize(("at", "kept"), [(0, 0), (3, 0), (4, 4), (9, 8), (11, 8)])
    def test_it_goes_on_at_a_segment_and_gives_the_same_bytes(self, tmp_path, at, kept, error):
        made = make(tmp_path / "in.mp4", 12, sound="aac")
        whole, out = tmp_path / "whole.mp4", tmp_path / "out" / "out.mp4"
        run(job(made.path, whole), restoring(lambda a: 255 - a), save=SaveOptions())
        out.parent.mkdir()
        stopped = self.resumed(made, out, restoring(lambda a: 255 - a, at, error), save=SaveOptions())
        assert stopped.ok == 0 and not out.exists()
        restorer = restoring(lambda a: 255 - a)
        assert self.resumed(made, out, restorer, save=SaveOptions()).ok == 1
        assert len(restorer.applied) == 12 - kept
        assert out.read_bytes() == whole.read_bytes()
        assert sorted(path.name for path in out.parent.iterdir()) == ["out.mp4", "restore-ledger.jsonl"]
        again = restoring(lambda a: 255 - a)
        self.resumed(made, out, again, save=SaveOptions())
        assert again.applied == [], "done is done"

    def test_a_window_that_begins_in_the_middle_sees_what_was_before(self, tmp_path):
        made, out = exact(tmp_path / "in.mkv", 10), tmp_path / "out" / "out.mkv"
        out.parent.mkdir()
        restorer = averaging(5)
        compute, restorer.function = restorer.function, None
        restorer.function = lambda arrays: {}["stop"] if len(restorer.applied) > 6 else compute(arrays)
        assert self.resumed(made, out, restorer).ok == 0
        restorer = averaging(5)
        assert self.resumed(made, out, restorer).ok == 1 and len(restorer.applied) == 6
        assert np.array_equal(read(out), averaged(made.frames, 5))

    @pytest.mark.parametrize(
        "changed", [{"save": SaveOptions()}, {"read": ReadOptions(start=0.04)}, {"measure": "each"}, {"input": 1}]
    )
    def test_other_work_does_not_go_on_from_it(self, tmp_path, changed):
        made, out = exact(tmp_path / "in.mkv", 12), tmp_path / "out" / "out.mkv"
        out.parent.mkdir()
        assert self.resumed(made, out, restoring(lambda a: a, 9)).ok == 0
        if changed.pop("input", None):
            exact(tmp_path / "in.mkv", scene(12, seed=7))
        restorer = restoring(lambda a: a)
        self.resumed(made, out, restorer, **changed)
        assert len(restorer.applied) == (11 if "read" in changed else 12)

    def test_without_resume_it_begins_anew(self, tmp_path):
        made, out = exact(tmp_path / "in.mkv", 12), tmp_path / "out.mkv"
        run(job(made.path, out), restoring(lambda a: a, 9))
        restorer = restoring(lambda a: a)
        run(job(made.path, out), restorer)
        assert len(restorer.applied) == 12 and sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]


class TestFailures:
    def test_a_frame_that_fails_is_named(self, tmp_path):
        made = exact(tmp_path / "in.mkv", 12)
        summary = run(job(made.path, tmp_path / "out.mkv"), restoring(lambda a: a, 5))
        assert summary.failures == [(str(made.path), f"{made.path}, frame 6 at 0:00.200: not finite")]
        assert not (tmp_path / "out.mkv").exists()

    def test_a_frame_that_cannot_be_decoded_stops_it_before_any_work(self, tmp_path):
        made = make(tmp_path / "in.mp4", 12, options={"x264-params": "keyint=1"})
        break_packet(made.path, 7)
        restorer = averaging(1)
        summary = run(job(made.path, tmp_path / "out.mp4"), restorer, save=SaveOptions())
        assert summary.failures[0][1].startswith(f"{made.path}, frame 8 at 0:00.280: this frame cannot be decoded")
        assert restorer.applied == [] and [path.name for path in tmp_path.iterdir()] == ["in.mp4"]

    def test_with_salvage_its_neighbour_is_restored_and_that_is_said(self, tmp_path):
        made = make(tmp_path / "in.mp4", 12, options={"x264-params": "keyint=1"})
        break_packet(made.path, 7)
        with Ledger(tmp_path / "ledger") as ledger:
            summary = run(
                job(made.path, tmp_path / "out.mkv"), averaging(1), ledger, read=ReadOptions(salvage=True)
            )  # fmt: skip
        assert (summary.ok, summary.salvaged, summary.exit_code) == (1, 1, ExitCode.SOME_FAILED)
        found = read(tmp_path / "out.mkv")
        assert len(found) == 12 and np.array_equal(found[7], found[6]) and not np.array_equal(found[8], found[6])
        text = "frame 8 at 0:00.280 cannot be decoded, its neighbour is shown"
        assert any(warning.endswith(text) for warning in records(tmp_path / "ledger")[0]["warnings"])


def test_no_more_frames_in_memory_than_a_window(tmp_path, monkeypatch):
    alive: weakref.WeakSet[ClipFrame] = weakref.WeakSet()
    most = 0
    begin = ClipFrame.__init__

    def counting(self, *args):
        nonlocal most
        begin(self, *args)
        alive.add(self)
        most = max(most, len(alive))

    monkeypatch.setattr(ClipFrame, "__init__", counting)
    made = exact(tmp_path / "in.mkv", 40)
    for size in (1, 3, 5):
        most = 0
        gc.collect()
        assert run(job(made.path, tmp_path / f"{size}.mkv"), averaging(size)).ok == 1
        assert most <= size + 1, "and the one that is being decoded"


def test_two_outputs_are_two_clips(tmp_path):
    made, out = exact(tmp_path / "in.mkv", 6, sound="aac"), tmp_path / "out.mkv"
    one = job(made.path, out, extra={"map": tmp_path / "out_map.mkv"})
    assert run(one, two_outputs()).ok == 1
    assert np.array_equal(read(out), 255 - made.frames)
    halved = read(tmp_path / "out_map.mkv")
    assert np.array_equal(halved, (made.frames[..., :1] // 2).repeat(3, -1)) and MAP.channels == 1


def test_frames_into_a_clip_and_a_clip_into_frames(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (6, 32, 48), np.uint8)
    folder = as_folder(tmp_path / "frames", grey)
    one = job(folder, tmp_path / "out.mkv", sequence=True)
    assert run(one, averaging(1), save=SaveOptions(codec="ffv1", fps=12.5)).ok == 1
    assert np.array_equal(read(tmp_path / "out.mkv"), grey[..., None].repeat(3, -1))
    assert times(tmp_path / "out.mkv") == [Fraction(80 * index, 1000) for index in range(6)]
    one = job(tmp_path / "out.mkv", tmp_path / "again", sequence=True)
    assert run(one, averaging(1), save=SaveOptions()).failures == []
    import cv2

    names = [f"frame_{number:06d}.png" for number in range(1, 7)]
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == names
    found = np.stack([cv2.imread(str(tmp_path / "again" / name))[..., 0] for name in names])
    assert np.array_equal(found, grey)


def test_what_is_found_before_any_work(tmp_path):
    made = exact(tmp_path / "in.mkv", 5)

    def looked(target: str, **options):
        return inspect(job(made.path, tmp_path / target), averaging(1), BatchOptions(**options))

    found = looked("out.mp4")
    assert (found.frames, found.sequence, found.info.width) == (5, True, 96)
    for target, options, text in (
        ("out.png", {}, "cannot write a clip as .png. Use one of: .mp4 .m4v .mov .mkv .webm, or --frames-dir"),
        ("out.mp4", {"save": LOSSLESS}, ".mp4 does not hold ffv1"),
        ("out.mp4", {"save": SaveOptions(depth="16")}, "a clip holds 8 to 12 bits a sample"),
        ("out.mkv", {"read": ReadOptions(start=7.0)}, "no frame is shown from 0:07.000"),
    ):
        with pytest.raises(Exception, match=text):
            looked(target, **options)


def test_the_limit_of_bytes_is_for_pictures(tmp_path):
    made = exact(tmp_path / "in.mkv", 5)
    assert run(job(made.path, tmp_path / "out.mkv"), averaging(1), read=ReadOptions(max_bytes=1000)).ok == 1


def test_a_clip_is_replaced_in_place(tmp_path):
    made = exact(tmp_path / "in.mkv", 6, sound="aac")
    sound = packets(made.path)
    assert run(job(made.path, made.path, in_place=True), restoring(lambda a: 255 - a)).failures == []
    assert np.array_equal(read(made.path), 255 - made.frames) and packets(made.path) == sound
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]
