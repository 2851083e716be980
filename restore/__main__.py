"""The `restore` command, from its first instant to its last: also `python -m restore`."""

from __future__ import annotations

import os
import sys

from restore.interrupts import end_on_interrupt, ignore_interrupts


def main() -> int:
    """Run the command line of this process; returns the exit code."""
    end_on_interrupt()  # loading the command takes a moment
    from restore.cli.main import main as run
    from restore.errors import ExitCode

    code = run()
    ignore_interrupts()
    if code == ExitCode.INTERRUPTED:
        # Where KeyboardInterrupt leaves code from a string (the user's, say), CPython remembers it, and ends by SIGINT
        # in place of our exit code, although the exception was caught.
        sys.stdout.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
