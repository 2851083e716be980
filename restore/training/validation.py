"""The figures and pictures of a validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from restore.data.batches import Batch
from restore.metrics.pixel import psnr
from restore.objectives.objective import Objective
from restore.training.log import image_grid, resized
from restore.training.runtime import Runtime

CEILING = 60.0  # dB, the most that one picture counts for in the mean


@torch.no_grad()
def validate(
    objective: Objective, network: torch.nn.Module, batches: Sequence[Batch], runtime: Runtime, folder: Path, step: int
) -> dict[str, float]:
    """Mean PSNR (RGB, not rounded) of the averaged network on some batches, and `step`'s pictures as a PNG."""
    gains: list[tuple[float, float]] = []
    network.eval()
    for number, batch in enumerate(batches):
        with runtime.autocast():
            shown = objective.preview(batch.to(runtime.device), network)
        if number == 0:
            image_grid(shown, folder / "validation" / f"{step:08d}.png")
        if "target" in shown:
            before, after = (
                psnr(resized(shown[name], shown["target"]), shown["target"], ceiling=CEILING)
                for name in ("input", "output")
            )
            gains += zip(before.tolist(), after.tolist(), strict=True)
    if not gains:
        return {}
    before, after = (sum(column) / len(gains) for column in zip(*gains, strict=True))
    return {"psnr_input": round(before, 4), "psnr": round(after, 4)}
