"""The real command in its own process: start-up, streams, signals, and kills at random moments."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from restore.inference.history import read_ledger
from restore.inference.ledger import LEDGER_NAME, find_leftovers

from .conftest import command, environment, run_command, write_noisy

HELP_OVER_IMPORTS = 5.0
"""Most CPU time of --help, over that of the imports below: 0.5 s where they take 0.1 s."""
IMPORTS = (
    "import argparse, asyncio, concurrent.futures, dataclasses, email.message, http.client, importlib.metadata, "
    "inspect, json, logging.config, typing, unittest.mock, xml.dom.minidom\n"
)
CPU_TIME = "import time; print(time.process_time())\n"  # since the process began
FILES = 70


def _process(code: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """(what it printed last, all that it did) of Python code in an interpreter of its own."""
    ran = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    return float(ran.stdout.rsplit("\n", 2)[-2]), ran


def test_help_is_quick_and_imports_nothing_heavy():
    """CPU time, best of five, against this machine's own for a part of the standard library, best of as many, in
    turn; the modules are those of the same start-up.
    """
    code = (
        "import sys; from restore.cli.main import main; code = main(['denoise', '--help'])\n"
        "heavy = {'torch', 'cv2', 'numpy', 'PIL', 'skimage', 'rich'} & set(sys.modules)\n"
        f"{CPU_TIME}sys.exit(' '.join(heavy) or code)"
    )
    helps, imports = [], []
    for _ in range(5):
        seconds, ran = _process(code)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "--strength" in ran.stdout
        helps.append(seconds)
        imports.append(_process(IMPORTS + CPU_TIME)[0])
        if min(helps) <= HELP_OVER_IMPORTS * min(imports):
            break
    assert min(helps) <= HELP_OVER_IMPORTS * min(imports)


def test_idle_threads_sleep_is_set_before_torch_is_loaded():
    code = "import restore.cli.main, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    env = environment()
    env.pop("OMP_WAIT_POLICY", None)
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout == "PASSIVE False\n"


HOSTILE = {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_streams_that_cannot_show_the_name(tmp_path):
    """LANG=C and ASCII streams: the line is escaped, not a crash."""
    ran = run_command("denoise", tmp_path / "фото.png", env=environment(**HOSTILE))
    assert ran.returncode == 3
    assert ran.stderr.count("\n") == 1 and "\\u0444" in ran.stderr.replace("\\udcd1\\udc84", "\\u0444")
    assert "Traceback" not in ran.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX shell")
@pytest.mark.parametrize(
    "closing",
    [*(pytest.param(each, marks=pytest.mark.slow) for each in (">&-", "2>&-")), "<&- >&- 2>&-", "| head -c 0"],
)
def test_closed_streams(tmp_path, closing):
    (tmp_path / "bad.png").write_bytes(b"")
    line = f"{' '.join(command('denoise', 'bad.png', '--dry-run'))} {closing}"
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (1, "")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.png"]


def test_a_whole_run_under_hostile_streams(tmp_path):
    """A closed stdout and an ASCII stderr while a picture with an accent is denoised; the bytes are right."""
    source = write_noisy(tmp_path / "é.png")
    words = ("denoise", source, tmp_path / "out.png", "--method", "classical", "--json")
    reader, writer = os.pipe()
    os.close(reader)
    ran = run_command(*words, env=environment(**HOSTILE), stdout=writer)
    os.close(writer)
    assert ran.returncode == 0 and "Traceback" not in ran.stderr
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow  # tests/faults/test_kills.py has shorter ones
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_kill_9_at_random_moments_then_resume_equals_an_uninterrupted_run(tmp_path, restore):
    """SIGKILL twice, SIGINT and SIGTERM once each, at seeded random moments of one folder run.

    After each: no output differs from the uninterrupted run's, every ledger line is true, and after the
    signals that allow a clean stop nothing half-written is left and the exit code is 130.
    """
    rng = random.Random(5)
    photos, out, whole = tmp_path / "photos", tmp_path / "out", tmp_path / "whole"
    for number in range(FILES):
        write_noisy(photos / f"{'ab'[number % 2]}/{number:02}.png", number, (64, 96, 3))
    assert restore("denoise", photos, whole, "-q").code == 0
    expected = _outputs(whole)
    assert len(expected) == FILES
    options = ("--method", "classical", "-q", "--threads", "1", "--workers", "2", "--resume")
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        enough = _lines(out) + rng.randint(2, 6)
        with subprocess.Popen(
            command("denoise", photos, out, *options), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            _wait(lambda enough=enough, process=process: _lines(out) >= enough or process.poll() is not None)
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(number)
            _, printed = process.communicate(timeout=60)
        assert process.returncode == (-9 if number == signal.SIGKILL else 130), printed
        so_far = _outputs(out)
        assert so_far.items() <= expected.items(), "what has its final name is whole"
        recorded = {e["outputs"]["result"]["path"] for e in read_ledger(out / LEDGER_NAME) if e.get("status") == "ok"}
        assert so_far.keys() <= recorded and len(recorded - so_far.keys()) <= 1, "a name is given after its line"
        if number != signal.SIGKILL:
            assert recorded == so_far.keys()
            assert printed == b"restore: interrupted; the same command with --resume does the rest\n"
    assert _lines(out) < FILES, "the kills came before the end, or this tests nothing"
    ran = restore("denoise", photos, out, "--resume", "--json")
    assert (ran.code, _outputs(out), find_leftovers(out)) == (0, expected, {})
    assert ran.json["summary"]["ok"] + ran.json["summary"]["kept"] == FILES
    done = [e["outputs"]["result"]["path"] for e in read_ledger(out / LEDGER_NAME) if e.get("status") == "ok"]
    assert len(done) <= len(expected) + 2 and set(done) == expected.keys(), "twice only what a kill kept from its name"


def _outputs(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("[!.]*.png")}


def _lines(out: Path) -> int:
    ledger = out / LEDGER_NAME
    return sum("status" in entry for entry in read_ledger(ledger)) if ledger.exists() else 0


def _wait(until, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        time.sleep(0.01)


def test_the_installed_command_is_this_one():
    script = shutil.which("restore", path=str(Path(sys.executable).parent))
    if script is None:
        pytest.skip("the package is not installed")
    ran = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, env=environment())
    assert ran.stdout.startswith("restore 0.")
