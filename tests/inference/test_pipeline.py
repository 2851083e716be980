"""The pipeline: every item once, in order, isolated, with bounded look-ahead, and a clean stop."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from restore.inference.pipeline import Outcome, Stages, run_pipeline

WORKERS = [0, 1, 2, 5]


def run(items, decode=lambda x: x, compute=lambda x: x, encode=lambda x: x, workers=2):
    outcomes: list[Outcome] = []
    run_pipeline(items, Stages(decode, compute, encode), outcomes.append, workers=workers)
    return outcomes


@pytest.mark.parametrize("workers", WORKERS)
def test_results_come_in_input_order_whatever_is_slow(workers):
    def jitter(x):
        time.sleep((x * 7 % 5) / 1000)
        return x

    outcomes = run(range(40), jitter, lambda x: x * 10, lambda x: (jitter(x // 10), x)[1], workers)
    assert [(o.item, o.result, o.error) for o in outcomes] == [(i, i * 10, None) for i in range(40)]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("stage", ["decode", "compute", "encode"])
def test_an_exception_belongs_to_its_item_alone(workers, stage):
    def bad(x):
        if x == 3:
            raise MemoryError("three")
        return x

    outcomes = run(range(8), **{stage: bad}, workers=workers)
    assert [o.item for o in outcomes] == list(range(8))
    assert [o.result for o in outcomes] == [0, 1, 2, None, 4, 5, 6, 7]
    assert isinstance(outcomes[3].error, MemoryError)
    assert all(o.error is None for o in outcomes if o.item != 3)


def test_the_device_stage_stays_in_the_calling_thread_and_in_order():
    seen = []
    run(range(20), compute=lambda x: seen.append((x, threading.get_ident())), workers=3)
    assert seen == [(x, threading.get_ident()) for x in range(20)]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_look_ahead_is_bounded_on_both_sides(workers):
    """Never more than workers + 1 items decoded and waiting, nor computed and waiting; items are pulled lazily."""
    lock = threading.Lock()
    counts = {"pulled": 0, "computed": 0, "done": 0}
    most = {"ahead": 0, "behind": 0}

    def items():
        for x in range(60):
            with lock:
                counts["pulled"] += 1
                most["ahead"] = max(most["ahead"], counts["pulled"] - counts["computed"])
            yield x

    def compute(x):
        time.sleep(0.001)
        with lock:
            counts["computed"] += 1
            most["behind"] = max(most["behind"], counts["computed"] - counts["done"])
        return x

    def done(outcome):
        with lock:
            counts["done"] += 1

    def encode(x):
        time.sleep(0.003)
        return x

    run_pipeline(items(), Stages(lambda x: x, compute, encode), done, workers=workers)
    assert counts == {"pulled": 60, "computed": 60, "done": 60}
    assert most["ahead"] <= workers + 1
    assert most["behind"] <= workers + 1
    if workers > 1:
        assert most["ahead"] == workers + 1, "look-ahead is used"


def test_stages_really_overlap():
    def slow(x):
        time.sleep(0.02)
        return x

    started = time.perf_counter()
    run(range(10), slow, slow, slow, workers=2)
    assert time.perf_counter() - started < 0.75 * 10 * 3 * 0.02


@pytest.mark.parametrize("workers", WORKERS)
def test_an_interrupt_starts_nothing_new_and_reports_what_finishes(workers):
    encoded, outcomes, pulled = [], [], []

    def items():
        for x in range(100):
            pulled.append(x)
            yield x

    def compute(x):
        if x == 5:
            raise KeyboardInterrupt
        return x

    def encode(x):
        time.sleep(0.005)
        encoded.append(x)
        return x

    with pytest.raises(KeyboardInterrupt):
        run_pipeline(items(), Stages(lambda x: x, compute, encode), outcomes.append, workers=workers)
    assert [o.item for o in outcomes] == [0, 1, 2, 3, 4], "in-flight encodes are finished and reported"
    assert sorted(encoded) == [0, 1, 2, 3, 4], "nothing after the interrupted item is written"
    assert len(pulled) <= 5 + workers + 2
    assert not [t for t in threading.enumerate() if t.name.startswith("restore-")], "no thread is left"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["encode", "done"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_signal_never_falls_between_writing_and_recording(workers, where, number):
    """Whatever was encoded is reported, although the signal came in the middle of it."""

    def handler(number, frame):
        raise KeyboardInterrupt

    written, recorded = [], []

    def encode(x):
        written.append(x)
        if where == "encode" and x == 3:
            os.kill(os.getpid(), number)
            time.sleep(0.01)
        return x

    def done(outcome):
        if where == "done" and outcome.item == 3:
            os.kill(os.getpid(), number)
            time.sleep(0.01)
        recorded.append(outcome.item)

    before = signal.signal(number, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_pipeline(range(50), Stages(lambda x: x, slowly, encode), done, workers=workers)
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
    assert recorded == sorted(written)
    assert 4 <= len(recorded) <= 4 + workers + 1


def slowly(x):
    time.sleep(0.002)
    return x


@pytest.mark.parametrize("workers", [1, 3])
def test_an_exception_of_the_listing_or_of_done_is_not_swallowed(workers):
    def items():
        yield 1
        raise OSError("listing")

    with pytest.raises(OSError, match="listing"):
        run(items(), workers=workers)

    def done(outcome):
        raise OSError("ledger full")

    with pytest.raises(OSError, match="ledger full"):
        run_pipeline(range(9), Stages(lambda x: x, lambda x: x, lambda x: x), done, workers=workers)
