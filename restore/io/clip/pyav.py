"""PyAV where it is installed, and its errors in this program's words."""

from __future__ import annotations

import os

from restore.errors import DecodeError, FileError, RestoreError, UnsupportedError


def import_av() -> None:
    """Raises `UnsupportedError` where PyAV is not installed."""
    try:
        import av
        import av.logging

        av.logging.set_level(None)
        os.environ.setdefault("SVT_LOG", "0")  # or SVT-AV1 prints its settings, and what it refuses, which errors say
    except ImportError as error:
        raise UnsupportedError(
            "clips are read and written by PyAV, which is not installed",
            fix="Run: pip install 'restore-toolkit[video]'",
        ) from error


def av_error() -> type[Exception]:
    """The base of what PyAV raises."""
    from av.error import FFmpegError

    return FFmpegError


def why_of(error: Exception) -> str:
    """What FFmpeg says of an error."""
    return str(getattr(error, "strerror", "") or error)


def unreadable(error: Exception) -> RestoreError:
    """An error while a file is opened or read."""
    if isinstance(error, OSError) and not type(error).__module__.startswith("av"):
        return FileError("cannot be read", why=why_of(error), fix="Check the file")
    return DecodeError(
        "is no clip that can be read, or it is not whole", why=why_of(error), fix="Copy it again from where it came"
    )
