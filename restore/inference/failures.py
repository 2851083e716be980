"""Whatever stops a job, as an error that says what went wrong with its file and what to do."""

from __future__ import annotations

from pathlib import Path

from restore.errors import FileError, LimitError, ModelError, RestoreError

DEVICE_FAILED = ("CUDA error", "HIP error", "cuDNN error", "cuBLAS error", "CUDA driver error")
"""How torch's messages begin when a GPU is gone or has stopped: nothing that runs on it later in this process works."""


def explain(error: BaseException, where: Path) -> RestoreError:
    """Any exception as one of ours: what went wrong with this file, and what to do."""
    if isinstance(error, RestoreError):
        return error.at(where)
    if isinstance(error, MemoryError):
        return LimitError("out of memory", where=where, why=str(error), fix="Use --workers 1 or a smaller --tile")
    if isinstance(error, OSError):
        return FileError(
            "reading or writing failed", where=error.filename or where, why=error.strerror or str(error),
            fix="Check the disk and try again",
        )  # fmt: skip
    if isinstance(error, RuntimeError) and str(error).startswith(DEVICE_FAILED):
        return ModelError(
            "the device failed", where=where, why=str(error).splitlines()[0],
            fix="Run it again (folders with --resume), or with --device cpu",
        )  # fmt: skip
    return RestoreError(
        f"unexpected {type(error).__name__}", where=where, why=str(error),
        fix="This is a bug: please report it with the output of -v",
    )  # fmt: skip
