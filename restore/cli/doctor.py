"""`restore doctor`: what this machine offers, and why something is not used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from restore.cli.console import put
from restore.errors import ExitCode


@dataclass(frozen=True)
class Doctor:
    """Report what this machine offers: device, precision, threads, memory, formats, extras."""

    json: bool = False
    """Print one JSON object."""
    debug: bool = False
    """Show the traceback of an error."""

    def run(self) -> int:
        import json

        facts = examine()
        if self.json:
            put(json.dumps(facts, indent=2))
        else:
            width = max(map(len, facts))
            for name, value in facts.items():
                put(f"{name.replace('_', ' '):<{width}}  {_text(value)}")
        return ExitCode.OK


def examine() -> dict[str, Any]:
    """All findings by name; texts, numbers or plain containers."""
    import platform

    import torch

    from restore.cli.machine import cpu_quota, physical_cores, usable_cores
    from restore.inference.memory import memory_budget
    from restore.inference.precision import available_devices, gains_from, resolve_device, why_no_gpu

    device = resolve_device("auto")
    quota = cpu_quota()
    low = gains_from(torch.bfloat16, device)
    return {
        "restore": _version("restore-toolkit"),
        "python": f"{platform.python_version()} on {platform.platform()}",
        "torch": torch.__version__,
        "device": str(device) if device.type != "cuda" else f"cuda ({torch.cuda.get_device_name(device)})",
        "devices": available_devices(),
        "why_no_gpu": why_no_gpu(),
        "precision": "bf16 for methods that allow it, else fp32" if low else "fp32 (bf16 is not faster here)",
        "threads": usable_cores(),
        "cores": f"{physical_cores()} physical" + (f", container limit {quota:g}" if quota else ""),
        "memory_budget_mib": memory_budget(device=device) >> 20,
        "formats": _formats(),
        "extras": {name: _version(name) or "not installed" for name in ("pillow-heif", "torchvision", "lpips")},
    }


def _formats() -> dict[str, str]:
    from PIL import features

    formats: dict[str, str] = dict.fromkeys(("PNG", "JPEG", "TIFF", "BMP"), "yes")
    formats["WebP"] = "yes" if features.check("webp") else "no: this Pillow has no WebP"
    formats["AVIF"] = "yes" if features.check("avif") else "no: this Pillow has no AVIF"
    heif = _version("pillow-heif")
    formats["HEIC"] = "read" if heif else "no: pip install restore-toolkit[heic]"
    return formats


def _version(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value) or "-"
