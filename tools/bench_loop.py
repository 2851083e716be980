"""What the training loop itself costs: the share of a step that is not degradation, forward, backward or optimizer.

    python tools/bench_loop.py --steps 40

Trains the compact network (plain_unet 48/96, batch 16, crops of 96, fp32, Gaussian noise of a blind level) on generated
pictures through the same crop cache, batches, prefetching thread, loop and log as `restore train`. Everything is CPU
time: of the main thread for the four parts, of all threads for the whole, so that drawing the batches counts as
overhead; so does clipping, the moving average, the log and the buffers that are kept for a bad step.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from restore.data.batches import CropBatches
from restore.data.cache import open_cache
from restore.training.loop import train
from restore.training.run import build_objective
from restore.training.settings import DegradationSettings, ModelSettings, Settings, TrainSettings

WARM = 5  # steps that are not counted: allocations, the first calls of everything


class Watch:
    """CPU seconds of the main thread by part, since the last `reset`."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = defaultdict(float)
        self._inside: list[float] = []

    def reset(self) -> None:
        self.parts.clear()
        self.whole = time.process_time()

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, its time counted as `name` and taken out of the part it is called from."""

        def wrapped(*words: Any, **options: Any) -> Any:
            self._inside.append(0.0)
            start = time.thread_time()
            try:
                return call(*words, **options)
            finally:
                spent = time.thread_time() - start
                self.parts[name] += spent - self._inside.pop()
                if self._inside:
                    self._inside[-1] += spent

        return wrapped


@contextmanager
def replaced(owner: Any, name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """`owner.name` changed for a while."""
    before = getattr(owner, name)
    setattr(owner, name, change(before))
    try:
        yield
    finally:
        setattr(owner, name, before)


def photographs(folder: Path, count: int = 12) -> None:
    """Pictures of smooth shapes, 512 x 768."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (24, 36, 3)).astype(np.uint8)
        picture = cv2.resize(coarse, (768, 512), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number:02}.png"), picture)


def measure(args: argparse.Namespace, folder: Path) -> tuple[dict[str, float], float]:
    """(CPU seconds of the parts, of the whole) a step."""
    (folder / "photos").mkdir()
    photographs(folder / "photos")
    settings = Settings(
        name="bench",
        model=ModelSettings(arguments={"condition_channels": 1, "widths": [48, 96], "blocks": [2, 3, 2]}),
        degradation=DegradationSettings(name="noise", arguments={"weights": {args.noise: 1.0}}),
        train=TrainSettings(steps=args.steps + WARM, batch=args.batch, precision="fp32", device="cpu", log_every=10),
    )
    draw = CropBatches({"clean": open_cache([folder / "photos"], folder / "cache")}, args.crop)
    objective = build_objective(settings)
    watch, seen = Watch(), 0

    def counting(forward: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*words: Any) -> Any:
            nonlocal seen
            if seen == WARM:
                watch.reset()
            seen += 1
            return forward(*words)

        return wrapped

    watch.reset()
    objective.sample = watch.timed("degradation", objective.sample)  # type: ignore[method-assign]
    objective.forward = counting(watch.timed("forward", objective.forward))  # type: ignore[method-assign]
    with (
        replaced(torch.Tensor, "backward", lambda call: watch.timed("backward", call)),
        replaced(torch.optim.AdamW, "step", lambda call: watch.timed("optimizer", call)),
    ):
        watched = {}

        def stop(entry: dict[str, Any]) -> None:  # the last line of the log: what follows belongs to no step
            if entry["step"] == args.steps + WARM:
                watched["whole"] = time.process_time() - watch.whole
                watched["parts"] = dict(watch.parts)

        train(objective, draw, settings.train, folder / "run", notify=stop)
    return {name: spent / args.steps for name, spent in watched["parts"].items()}, watched["whole"] / args.steps


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--noise", default="gaussian", help="one kind of noise, as `degrade` names it")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        parts, whole = measure(args, Path(folder))
    rest = whole - sum(parts.values())
    print(f"plain_unet 48/96, batch {args.batch}, crop {args.crop}, fp32, 1 thread, torch {torch.__version__}\n")
    print("| part | CPU ms a step | share |\n|---|---|---|")
    for name, spent in {**parts, "everything else": rest, "step": whole}.items():
        print(f"| {name} | {spent * 1000:.1f} | {spent / whole:.1%} |")
    return 0 if rest <= 0.05 * whole else 1


if __name__ == "__main__":
    sys.exit(main())
