"""The user's folder of this program."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def home() -> Path:
    """The user's folder of this program: `RESTORE_HOME`, or the platform's cache folder."""
    chosen = os.environ.get("RESTORE_HOME")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "restore"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "restore"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "restore"
