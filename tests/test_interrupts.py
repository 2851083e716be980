"""The three ways to treat Ctrl-C and SIGTERM: `restore.interrupts`."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from restore.interrupts import deferred_interrupts, raised_interrupts, stop_requested

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
