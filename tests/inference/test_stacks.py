"""Stacks in a batch: frame by frame into one file, which is whole or absent, recorded and resumable."""

from __future__ import annotations

import hashlib
import weakref
from pathlib import Path

import numpy as np
import pytest
import tifffile

import restore.inference.worker as worker_module
from restore.errors import ExitCode, FileError, LimitError, ModelError, UnsupportedError
from restore.inference.batch import BatchOptions, run_batch
from restore.inference.inputs import inspect
from restore.inference.ledger import LEDGER_NAME, Ledger
from restore.inference.sequences import restore_sequence
from restore.io.codecs import PictureFile, ReadOptions, SaveOptions, open_picture
from restore.picture import MemorySink, Picture
from tests import corpus

from .clips import averaging
from .toys import Negative, Report, contents, job, records, write_picture

ALL = ReadOptions(frames="all")


class Frames(Negative):
    """Inverts; fails with `error` at its `at`-th call; says what it saw."""

    def __init__(self, at: int | None = None, error: BaseException | None = None):
        super().__init__()
        self.at, self.error = at, error

    def run(self, sources, create_sink, progress=None):
        (source,) = sources
        if len(self.calls) == self.at and self.error is not None:
            self.calls.append("failed")
            create_sink("result", source.info).write_rows(source.read_rows(0, 1))  # half a page is written
            raise self.error
        super().run(sources, create_sink, progress)
        mean = f"{source.read_rows(0, source.info.height).mean():.3f}"
        return Report({"mean": mean}, ("all alike", f"frame of {len(self.calls)}"))


def stack(path: Path, count: int = 3, seed: int = 0, **options) -> np.ndarray:
    array = np.random.default_rng(seed).integers(0, 256, (count, 12, 16), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, photometric="minisblack", **options)
    return array


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    arrays = {f"{number}.tif": stack(folder / f"{number}.tif", 3, number) for number in range(3)}
    return folder, arrays


def jobs_of(folder: Path, out: Path | None, compare: bool = False):
    for path in sorted(folder.glob("[!.]*.tif")):
        target = path if out is None else out / path.name
        yield job(
            path, target, in_place=out is None, compare=out / f"{path.stem}_compare.png" if compare and out else None
        )


def run(folder, out, restorer=None, *, resume=False, watcher=None, compare=None, **options):
    restorer = restorer or Frames()
    settings = BatchOptions(**({"read": ALL, "compare": compare} | options))
    with Ledger(out or folder, resume=resume) as ledger:
        jobs = jobs_of(folder, out, compare is not None)
        return run_batch(jobs, restorer, settings, ledger=ledger, watcher=watcher), restorer


@pytest.mark.parametrize("workers", [1, 3])
def test_every_frame_is_restored_and_recorded(scans, tmp_path, workers):
    folder, arrays = scans
    out = tmp_path / "out"
    summary, restorer = run(folder, out, workers=workers)
    assert (summary.ok, summary.exit_code, len(restorer.calls)) == (3, ExitCode.OK, 9)
    for name, array in arrays.items():
        assert np.array_equal(tifffile.imread(out / name), 255 - array)
    assert sorted(path.name for path in out.iterdir()) == [*arrays, LEDGER_NAME]
    entry, first = records(out)[0], arrays["0.tif"][0]
    assert entry["decisions"] == {"mean": f"{first.mean():.3f}", "frames": "3"}
    assert entry["warnings"] == ["all alike", "frame of 1", "frame of 2", "frame of 3"]
    assert entry["run"] == {"tiles": 1}
    assert entry["outputs"]["result"]["sha256"] == hashlib.sha256((out / "0.tif").read_bytes()).hexdigest()


def test_files_of_one_picture_go_the_way_they_always_go(tmp_path):
    folder = tmp_path / "photos"
    for name in ("a.tif", "b.tif"):
        write_picture(folder / name, 1)
    run(folder, tmp_path / "one", Negative(), read=ReadOptions())
    summary, restorer = run(folder, tmp_path / "all", Negative())
    assert (summary.ok, restorer.calls) == (2, ["a.tif", "b.tif"])
    assert contents(tmp_path / "all") == contents(tmp_path / "one")
    assert records(tmp_path / "all")[0]["decisions"] == {"method": "negative"}


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_bad_frame_fails_its_file_and_no_other(scans, tmp_path, at, workers):
    folder, arrays = scans
    out = tmp_path / "out"
    summary, _ = run(folder, out, Frames(3 + at, ModelError("not finite")), workers=workers)
    assert sorted(contents(out)) == ["0.tif", "2.tif"]
    line = f"{folder / '1.tif'}, page {at + 1}: not finite"
    assert summary.failures == [(str(folder / "1.tif"), line)]
    _, restorer = run(folder, out, resume=True)
    assert restorer.calls == ["1.tif"] * 3
    assert np.array_equal(tifffile.imread(out / "1.tif"), 255 - arrays["1.tif"])


def test_resume_does_not_repeat_a_stack(scans, tmp_path):
    folder, _ = scans
    out = tmp_path / "out"
    run(folder, out)
    (out / "1.tif").unlink()
    assert run(folder, out, resume=True)[1].calls == ["1.tif"] * 3
    assert run(folder, out, resume=True)[1].calls == []


def test_an_interrupt_in_the_middle_leaves_nothing_half_written(scans, tmp_path):
    folder, _ = scans
    out = tmp_path / "out"
    summary, _ = run(folder, out, Frames(4, KeyboardInterrupt()), workers=1)
    assert summary.interrupted and sorted(contents(out)) == ["0.tif"]
    assert run(folder, out, resume=True)[1].calls == ["1.tif"] * 3 + ["2.tif"] * 3


class TestInPlace:
    def test_stacks_are_replaced_and_never_twice(self, scans):
        folder, arrays = scans
        run(folder, None)
        assert all(np.array_equal(tifffile.imread(folder / name), 255 - array) for name, array in arrays.items())
        assert sorted(contents(folder)) == sorted(arrays)
        assert run(folder, None, resume=True)[1].calls == []

    @pytest.mark.parametrize("error", [ModelError("no"), KeyboardInterrupt()])
    def test_a_failure_leaves_the_input(self, scans, error):
        folder, _ = scans
        before = contents(folder)
        run(folder, None, Frames(1, error), workers=1)
        after = contents(folder)
        assert after["0.tif"] == before["0.tif"] and after.keys() == before.keys()


def test_existing_outputs_are_kept_without_overwrite(scans, tmp_path):
    folder, _ = scans
    out = tmp_path / "out"
    out.mkdir()
    (out / "1.tif").write_bytes(b"mine")
    summary, restorer = run(folder, out)
    assert (out / "1.tif").read_bytes() == b"mine" and "1.tif" not in restorer.calls
    assert [Path(path).name for path, _ in summary.failures] == ["1.tif"]


def test_progress_is_the_share_of_the_whole_stack(scans, tmp_path):
    class Watcher:
        shares: list[float] = []

        def started(self, job, frames=0):
            self.shares.clear()

        def progress(self, done):
            self.shares.append(done)

        def finished(self, job, record, error):
            pass

    run(scans[0], tmp_path / "out", watcher=Watcher(), workers=1)
    assert Watcher.shares == pytest.approx([(frame + row / 12) / 3 for frame in range(3) for row in (0, 8)])


def test_the_first_frame_is_compared(scans, tmp_path):
    folder, arrays = scans
    seen = []

    def compare(before, after, file):
        seen.append((before.read_rows(0, 12)[:, :, 0], after.read_rows(0, 12)[:, :, 0], file.path.name))
        file.commit(lambda path: None)

    summary, _ = run(folder, tmp_path / "out", compare=compare, workers=1)
    before, after, name = seen[1]
    assert summary.ok == 3 and name == "1_compare.png"
    assert np.array_equal(before, arrays["1.tif"][0]) and np.array_equal(after, 255 - arrays["1.tif"][0])
    assert records(tmp_path / "out")[0]["warnings"] == ["all alike", "frame of 1", "frame of 2", "frame of 3"]


def test_a_damaged_stack_is_refused_before_any_work_and_salvaged_on_request(tmp_path):
    folder, out = tmp_path / "scans", tmp_path / "out"
    array = stack(folder / "0.tif", 4, contiguous=True, compression="zlib")
    with tifffile.TiffFile(folder / "0.tif") as tif:
        third = tif.pages[2].offset
    (folder / "0.tif").write_bytes((folder / "0.tif").read_bytes()[:third])
    summary, restorer = run(folder, out)
    assert restorer.calls == [] and "ends early" in summary.failures[0][1] and contents(out) == {}
    summary, restorer = run(folder, out, read=ReadOptions(frames="all", salvage=True))
    assert (summary.ok, summary.salvaged, summary.exit_code) == (1, 1, ExitCode.SOME_FAILED)
    assert len(restorer.calls) == len(tifffile.imread(out / "0.tif")) == 2
    assert np.array_equal(tifffile.imread(out / "0.tif"), 255 - array[:2])


def test_stacks_do_not_pass_through_memory(scans, tmp_path, monkeypatch):
    monkeypatch.setattr(worker_module, "MemorySink", None)
    opened = []
    monkeypatch.setattr(PictureFile, "picture", lambda *args: opened.append(args))
    assert run(scans[0], tmp_path / "out")[0].ok == 3
    assert opened == [], "frames come one by one, none is decoded ahead"


def test_a_stack_larger_than_a_classic_tiff_is_a_big_tiff(scans, tmp_path, monkeypatch):
    monkeypatch.setattr("restore.io.streams.BIG_TIFF_ABOVE", 3 * 12 * 16 - 1)
    run(scans[0], tmp_path / "out")
    assert (tmp_path / "out/0.tif").read_bytes()[:4] == b"II+\0"


# --- the parts -----------------------------------------------------------------------------------------------


class Counted:
    """A `FrameSource` of fresh pictures that must be gone before the next is made."""

    def __init__(self, count: int, height: int = 8):
        self.number, self.alive = count, []

    def where(self, index: int) -> str:
        return f"frame {index}"

    def frame(self, index: int):
        if index >= self.number:
            raise IndexError(index)
        assert all(one() is None for one in self.alive), "the frame before is still held"
        source = Picture.from_array(corpus.pattern(8, 8, 1, seed=index))
        self.alive.append(weakref.ref(source))
        return source


class Plain(Negative):
    """Makes its sink and writes nothing."""

    def run(self, sources, create_sink, progress=None):
        self.calls.append("")
        create_sink("result", sources[0].info)
        return Report(warnings=(f"warning {len(self.calls)}",))


def memory(name, info):
    return MemorySink(info)


@pytest.mark.parametrize("inputs", [1, 2])
def test_one_frame_is_held_at_a_time(inputs):
    sequences = [Counted(50) for _ in range(inputs)]
    report = restore_sequence(sequences, 50, Plain(), memory)
    assert all(len(one.alive) == 50 for one in sequences) and report.decisions["frames"] == "50"


def test_a_frame_too_few_or_too_many_is_a_changed_file():
    for frames, promised in ((2, 3), (4, 3), (0, 3)):
        with pytest.raises(FileError, match="changed while it was read"):
            restore_sequence([Counted(frames)], promised, Plain(), memory)


def test_warnings_of_a_long_stack_are_cut():
    report = restore_sequence([Counted(50)], 50, Plain(), memory)
    assert report.warnings == [f"warning {n}" for n in range(1, 21)] + ["30 more warnings about other frames"]


def test_inspect_counts_and_refuses(tmp_path):
    def inspected(name, read=ALL, save=None):
        options = BatchOptions(read=read, save=save or SaveOptions())
        return inspect(job(path, tmp_path / name), averaging(1), options)

    path = tmp_path / "a.tif"
    stack(path, 5)
    actual = inspected("out.tif")
    assert (actual.frames, actual.nbytes, actual.info.height) == (5, {"result": 5 * 12 * 16}, 12)
    assert inspected("out.tif", save=SaveOptions(depth="16")).nbytes == {"result": 2 * 5 * 12 * 16}
    for name in ("out.png", "out.jpg"):
        with pytest.raises(
            UnsupportedError, match=rf"{name}: cannot write a stack.*Write \.tif, or use --frames first"
        ):
            inspected(name)
        assert inspected(name, ReadOptions(frames="first")).frames == 1
    with pytest.raises(LimitError):
        inspected("out.tif", ReadOptions(frames="all", max_pixels=100))


def test_one_page_may_be_written_to_any_format(tmp_path):
    folder = tmp_path / "in"
    write_picture(folder / "a.tif", 3)
    assert run_batch([job(folder / "a.tif", tmp_path / "a.png")], Negative(), BatchOptions(read=ALL)).ok == 1
    before, after = open_picture(folder / "a.tif"), open_picture(tmp_path / "a.png")
    assert after.info.format == "png"
    assert np.array_equal(after.read_rows(0, 16), 255 - before.read_rows(0, 16))
