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
from torch import Tensor

if TYPE_CHECKING:
    from restore.training.loop import Progress
    from restore.training.settings import TrainSettings


class Log:
    """`log.jsonl` of a run: one object every `log_every` steps, one for each validation.

    Args:
        tell: called with each object, too.
        quiet: write nothing (all processes but the first).
    """

    def __init__(self, folder: Path, tell: Callable[[dict[str, Any]], None], *, quiet: bool = False) -> None:
        self._tell, self._quiet = tell, quiet
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._data_seconds, self._since = 0.0, time.perf_counter()
        self._first_step: int | None = None
        if not quiet:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "log.jsonl").open("a", encoding="utf-8")
            self._board = _tensorboard(folder)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not self._quiet:
            self._file.close()
            if self._board is not None:
                self._board.close()

    @contextmanager
    def timing(self, what: str) -> Iterator[None]:
        """Count the seconds inside as waiting for data."""
        start = time.perf_counter()
        yield
        self._data_seconds += time.perf_counter() - start

    def add(self, phase: str, losses: dict[str, Tensor], norm: Tensor) -> None:
        """A step of a phase; the values stay on the device until `write`."""
        for name, value in (*losses.items(), (f"{phase}_gradient_norm", norm.detach())):
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def write(self, progress: Progress, done: float, rate: float, settings: TrainSettings) -> None:
        """The means since the last time, with speed, share of time spent waiting for data, and time left."""
        elapsed = time.perf_counter() - self._since
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        entry = {
            "learning_rate": rate,
            "done": round(done, 5),
            "seconds_per_step": round(elapsed / settings.log_every, 4),
            "data_share": round(self._data_seconds / max(elapsed, 1e-9), 4),
            "left_seconds": round(progress.seconds * (1 - done) / max(done, 1e-9)),
            "skipped": progress.skipped,
        }
        self.event(progress, {name: round(value, 6) for name, value in means.items()} | entry)
        self._sums, self._counts = {}, {}
        self._data_seconds, self._since = 0.0, time.perf_counter()

    def event(self, progress: Progress, values: dict[str, float]) -> None:
        """One line of the log."""
        if self._quiet:
            return
        entry = {"step": progress.step, "seconds": round(progress.seconds, 1)} | values
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, progress.step)
        self._tell(entry)


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """dB of each of B pictures, all channels together, values in [0, 1], not rounded; at most 60."""
    error = (x.float() - y.float()).square().flatten(1).mean(1)
    return -10 * error.clamp_min(1e-6).log10()


def image_grid(shown: dict[str, Tensor], path: Path) -> None:
    """A PNG with a row for each picture of the batch: what `shown` holds, from left to right."""
    import cv2

    columns = [x.float().clamp(0, 1).cpu().permute(0, 2, 3, 1).flatten(0, 1).numpy() for x in shown.values()]
    pixels = np.rint(np.concatenate(columns, axis=1) * 255).astype(np.uint8)
    coded, data = cv2.imencode(".png", pixels[..., ::-1] if pixels.shape[2] == 3 else pixels)
    if coded:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())


def _tensorboard(folder: Path) -> Any:
    """A writer, or None where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
