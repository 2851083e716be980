"""Ctrl-C and SIGTERM: the end of the process, raised at once, held back until a block is done, or a wish to stop.

In the last three a second signal ends the process at once. Outside the main thread, where Python cannot handle
signals, nothing is changed: whoever runs us handles them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = signal.SIGINT, signal.SIGTERM

_Handler = Callable[[int, FrameType | None], None]


_interrupted = threading.Event()
"""A signal was raised as `KeyboardInterrupt`, which Python may have lost (in a finaliser, in a callback of C code)."""


def end_on_interrupt() -> None:
    """From now on a signal ends the process, with exit code 130 and one line: while there is nothing to clean up."""

    def end(number: int, frame: FrameType | None) -> None:
        os.write(2, b"restore: interrupted\n")
        os._exit(130)

    for number in _not_ignored():
        signal.signal(number, end)


def ignore_interrupts() -> None:
    """From now on signals do nothing: the work is done and the exit code is known."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def raised_interrupts() -> Iterator[None]:
    """The first signal raises `KeyboardInterrupt`; where Python loses it, `raise_if_interrupted` raises it again."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        _reset(handled)
        _interrupted.set()
        raise KeyboardInterrupt

    def lost(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            report(unraisable)

    handled, report = _not_ignored(), sys.unraisablehook
    sys.unraisablehook = lost
    try:
        with _handling(handled, interrupt):
            yield
    finally:
        sys.unraisablehook = report
        _interrupted.clear()


def raise_if_interrupted() -> None:
    """Raise `KeyboardInterrupt` if a signal came within `raised_interrupts`: to be called between steps of work."""
    if _interrupted.is_set():
        raise KeyboardInterrupt


@contextmanager
def stop_requested() -> Iterator[threading.Event]:
    """An event that the first signal sets, so that a step is finished and its state saved."""
    event = threading.Event()

    def request(number: int, frame: FrameType | None) -> None:
        event.set()
        _reset(handled)

    handled = _not_ignored()
    with _handling(handled, request):
        yield event


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Signals that Python code handles are held back until the block is done: what is written is also recorded."""
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if held:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        held.append(number)

    present = {number: signal.getsignal(number) for number in _SIGNALS}
    handlers = {number: handler for number, handler in present.items() if callable(handler)}
    try:
        with _handling(handlers, hold):
            yield
    finally:
        if held:
            handlers[signal.Signals(held[0])](held[0], None)


def _not_ignored() -> list[signal.Signals]:
    """`nohup` and shells that run us in the background ignore some signals; so do we then."""
    return [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


def _reset(numbers: Iterable[signal.Signals]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def _handling(numbers: Iterable[signal.Signals], handler: _Handler) -> Iterator[None]:
    """`handler` within the block, what was there before afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
