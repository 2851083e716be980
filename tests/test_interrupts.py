"""The three ways to treat Ctrl-C and SIGTERM: `restore.interrupts`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from subprocess import PIPE

import pytest
import torch

from restore.cli.main import main as command
from restore.interrupts import deferred_interrupts, raise_if_interrupted, raised_interrupts, stop_requested

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
SIGNALS = signal.SIGINT, signal.SIGTERM


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    signal.sigtimedwait([], 1)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]


@pytest.fixture
def raising():
    """Both signals raise `KeyboardInterrupt`, as in a command."""
    with raised_interrupts():
        yield


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_interrupts_and_the_second_would_kill(number):
    before = handlers()
    with pytest.raises(KeyboardInterrupt), raised_interrupts():
        try:
            send(number)
        finally:
            assert handlers() == [signal.SIG_DFL] * 2
    assert handlers() == before


def test_an_interrupt_that_python_loses_is_raised_at_the_next_step(capfd):
    class Finalised:
        def __del__(self):
            send(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), raised_interrupts():
        Finalised()  # Python prints what a finaliser raises, and goes on
        try:
            raise_if_interrupted()
        finally:
            assert handlers() == [signal.SIG_DFL] * 2
    assert capfd.readouterr().err == ""
    raise_if_interrupted()  # the next command is another one


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    ("instant", "code"),
    [("main.end_on_interrupt(); SIGNAL", 130), ("main.ignore_interrupts(); SIGNAL; sys.exit(0)", 0)],
    ids=["first", "last"],
)
def test_a_signal_while_the_command_begins_or_ends(number, instant, code):
    program = f"import os, sys, restore.__main__ as main; {instant}".replace(
        "SIGNAL", f"os.kill(os.getpid(), {number})"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (code, "restore: interrupted\n" if code else "")


def test_a_signal_within_code_from_a_string_is_exit_code_130(tmp_path):
    """CPython remembers a `KeyboardInterrupt` out of such code, and `python -m` would end by SIGINT for it."""
    assert doctor_with_a_task(tmp_path, 'exec("raise KeyboardInterrupt")') == (130, "restore: interrupted\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_an_import_is_finished_before_the_signal_is_raised(tmp_path, number):
    task = f"import os; os.kill(os.getpid(), {number}); open({str(tmp_path / 'finished')!r}, 'w')"
    assert doctor_with_a_task(tmp_path, task) == (130, "restore: interrupted\n")
    assert (tmp_path / "finished").exists()


def doctor_with_a_task(folder, text):
    """Exit code and errors of `restore doctor`, which loads this module of the user's."""
    (folder / "task.py").write_text(text)
    changed = os.environ | {"RESTORE_TASKS": str(folder / "task.py")}
    words = [sys.executable, "-m", "restore", "doctor"]
    ran = subprocess.run(words, capture_output=True, text=True, check=False, env=changed)
    return ran.returncode, ran.stderr


@pytest.mark.skipif(not torch.distributed.is_available(), reason="nothing to load")
def test_a_signal_while_torch_calls_python_is_an_exit_code():
    """What loads torch.distributed does not survive an exception: "terminate called", SIGABRT."""
    program = """
import importlib._bootstrap as imports, os, signal, sys
from restore.__main__ import main

def send(name):
    if name == sys._getframe(1).f_globals["__name__"] == "torch.distributed" and not sent:  # asked for by C++
        sent.append(os.kill(os.getpid(), signal.SIGINT))
        print("sent", flush=True)
    return called(name)

sent, called, imports._lock_unlock_module = [], imports._lock_unlock_module, send
sys.argv[1:] = ["doctor"]
sys.exit(main())
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "sent\n", "restore: interrupted\n")


@pytest.mark.parametrize("ours", ["foreign()", "[foreign() for _ in range(9)]", "foreign(ValueError)"])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_within_another_package_is_raised_when_that_returns(number, ours):
    def foreign(error=None):
        send(number)
        returned.append(handlers())
        if error:
            raise error

    returned, after, tracer = [], [], sys.gettrace()
    code = f"def work():\n    {ours}\n    after.append(1)\nwork()"
    with pytest.raises(KeyboardInterrupt), raised_interrupts():
        exec(code, {"__name__": "restore.ours", "foreign": foreign, "after": after})
    assert returned == [[signal.SIG_DFL] * 2], "a second signal would kill"
    assert after == []
    assert sys.gettrace() is tracer


def test_an_error_that_a_signal_caused_is_an_interrupt(monkeypatch, capfd):
    def broken(words):
        try:
            send(signal.SIGTERM)
        except KeyboardInterrupt:
            raise ImportError("cannot load module more than once per process") from None

    monkeypatch.setattr("restore.cli.main._run", broken)
    assert (command([]), capfd.readouterr().err) == (130, "restore: interrupted\n")


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_any_moment_of_a_command_is_an_exit_code_and_no_traceback(number):
    """What Python itself does before our first statement is waited for."""
    program = (
        "import sys; from restore.__main__ import end_on_interrupt, main; end_on_interrupt(); print(flush=True); "
        "sys.argv[1:] = ['doctor']; sys.exit(main())"
    )
    seen = set()
    for milliseconds in range(0, 900, 21):
        ran = subprocess.Popen([sys.executable, "-c", program], stdout=PIPE, stderr=PIPE, text=True)
        ran.stdout.readline()
        time.sleep(milliseconds / 1000)
        ran.send_signal(number)
        _, error = ran.communicate(timeout=60)
        seen.add(ran.returncode)
        assert ran.returncode in (0, 130) and "Traceback" not in error, milliseconds
    assert 130 in seen


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_requests_a_stop_and_the_second_would_kill(number):
    before = handlers()
    with stop_requested() as stop:
        assert not stop.is_set()
        send(number)
        assert stop.is_set() and handlers() == [signal.SIG_DFL] * 2
    assert handlers() == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_deferred_signal_arrives_when_the_block_is_done(raising, number):
    done = False
    with pytest.raises(KeyboardInterrupt), deferred_interrupts():
        send(number)
        done = True
    assert done


def test_an_error_of_the_block_is_not_lost_by_a_signal(raising):
    with pytest.raises(KeyboardInterrupt) as caught, deferred_interrupts():
        send(signal.SIGINT)
        raise ValueError("of the block")
    assert isinstance(caught.value.__context__, ValueError)


@pytest.mark.parametrize("block", [raised_interrupts, stop_requested, deferred_interrupts])
def test_ignored_signals_stay_ignored(block):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with block():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            send(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("block", [raised_interrupts, stop_requested, deferred_interrupts])
def test_other_threads_change_nothing(block):
    before, seen = handlers(), []

    def run() -> None:
        with block():
            seen.extend(handlers())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == before
