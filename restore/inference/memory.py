"""How much memory there is, how much a tile takes, and what to do when it was too little."""

from __future__ import annotations

import ctypes
import gc
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

HOST_SHARE = 0.6  # Linux kills instead of raising: leave room
HOST_CEILING = 384 << 20  # larger tiles gain nothing on a CPU
CLIP_CEILING = 160 << 20  # of a clip: beside its tiles frames and an encoder's take their part
HOST_WORKSPACE = 2.0  # resident memory per byte of live tensors: operators' own buffers, freed blocks (measured)
DEVICE_SHARE = 0.85


def memory_budget(
    limit: int | float | None = None, device: torch.device | None = None, *, most: int | None = HOST_CEILING
) -> int:
    """Bytes that may be used for tiles: free memory of host (and container) or of the device, with a margin.

    Args:
        limit: the user's cap (`--max-memory`): bytes, or as a float a share of what is free, 0..1.
        device: where tiles go; None and CPU mean host memory.
        most: that is taken of host memory; None for pictures that cannot be tiled.
    """
    if device is not None and device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        budget = int((free + reusable) * DEVICE_SHARE)
    else:
        free = available_memory()
        budget = int(free * HOST_SHARE)
        budget = budget if most is None else min(budget, most)
    if limit is None:
        return budget
    return min(budget, int(free * limit) if isinstance(limit, float) else limit)


def available_memory() -> int:
    """Bytes of host memory this process can still get, the container's limit (cgroup v1, v2) included."""
    import psutil

    free = psutil.virtual_memory().available
    for limit_file, used_file in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        limit, used = _read_int(limit_file), _read_int(used_file)
        if limit is not None and used is not None:
            free = min(free, max(limit - used, 0))
    return free


def _read_int(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # not Linux, or "max"
        return None


@cache
def tune_allocator() -> bool:
    """Keep freed blocks of glibc's malloc instead of returning every large one to the kernel.

    Convolutions allocate and free tens of MiB per layer; with glibc's default threshold each costs page
    faults (measured 1.48x on NAFNet at 512 px). Returns whether it applied; elsewhere it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
        ctypes.CDLL(None).gnu_get_libc_version  # noqa: B018  musl has no such symbol
    except (OSError, AttributeError):
        return False
    trim_threshold, mmap_threshold = -1, -3
    return bool(mallopt(mmap_threshold, 1 << 30) and mallopt(trim_threshold, 1 << 30))


@dataclass(frozen=True)
class MemoryModel:
    """Peak bytes of one tile: `base + per_pixel * pixels`."""

    base: float
    per_pixel: float

    def peak(self, pixels: int) -> float:
        return self.base + self.per_pixel * pixels


def measure(run_tile: Callable[[int], object], sides: tuple[int, int], device: torch.device) -> MemoryModel:
    """Fit the memory model from two tiles of the given sides.

    Args:
        run_tile: runs the engine on a square tile of that side, on `device`.
    """
    small, large = (_peak_bytes(lambda side=side: run_tile(side), device) for side in sides)
    slope = max((large - small) / (sides[1] ** 2 - sides[0] ** 2), 1.0)
    return MemoryModel(max(large - slope * sides[1] ** 2, 0.0), slope)


def _peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with _LiveBytes() as live:
        run()
    return int(live.peak * HOST_WORKSPACE)


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors alive at once, by watching every operator's outputs."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch loads its compiler here: 2 s and 130 MB, and nothing is compiled

    def __init__(self) -> None:
        super().__init__()
        self.alive = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_flatten(result)[0]:
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.alive -= size


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means "too little memory" (anything else must not be retried)."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    text = str(error)
    return (
        "MPS backend out of memory" in text
        or "DefaultCPUAllocator: can't allocate memory" in text
        or "CUDNN_STATUS_ALLOC_FAILED" in text
    )


def release_memory(device: torch.device) -> None:
    """Drop what failed tiles left behind. Call outside the `except` block: the traceback pins tensors."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def return_memory() -> None:
    """Give what is free back to the system, where the C library (glibc) keeps it."""
    gc.collect()
    with suppress(OSError, AttributeError, TypeError):  # other libraries, other systems
        ctypes.CDLL(None).malloc_trim(0)
