"""Code in an interpreter of its own, for what depends on which modules are imported already."""

from __future__ import annotations

import subprocess
import sys


def printed_by(code: str) -> str:
    """What it prints, without white space around it; it must succeed."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
