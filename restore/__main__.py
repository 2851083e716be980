"""The `restore` command, from its first instant to its last: also `python -m restore`."""

from __future__ import annotations

import sys

from restore.interrupts import end_on_interrupt, ignore_interrupts


def main() -> int:
    """Run the command line of this process; returns the exit code."""
    end_on_interrupt()  # loading the command takes a moment
    from restore.cli.main import main as run

    code = run()
    ignore_interrupts()
    return code


if __name__ == "__main__":
    sys.exit(main())
