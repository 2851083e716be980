"""How many cores this process may really use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Physical cores among those this process may run on, capped by the container's CPU quota; at least 1."""
    cores = physical_cores()
    quota = cpu_quota()
    return max(1, min(cores, math.ceil(quota)) if quota else cores)


def physical_cores() -> int:
    """Physical cores this process may run on (CPU affinity respected; two hardware threads count once)."""
    if not hasattr(os, "sched_getaffinity"):
        import psutil

        return psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    try:
        siblings = {(_CPUS / f"cpu{cpu}/topology/thread_siblings_list").read_text() for cpu in allowed}
    except OSError:
        return len(allowed)
    return len(siblings)


def cpu_quota() -> float | None:
    """CPUs the container (cgroup v2 or v1) grants, None for no limit."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (_CGROUP / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (_CGROUP / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return int(quota) / int(period) if quota.isdigit() else None
