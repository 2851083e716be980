"""Batch and ledger: isolation, resume does exactly the missing work, nothing half-written, flat memory."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

import restore.inference.worker as worker_module
from restore.errors import ExitCode, FileError, ModelError
from restore.inference.batch import BatchOptions, Job, run_batch
from restore.inference.history import read_ledger
from restore.inference.ledger import LEDGER_NAME, Ledger, find_leftovers
from restore.inference.records import FileRecord, work_key
from restore.io.atomic import StagedFile
from restore.io.codecs import PictureFile, ReadOptions, SaveOptions

from .toys import Negative, contents, job, records, write_picture


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for number in range(6):
        write_picture(folder / f"{number}.png", number)
    return folder


def jobs_of(folder: Path, out: Path | None):
    for path in sorted(folder.glob("*.png")):
        target = path if out is None else out / path.name
        yield job(path, target, in_place=out is None)


def run(folder, out, restorer=None, *, resume=False, **options):
    restorer = restorer or Negative()
    with Ledger(out or folder, resume=resume) as ledger:
        settings = BatchOptions(**options)
        return run_batch(jobs_of(folder, out), restorer, settings, ledger=ledger), restorer


def test_all_workers_write_the_same_bytes_as_the_serial_path(photos, tmp_path):
    results = []
    for workers in (0, 1, 2, 5):
        summary, _ = run(photos, tmp_path / f"out{workers}", workers=workers)
        assert (summary.ok, summary.exit_code) == (6, ExitCode.OK)
        results.append(contents(tmp_path / f"out{workers}"))
    assert results[0] == results[1] == results[2] == results[3]
    expected = 255 - cv2.imread(str(photos / "3.png"))
    assert np.array_equal(cv2.imread(str(tmp_path / "out2/3.png")), expected)


def test_big_pictures_go_straight_to_their_file_with_the_same_bytes(photos, tmp_path, monkeypatch):
    run(photos, tmp_path / "small")
    monkeypatch.setattr(worker_module, "BIG", 0)
    monkeypatch.setattr(worker_module, "MemorySink", None)
    summary, _ = run(photos, tmp_path / "big")
    assert summary.ok == 6
    assert contents(tmp_path / "big") == contents(tmp_path / "small")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ModelError("not finite"), "E_MODEL", "1.png: not finite"),
        (MemoryError("4 GB"), "E_LIMIT", "out of memory (4 GB)"),
        (ZeroDivisionError("by zero"), "E_RESTORE", "unexpected ZeroDivisionError (by zero)"),
        (OSError(5, "Input/output error"), "E_IO", "Input/output error"),
    ],
)
def test_one_bad_file_changes_no_other(photos, tmp_path, workers, error, code, says):
    run(photos, tmp_path / "good")
    (photos / "4.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    summary, _ = run(photos, tmp_path / "out", Negative(fails={"1.png": error}), workers=workers)
    good = contents(tmp_path / "good")
    assert contents(tmp_path / "out") == {name: good[name] for name in ("0.png", "2.png", "3.png", "5.png")}
    assert [Path(path).name for path, _ in summary.failures] == ["1.png", "4.png"]
    assert summary.exit_code == ExitCode.SOME_FAILED
    failed = {entry["inputs"][0]: entry["error"] for entry in records(tmp_path / "out") if entry["status"] == "failed"}
    assert failed["1.png"]["code"] == code
    assert says in failed["1.png"]["line"] and "1.png" in failed["1.png"]["line"]
    assert "4.png" in failed["4.png"]["line"]


def test_a_ledger_line_says_what_was_done(photos, tmp_path):
    run(photos, tmp_path / "out")
    entry = records(tmp_path / "out")[2]
    source, output = (photos / "2.png").read_bytes(), (tmp_path / "out/2.png").read_bytes()
    assert entry["status"] == "ok"
    assert entry["inputs"] == ["2.png"]
    assert entry["input_sha256"] == [hashlib.sha256(source).hexdigest()]
    written = {"path": "2.png", "sha256": hashlib.sha256(output).hexdigest(), "bytes": len(output)}
    assert entry["outputs"] == {"result": written}
    assert not {"input", "output"} & entry.keys()
    assert entry["decisions"] == {"method": "negative"}
    assert entry["run"] == {"tiles": 1}
    assert entry["warnings"] == ["nothing to worry about"]


@pytest.mark.parametrize("workers", [1, 3])
def test_resume_does_exactly_the_missing_work(photos, tmp_path, workers):
    out = tmp_path / "out"
    run(photos, out, Negative(fails={"1.png": ModelError("once")}), workers=workers)
    (out / "0.png").unlink()  # lost
    write_picture(photos / "6.png", 6)  # new
    stamp = (out / "5.png").stat().st_mtime_ns
    summary, restorer = run(photos, out, resume=True, workers=workers)
    assert restorer.calls == ["0.png", "1.png", "6.png"]
    assert (summary.ok, summary.kept, summary.exit_code) == (3, 4, ExitCode.OK)
    assert (out / "5.png").stat().st_mtime_ns == stamp
    run(photos, tmp_path / "fresh")
    assert contents(out) == contents(tmp_path / "fresh")
    assert run(photos, out, resume=True, workers=workers)[1].calls == []


@pytest.mark.parametrize(
    "change",
    [
        {"restorer": Negative("negative-2")},
        {"save": SaveOptions(compression="small")},
        {"read": ReadOptions(salvage=True)},
        {"read": ReadOptions(frames="first")},
    ],
    ids=["fingerprint", "save", "salvage", "frames"],
)
def test_other_settings_are_other_work(photos, tmp_path, change):
    run(photos, tmp_path / "out")
    _, restorer = run(photos, tmp_path / "out", resume=True, **change)
    assert len(restorer.calls) == 6


def test_a_changed_input_is_done_again_and_limits_are_not_settings(photos, tmp_path):
    run(photos, tmp_path / "out")
    write_picture(photos / "2.png", 99)
    _, restorer = run(photos, tmp_path / "out", resume=True, read=ReadOptions(max_pixels=10**6), workers=1)
    assert restorer.calls == ["2.png"]


def test_a_torn_last_line_is_one_file_to_redo(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    path = out / LEDGER_NAME
    text = path.read_bytes()
    path.write_bytes(text[: text.rindex(b"\n", 0, -1) + 30])
    (out / "5.png").unlink()  # it appears only after its line
    assert run(photos, out, resume=True)[1].calls == ["5.png"]
    assert run(photos, out, resume=True)[1].calls == []
    assert sum("start" in entry for entry in read_ledger(path)) == 3, "the line after the torn one is whole"


def test_garbage_in_the_ledger_is_ignored(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    lines = (out / LEDGER_NAME).read_bytes().splitlines(keepends=True)
    junk = b'\xff\xfe\n[1]\n"x"\n{}\n{"key": 3, "status": "ok"}\n{"key": "no hex", "status": "ok", "outputs": {}}\n\n'
    (out / LEDGER_NAME).write_bytes(lines[0] + junk + b"".join(lines[1:]))
    assert run(photos, out, resume=True)[1].calls == []


def test_existing_outputs_are_refused_without_overwrite(photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "3.png").write_bytes(b"mine")
    summary, restorer = run(photos, out)
    assert (out / "3.png").read_bytes() == b"mine"
    assert "3.png" not in restorer.calls
    assert [Path(path).name for path, _ in summary.failures] == ["3.png"]
    assert run(photos, out, overwrite=True)[0].ok == 6


def test_leftovers_of_a_killed_run_go_when_their_output_is_redone(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    (out / "0.png").unlink()
    torn = out / ".0.png.0123abcd.partial"
    other = out / ".99.png.0123abcd.partial"
    torn.write_bytes(b"half")
    other.write_bytes(b"somebody else's")
    run(photos, out, resume=True)
    assert not torn.exists()
    assert other.exists(), "only what belongs to an output of this run"
    assert find_leftovers(out) == {out / "99.png": [other]}


class TestInPlace:
    def test_results_replace_inputs_and_keep_their_permissions(self, photos):
        before = contents(photos)
        (photos / "1.png").chmod(0o640)
        summary, _ = run(photos, None)
        assert summary.ok == 6
        assert stat.S_IMODE((photos / "1.png").stat().st_mode) == 0o640
        assert set(contents(photos)) == set(before), "no temporary file is left"
        assert all(contents(photos)[name] != before[name] for name in before)

    def test_a_failure_leaves_the_input_and_nothing_else(self, photos, monkeypatch):
        def broken(*args):
            raise OSError(5, "Input/output error")

        before = contents(photos)
        monkeypatch.setattr(StagedFile, "publish", broken)
        summary, _ = run(photos, None)
        assert len(summary.failures) == 6
        assert contents(photos) == before

    def test_resume_never_restores_a_file_twice(self, photos):
        run(photos, None, Negative(fails={"2.png": ModelError("once")}))
        after = contents(photos)
        _, restorer = run(photos, None, resume=True)
        assert restorer.calls == ["2.png"]
        assert {k: v for k, v in contents(photos).items() if k != "2.png"} == {
            k: v for k, v in after.items() if k != "2.png"
        }

    @pytest.mark.parametrize("instant", ["before the line", "after the line", "after the rename"])
    def test_a_kill_at_any_instant_is_safe(self, photos, tmp_path, monkeypatch, instant):
        expected = tmp_path / "expected"
        run(photos, expected)
        add, publish, crashed = Ledger.add, StagedFile.publish, []

        class Killed(BaseException):
            pass

        def add_and_die(self, record):
            if record.inputs == ("3.png",) and instant == "before the line":
                raise Killed
            add(self, record)
            if record.inputs == ("3.png",) and instant == "after the line":
                raise Killed

        def publish_and_die(staged):
            publish(staged)
            if staged.path.name == "3.png" and instant == "after the rename":
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "add", add_and_die)
            patch.setattr(StagedFile, "publish", publish_and_die)
            with pytest.raises(Killed):
                run(photos, None, workers=1)
            crashed.append(True)
        run(photos, None, resume=True)
        assert crashed and contents(photos) == contents(expected)


def test_an_interrupt_ends_the_batch_with_a_consistent_ledger(photos, tmp_path):
    out = tmp_path / "out"
    summary, _ = run(photos, out, Negative(fails={"3.png": KeyboardInterrupt()}))
    assert summary.interrupted and summary.exit_code == ExitCode.INTERRUPTED
    assert (
        sorted(contents(out))
        == [entry["outputs"]["result"]["path"] for entry in records(out)]
        == ["0.png", "1.png", "2.png"]
    )
    assert run(photos, out, resume=True)[1].calls == ["3.png", "4.png", "5.png"]


def test_a_file_that_changes_while_it_is_read_fails(photos, tmp_path, monkeypatch):
    real = PictureFile.picture

    def growing(self, **options):
        picture = real(self, **options)
        if self.path.name == "2.png":
            self.path.write_bytes(self.path.read_bytes() + b"more")
        return picture

    monkeypatch.setattr(PictureFile, "picture", growing)
    summary, _ = run(photos, tmp_path / "out")
    assert [line for _, line in summary.failures] == [
        f"{photos / '2.png'}: the file changed while it was read. Run it again when it is complete"
    ]


def test_a_second_run_on_the_same_folder_is_refused(photos, tmp_path):
    out = tmp_path / "out"
    run(photos, out)
    code = (
        "import sys, pathlib\n"
        "from restore.inference.ledger import Ledger\n"
        f"with Ledger(pathlib.Path({str(out)!r})): print('locked', flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"locked\n"
        with pytest.raises(FileError, match=rf"another run is writing.*process {holder.pid}"):
            Ledger(out)
        holder.kill()
        holder.wait()
    run(photos, out, resume=True)  # the lock went with the process
    with Ledger(out), pytest.raises(FileError, match=f"process {os.getpid()}"):
        Ledger(out)


def test_a_full_disk_under_the_ledger_stops_the_run(photos, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    with Ledger(tmp_path / "out") as ledger:
        monkeypatch.setattr("restore.inference.ledger.os.fsync", full)
        with pytest.raises(FileError, match=r"the ledger cannot be written.*No space left.*--resume"):
            ledger.add(FileRecord("failed", ("x",)))


def test_memory_stays_flat_over_many_files(tmp_path):
    """Ten thousand jobs: nothing but counters, and a ledger index of well under 300 bytes a file."""
    missing = tmp_path / "none.png"
    jobs = (Job((missing,), {}, (f"{i}",), {}, skip="not a picture") for i in range(10_000))
    tracemalloc.start()
    summary = run_batch(jobs, Negative(), BatchOptions(workers=2))
    assert summary.skipped == 10_000
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    with (tmp_path / LEDGER_NAME).open("w") as file:
        file.write('{"start": {}}\n')
        for number in range(10_000):
            key = work_key([f"{number:064x}"], "s", {"result": f"a/long/enough/name/{number}.png"})
            outputs = {"result": {"path": f"{number}.png", "sha256": f"{number:064x}", "bytes": 10**6}}
            line = {"status": "ok", "key": key, "outputs": outputs}
            file.write(json.dumps(line) + "\n")
    tracemalloc.reset_peak()
    with Ledger(tmp_path, resume=True):
        used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert used < 300 * 10_000
