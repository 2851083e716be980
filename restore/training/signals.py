"""Ctrl-C and SIGTERM as a wish: the step is finished and the state saved; the second signal ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requested() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; afterwards both do again what they did before."""
    event = threading.Event()
    handled = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) != signal.SIG_IGN]

    def ask(number: int, frame: FrameType | None) -> None:
        event.set()
        for each in handled:
            signal.signal(each, signal.SIG_DFL)

    try:
        before = {each: signal.signal(each, ask) for each in handled}
    except ValueError:  # not the main thread: whoever runs us handles signals
        yield event
        return
    try:
        yield event
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
