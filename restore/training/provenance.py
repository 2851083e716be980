"""What a training is remembered by: the machine and the commit it runs on."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import torch

_CHECKOUT = Path(__file__).resolve().parents[2]


def machine() -> str:
    """What it is trained on, in a few words."""
    if torch.cuda.is_available():
        chip = torch.cuda.get_device_name()
    else:
        chip = f"{torch.get_num_threads()} of {os.cpu_count()} cores {_processor()}"
    return f"{chip}, torch {torch.__version__}"


def commit() -> str:
    """Of the checkout this program runs from, "-dirty" behind it where files differ; "" if it is none."""
    if not (_CHECKOUT / ".git").exists():
        return ""
    command = ["git", "-C", str(_CHECKOUT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
