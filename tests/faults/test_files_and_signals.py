"""Files that are not ours, files that cannot be read, ledgers that lie, signals: each fault by its number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import restore as package
from restore.inference.ledger import LEDGER_NAME
from restore.inference.worker import Worker
from tests.cli.conftest import Ran

Run = Callable[..., Ran]
PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setenv("RESTORE_TASKS", "tests.toys")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A folder with three pictures in `in`, and a PSF; the current one."""
    for name in ("in/a.png", "in/b.png", "in/c.png", "psf.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        package.write(PIXELS if name != "psf.png" else np.full((5, 5), 255, np.uint8), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


WIENER = ("deconv", "in/a.png", "--method", "wiener")
SAVING = (*WIENER, "out.png", "--psf", "gauss:1.2", "--save-psf")


@pytest.mark.parametrize(
    ("number", "words", "says"),
    [
        ("X7 input", (*SAVING, "in/a.png"), "no PSF is written"),
        ("X7 other", (*SAVING, "in/b.png"), "no PSF is written"),
        ("X7 psf", (*WIENER, "psf.png", "--psf", "psf.png", "--overwrite"), "what another option names"),
        ("X7 link", ("split", "in", "out", "--overwrite"), "an input could be replaced"),
    ],
)
def test_x7_nothing_that_is_read_is_replaced(restore: Run, home, number, words, says):
    (home / "out").mkdir()
    if number == "X7 link":
        (home / "out/a.png").symlink_to("../in/b.png")
    before = {name: data for name, data in files(home).items() if not name.startswith("out/")}
    ran = restore(*words)
    assert ran.code == 1 and says in ran.err
    assert {name: data for name, data in files(home).items() if not name.startswith("out")} == before


def test_x8_what_a_run_refused_is_not_replaced_by_resume(restore: Run, home):
    (home / "out").mkdir()
    (home / "out/b.png").write_bytes(b"mine")
    for flags in ((), ("--resume",), ("--resume",)):
        ran = restore("split", "in", "out", *flags)
        assert ran.code == 1 and "out/b.png: exists already" in ran.err
        assert (home / "out/b.png").read_bytes() == b"mine" and (home / "out/c.png").exists()


def test_62b_what_cannot_be_reached_is_named_and_counts(restore: Run, home, monkeypatch):
    (home / "in/dangling.png").symlink_to("nowhere.png")
    (home / "in/closed").mkdir()
    listdir, stat = os.listdir, Path.stat

    def broken_listdir(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    def broken_stat(self, **options):
        if self.name == "b.png":
            raise OSError(5, "Input/output error", str(self))
        return stat(self, **options)

    monkeypatch.setattr(os, "listdir", broken_listdir)
    monkeypatch.setattr(Path, "stat", broken_stat)
    ran = restore("split", "in", "out")
    assert ran.code == 1 and ran.err.splitlines()[-4] == "2 done, 3 failed"
    assert "in/b.png: cannot be reached: Input/output error" in ran.err
    assert "in/closed: cannot list this folder: Permission denied" in ran.err
    assert "in/dangling.png: cannot be reached: No such file or directory" in ran.err


def test_58_a_picture_deleted_meanwhile_is_named_and_counts(restore: Run, home, monkeypatch):
    compute = Worker.compute

    def deleting(self, work, progress=None):
        (home / "in/c.png").unlink(missing_ok=True)
        compute(self, work, progress)

    monkeypatch.setattr(Worker, "compute", deleting)
    ran = restore("split", "in", "out", "--workers", "0")
    assert ran.code == 1 and "in/c.png: cannot be reached: No such file or directory" in ran.err
    assert "2 done, 1 failed" in ran.err


@pytest.mark.parametrize("line", ['{"status": "ok", "key": "zz", "inputs": [], "outputs": {}}', "[" * 30_000])
def test_x9_a_ledger_with_lines_that_lie_is_read(restore: Run, home, line):
    assert restore("split", "in", "out").code == 0
    with (home / "out" / LEDGER_NAME).open("a") as ledger:
        ledger.write(line + "\n")
    ran = restore("split", "in", "out", "--resume")
    assert (ran.code, ran.err.splitlines()[-1]) == (0, "0 done, 3 done before")


@pytest.mark.parametrize("target", ["/dev/zero", "mine.txt"])
def test_x9_a_ledger_that_is_a_link_is_refused(restore: Run, home, target):
    (home / "mine.txt").write_text("mine\n")
    (home / "out").mkdir()
    (home / "out" / LEDGER_NAME).symlink_to(target if target.startswith("/") else f"../{target}")
    for flags in ((), ("--resume",)):
        ran = restore("split", "in", "out", *flags)
        assert ran.code == 3 and "the ledger cannot be written (it is a link)" in ran.err
    assert (home / "mine.txt").read_text() == "mine\n"


def test_68i_what_a_kill_left_in_place_is_cleared(restore: Run, home):
    assert restore("split", "in/a.png", "in/b.png", "--in-place").code == 0
    left = home / "in/.c.png.b33c5b82.partial"
    left.write_bytes(b"half")
    ran = restore("split", "in", "--in-place", "--resume")
    assert (ran.code, ran.err.splitlines()[-1]) == (0, "1 done, 2 done before") and not left.exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("when", "code"), [("import restore.cli.main", 130), ("main.ignore_interrupts()", 0)])
def test_67_a_signal_while_modules_load_and_after_the_last_line(number, when, code):
    """67 and 67b: the exit code is ours, and nothing but one line is printed."""
    kill = f"os.kill(os.getpid(), {int(number)})"
    program = f"import os, restore.__main__ as main; main.end_on_interrupt(); {when}; {kill}"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (code, "restore: interrupted\n" if code else "")
