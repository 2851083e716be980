"""restore: bring damaged pictures back.

    import restore
    clean = restore.denoise("noisy.jpg")          # a Result; arrays give arrays
    restore.write(clean, "clean.png")

Importing this package imports no torch; names are loaded when first used.
"""

from __future__ import annotations

from restore.version import __version__

_HOMES = {
    "Diagnosis": "restore.engines.denoise.diagnosis",
    "Picture": "restore.picture",
    "RestoreError": "restore.errors",
    "Restorer": "restore.api",
    "Result": "restore.files",
    "deblur": "restore.api",
    "deconvolve": "restore.api",
    "denoise": "restore.api",
    "inspect": "restore.api",
    "load": "restore.api",
    "read": "restore.files",
    "read_frames": "restore.files",
    "upscale": "restore.api",
    "write": "restore.files",
}

__all__ = [
    "Diagnosis", "Picture", "RestoreError", "Restorer", "Result", "__version__", "deblur", "deconvolve", "denoise",
    "inspect", "load", "read", "read_frames", "upscale", "write",
]  # fmt: skip

TYPE_CHECKING = False  # typing takes a moment to import, in which Ctrl-C would be a traceback
if TYPE_CHECKING:
    from typing import Any

    from restore.api import Restorer, deblur, deconvolve, denoise, inspect, load, upscale
    from restore.engines.denoise.diagnosis import Diagnosis
    from restore.errors import RestoreError
    from restore.files import Result, read, read_frames, write
    from restore.picture import Picture


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'restore' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
