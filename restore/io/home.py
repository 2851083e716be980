"""The user's folder of this program."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from restore.errors import FileError
from restore.naming import expanded


def home() -> Path:
    """The user's folder of this program: `RESTORE_HOME`, or the platform's cache folder.

    Raises `FileError` for a user without a home folder, as in a container without an entry for its user.
    """
    chosen = os.environ.get("RESTORE_HOME")
    if chosen:
        return expanded(chosen)
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "restore"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "restore"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "restore"
    except RuntimeError as error:
        fix = "Set RESTORE_HOME to a folder that you may write to"
        raise FileError("this user has no home folder for what is kept", why="HOME is not set", fix=fix) from error


def below_home(*names: str) -> list[Path]:
    """A folder below `home()`, for what is only looked up there; none for a user without a home."""
    try:
        return [home().joinpath(*names)]
    except FileError:
        return []
