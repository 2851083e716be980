"""Checkpoints: everything a run needs to go on as if it had never stopped, in one file of plain data.

Written beside its place and renamed, so that a power cut leaves the previous one; read with
`weights_only=True`, so that a file cannot run code; the last two are kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from restore.errors import FileError, WeightsError
from restore.io.atomic import AtomicFile, write_error
from restore.io.regular_file import foreign_errors
from restore.io.weights_file import load_pickled
from restore.training.schedule import Progress

KEPT = 2


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `folder`/checkpoint_<step>.pt and remove all but the last `KEPT`. `state` holds tensors and plain data."""
    path = folder / f"checkpoint_{step:08d}.pt"
    file = AtomicFile(path)
    try:
        torch.save(state, file.file)
    except OSError as error:
        file.abort()
        raise write_error(error, path) from error
    except BaseException:
        file.abort()
        raise
    file.commit(lambda written: None)
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Those of a run, oldest first."""
    return sorted(folder.glob("checkpoint_*.pt"))


def load_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The newest checkpoint and what it holds.

    Raises `FileError` if there is none, or if it cannot be read or is none of this program: then it names the one
    before, which is taken once the user has removed the newest.
    """
    paths = checkpoints(folder)
    if not paths:
        raise FileError("there is no checkpoint to resume from", where=folder, fix="Leave out --resume to start anew")
    before = f"Delete it to go on from {paths[-2].name}" if len(paths) > 1 else "Delete it and start anew"
    what = "this checkpoint cannot be read"
    try:
        state = load_pickled(paths[-1])
    except WeightsError as error:
        raise FileError(what, where=paths[-1], why=error.why or error.what, fix=before) from error
    with foreign_errors(paths[-1], "this is no checkpoint of a training", FileError, before):
        Progress(**state["progress"])
        dict(state["facts"])
        return paths[-1], state
