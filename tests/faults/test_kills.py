"""Runs that end at any moment, by kill -9 or Ctrl-C: nothing lost, nothing partial, the same result in the end."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest

from restore.inference.ledger import LEDGER_NAME, find_leftovers
from tests.cli.conftest import command, environment, write_noisy

pytestmark = pytest.mark.slow

CONFIG = """
name: tiny
task: denoise
model: {name: plain_unet, arguments: {channels: 3, condition_channels: 1, widths: [8], blocks: [1]}}
objective: {name: supervised, losses: {l1: 1.0}}
degradation: {name: noise}
data: {train: [PHOTOS], crop: 32, held_out: 1, cache: CACHE}
train: {steps: 60, batch: 2, precision: fp32, save_every: 0.01, validate_every: 30, log_every: 10, device: cpu}
"""
BEGUN = """
import sys
from restore.__main__ import end_on_interrupt, main
end_on_interrupt()
print("begun", flush=True)
sys.exit(main())
"""


def visible(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*") if path.name != LEDGER_NAME}


def ended(words: tuple[object, ...], number: signal.Signals, after: float) -> tuple[int, str]:
    """Exit code and errors of a command that gets a signal after so many seconds, if it still runs then.

    What Python itself does before our first statement is waited for: there Ctrl-C is its traceback.
    """
    with subprocess.Popen(
        [sys.executable, "-c", BEGUN, *map(str, words)], env=environment(), stdout=PIPE, stderr=PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        time.sleep(after)
        process.send_signal(number)
        _, error = process.communicate(timeout=120)
    return process.returncode, error


def end_at_random(
    words: tuple[object, ...],
    count: int,
    kinds: list[signal.Signals],
    check: Callable[[], None],
    begin: Callable[[], None],
) -> Counter[str]:
    """End a command `count` times, going on with it each time, and begin anew whenever it came to its end.

    Returns how many signals came while it ran; every exit code, and what `check` says, must be right after each.
    """
    rng, hits = random.Random(count), Counter[str]()
    started = time.perf_counter()
    begin()
    assert subprocess.run(command(*words), env=environment(), capture_output=True, check=False).returncode == 0
    whole = time.perf_counter() - started
    begin()
    for turn in range(count):
        number = kinds[turn % len(kinds)]
        code, error = ended(words, number, rng.uniform(0, whole))
        assert code in ((0, -9) if number == signal.SIGKILL else (0, 130, -int(number))), error
        assert "Traceback" not in error, error
        hits[number.name] += code != 0
        check()
        if code == 0:
            begin()
    assert subprocess.run(command(*words), env=environment(), capture_output=True, check=False).returncode == 0
    check()
    return hits


@pytest.mark.parametrize("in_place", [False, True], ids=["folder", "in place"])
@pytest.mark.parametrize("kinds", [[signal.SIGKILL], [signal.SIGINT, signal.SIGTERM]], ids=["kill", "interrupt"])
def test_folder_runs(tmp_path, restore, request, record_property, kinds, in_place):
    photos, out, whole = tmp_path / "photos", tmp_path / "out", tmp_path / "whole"
    for number in range(30):
        write_noisy(tmp_path / "kept" / f"{number:02}.png", number, (64, 96, 3))
    assert restore("denoise", tmp_path / "kept", whole, "-q").code == 0
    before, after = visible(tmp_path / "kept"), visible(whole)

    def begin() -> None:
        for folder in (photos, out):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "kept", photos)

    def check() -> None:
        seen = visible(photos)
        assert seen.keys() == before.keys()
        assert all(data in (before[name], after[name] if in_place else None) for name, data in seen.items())
        assert visible(out).items() <= after.items()

    words = ("denoise", photos, *(("--in-place",) if in_place else (out,)), "--resume", "-q", "--threads", "1")
    words = (*words, "--method", "classical", "--workers", "2")
    hits = end_at_random(words, request.config.getoption("--kills"), kinds, check, begin)
    assert visible(photos if in_place else out) == after and find_leftovers(tmp_path) == {}
    record_property("signals while it ran", dict(hits))
    assert hits.total() > 0


def test_a_training(tmp_path, request, record_property):
    for number in range(4):
        write_noisy(tmp_path / "photos" / f"{number}.png", number, (96, 96, 3))
    text = CONFIG.replace("PHOTOS", str(tmp_path / "photos")).replace("CACHE", str(tmp_path / "cache"))
    (tmp_path / "tiny.yaml").write_text(text)
    from safetensors.numpy import load_file

    run = ("train", tmp_path / "tiny.yaml", "-q", "--out")
    assert subprocess.run(command(*run, tmp_path / "whole"), env=environment(), check=False).returncode == 0
    expected = load_file(tmp_path / "whole/tiny.safetensors")
    rng, hits = random.Random(0), Counter[str]()
    for turn in range(request.config.getoption("--kills")):
        number = (signal.SIGKILL, signal.SIGINT)[turn % 2]
        resume = ("--resume",) if list((tmp_path / "run").glob("*.pt")) else ()
        if not resume:
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
        code, error = ended((*run, tmp_path / "run", *resume), number, rng.uniform(0, 8))
        assert code in ((0, -9) if number == signal.SIGKILL else (0, 130, -2)) and "Traceback" not in error, error
        hits[number.name] += code != 0
        if code == 0:
            same(load_file(tmp_path / "run/tiny.safetensors"), expected)
            shutil.rmtree(tmp_path / "run")
    resume = ("--resume",) if list((tmp_path / "run").glob("*.pt")) else ()
    shutil.rmtree(tmp_path / "run", ignore_errors=True) if not resume else None
    done = subprocess.run(command(*run, tmp_path / "run", *resume), env=environment(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    same(load_file(tmp_path / "run/tiny.safetensors"), expected)
    record_property("signals while it ran", dict(hits))
    assert hits.total() > 0


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
