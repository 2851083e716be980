"""What a run writes down: JSON lines always, TensorBoard where it is installed, validation pictures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.io.regular_file import read_regular

if TYPE_CHECKING:
    from restore.training.runtime import Runtime
    from restore.training.schedule import Progress

Notify = Callable[[dict[str, Any]], None]
"""Called with each entry of the log."""


MAX_LOG = 1 << 30
"""Bytes of a log that a run goes on with."""


class Log:
    """`log.jsonl` of a run: one object every `log_every` steps, one for each validation.

    Only the first process writes; what it writes are means over all of them.

    Args:
        notify: called with each object, too.
        at: the step the run goes on from; what was logged of later steps is dropped, they are done again.
        pending: what `pending` gave at that step.
    """

    def __init__(
        self,
        folder: Path,
        notify: Notify,
        runtime: Runtime,
        at: int = 0,
        pending: dict[str, tuple[float, int]] | None = None,
    ) -> None:
        self._notify, self._runtime = notify, runtime
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        for name, (total, count) in (pending or {}).items():
            self._sums[name], self._counts[name] = torch.tensor(total, device=runtime.device), count
        self._data_seconds, self._since, self._since_step = 0.0, time.perf_counter(), at
        if runtime.main:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "log.jsonl"
            _drop_after(path, at)
            self._file = path.open("a", encoding="utf-8")
            self._board = _tensorboard(folder, at)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._runtime.main:
            self._file.close()
            if self._board is not None:
                self._board.close()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the seconds inside as waiting for data."""
        start = time.perf_counter()
        yield
        self._data_seconds += time.perf_counter() - start

    def add(self, values: dict[str, Tensor]) -> None:
        """What a phase of a step reports; the values stay on the device until `write`."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.detach().float()
            self._counts[name] = self._counts.get(name, 0) + 1

    def pending(self) -> dict[str, tuple[float, int]]:
        """(sum, count) of what has not been written yet, for the checkpoint."""
        return {name: (float(total), self._counts[name]) for name, total in self._sums.items()}

    def write(self, progress: Progress, done: float, rate: float) -> None:
        """The means since the last time, with speed, share of time spent waiting for data, and time left."""
        elapsed = time.perf_counter() - self._since
        means = self._runtime.mean([float(total) / self._counts[name] for name, total in self._sums.items()])
        entry = {
            "learning_rate": rate,
            "done": round(done, 5),
            "seconds_per_step": round(elapsed / max(1, progress.step - self._since_step), 4),
            "data_share": round(self._data_seconds / max(elapsed, 1e-9), 4),
            "left_seconds": round(progress.seconds * (1 - done) / max(done, 1e-9)),
            "skipped": progress.skipped,
        }
        self.event(progress, {name: round(mean, 6) for name, mean in zip(self._sums, means, strict=True)} | entry)
        self._sums, self._counts = {}, {}
        self._data_seconds, self._since, self._since_step = 0.0, time.perf_counter(), progress.step

    def event(self, progress: Progress, values: dict[str, float]) -> None:
        """One line of the log."""
        if not self._runtime.main:
            return
        entry = {"step": progress.step, "seconds": round(progress.seconds, 1)} | values
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, progress.step)
        self._notify(entry)


def resized(x: Tensor, like: Tensor) -> Tensor:
    """B x C x H x W as it is, or bicubically of the size of another: how an input of another size is compared."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x.float(), like.shape[-2:], mode="bicubic", antialias=True).clamp(0, 1)


def image_grid(shown: dict[str, Tensor], path: Path) -> None:
    """A PNG with a row for each picture of the batch: what `shown` holds, from left to right."""
    import cv2

    like = shown.get("target", shown["output"])
    same = [resized(x, like) for x in shown.values()]
    columns = [x.float().clamp(0, 1).cpu().permute(0, 2, 3, 1).flatten(0, 1).numpy() for x in same]
    pixels = np.rint(np.concatenate(columns, axis=1) * 255).astype(np.uint8)
    coded, data = cv2.imencode(".png", pixels[..., ::-1] if pixels.shape[2] == 3 else pixels)
    if coded:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())


def _drop_after(path: Path, step: int) -> None:
    """Take the lines of later steps, and one that a power cut left unfinished, out of a log. Raises `FileError`."""
    if not path.exists():
        return
    lines = read_regular(path, MAX_LOG, fix="Move it away").splitlines()
    kept = [line for line in lines if _step_of(line) <= step]
    if len(kept) < len(lines):
        path.write_bytes(b"".join(line + b"\n" for line in kept))


def _step_of(line: bytes) -> float:
    try:
        step = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")
    return step if isinstance(step, int | float) else float("inf")


def _tensorboard(folder: Path, at: int) -> Any:
    """A writer, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=at + 1 if at else None)
