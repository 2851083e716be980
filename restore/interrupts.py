"""Ctrl-C and SIGTERM: the end of the process, raised at once, held back until a block is done, or a wish to stop.

In the last three a second signal ends the process at once. Outside the main thread, where Python cannot handle
signals, nothing is changed: whoever runs us handles them.

No exception is raised within other packages, nor within imports: C code that calls Python may not survive it (that of
torch.distributed ends the process by SIGABRT), and modules that were half loaded fail later. It is raised when they
have returned to our code.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import dropwhile, takewhile
from types import FrameType

_SIGNALS = signal.SIGINT, signal.SIGTERM

_Handler = Callable[[int, FrameType | None], None]

_OURS = __name__.partition(".")[0]
_WAITING = frozenset({"concurrent", "contextlib", "filelock", "threading"})
"""What our code waits in for long, or is called through; none of it is called by C code."""

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
        _raise_in_our_code(frame)

    def lost(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            report(unraisable)

    handled, report, tracer = _not_ignored(), sys.unraisablehook, sys.gettrace()
    sys.unraisablehook = lost
    try:
        with _handling(handled, interrupt):
            yield
    finally:
        sys.unraisablehook = report
        sys.settrace(tracer)
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
            handlers[signal.Signals(held[0])](held[0], sys._getframe())


def _raise_in_our_code(frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt` here, or in the next line of ours once the foreign code that runs has returned."""
    ours = _innermost_of_ours(frame)
    if ours is None or ours is frame:
        raise KeyboardInterrupt
    ours.f_trace = _interrupt_line
    sys.settrace(_trace_no_call)


def _innermost_of_ours(frame: FrameType | None) -> FrameType | None:
    """The last frame before foreign code; None if nothing of ours runs. Whoever called us is not looked at."""
    inside = dropwhile(lambda each: _package(each) != _OURS, [*_frames(frame)][::-1])
    ours = list(takewhile(lambda each: _package(each) in (_OURS, *_WAITING), inside))
    return ours[-1] if ours else None


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def _trace_no_call(frame: FrameType, event: str, argument: object) -> None:
    """Python traces a frame only while there is such a function."""


def _interrupt_line(frame: FrameType, event: str, argument: object) -> None:
    raise KeyboardInterrupt


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
