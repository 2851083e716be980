"""Jobs of several inputs and outputs: all outputs or none, recorded together, and resumed exactly."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

import restore.inference.worker as worker_module
from restore.errors import ExitCode, FileError, ModelError
from restore.inference.batch import BatchOptions, Job, Recorder, run_batch
from restore.inference.history import History
from restore.inference.ledger import LEDGER_NAME, Ledger, find_leftovers
from restore.inference.records import FileRecord
from restore.inference.worker import Worker
from restore.io import read_picture
from restore.io.atomic import StagedFile
from restore.io.codecs import PictureFile, ReadOptions
from restore.models.spec import ModelSpec

from .toys import Computes, Negative, contents, job, records, two_outputs, write_picture

SIZES = pytest.mark.parametrize("big", [False, True], ids=["in memory", "into files"])


@pytest.fixture
def photos(tmp_path):
    for number in range(4):
        write_picture(tmp_path / "photos" / f"{number}.png", number)
    return tmp_path / "photos"


def jobs_of(folder: Path, out: Path | None):
    for path in sorted(folder.glob("?.png")):
        home = out or folder
        yield job(path, home / path.name, extra={"map": home / f"{path.stem}_map.png"}, in_place=out is None)


def run(folder, out, restorer=None, *, resume=False, **options):
    restorer = restorer or two_outputs()
    with Ledger(out or folder, resume=resume) as ledger:
        settings = BatchOptions(**({"workers": 1} | options))
        return run_batch(jobs_of(folder, out), restorer, settings, ledger=ledger), restorer


def names(restorer):
    return [call[0] for call in restorer.calls]


@SIZES
def test_both_outputs_are_written_and_recorded(photos, tmp_path, monkeypatch, big):
    if big:
        monkeypatch.setattr(worker_module, "BIG", 0)
        monkeypatch.setattr(worker_module, "MemorySink", None)
    out = tmp_path / "out"
    assert run(photos, out)[0].ok == 4
    assert sorted(contents(out)) == sorted(f"{n}{end}.png" for n in range(4) for end in ("", "_map"))
    source = read_picture(photos / "2.png").pixels
    assert np.array_equal(read_picture(out / "2.png").pixels, 255 - source)
    assert np.array_equal(read_picture(out / "2_map.png").pixels, source[:, :, :1] // 2)
    entry = records(out)[2]
    assert {name: one["path"] for name, one in entry["outputs"].items()} == {"result": "2.png", "map": "2_map.png"}
    assert {name: one["bytes"] for name, one in entry["outputs"].items()} == {
        "result": (out / "2.png").stat().st_size, "map": (out / "2_map.png").stat().st_size,
    }  # fmt: skip


@SIZES
@pytest.mark.parametrize("output", ["result", "map"])
@pytest.mark.parametrize("error", [ModelError("not finite"), KeyboardInterrupt()])
def test_no_output_stays_if_another_failed(photos, tmp_path, monkeypatch, big, output, error):
    monkeypatch.setattr(worker_module, "BIG", 0 if big else 1 << 30)
    out = tmp_path / "out"
    summary, restorer = run(photos, out, two_outputs(fails={output: error}))
    failed = isinstance(error, ModelError)
    assert summary.exit_code == (ExitCode.SOME_FAILED if failed else ExitCode.INTERRUPTED)
    assert "0.png" not in contents(out) and "0_map.png" not in contents(out)
    assert find_leftovers(out) == {}
    assert names(run(photos, out, resume=True)[1]) == names(restorer)[:1] + (
        [] if failed else ["1.png", "2.png", "3.png"]
    )


def test_a_result_that_cannot_be_written_takes_the_other_with_it(photos, tmp_path, monkeypatch):
    """The second file of the second job does not survive its check: neither has its name, both names stay free."""
    real, out = worker_module.create, tmp_path / "out"

    def create(path, *args):
        if path.name == "1_map.png":
            raise OSError(28, "No space left on device")
        return real(path, *args)

    monkeypatch.setattr(worker_module, "create", create)
    summary, _ = run(photos, out)
    assert [Path(path).name for path, _ in summary.failures] == ["1.png"]
    assert sorted(contents(out)) == sorted(f"{n}{end}.png" for n in (0, 2, 3) for end in ("", "_map"))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("instant", ["before the line", "after the line", "between the names", "after the names"])
def test_resume_after_a_kill_does_exactly_the_missing_work(photos, tmp_path, monkeypatch, instant, workers):
    class Killed(BaseException):
        pass

    whole, out = tmp_path / "whole", tmp_path / "out"
    run(photos, whole)
    publish, discard, add = StagedFile.publish, StagedFile.discard, Ledger.add
    killed = []

    def die():
        killed.append(True)
        raise Killed

    def publish_and_die(self):
        if self.path.name == "2_map.png" and instant == "between the names":
            die()
        publish(self)
        if self.path.name == "2_map.png" and instant == "after the names":
            die()

    def add_and_die(self, record: FileRecord):
        if record.inputs == ("2.png",) and instant == "before the line":
            die()
        add(self, record)
        if record.inputs == ("2.png",) and instant == "after the line":
            die()

    with monkeypatch.context() as patch:
        patch.setattr(StagedFile, "publish", publish_and_die)
        patch.setattr(StagedFile, "discard", lambda self: None if killed else discard(self))  # as a kill leaves it
        patch.setattr(Ledger, "add", add_and_die)
        with pytest.raises(Killed):
            run(photos, out, workers=workers)
    before = {name: (out / name).stat().st_mtime_ns for name in ("0.png", "0_map.png", "1.png", "1_map.png")}
    _, restorer = run(photos, out, resume=True, workers=workers)
    assert names(restorer) == (["3.png"] if instant == "after the names" else ["2.png", "3.png"])
    assert contents(out) == contents(whole) and find_leftovers(out) == {}
    assert before == {name: (out / name).stat().st_mtime_ns for name in before}


@pytest.mark.parametrize("lost", ["2.png", "2_map.png"])
def test_a_job_is_done_only_with_every_output(photos, tmp_path, lost):
    out = tmp_path / "out"
    run(photos, out)
    expected = contents(out)
    (out / lost).unlink()
    assert names(run(photos, out, resume=True)[1]) == ["2.png"]
    assert contents(out) == expected


@pytest.mark.parametrize("changed", ["2.png", "2_map.png"])
def test_a_result_that_was_changed_by_hand_is_not_replaced(photos, tmp_path, changed):
    out = tmp_path / "out"
    run(photos, out)
    (out / changed).write_bytes((out / changed).read_bytes() + b"?")
    before = contents(out)
    summary, restorer = run(photos, out, resume=True)
    assert names(restorer) == [] and contents(out) == before
    assert [line for _, line in summary.failures] == [
        f"{out / changed}: exists already (it is not as an earlier run wrote it). "
        "Move it away, or give --overwrite in place of --resume to replace it"
    ]
    assert run(photos, out, resume=True, overwrite=True)[0].ok == 1


def test_what_a_run_refused_is_refused_when_it_is_resumed(photos, tmp_path):
    out = tmp_path / "out"
    write_picture(out / "2.png", 99)
    before = (out / "2.png").read_bytes()
    for resume in (False, True, True):
        summary, _ = run(photos, out, resume=resume)
        assert len(summary.failures) == 1 and (out / "2.png").read_bytes() == before


def test_what_an_earlier_run_wrote_is_replaced_when_its_input_changed(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    write_picture(photos / "2.png", 99)
    assert names(run(photos, out, resume=True)[1]) == ["2.png"]
    assert np.array_equal(read_picture(out / "2.png").pixels, 255 - read_picture(photos / "2.png").pixels)


def test_lines_of_another_layout_say_nothing(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    old = (out / LEDGER_NAME).read_text().replace('"outputs"', '"output"')
    (out / LEDGER_NAME).write_text(old)
    lines = [line for _, line in run(photos, out, resume=True)[0].failures]
    assert len(lines) == 4 and all("(no ledger says that restore wrote it)" in line for line in lines)


def test_in_place_replaces_the_input_and_puts_the_other_output_beside_it(photos):
    before = {path.name: read_picture(path).pixels for path in photos.iterdir()}
    assert run(photos, None)[0].ok == 4
    for name, pixels in before.items():
        assert np.array_equal(read_picture(photos / name).pixels, 255 - pixels)
        assert np.array_equal(read_picture(photos / name.replace(".", "_map.")).pixels, pixels[:, :, :1] // 2)
    after = contents(photos)
    assert len(after) == 8 and run(photos, None, resume=True)[1].calls == [] and contents(photos) == after
    (photos / "1_map.png").unlink()
    assert run(photos, None, resume=True)[1].calls == [], "what the map was made of is gone"


# --- two inputs ----------------------------------------------------------------------------------------------

DIFFERENCE = ModelSpec("toy", inputs=("picture", "dark"))


def difference(**options):
    return Computes(lambda arrays: {"result": arrays[0] - np.minimum(*arrays)}, DIFFERENCE, **options)


def pair_of(folder: Path, target: Path, **options) -> Job:
    sources = (folder / "0.png", folder / "1.png")
    return Job(sources, {"result": target}, ("0.png", "1.png"), {"result": target.name}, **options)


def test_two_inputs_go_in_together(photos, tmp_path):
    out, restorer = tmp_path / "out", difference()
    for resume in (False, True):
        with Ledger(out, resume=resume) as ledger:
            jobs = [pair_of(photos, out / "d.png")]
            summary = run_batch(jobs, restorer, BatchOptions(), ledger=ledger)
        assert (summary.ok, summary.kept) == ((0, 1) if resume else (1, 0))
    one, other = (read_picture(photos / f"{n}.png").pixels for n in (0, 1))
    assert np.array_equal(read_picture(out / "d.png").pixels, one - np.minimum(one, other))
    assert restorer.calls == [("0.png", "1.png")]
    entry = records(out)[0]
    assert entry["inputs"] == ["0.png", "1.png"] and len(set(entry["input_sha256"])) == 2


@pytest.mark.parametrize("changed", ["0.png", "1.png"])
def test_a_change_of_either_input_is_other_work(photos, tmp_path, changed):
    out, restorer = tmp_path / "out", difference()
    for resume in (False, True):
        with Ledger(out, resume=resume) as ledger:
            run_batch([pair_of(photos, out / "d.png")], restorer, BatchOptions(), ledger=ledger)
        write_picture(photos / changed, 99)
    assert len(restorer.calls) == 2


@pytest.mark.parametrize("aliased", ["0.png", "1.png"])
def test_no_input_may_be_the_output(photos, aliased):
    before = contents(photos)
    summary = run_batch([pair_of(photos, photos / aliased)], difference(), BatchOptions(overwrite=True))
    assert "is the input itself" in summary.failures[0][1] and contents(photos) == before


def test_a_missing_input_is_named(photos, tmp_path):
    (photos / "1.png").unlink()
    summary = run_batch([pair_of(photos, tmp_path / "d.png")], difference())
    assert summary.failures[0][1].startswith(f"{photos / '1.png'}: cannot read this file")


def test_a_job_with_a_problem_fails_and_says_why(photos, tmp_path):
    with Ledger(tmp_path / "out") as ledger:
        job_ = Job(
            (photos / "0.png",),
            {},
            ("0.png",),
            {},
            problem=FileError("has no counterpart in b", where=photos / "0.png", fix="Move it"),
        )
        summary = run_batch([pair_of(photos, tmp_path / "out/d.png"), job_], difference(), ledger=ledger)
    assert summary.exit_code == ExitCode.SOME_FAILED
    assert summary.failures[0][1].startswith(f"{photos / '0.png'}: has no counterpart in b. Move it")
    assert [entry["status"] for entry in records(tmp_path / "out")] == ["ok", "failed"]


# --- the worker ----------------------------------------------------------------------------------------------


class Sent(Negative):
    """A restorer that may be pickled: its module holds it."""


def test_a_job_travels_to_another_process_and_back(photos, tmp_path):
    out = tmp_path / "out"
    worker = pickle.loads(pickle.dumps(Worker(Sent(), BatchOptions())))
    jobs = [pickle.loads(pickle.dumps(job(photos / f"{n}.png", out / f"{n}.png"))) for n in range(2)]
    (photos / "1.png").write_bytes(b"")
    done, failed = (pickle.loads(pickle.dumps(worker.do(one))) for one in jobs)
    assert (done.record.status, done.error, len(done.staged)) == ("ok", None, 1) and not (out / "0.png").exists()
    assert failed.record.status == "failed" and str(failed.error) == failed.record.error["line"]
    recorder = Recorder()
    recorder.record(done)
    recorder.record(failed)
    assert (recorder.summary.ok, len(recorder.summary.failures)) == (1, 1)
    assert np.array_equal(cv2.imread(str(out / "0.png")), 255 - cv2.imread(str(photos / "0.png")))
    assert str(worker.do(jobs[0]).error).startswith(f"{out / '0.png'}: exists already. ")


def test_a_worker_leaves_the_input_to_the_recorder(photos):
    before = contents(photos)
    done = Worker(Negative(), BatchOptions()).do(job(photos / "0.png", photos / "0.png", in_place=True))
    assert contents(photos).keys() == before.keys() | {file.partial.name for file in done.staged}
    assert (photos / "0.png").read_bytes() == before["0.png"]
    Recorder().record(done)
    assert contents(photos).keys() == before.keys() and (photos / "0.png").read_bytes() != before["0.png"]


def test_what_is_done_is_not_read_again(photos, tmp_path):
    worker, one = Worker(Negative(), BatchOptions()), job(photos / "0.png", tmp_path / "out/0.png")
    with Ledger(tmp_path / "out") as ledger:
        Recorder(ledger).record(worker.do(one))
    again = worker.do(one, History(tmp_path / "out"))
    assert (again.record.status, again.record.reason) == ("skipped", "already done")
    assert worker.restorer.calls == ["0.png"]


@SIZES
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_each_input_is_opened_once(tmp_path, monkeypatch, name, big):
    monkeypatch.setattr(worker_module, "BIG", 0 if big else 1 << 30)
    write_picture(tmp_path / name, 1)
    opened = []
    real = Path.open

    def counting(self, *args, **options):
        opened.append(self.name)
        return real(self, *args, **options)

    monkeypatch.setattr(Path, "open", counting)
    read = ReadOptions(stream_above=0 if big else 1 << 30)
    done = Worker(Negative(), BatchOptions(read=read)).do(job(tmp_path / name, tmp_path / "out.png"))
    assert done.record.status == "ok" and opened.count(name) == 1


def test_the_file_is_closed_before_its_turn_if_it_is_in_memory(photos, tmp_path, monkeypatch):
    """A lookahead holds pixels, not handles; a comparison then reads the pixels."""
    seen = []

    def compare(before, after, file):
        seen.append(np.array_equal(after.read_rows(0, 16), 255 - before.read_rows(0, 16)))
        file.commit(lambda path: None)

    worker = Worker(Negative(), BatchOptions(compare=compare))
    one = job(photos / "0.png", tmp_path / "0.png", compare=tmp_path / "c.png")
    closed = []
    monkeypatch.setattr(PictureFile, "close", lambda self: closed.append(self._file.close()))
    work = worker_module.Work(one)
    worker.identify(work)
    worker.decode(work)
    assert closed
    worker.compute(work)
    worker.encode(work)
    assert seen == [True] and work.finish().record.status == "ok"


@pytest.mark.parametrize("workers", [1, 3])
def test_an_interrupt_closes_what_was_opened_ahead(photos, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(worker_module, "BIG", 0)
    files = []
    real = PictureFile.__init__

    def remembered(self, *args):
        real(self, *args)
        files.append(self._file)

    monkeypatch.setattr(PictureFile, "__init__", remembered)
    summary, _ = run(photos, tmp_path / "out", two_outputs(fails={"map": KeyboardInterrupt()}), workers=workers)
    assert summary.interrupted and files and all(file.closed for file in files)
