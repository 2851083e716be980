"""Decode | device | encode: three stages that overlap, with a bounded number of pictures in flight.

The device stage runs in the calling thread, in input order; decoding and encoding run in two small
pools around it. With one worker the same three functions run one after the other, so the bytes are
the same by construction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from restore.interrupts import deferred_interrupts, raise_if_interrupted

Item = TypeVar("Item")
Decoded = TypeVar("Decoded")
Computed = TypeVar("Computed")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """What became of one item: a result, or the exception that stopped it."""

    item: Item
    result: Result | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class Stages(Generic[Item, Decoded, Computed, Result]):
    """What happens to one item. `compute` is only ever called from the thread that runs the pipeline."""

    decode: Callable[[Item], Decoded]
    compute: Callable[[Decoded], Computed]
    encode: Callable[[Computed], Result]


def run_pipeline(
    items: Iterable[Item],
    stages: Stages[Item, Decoded, Computed, Result],
    done: Callable[[Outcome[Item, Result]], None],
    *,
    workers: int = 2,
) -> None:
    """Put every item through the three stages; `done` is called once for each, in input order.

    An exception in a stage becomes that item's outcome and touches no other item. At most `workers + 1`
    items wait on each side of the device stage. `KeyboardInterrupt` (and any other `BaseException`, or an
    exception from `items` or `done`) starts no further work, lets running encodes finish and be reported,
    and propagates; signals are held back while something is reported.

    Args:
        items: taken lazily.
        done: called from the calling thread.
        workers: threads for decoding and as many for encoding; 0 or 1 runs everything in this thread.
    """
    if workers <= 1:
        for item in items:
            raise_if_interrupted()
            _serial(item, stages, done)
        return
    with (
        ThreadPoolExecutor(workers, "restore-decode") as decoders,
        ThreadPoolExecutor(workers, "restore-encode") as encoders,
    ):
        ahead: deque[tuple[Item, Future[Decoded]]] = deque()
        behind: deque[tuple[Item, Future[Result]]] = deque()
        feed = iter(items)
        try:
            while True:
                for item in islice(feed, workers + 1 - len(ahead)):
                    ahead.append((item, decoders.submit(stages.decode, item)))
                if not ahead:
                    break
                raise_if_interrupted()
                while behind and (len(behind) > workers or behind[0][1].done()):
                    _report(behind, done)
                _compute(*ahead.popleft(), stages, encoders, behind)
        except BaseException:
            decoders.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            while behind:
                _report(behind, done)


def _serial(
    item: Item,
    stages: Stages[Item, Decoded, Computed, Result],
    done: Callable[[Outcome[Item, Result]], None],
) -> None:
    try:
        computed = stages.compute(stages.decode(item))
    except Exception as error:
        done(Outcome(item, error=error))
        return
    with deferred_interrupts():
        try:
            outcome = Outcome(item, stages.encode(computed))
        except Exception as error:
            outcome = Outcome(item, error=error)
        done(outcome)


def _compute(
    item: Item,
    decoded: Future[Decoded],
    stages: Stages[Item, Decoded, Computed, Result],
    encoders: ThreadPoolExecutor,
    behind: deque[tuple[Item, Future[Result]]],
) -> None:
    """The device stage of one item; its failure, or its decoding's, becomes an already failed future."""
    failed: Future[Result] = Future()
    try:
        computed = stages.compute(decoded.result())
    except Exception as error:
        failed.set_exception(error)
        behind.append((item, failed))
        return
    with deferred_interrupts():
        behind.append((item, encoders.submit(stages.encode, computed)))


def _report(behind: deque[tuple[Item, Future[Result]]], done: Callable[[Outcome[Item, Result]], None]) -> None:
    """Wait for the oldest encode and report it."""
    wait([behind[0][1]])
    with deferred_interrupts():
        done(_collect(*behind.popleft()))


def _collect(item: Item, encoded: Future[Result]) -> Outcome[Item, Result]:
    error = encoded.exception()
    if error is None:
        return Outcome(item, encoded.result())
    if isinstance(error, Exception):
        return Outcome(item, error=error)
    raise error
