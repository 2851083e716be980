"""Which tiles a picture is cut into: exact or blended, fast, and within the memory there is."""

from __future__ import annotations

import math

import torch

from restore.errors import LimitError
from restore.inference.memory import MemoryModel
from restore.inference.tiling import TilePlan, ceil_to, least_core, plan_axis
from restore.models.spec import ModelSpec

Core = tuple[int, int]  # height and width of what a tile advances by, its halo not counted

LEAST_CORE = 32
BLEND_OVERLAP = 64  # pixels shared by neighbouring tiles where exact tiling is out of reach
_CACHE_SIDE = 512  # on a CPU, larger tiles fall out of the caches
_CACHE_SLOPE = 0.05  # measured: with blocks kept by malloc, cost per pixel grows by this with each doubling


def halo_and_ramp(spec: ModelSpec) -> tuple[int, int]:
    """Context kept around each tile, and the width of the blend between neighbours (0: exact)."""
    if spec.tiling in ("exact", "rows"):
        return spec.radius, 0
    if spec.tiling == "whole":
        return 0, 0
    overlap = max(BLEND_OVERLAP, spec.overlap)
    trim = max(min(16, BLEND_OVERLAP // 4), (overlap - BLEND_OVERLAP) // 2)
    return overlap // 2, overlap - 2 * trim


def plan_picture(
    height: int,
    width: int,
    spec: ModelSpec,
    core: Core,
    *,
    box: tuple[int, int, int, int] | None = None,
    lead: int = 0,
) -> TilePlan:
    """Tiles of `core` (plus halo) over a picture, exact or blended as the spec allows.

    Args:
        box: (top, bottom, left, right) of the wanted part; None for all of it.
        lead: rows at `top` to blend with rows carried over.
    """
    top, bottom, left, right = box or (0, height, 0, width)
    halo, ramp = halo_and_ramp(spec)
    needs = {"multiple": spec.multiple_of, "min_size": spec.min_size, "ramp": ramp}
    rows = height if spec.tiling == "whole" else core[0]
    cols = width if spec.tiling in ("whole", "rows") else core[1]
    if ramp:  # ramps on both sides of a tile must not meet
        least = least_core(ramp, spec.multiple_of)
        rows, cols = max(rows, least), max(cols, least)
    return TilePlan(
        plan_axis(height, rows, halo, start=top, stop=bottom, lead=lead, **needs),
        plan_axis(width, cols, halo, start=left, stop=right, **needs),
    )


def choose_core(
    height: int, width: int, spec: ModelSpec, memory: MemoryModel, budget: int, device: torch.device
) -> Core:
    """The core that computes the picture fastest with tiles that fit the budget.

    Small cores waste their halo, large tiles fall out of a CPU's caches; cores that divide the sides evenly
    compute nothing twice. Raises `LimitError` when not even the smallest tile fits.
    """
    halo = ceil_to(halo_and_ramp(spec)[0], spec.multiple_of)
    most = (budget - memory.base) / memory.per_pixel
    best: tuple[float, Core] | None = None
    least = math.inf  # pixels of the smallest tile
    least_width = max(min(LEAST_CORE, width) + 2 * halo, width if spec.tiling == "rows" else 0)
    for rows in range(1, math.ceil(height / LEAST_CORE) + 1):
        core_height = _even_core(height, halo, rows, spec.multiple_of)
        least = min(least, (core_height + 2 * halo) * ceil_to(least_width, spec.multiple_of))
        core_width = int(most / (core_height + 2 * halo)) // spec.multiple_of * spec.multiple_of - 2 * halo
        if spec.tiling == "rows" and core_width + 2 * halo < width:
            continue
        if core_width < min(LEAST_CORE, width):
            continue
        columns = max(1, math.ceil((width - 2 * halo) / core_width))
        core = core_height, _even_core(width, halo, columns, spec.multiple_of)
        cost = _cost(height, width, spec, core, device)
        if best is None or cost < best[0]:
            best = cost, core
    if best is None:
        number, unit = _rounded_up(memory.peak(int(least)))
        raise LimitError(
            f"not even the smallest tile fits the memory budget of {' '.join(map(str, _rounded_up(budget)))}iB",
            why=f"it takes about {number} {unit}iB",
            fix=f"Give --max-memory {number}{unit} or more, close other programs, or choose a lighter method",
        )
    return best[1]


def check_whole(height: int, width: int, memory: MemoryModel, budget: int) -> None:
    """Raise `LimitError` if a picture that must be seen at once does not fit the budget."""
    needs = memory.peak(height * width)
    if needs > budget:
        number, unit = _rounded_up(needs)
        raise LimitError(
            f"{width} x {height} px do not fit the memory budget of {' '.join(map(str, _rounded_up(budget)))}iB",
            why=f"the picture cannot be done in tiles, and takes about {number} {unit}iB",
            fix=f"Give --max-memory {number}{unit} or more, close other programs, or give a smaller picture",
        )


def _rounded_up(size: float) -> tuple[int, str]:
    """Bytes as a number of K or M, as --max-memory takes them."""
    unit = "M" if size >= 1 << 20 else "K"
    return math.ceil(size / (1 << (20 if unit == "M" else 10))), unit


def _even_core(size: int, halo: int, tiles: int, multiple: int) -> int:
    """The core with which so many tiles just cover an axis (the two outer ones need no halo outside)."""
    if tiles == 1:
        return ceil_to(size, multiple)
    return max(ceil_to(math.ceil((size - 2 * halo) / tiles), multiple), multiple)


def _cost(height: int, width: int, spec: ModelSpec, core: Core, device: torch.device) -> float:
    plan = plan_picture(height, width, spec, core)
    pixels = math.prod(plan.shape)
    penalty = _CACHE_SLOPE * max(0.0, math.log2(math.sqrt(pixels) / _CACHE_SIDE)) if device.type == "cpu" else 0.0
    return plan.tiles * pixels * (1 + penalty)


def smaller_core(plan: TilePlan, core: Core, *, rows: bool = False) -> Core | None:
    """The core with its longer side halved after running out of memory, None when it is as small as it gets.

    Args:
        rows: tiles must stay as wide as the picture.
    """
    height, width = (min(side, tile) for side, tile in zip(core, plan.shape, strict=True))
    if rows:
        return (height // 2, width) if height >= 2 * LEAST_CORE else None
    if max(height, width) < 2 * LEAST_CORE:
        return None
    return (height // 2, width) if height >= width else (height, width // 2)
